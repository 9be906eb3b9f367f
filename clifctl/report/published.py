"""The paper's numbers beside the measured ones."""

import dataclasses

from clifctl.report.render import Column, Table, columns_of
from clifctl.results.published import Published, PublishedNumber


def published_tables(published: Published, measured: float | None) -> tuple[Table, ...]:
    """The paper's numbers beside the measured one, where there is one; what to know of them
    below."""
    known, note = published.accuracies, published.note
    if not known:
        return (Table("beside the paper", (), (), notes=(note,), name="published"),) if note else ()
    notes = [f"{number.source}, {number.column}: {number.note}" for number in known if number.note]
    notes.insert(0, "The paper's accuracy is that of its best epoch on the test set, of one run.")
    if note:
        notes.insert(0, note)
    columns = columns_of(
        PublishedNumber,
        *("source", "row", "column", "accuracy_percent"),
        Column("measured_percent", "measured here [%]", 2),
        Column("difference_percent", "difference [%]", 2),
        short=True,
    )
    rows = tuple(
        {
            **dataclasses.asdict(number),
            "measured_percent": measured,
            "difference_percent": None if measured is None else measured - number.accuracy_percent,
        }
        for number in known
    )
    every = tuple(range(len(rows)))
    return (
        Table(
            *("beside the paper", columns, rows),
            notes=tuple(notes),
            name="published",
            published=every,
        ),
    )

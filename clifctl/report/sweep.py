"""`sweep` -> report: a row a point, the best one, the paired differences, the Pareto front."""

from typing import Any

from clifctl.amounts import counted
from clifctl.report.render import Column, Report, Table, data_tables, document_of
from clifctl.report.summary import (
    NOTE,
    Estimates,
    conclusions_table,
    difference_rows,
    difference_table,
    estimate_cell,
    estimate_columns,
    estimates_of,
    flat_differences,
    flat_summary,
    shown_summary,
)
from clifctl.results.quantities import Quantity, quantities_of
from clifctl.results.summary import ESTIMATES, Differences, Summary
from clifctl.results.sweep import BestPoint, SweepResult

_ON_TEST = (
    "Chosen on the test data: its accuracy there is too good. A share of the training data that is "
    "held out (data.validation_share, where the data set has it) chooses without it."
)


def sweep_report(result: SweepResult) -> Report:
    """The tables of `sweep`."""
    estimates = _estimates(result)
    compared = [(row.title, _chosen(row.differences, estimates)) for row in result.rows]
    places = [(title, found) for title, found in compared if found]
    tables = [_points(result, estimates)]
    if result.best is not None:
        tables.append(_best(result.best))
    if places:
        title = f"paired differences to {result.baseline}"
        tables.append(difference_table(title, "point", places, result.correction))
    if result.pareto:
        tables.append(_pareto(result))
    tables.append(conclusions_table(result))
    flat = (
        {
            **row.values,
            **flat_summary(row.summary, estimates),
            **flat_differences(row.differences, estimates),
        }
        for row in result.rows
    )
    data = data_tables(
        ("result", flat),
        ("differences", difference_rows("point", places)),
        ("pareto", _flat_pareto(result)),
    )
    return Report(document_of(result), tuple(tables), data=data)


def _estimates(result: SweepResult) -> Estimates:
    """The columns: those that were asked for, with what the front is about; else the usual ones."""
    if not result.quantities:
        return estimates_of(row.summary for row in result.rows)
    names = dict.fromkeys((*result.quantities, *filter(None, (result.against,))))
    return {name: ESTIMATES[name] for name in names if name in ESTIMATES}


def _chosen(found: Differences | None, estimates: Estimates) -> Differences:
    return {name: one for name, one in (found or {}).items() if name in estimates and one}


def _points(result: SweepResult, estimates: Estimates) -> Table:
    sizes = not result.quantities
    columns = (
        *(Column(f"key{at}", key) for at, key in enumerate(result.keys)),
        Column("n", "n"),
        *estimate_columns(estimates),
        *([Column("parameters", "parameters", 0)] if sizes or _is_asked(result, "param") else []),
        *(
            [Column("memory", "kept for backward [MiB]")]
            if sizes or _is_asked(result, "kept")
            else []
        ),
        *([Column("peak", "peak memory [MiB]", 1)] if _is_asked(result, "peak") else []),
    )
    rows = tuple(
        {
            **{f"key{at}": row.values[key] for at, key in enumerate(result.keys)},
            **shown_summary(row.summary, estimates),
            "peak": row.summary.peak_memory_bytes and row.summary.peak_memory_bytes / 2**20,
        }
        for row in result.rows
    )
    drawn = ""
    if result.sample_seed is not None:
        drawn = f" of {result.points_of_product:,}, drawn with seed {result.sample_seed}"
    title = (
        f"{result.recipe}: {counted(len(rows), 'point')}{drawn}, "
        f"{counted(result.epochs, 'epoch')}, {counted(result.seeds_asked, 'seed')}"
    )
    return Table(title, columns, rows, notes=(NOTE,), keys=max(1, len(result.keys)))


def _is_asked(result: SweepResult, start: str) -> bool:
    return any(one.startswith(start) for one in (*result.quantities, result.against or ""))


def _best(best: BestPoint) -> Table:
    columns = (
        Column("title", "point"),
        Column("validation", _quantity("validation_accuracy_percent_last").heading),
        Column("accuracy", _quantity("accuracy_percent_last").heading),
    )
    row = {
        "title": best.title,
        "validation": estimate_cell(
            best.validation_accuracy_percent_last, _quantity("validation_accuracy_percent_last")
        ),
        "accuracy": estimate_cell(best.accuracy_percent_last, _quantity("accuracy_percent_last")),
    }
    notes = (_ON_TEST,) if best.said == "best on test" else ()
    return Table(best.said, columns, (row,), notes=notes, name="best")


def _quantity(name: str) -> Quantity:
    return quantities_of(Summary)[name]


def _pareto(result: SweepResult) -> Table:
    against = result.against or ""
    columns = (
        Column("title", "point"),
        Column("against", _quantity(against).heading),
        Column("quantity", _quantity(result.quantity).heading),
        Column("on_front", "on the front"),
    )
    rows = tuple(
        {
            "title": point.title,
            "against": estimate_cell(point.against, _quantity(against)),
            "quantity": estimate_cell(point.quantity, _quantity(result.quantity)),
            "on_front": point.on_front,
        }
        for point in result.pareto
    )
    front = sum(point.on_front for point in result.pareto)
    title = f"{_quantity(result.quantity).title} against {_quantity(against).title}"
    note = (
        f"{counted(front, 'point')} on the front: no other is as good in both and better in one, "
        "by the means."
    )
    return Table(title, columns, rows, notes=(note,), name="pareto")


def _flat_pareto(result: SweepResult) -> list[dict[str, Any]]:
    return [
        {
            **point.values,
            str(result.against): point.against.mean,
            f"{result.against}_standard_error": point.against.standard_error,
            result.quantity: point.quantity.mean,
            f"{result.quantity}_standard_error": point.quantity.standard_error,
            "on_front": point.on_front,
        }
        for point in result.pareto
    ]

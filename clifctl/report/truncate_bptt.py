"""`truncate-bptt` -> report: a row for each tau and window, then the steps between windows."""

from clifctl.amounts import counted
from clifctl.report.render import Column, Report, Table, data_tables, document_of
from clifctl.report.summary import (
    NOTE,
    conclusions_table,
    difference_rows,
    difference_table,
    estimate_columns,
    estimates_of,
    flat_summary,
    shown_summary,
)
from clifctl.results.truncate_bptt import TruncationResult


def truncation_report(result: TruncationResult) -> Report:
    """The table of `truncate-bptt`: a row for each tau and window."""
    estimates = estimates_of(row.summary for row in result.rows)
    published = any(row.published_percent is not None for row in result.rows)
    columns = (
        Column("tau", "tau"),
        Column("window", "k"),
        Column("n", "n"),
        *estimate_columns(estimates),
        Column("memory", "kept for backward [MiB]"),
        *([Column("published_percent", "Table 3 [%]", 2)] if published else []),
    )
    rows = tuple(
        {
            "tau": row.tau,
            "window": f"{row.window} (full)" if row.full else str(row.window),
            "published_percent": row.published_percent,
            **shown_summary(row.summary, estimates),
        }
        for row in result.rows
    )
    title = (
        f"{result.recipe}: {result.neuron}, T = {result.timesteps}, "
        f"{result.window_reading} window, {counted(result.epochs, 'epoch')}, "
        f"{counted(result.seeds_asked, 'seed')}"
    )
    tables = [Table(title, columns, rows, notes=(NOTE,))]
    places = [
        (f"tau = {step.tau:g}: k = {step.window_from} to {step.window_to}", step.differences)
        for step in result.steps
    ]
    if places:
        between = "paired differences from one window to the next"
        tables.append(difference_table(between, "from, to", places, result.correction))
    tables.append(conclusions_table(result))
    flat = [
        {
            "tau": row.tau,
            "window": row.window,
            **flat_summary(row.summary, estimates),
            "published_percent": row.published_percent,
        }
        for row in result.rows
    ]
    data = data_tables(("result", flat), ("differences", difference_rows("from_to", places)))
    return Report(document_of(result), tuple(tables), data=data)

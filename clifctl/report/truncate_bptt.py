"""`truncate-bptt` -> report."""

from clifctl.report.render import Column, Report, Table, document_of
from clifctl.report.summary import (
    LAST_AND_BEST,
    MEAN_OVER_SEEDS,
    conclusions_table,
    difference_table,
    estimate_columns,
    flat_summary,
    shown_summary,
)
from clifctl.results.truncate_bptt import TruncationResult


def truncation_report(result: TruncationResult) -> Report:
    """The table of `truncate-bptt`: a row for each tau and window."""
    published = any(row.published_percent is not None for row in result.rows)
    columns = (
        Column("tau", "tau"),
        Column("window", "k"),
        Column("n", "n"),
        *estimate_columns(),
        Column("memory", "kept for backward [MiB]"),
        *([Column("published_percent", "Table 3 [%]", 2)] if published else []),
    )
    rows = tuple(
        {
            "tau": row.tau,
            "window": f"{row.window} (full)" if row.full else str(row.window),
            "published_percent": row.published_percent,
            **shown_summary(row.summary),
        }
        for row in result.rows
    )
    main = Table(
        f"{result.recipe}: {result.neuron}, T = {result.timesteps}, "
        f"{result.window_reading} window, {result.epochs} epochs, {result.seeds_asked} seed(s)",
        columns,
        rows,
        notes=(f"{MEAN_OVER_SEEDS} {LAST_AND_BEST}",),
    )
    tables = [main]
    if result.steps:
        places = [
            (f"tau = {step.tau:g}: k = {step.window_from} to {step.window_to}", step.differences)
            for step in result.steps
        ]
        title = "paired differences from one window to the next"
        tables.append(difference_table(title, "from, to", places, result.correction))
    tables.append(conclusions_table(result))
    flat = tuple(
        {
            "tau": row.tau,
            "window": row.window,
            **flat_summary(row.summary),
            "published_percent": row.published_percent,
        }
        for row in result.rows
    )
    data = Table(main.title, tuple(Column(key, key) for key in flat[0]), flat)
    return Report(document_of(result), tuple(tables), data=data)

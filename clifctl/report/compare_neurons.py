"""`compare-neurons` -> report."""

from clifctl.report.render import Column, Report, Table, document_of
from clifctl.report.summary import (
    LAST_AND_BEST,
    MEAN_OVER_SEEDS,
    conclusions_table,
    difference_table,
    estimate_columns,
    flat_differences,
    flat_summary,
    shown_summary,
)
from clifctl.results.compare_neurons import ComparedNeuron, NeuronComparison


def comparison_report(result: NeuronComparison) -> Report:
    """The table of `compare-neurons`: a row a neuron, then the paired differences."""
    several = len({(row.paired_timesteps, row.batch_norm) for row in result.rows}) > 1
    published = any(row.published.accuracies for row in result.rows)
    shared = _has_share(result)
    setting = (
        Column("neuron", "neuron"),
        Column("timesteps", "T"),
        *([Column("batch_norm", "batch norm")] if several else []),
    )
    columns = (
        *setting,
        Column("n", "n"),
        *estimate_columns(shared),
        Column("parameters", "parameters", 0),
        Column("memory", "kept for backward [MiB]"),
        *([Column("published", "the paper's [%]")] if published else []),
    )
    rows = tuple(
        {
            "neuron": row.neuron,
            "timesteps": row.timesteps,
            "batch_norm": row.batch_norm,
            "published": _published(row),
            **shown_summary(row.summary, shared),
        }
        for row in result.rows
    )
    exchange = ""
    if result.exchange_to is not None:
        exchange = f", exchanged for {result.exchange_to} after epoch {result.exchange_after_epoch}"
    main = Table(
        f"{result.recipe}: {result.data}, {result.model}, {result.epochs} epochs, "
        f"{result.seeds_asked} seed(s){exchange}",
        columns,
        rows,
        notes=(f"{MEAN_OVER_SEEDS} {LAST_AND_BEST}",),
    )
    compared = [(_setting(row, result), row.differences) for row in result.rows if row.differences]
    tables = [main]
    if compared:
        tables.append(
            difference_table(
                f"paired differences to {result.baseline}", "neuron", compared, result.correction
            )
        )
    tables.append(conclusions_table(result))
    return Report(document_of(result), tuple(tables), data=_flat_table(result))


def _has_share(result: NeuronComparison) -> bool:
    """Whether the temporal share was asked for, and some neuron has one."""
    return any(row.summary.temporal_share_percent is not None for row in result.rows)


def _published(row: ComparedNeuron) -> str | None:
    known = row.published.accuracies
    return f"{known[0].accuracy_percent:.2f} ({known[0].source})" if known else None


def _setting(row: ComparedNeuron, result: NeuronComparison) -> str:
    parts = []
    if len({one.paired_timesteps for one in result.rows}) > 1:
        parts.append(f"T = {row.timesteps}")
    if len({one.batch_norm for one in result.rows}) > 1:
        parts.append(row.batch_norm)
    return f"{row.neuron} ({', '.join(parts)})" if parts else row.neuron


def _flat_table(result: NeuronComparison) -> Table:
    shared = _has_share(result)
    rows = tuple(
        {
            "neuron": row.neuron,
            "timesteps": row.timesteps,
            "batch_norm": row.batch_norm,
            **flat_summary(row.summary, shared),
            **flat_differences(row.differences, shared),
            "published_percent": row.published.accuracies[0].accuracy_percent
            if row.published.accuracies
            else None,
        }
        for row in result.rows
    )
    return Table(result.recipe, tuple(Column(key, key) for key in rows[0]), rows)

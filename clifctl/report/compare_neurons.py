"""`compare-neurons` -> report: a row a neuron, then the paired differences."""

from typing import Any

from clifctl.amounts import counted
from clifctl.report.render import Column, Report, Table, data_tables, document_of
from clifctl.report.summary import (
    NOTE,
    Estimates,
    conclusions_table,
    difference_rows,
    difference_table,
    estimate_columns,
    estimates_of,
    flat_differences,
    flat_summary,
    shown_summary,
)
from clifctl.results.compare_neurons import ComparedNeuron, NeuronComparison


def comparison_report(result: NeuronComparison) -> Report:
    """The table of `compare-neurons`: a row a neuron, then the paired differences."""
    estimates = estimates_of(row.summary for row in result.rows)
    tables = [_summaries(result, estimates)]
    compared = [(_setting(row, result), row.differences) for row in result.rows if row.differences]
    if compared:
        title = f"paired differences to {result.baseline}"
        tables.append(difference_table(title, "neuron", compared, result.correction))
    tables.append(conclusions_table(result))
    data = data_tables(
        ("result", _flat(result, estimates)),
        ("differences", difference_rows("neuron", compared)),
    )
    return Report(document_of(result), tuple(tables), data=data)


def _summaries(result: NeuronComparison, estimates: Estimates) -> Table:
    several = len({(row.paired_timesteps, row.batch_norm) for row in result.rows}) > 1
    published = any(row.published.accuracies for row in result.rows)
    columns = (
        Column("neuron", "neuron"),
        Column("timesteps", "T"),
        *([Column("batch_norm", "batch norm")] if several else []),
        Column("n", "n"),
        *estimate_columns(estimates),
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
            **shown_summary(row.summary, estimates),
        }
        for row in result.rows
    )
    exchange = ""
    if result.exchange_to is not None:
        exchange = f", exchanged for {result.exchange_to} after epoch {result.exchange_after_epoch}"
    title = (
        f"{result.recipe}: {result.data}, {result.model}, {counted(result.epochs, 'epoch')}, "
        f"{counted(result.seeds_asked, 'seed')}{exchange}"
    )
    return Table(title, columns, rows, notes=(NOTE,))


def _published(row: ComparedNeuron) -> str | None:
    known = row.published.accuracies
    return f"{known[0].accuracy_percent:.2f} ({known[0].source})" if known else None


def _setting(row: ComparedNeuron, result: NeuronComparison) -> str:
    parts = []
    if len({one.paired_timesteps for one in result.rows}) > 1:
        parts.append(row.setting)
    if len({one.batch_norm for one in result.rows}) > 1:
        parts.append(row.batch_norm)
    return f"{row.neuron} ({', '.join(parts)})" if parts else row.neuron


def _flat(result: NeuronComparison, estimates: Estimates) -> list[dict[str, Any]]:
    return [
        {
            "neuron": row.neuron,
            "timesteps": row.timesteps,
            "batch_norm": row.batch_norm,
            **flat_summary(row.summary, estimates),
            **flat_differences(row.differences, estimates),
            "published_percent": row.published.accuracies[0].accuracy_percent
            if row.published.accuracies
            else None,
        }
        for row in result.rows
    ]

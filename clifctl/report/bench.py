"""What the reports of the benchmarks of whole nets have in common."""

import statistics
from typing import Any

from clifctl.amounts import counted
from clifctl.report.render import Column, Table
from clifctl.results.bench import CONTESTANTS
from clifctl.results.bench_eval import EvalBenchResult
from clifctl.results.bench_train import TrainBenchResult
from clifctl.results.firing_rates import net_firing_rate


def input_words(result: TrainBenchResult | EvalBenchResult) -> str:
    """What the nets were given."""
    shape = "x".join(map(str, result.input_shape))
    if result.frames_percent is None:
        return f"images {shape}, the same at every time step"
    return f"samples of event frames {shape}, {result.frames_percent:g} % of them not zero"


def rate_notes(result: TrainBenchResult | EvalBenchResult) -> tuple[str, ...]:
    """The firing rate at each T and where it comes from, and how many windows are open."""
    notes = []
    for count in result.timesteps:
        rate = net_firing_rate(row for row in result.firing_rates if row.timesteps == count)
        if rate is not None:
            notes.append(f"T = {count}: {rate:.4f}")
    origin = {"fresh": "fresh weights", "paper": "as published for a trained net"}
    named = origin.get(result.rates, f"as in '{result.rates}'")
    lines = [f"firing rate over all neurons ({named}): {', '.join(notes)}"] if notes else []
    if opened := [p.open_percent for p in result.connection_paths if p.open_percent is not None]:
        lines.append(
            f"open windows of the surrogate, mean over connections: {statistics.mean(opened):.1f} %"
        )
    return tuple(lines)


def rates_table(result: TrainBenchResult | EvalBenchResult) -> tuple[Table, ...]:
    """The target and the measured firing rate of each layer; no table for fresh weights."""
    if result.rates == "fresh":
        return ()
    rows: dict[str, dict[str, Any]] = {}
    for row in result.firing_rates:
        at = rows.setdefault(row.layer, {"layer": row.layer, "target_rate": row.target_rate})
        at[f"firing_rate_t{row.timesteps}"] = row.firing_rate
    columns = (
        Column("layer", "layer"),
        Column("target_rate", "target", 4),
        *(Column(f"firing_rate_t{count}", f"T = {count}", 4) for count in result.timesteps),
    )
    notes = (
        "spikes per neuron and time step on the benchmark's input; a layer is brought to its "
        "target by the bias of the batch norm before it, the same for all channels",
    )
    return (Table("firing rates", columns, tuple(rows.values()), notes=notes, name="firing-rates"),)


def missing_notes(result: TrainBenchResult | EvalBenchResult) -> tuple[str, ...]:
    """The contestants that were left out, and why."""
    missing = {row.contestant: row.missing for row in result.rows if row.missing}
    return tuple(f"no {CONTESTANTS[name].label}: {reason}" for name, reason in missing.items())


def where_note(result: TrainBenchResult | EvalBenchResult) -> str:
    """The machine, and what ran on it."""
    named = ", ".join(f"{name} {number}" for name, number in result.versions.items() if number)
    return (
        f"{result.machine}, {result.device}, {counted(result.threads, 'CPU thread')} "
        f"({result.threads_reason}), {named}, {result.started}"
    )

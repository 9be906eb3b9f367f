"""`bench train` -> report: step times, memory, and how they were measured."""

import dataclasses
from typing import Any

from clifctl.amounts import mebibytes
from clifctl.report.bench import (
    input_words,
    missing_notes,
    rate_notes,
    rates_table,
    where_note,
)
from clifctl.report.connections import connection_tables
from clifctl.report.render import Column, Report, Table, columns_of, document_of
from clifctl.results.bench import CONTESTANTS
from clifctl.results.bench_train import EngineCost, TrainBenchCost, TrainBenchResult, TrainBenchRow

# A line through the step times that passes all of them within this is called a line.
LINEAR_PERCENT = 10.0


def train_bench_report(result: TrainBenchResult) -> Report:
    """Step times with their ratios, then the memory; a row for each contestant at each T."""
    rows = tuple(_train_row(row) for row in result.rows)
    who = ("timesteps", Column("label", "net"))
    times = columns_of(
        TrainBenchRow,
        *who,
        *("step_ms", "relu_ratio", Column("relu_quartiles_ratio", "quartiles")),
        *("ours_ratio", "images_per_s"),
        short=True,
    )
    memory = columns_of(
        TrainBenchRow,
        *who,
        Column("held_mib", "held [MiB]", 1),
        "held_relu_ratio",
        Column("peak_mib", "peak [MiB]", 1),
        "memory_format",
        short=True,
    )
    title = (
        f"training step, {result.model}, {result.neuron}, batch {result.batch_size}, "
        f"{result.precision}: median of {result.repeats}"
    )
    held = "memory of that step"
    tables = (
        Table(title, times, rows, notes=tuple(map(_cost, result.costs)), keys=2),
        Table(held, memory, rows, notes=_train_notes(result), keys=2, name="memory"),
        *rates_table(result),
        *connection_tables(result.connection_paths, f"In ours, at T = {result.timesteps[-1]}."),
        *(() if result.engine is None else (_engine_table(result.engine),)),
    )
    return Report(document_of(result), tables)


def _engine_table(cost: EngineCost) -> Table:
    row = {
        **dataclasses.asdict(cost),
        "bare_step_ms": 1000 * cost.bare_step_seconds,
        "engine_step_ms": 1000 * cost.engine_step_seconds,
        "save_ms": 1000 * cost.save_seconds,
    }
    columns = columns_of(
        EngineCost,
        "timesteps",
        Column("bare_step_ms", "bare step [ms]", 1),
        Column("engine_step_ms", "in a run [ms]", 1),
        *("overhead_percent", "samples_per_second", Column("save_ms", "a save [ms]", 1)),
        "save_percent",
        short=True,
    )
    notes = (
        f"a run of {cost.recipe}, and after each of its steps a bare one (forward, loss, backward, "
        f"optimizer) on a batch that is there already: means over {cost.steps} steps each, without "
        "the groups of 16 that something else on the machine held up",
        "added: data, augmentation, checks of loss and gradients, sums, logging, progress",
    )
    return Table("the engine around the step", columns, (row,), notes=notes, name="engine")


def _train_row(row: TrainBenchRow) -> dict[str, Any]:
    quartiles = (row.relu_lower_quartile_ratio, row.relu_upper_quartile_ratio)
    lower, upper = ("-" if value is None else f"{value:.3f}" for value in quartiles)
    return {
        **dataclasses.asdict(row),
        "label": CONTESTANTS[row.contestant].label,
        "relu_quartiles_ratio": None if None in quartiles else f"{lower} {upper}",
        "held_mib": mebibytes(row.held_bytes),
        "peak_mib": mebibytes(row.peak_bytes),
    }


def _cost(cost: TrainBenchCost) -> str:
    linear = "linear in T" if cost.farthest_percent <= LINEAR_PERCENT else "not linear in T"
    return (
        f"{CONTESTANTS[cost.contestant].label}: {linear}: {cost.fixed_ms:.1f} ms + T x "
        f"{cost.per_timestep_ms:.1f} ms, off by at most {cost.farthest_percent:.1f} %"
    )


def _train_notes(result: TrainBenchResult) -> tuple[str, ...]:
    version = result.versions["spikingjelly"]
    own = result.batch_norm == "own"
    check = max(result.checks, key=lambda check: check.float64_gradient_error)
    return (
        "step: forward, cross entropy of the mean over time, backward; no optimizer step; "
        f"N = {result.batch_size} {input_words(result)}",
        *rate_notes(result),
        f"ours: the net's own batch norm, neurons by {result.target}, connections "
        f"{result.connections}; dense: these dense"
        if own
        else f"ours: {result.batch_norm} batch norm inside the neuron's kernel ({result.target}), "
        f"spikes kept as bits, connections {result.connections}; dense: these dense; plain: norm "
        "and neuron one after the other too",
        "the first convolution of the T equal images runs T times"
        if own and result.frames_percent is None
        else "in ours the first convolution of the T equal images runs once, in others T times"
        if result.frames_percent is None
        else "what the engine adds is measured on images alone",
        "ReLU: torch's BatchNorm2d and ReLU in place on T x N images; its images/s count all of "
        "them",
        *(
            [
                f"SJ: SpikingJelly {version}'s nodes; multi: multi-step, batch norm over all "
                "steps; loop: step by step, batch norm at each step"
            ]
            if version
            else []
        ),
        *missing_notes(result),
        "/ReLU, /ours: medians of the ratios within a round, with quartiles; each net in the "
        "faster one of its memory formats (ours: channels-last)",
        "held: bytes that autograd keeps for backward, parameters not counted",
        f"no peak: {result.peak_missing}"
        if result.peak_missing
        else "peak: largest memory of a process that trains this net alone, over that of one that "
        "trains nothing; parameters, gradients and loaded kernels are in it",
        "before any time: ours against plain in float64, relative error of loss and gradients at "
        f"most {max(check.float64_loss_error, check.float64_gradient_error):.1e}, and layer by "
        f"layer in {result.precision}",
        where_note(result),
    )

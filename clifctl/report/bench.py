"""What `bench` prints: times, ratios and memory, and below them how they were measured."""

import dataclasses
import statistics
from typing import Any

from clifctl.report.connections import connection_tables
from clifctl.report.render import MIB, Column, Report, Table, document_of
from clifctl.results import (
    BenchResult,
    BenchRow,
    EngineCost,
    EvalBenchResult,
    TrainBenchCost,
    TrainBenchResult,
    TrainBenchRow,
)


def neurons_bench_report(result: BenchResult) -> Report:
    """Times of forward and backward, of forward alone, their spread, and the bytes kept."""
    rows = tuple(_bench_row(row) for row in result.rows)
    name = Column("neuron", "neuron")
    both, forward = (
        (
            name,
            Column(f"ours_{part}_ms", "ours [ms]", 2),
            Column(f"eager_{part}_ms", "eager [ms]", 2),
            Column(f"peer_{part}_ms", "SJ [ms]", 2),
            Column(f"eager_{part}_ratio", "eager/ours", 2),
            Column(f"peer_{part}_ratio", "SJ/ours", 2),
        )
        for part in ("forward_backward", "forward")
    )
    bound = (
        Column("memory_bound_ms", "bound [ms]", 2),
        Column("ours_memory_bound_ratio", "ours/bound", 2),
    )
    ways = (("ours", "ours"), ("eager", "eager"), ("peer", "SJ"))
    spread = tuple(
        Column(f"{way}_{part}_spread_ms", f"{label} {short}", 2)
        for part, short in (("forward_backward", "f+b"), ("forward", "f"))
        for way, label in ways
    )
    saved = tuple(Column(f"{way}_saved_bytes_ratio", label, 2) for way, label in ways)
    shape = "x".join(map(str, result.shape))
    of = f"median of {result.repeats}, {shape} {result.dtype}, {result.threads} CPU thread(s)"
    tables = (
        Table(f"forward + backward: {of}", (*both, *bound), rows),
        Table("forward alone, nothing kept for backward", forward, rows),
        Table("fastest and slowest round [ms]", (name, *spread), rows),
        Table("kept for backward [sizes of the input]", (name, *saved), rows, notes=_why(result)),
    )
    return Report(document_of(result), tables)


def _bench_row(row: BenchRow) -> dict[str, Any]:
    """One flat row: what belongs to one way to run the neuron under `ours_`, `eager_`, `peer_`."""
    flat = dataclasses.asdict(row)
    nothing = dict.fromkeys(flat["ours"])
    for way in ("ours", "eager", "peer"):
        run = flat.pop(way) or nothing
        flat |= {f"{way}_{key}": value for key, value in run.items()}
        for part in ("forward_backward", "forward"):
            spread = (run[f"{part}_min_ms"], run[f"{part}_max_ms"])
            flat[f"{way}_{part}_spread_ms"] = None if None in spread else spread
    return flat


def _why(result: BenchResult) -> tuple[str, ...]:
    missing: dict[str, list[str]] = {}
    for row in result.rows:
        if row.peer_missing:
            missing.setdefault(row.peer_missing, []).append(row.neuron)
    version = result.versions["spikingjelly"]
    return (
        f"ours: target {result.target}, compared with the reference before anything was timed; "
        "eager: the plain loop over time steps",
        "bound: 5/2 of the time of a copy of the input, for read x, write the output, read x and "
        "its gradient, write a gradient",
        *([f"SJ: SpikingJelly {version}, multi-step mode"] if version else []),
        *(f"no SJ for {', '.join(names)}: {reason}" for reason, names in missing.items()),
        *(
            f"{row.neuron} has no time: T = 1, all steps as one batch"
            for row in result.rows
            if row.shape != result.shape
        ),
        f"{result.machine}, {result.device}, {result.started}",
    )


CONTESTANTS = {
    "ours": "ours",
    "ours_dense": "ours, dense",
    "ours_plain": "ours, plain",
    "relu": "ReLU",
    "relu_one_step": "ReLU, T = 1",
    "sj_multi_step": "SJ multi",
    "sj_step_by_step": "SJ loop",
}
# A line through the step times that passes all of them within this is called a line.
LINEAR_PERCENT = 10.0


def train_bench_report(result: TrainBenchResult) -> Report:
    """Step times with their ratios, then the memory; a row for each contestant at each T."""
    rows = tuple(_train_row(row) for row in result.rows)
    who = (Column("timesteps", "T"), Column("label", "net"))
    times = (
        *who,
        Column("step_ms", "step [ms]", 1),
        Column("relu_ratio", "/ReLU", 3),
        Column("relu_quartiles_ratio", "quartiles"),
        Column("ours_ratio", "/ours", 3),
        Column("images_per_s", "images/s", 1),
    )
    memory = (
        *who,
        Column("held_mib", "held [MiB]", 1),
        Column("held_relu_ratio", "/ReLU", 3),
        Column("peak_mib", "peak [MiB]", 1),
        Column("memory_format", "format"),
    )
    title = (
        f"training step, {result.model}, {result.neuron}, batch {result.batch_size}, "
        f"{result.precision}: median of {result.repeats}"
    )
    tables = (
        Table(title, times, rows, notes=tuple(_cost(cost) for cost in result.costs)),
        Table("memory of that step", memory, rows, notes=_train_notes(result)),
        *rates_table(result),
        *connection_tables(result.connection_paths, f"In ours, at T = {result.timesteps[-1]}."),
        *(() if result.engine is None else (_engine_table(result.engine),)),
    )
    return Report(document_of(result), tables)


def input_words(result: TrainBenchResult | EvalBenchResult) -> str:
    """What the nets were given."""
    shape = "x".join(map(str, result.input_shape))
    if result.frames_percent is None:
        return f"images {shape}, the same at every time step"
    return f"samples of event frames {shape}, {result.frames_percent:g} % of them not zero"


def rate_notes(result: TrainBenchResult | EvalBenchResult) -> tuple[str, ...]:
    """The mean firing rate at each T and where it comes from, and how many windows are open."""
    notes = []
    for count in result.timesteps:
        rates = [row.firing_rate for row in result.firing_rates if row.timesteps == count]
        if rates:
            notes.append(f"T = {count}: {statistics.mean(rates):.3f}")
    origin = {"fresh": "fresh weights", "paper": "as published for a trained net"}
    named = origin.get(result.rates, f"as in '{result.rates}'")
    told = [f"firing rate, mean over layers ({named}): {', '.join(notes)}"] if notes else []
    if opened := [p.open_percent for p in result.connection_paths if p.open_percent is not None]:
        told.append(
            f"open windows of the surrogate, mean over connections: {statistics.mean(opened):.1f} %"
        )
    return tuple(told)


def rates_table(result: TrainBenchResult | EvalBenchResult) -> tuple[Table, ...]:
    """What each layer was brought to and fires at; nothing for fresh weights."""
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
    return (Table("firing rates", columns, tuple(rows.values()), notes=notes),)


def _engine_table(cost: EngineCost) -> Table:
    row = {
        **dataclasses.asdict(cost),
        "bare_step_ms": 1000 * cost.bare_step_seconds,
        "engine_step_ms": 1000 * cost.engine_step_seconds,
        "save_ms": 1000 * cost.save_seconds,
    }
    columns = (
        Column("timesteps", "T"),
        Column("bare_step_ms", "bare step [ms]", 1),
        Column("engine_step_ms", "in a run [ms]", 1),
        Column("overhead_percent", "added [%]", 1),
        Column("samples_per_second", "images/s", 1),
        Column("save_ms", "a save [ms]", 1),
        Column("save_percent", "saving each 60 s [%]", 2),
    )
    notes = (
        f"a run of {cost.recipe}, and after each of its steps a bare one (forward, loss, backward, "
        f"optimizer) on a batch that is there already: medians of {cost.steps} steps each",
        "added: data, augmentation, checks of loss and gradients, sums, logging, progress",
    )
    return Table("the engine around the step", columns, (row,), notes=notes)


def _train_row(row: TrainBenchRow) -> dict[str, Any]:
    quartiles = (row.relu_lower_quartile_ratio, row.relu_upper_quartile_ratio)
    lower, upper = ("-" if value is None else f"{value:.3f}" for value in quartiles)
    return {
        **dataclasses.asdict(row),
        "label": CONTESTANTS[row.contestant],
        "relu_quartiles_ratio": None if None in quartiles else f"{lower} {upper}",
        "held_mib": None if row.held_bytes is None else row.held_bytes / MIB,
        "peak_mib": None if row.peak_bytes is None else row.peak_bytes / MIB,
    }


def _cost(cost: TrainBenchCost) -> str:
    linear = "linear in T" if cost.farthest_percent <= LINEAR_PERCENT else "not linear in T"
    return (
        f"{CONTESTANTS[cost.contestant]}: {linear}: {cost.fixed_ms:.1f} ms + T x "
        f"{cost.per_timestep_ms:.1f} ms, off by at most {cost.farthest_percent:.1f} %"
    )


def missing_notes(result: TrainBenchResult | EvalBenchResult) -> tuple[str, ...]:
    """Who took no part, and why."""
    missing = {row.contestant: row.missing for row in result.rows if row.missing}
    return tuple(f"no {CONTESTANTS[name]}: {reason}" for name, reason in missing.items())


def where_note(result: TrainBenchResult | EvalBenchResult) -> str:
    """The machine, and what ran on it."""
    named = ", ".join(f"{name} {number}" for name, number in result.versions.items() if number)
    return (
        f"{result.machine}, {result.device}, {result.threads} CPU thread(s) "
        f"({result.threads_reason}), {named}, {result.started}"
    )


def _train_notes(result: TrainBenchResult) -> tuple[str, ...]:
    version = result.versions["spikingjelly"]
    check = max(result.checks, key=lambda check: check.float64_gradient_error)
    return (
        "step: forward, cross entropy of the mean over time, backward; no optimizer step; "
        f"N = {result.batch_size} {input_words(result)}",
        *rate_notes(result),
        f"ours: {result.batch_norm} batch norm inside the neuron's kernel ({result.target}), "
        f"spikes kept as bits, connections {result.connections}; dense: these dense; plain: norm "
        "and neuron one after the other too",
        "in ours the first convolution of the T equal images runs once, in others T times"
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

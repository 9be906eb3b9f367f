"""`bench neurons` -> report: times, ratios and memory, and how they were measured."""

import dataclasses
from typing import Any

from clifctl.amounts import counted
from clifctl.report.render import Column, Report, Table, columns_of, document_of
from clifctl.results.bench_neurons import BenchResult, BenchRow


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
    bound = columns_of(BenchRow, "memory_bound_ms", "ours_memory_bound_ratio", short=True)
    ways = (("ours", "ours"), ("eager", "eager"), ("peer", "SJ"))
    spread = tuple(
        Column(f"{way}_{part}_spread_ms", f"{label} {short}", 2)
        for part, short in (("forward_backward", "f+b"), ("forward", "f"))
        for way, label in ways
    )
    saved = tuple(Column(f"{way}_saved_bytes_ratio", label, 2) for way, label in ways)
    shape = "x".join(map(str, result.shape))
    threads = counted(result.threads, "CPU thread")
    of = f"median of {result.repeats}, {shape} {result.dtype}, {threads}"
    kept = "kept for backward [sizes of the input]"
    tables = (
        Table(f"forward + backward: {of}", (*both, *bound), rows),
        Table("forward alone, nothing kept for backward", forward, rows, name="forward"),
        Table("fastest and slowest round [ms]", (name, *spread), rows, name="spread"),
        Table(kept, (name, *saved), rows, notes=_why(result), name="memory"),
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

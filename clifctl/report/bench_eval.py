"""What `bench eval` prints: times and ratios, and beside them the operations in theory."""

import dataclasses
from typing import Any

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
from clifctl.results.bench_eval import EvalBenchOperations, EvalBenchResult, EvalBenchRow

MILLION = 1e6


def eval_bench_report(result: EvalBenchResult) -> Report:
    """Times with their ratios, a row for each contestant at each T and batch size; then what the
    net computes for a sample, and how much of the saving the time has."""
    place = ("timesteps", "batch_size")
    times = columns_of(
        EvalBenchRow,
        *(*place, Column("label", "net"), "inference_ms", "relu_ratio"),
        Column("relu_quartiles_ratio", "quartiles"),
        *("relu_one_step_ratio", "ours_ratio", "samples_per_s"),
        short=True,
    )
    operations = columns_of(
        EvalBenchOperations,
        *place,
        Column("relu_macs_millions", "ReLU [M MACs]", 3),
        Column("spiking_acs_millions", "spiking [M ACs]", 3),
        Column("spiking_macs_millions", "[M MACs]", 3),
        *("theoretical_relu_ratio", "measured_relu_ratio", "saving_share_percent"),
        short=True,
    )
    title = (
        f"inference, {result.model}, {result.neuron}, {result.precision}: "
        f"median of {result.repeats}"
    )
    tables = (
        Table(title, times, tuple(map(_row, result.rows)), notes=_time_notes(result), keys=3),
        Table(
            "synaptic operations of a sample, and the time of a batch",
            operations,
            tuple(map(_operations_row, result.operations)),
            notes=_operation_notes(result),
            keys=2,
            name="operations",
        ),
        *rates_table(result),
        *connection_tables(result.connection_paths, f"In ours, at T = {result.timesteps[-1]}."),
    )
    return Report(document_of(result), tables)


def _row(row: EvalBenchRow) -> dict[str, Any]:
    low, high = row.relu_lower_quartile_ratio, row.relu_upper_quartile_ratio
    known = low is not None and high is not None
    return {
        **dataclasses.asdict(row),
        "label": CONTESTANTS[row.contestant].label,
        "relu_quartiles_ratio": f"{low:.3f} {high:.3f}" if known else None,
    }


def _operations_row(row: EvalBenchOperations) -> dict[str, Any]:
    found = dataclasses.asdict(row)
    for name in ("relu_macs", "spiking_acs", "spiking_macs"):
        found[f"{name}_millions"] = found[name] / MILLION
    return found


def _time_notes(result: EvalBenchResult) -> tuple[str, ...]:
    version = result.versions["spikingjelly"]
    return (
        f"N {input_words(result)}; nothing is kept for backward, batch norm has running averages",
        *rate_notes(result),
        f"ours: neurons by kernels, norm inside in nets of clifctl ({result.target}), connections "
        f"{result.connections}; dense: these dense",
        "ReLU: torch's BatchNorm2d and ReLU in place on T x N images; T = 1: on N images, as an "
        "ANN is used",
        *([f"SJ: SpikingJelly {version}'s nodes, multi-step and step by step"] if version else []),
        *missing_notes(result),
        "/ReLU, /T = 1, /ours: medians of the ratios within a round; each net in the faster one of "
        "its memory formats (ours: channels-last)",
    )


def _operation_notes(result: EvalBenchResult) -> tuple[str, ...]:
    check = max(result.checks, key=lambda check: check.float64_logits_error)
    return (
        "counted as `clifctl energy` does, on the same input, mean over the batch: ACs are "
        "additions that spikes cause, each spike charged what it reaches; MACs what the image and "
        "pooled values feed; biases, norms and neurons are not in it",
        "/ReLU: (ACs + MACs) / (T x the ReLU net's MACs); time: that ratio as measured (ours); "
        "saved: (1 - time) / (1 - /ReLU), how much of the saving in theory the machine gives",
        "before any time: ours against plain in float64, relative error of the logits at most "
        f"{check.float64_logits_error:.1e}, and layer by layer in {result.precision}",
        where_note(result),
    )

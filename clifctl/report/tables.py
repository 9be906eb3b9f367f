"""Result dataclass -> report: which columns, in which order, under which names."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from clifctl.report.render import Column, Report, Table, document_of
from clifctl.results import (
    BenchResult,
    BenchRow,
    CheckResult,
    EvalResult,
    LayerRate,
    NeuronList,
    NeuronRow,
    RecipeChecks,
    RecipeList,
    RegisterResult,
    TrainPlan,
    TrainResult,
)

MIB = 1024 * 1024


def train_report(result: TrainResult) -> Report:
    """The result table of `train`."""
    summary = _table(
        f"{result.recipe}: trained",
        result,
        Column("recipe", "recipe"),
        Column("data", "data"),
        Column("model", "model"),
        Column("neuron", "neuron"),
        Column("timesteps", "time steps"),
        Column("batch_norm", "batch norm"),
        Column("window", "window of BPTT (- = full)"),
        Column("seed", "seed"),
        Column("epochs", "epochs"),
        Column("parameters", "parameters", 0),
        Column("accuracy_percent_last", "test accuracy, last epoch [%]", 2),
        Column("accuracy_percent_best", "test accuracy, best epoch [%]", 2),
        Column("epoch_best", "best epoch"),
        Column("train_loss_train_mode", "training loss, train mode", 4),
        Column("train_loss_eval_mode", "training loss, evaluation mode", 4),
        Column("test_loss", "test loss", 4),
        Column("firing_rate", "firing rate [spikes/neuron/step]", 4),
        Column("train_seconds", "training time [s]", 1),
        Column("total_seconds", "total time [s]", 1),
        Column("device", "device"),
        Column("target", "kernel target"),
        Column("run_folder", "run folder"),
        notes=(
            "The best epoch is chosen on the test set, as the paper does: report the last one.",
        ),
    )
    return Report(document_of(result), (summary, *_rates(result.firing_rates)))


def plan_report(plan: TrainPlan, resolved: str) -> Report:
    """The result table of `train --dry-run`, and the resolved recipe as YAML text."""
    row = dataclasses.asdict(plan)
    shown = {
        **row,
        "data_mib": plan.data_bytes / MIB,
        "weights_mib": plan.weights_bytes / MIB,
        "activations_mib": plan.activations_bytes / MIB,
        "memory_mib": plan.memory_bytes / MIB,
    }
    columns = (
        Column("recipe", "recipe"),
        Column("train_samples", "training samples", 0),
        Column("test_samples", "test samples", 0),
        Column("parameters", "parameters", 0),
        Column("data_mib", "memory: data [MiB]", 1),
        Column("weights_mib", "memory: weights, gradients, momentum [MiB]", 1),
        Column("activations_mib", "memory: kept for backward [MiB]", 1),
        Column("memory_mib", "memory: sum [MiB]", 1),
        Column("device", "device"),
        Column("target", "kernel target"),
        Column("threads", "CPU threads"),
        Column("run_folder", "run folder (not made)"),
    )
    table = Table(f"{plan.recipe}: valid, nothing was run", columns, (shown,), vertical=True)
    return Report(document_of(plan), (table,), text=resolved)


def eval_report(result: EvalResult) -> Report:
    """The result table of `eval`."""
    summary = _table(
        f"{result.checkpoint}: evaluated",
        result,
        Column("checkpoint", "checkpoint"),
        Column("recipe", "recipe"),
        Column("data", "data"),
        Column("model", "model"),
        Column("neuron", "neuron"),
        Column("timesteps", "time steps"),
        Column("epoch", "epoch"),
        Column("seed", "seed"),
        Column("batch_statistics", "batch statistics"),
        Column("batch_size", "batch size"),
        Column("samples", "test samples", 0),
        Column("accuracy_percent", "test accuracy [%]", 2),
        Column("loss", "test loss (TET)", 4),
        Column("cross_entropy", "test cross entropy", 4),
        Column("firing_rate", "firing rate [spikes/neuron/step]", 4),
        Column("seconds", "time [s]", 1),
        Column("device", "device"),
        Column("target", "kernel target"),
    )
    per_step = Table(
        "accuracy after each time step",
        (Column("step", "time step"), Column("accuracy_percent", "test accuracy [%]", 2)),
        tuple(
            {"step": step, "accuracy_percent": accuracy}
            for step, accuracy in enumerate(result.accuracy_percent_per_step, 1)
        ),
    )
    return Report(document_of(result), (summary, per_step, *_rates(result.firing_rates)))


def recipes_report(result: RecipeList) -> Report:
    """The catalog."""
    columns = (
        Column("recipe", "recipe"),
        Column("data", "data"),
        Column("model", "model"),
        Column("neuron", "neuron"),
        Column("timesteps", "time steps"),
        Column("title", "title"),
    )
    return _list_report("recipes that clifctl ships", result, columns, result.recipes)


def recipe_report(name: str, document: dict[str, Any], text: str) -> Report:
    """One recipe: its text for a reader, its keys and values for a program."""
    rows = tuple({"key": key, "value": value} for key, value in _leaves(document))
    table = Table(name, (Column("key", "key"), Column("value", "value")), rows)
    whole = {"schema": "clifctl.recipe/1", "recipe": name, "content": document}
    return Report(whole, (table,), text=text, text_only=True)


def _leaves(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def checks_report(result: RecipeChecks) -> Report:
    """The recipes that hold."""
    columns = (
        Column("recipe", "recipe"),
        Column("data", "data"),
        Column("model", "model"),
        Column("neuron", "neuron"),
        Column("timesteps", "time steps"),
        Column("parameters", "parameters", 0),
    )
    return _list_report("valid recipes", result, columns, result.recipes)


def neurons_report(result: NeuronList) -> Report:
    """Every neuron, a line each."""
    columns = (
        Column("neuron", "neuron"),
        Column("states", "states"),
        Column("learnables", "learnable"),
        Column("title", "title"),
        Column("paper", "paper"),
    )
    return _list_report("neurons", result, columns, result.neurons)


def neuron_report(row: NeuronRow) -> Report:
    """One neuron: its declaration, and its hyperparameters."""
    summary = _table(
        f"{row.neuron}: {row.title}",
        row,
        Column("neuron", "neuron"),
        Column("states", "states"),
        Column("learnables", "learnable parameters"),
        Column("paper", "paper"),
    )
    columns = (
        Column("name", "hyperparameter"),
        Column("default", "default"),
        Column("description", "description"),
    )
    values = tuple(dataclasses.asdict(value) for value in row.hyperparameters)
    return Report(document_of(row), (summary, Table("hyperparameters", columns, values)))


def kernel_report(name: str, kernel: str, text: str) -> Report:
    """Generated code, as it is."""
    document = {"schema": "clifctl.kernel/1", "neuron": name, "kernel": kernel, "text": text}
    columns = (Column("neuron", "neuron"), Column("kernel", "kernel"), Column("text", "text"))
    return Report(document, (Table(name, columns, (document,)),), text=text, text_only=True)


def registers_report(result: RegisterResult) -> Report:
    """The table of `neurons show --kernel triton --registers`."""
    return _list_report(
        f"{result.neuron}: GPU kernels, {result.spills} with a spill, at most "
        f"{result.compile_s_largest:.1f} s to compile",
        result,
        (
            Column("neuron", "neuron"),
            Column("kernel", "kernel"),
            Column("timesteps", "time steps"),
            Column("dtype", "dtype"),
            Column("gpu", "GPU"),
            Column("elements_per_thread", "elements per thread"),
            Column("registers", "registers"),
            Column("stack_bytes", "stack [B]"),
            Column("local_bytes", "local [B]"),
            Column("shared_bytes_per_program", "shared [B]"),
            Column("compile_s", "compiled in [s]", 2),
        ),
        result.kernels,
    )


def check_report(result: CheckResult) -> Report:
    """The parity suite, a line a case."""
    columns = (
        Column("case", "case"),
        Column("quantity", "worst quantity"),
        Column("error", "relative error"),
        Column("allowed", "allowed"),
        Column("excluded_percent", "left out [%]", 2),
        Column("passed", "ok"),
    )
    passed = sum(row.passed for row in result.cases)
    report = _list_report(
        f"{result.neuron}: {passed} of {len(result.cases)} cases hold "
        f"(T = {result.timesteps}; target-dtype-surrogate-window-shape-choices-state)",
        result,
        columns,
        result.cases,
    )
    return report


def bench_report(result: BenchResult) -> Report:
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


def _table(title: str, result: Any, *columns: Column, notes: tuple[str, ...] = ()) -> Table:
    row = {column.key: getattr(result, column.key) for column in columns}
    return Table(title, columns, (row,), vertical=True, notes=notes)


def _list_report(title: str, result: Any, columns: tuple[Column, ...], rows: Any) -> Report:
    table = Table(title, columns, tuple(dataclasses.asdict(row) for row in rows))
    return Report(document_of(result), (table,))


def _rates(layers: tuple[LayerRate, ...]) -> tuple[Table, ...]:
    if not layers:
        return ()
    columns = (
        Column("layer", "layer"),
        Column("neurons", "neurons", 0),
        Column("firing_rate", "mean", 4),
        Column("firing_rate_per_step", "at each time step", 3),
    )
    rows = tuple(dataclasses.asdict(layer) for layer in layers)
    return (Table("firing rates [spikes/neuron/step], test data", columns, rows),)

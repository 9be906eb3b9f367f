"""Result dataclass -> report: which columns, in which order, under which names."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from clifctl.report.render import Column, Report, Table, document_of
from clifctl.results import (
    DatasetList,
    EvalResult,
    LayerRate,
    RecipeChecks,
    RecipeList,
    SampleResult,
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


def datasets_report(result: DatasetList) -> Report:
    """The DATASETS table."""
    columns = (
        Column("data", "data"),
        Column("classes", "classes"),
        Column("input_shape", "input of a time step"),
        Column("timesteps", "time steps"),
        Column("title", "title"),
        Column("source", "source"),
    )
    return _list_report("data sets", result, columns, result.data)


def sample_report(result: SampleResult) -> Report:
    """One sample, time step by time step."""
    columns = (
        Column("step", "time step"),
        Column("minimum", "minimum", 3),
        Column("maximum", "maximum", 3),
        Column("mean", "mean", 3),
        Column("sum_per_channel", "sum per channel", 1),
    )
    frames = Table(
        f"{result.data}, {result.split} sample {result.sample} of {result.samples_in_split}: "
        f"label {result.label}, shape {list(result.shape)}",
        columns,
        tuple(dataclasses.asdict(frame) for frame in result.frames),
        notes=(
            f"sha256 of the data: {result.sha256}",
            *([f"picture: {result.picture}"] if result.picture else []),
        ),
    )
    return Report(document_of(result), (frames,))


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

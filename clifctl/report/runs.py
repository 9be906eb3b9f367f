"""Runs -> report: what `train` and `eval` say, the paper's numbers beside the measured ones."""

import dataclasses

from clifctl.report.connections import connection_tables
from clifctl.report.render import MIB, Column, Report, Table, document_of
from clifctl.results import LayerRate, Published, TrainPlan, TrainResult

_CHOSEN = {
    "test": "The best epoch is chosen on the test set, as the paper does: report the last one.",
    "validation": "The best epoch is chosen on training data that were held out.",
}
# The phases of a step, in the words of the table.
_PHASES = {
    "data": "data",
    "forward": "forward",
    "backward": "backward",
    "optimizer": "optimizer",
    "rest": "the rest",
}


def train_report(result: TrainResult) -> Report:
    """The result table of `train`."""
    columns = (
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
        Column("best_chosen_on", "best epoch chosen on"),
        Column("train_loss_train_mode", "training loss, train mode", 4),
        Column("train_loss_eval_mode", "training loss, evaluation mode", 4),
        Column("test_loss", "test loss", 4),
        Column("firing_rate", "firing rate [spikes/neuron/step]", 4),
        Column("train_seconds", "training time [s]", 1),
        Column("total_seconds", "total time [s]", 1),
        Column("samples_per_second", "training speed, last epoch [samples/s]", 0),
        *(
            Column(f"{phase}_percent", f"  share of its time, {words} [%]", 1)
            for phase, words in _PHASES.items()
        ),
        Column("device", "device"),
        Column("processes", "processes"),
        Column("target", "kernel target"),
        Column("connections", "connections"),
        Column("run_folder", "run folder"),
    )
    found = {**vars(result), **vars(result.time)}
    # In jsonl the result is the last of several lines: each says what it is.
    row = {"record": "result", **{column.key: found[column.key] for column in columns}}
    notes = (_CHOSEN[result.best_chosen_on],)
    title = f"{result.recipe}: trained"
    summary = Table(title, columns, (row,), vertical=True, notes=notes)
    published = published_tables(result.published, result.accuracy_percent_best)
    return Report(document_of(result), (summary, *published, *rate_tables(result.firing_rates)))


def plan_report(plan: TrainPlan, resolved: str) -> Report:
    """The result table of `train --dry-run`, and the resolved recipe as YAML text."""
    row = dataclasses.asdict(plan)
    shown = {
        **row,
        "data_mib": None if plan.data_bytes is None else plan.data_bytes / MIB,
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
        Column("processes", "processes"),
        Column("target", "kernel target"),
        Column("connections", "connections"),
        Column("threads", "CPU threads"),
        Column("run_folder", "run folder"),
    )
    found = "valid" if plan.train_samples is not None else "valid but for its data"
    table = Table(f"{plan.recipe}: {found}, nothing was run", columns, (shown,), vertical=True)
    ways = connection_tables(
        plan.connection_paths,
        "In a step with fresh weights on a few samples; the rule looks at each batch anew.",
    )
    return Report(document_of(plan), (table, *ways), text=resolved)


def published_tables(published: Published, measured: float | None) -> tuple[Table, ...]:
    """The paper's numbers beside the measured one, where there is one; what to know of them
    below."""
    known, note = published.accuracies, published.note
    if not known:
        return (Table("beside the paper", (), (), notes=(note,)),) if note else ()
    notes = [f"{number.source}, {number.column}: {number.note}" for number in known if number.note]
    notes.insert(0, "The paper's accuracy is that of its best epoch on the test set, of one run.")
    if note:
        notes.insert(0, note)
    columns = (
        Column("source", "published in"),
        Column("row", "row"),
        Column("column", "column"),
        Column("accuracy_percent", "the paper's [%]", 2),
        Column("measured_percent", "measured here [%]", 2),
        Column("difference_percent", "difference [%]", 2),
    )
    rows = tuple(
        {
            **dataclasses.asdict(number),
            "measured_percent": measured,
            "difference_percent": None if measured is None else measured - number.accuracy_percent,
        }
        for number in known
    )
    return (Table("beside the paper", columns, rows, notes=tuple(notes)),)


def rate_tables(layers: tuple[LayerRate, ...]) -> tuple[Table, ...]:
    """The firing rate of each spiking layer; no table for a net without any."""
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

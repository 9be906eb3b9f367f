"""`train` and its dry run -> report."""

import dataclasses

from clifctl.report.connections import connection_tables
from clifctl.report.eval import rate_tables
from clifctl.report.published import published_tables
from clifctl.report.render import MIB, Column, Report, Table, document_of
from clifctl.results.train import TrainPlan, TrainResult

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

"""`train` and its dry run -> report."""

import dataclasses

from clifctl.amounts import mebibytes
from clifctl.report.connections import connection_tables
from clifctl.report.eval import rate_tables
from clifctl.report.published import published_tables
from clifctl.report.render import Column, Report, Table, columns_of, document_of
from clifctl.results.train import TimeShares, TrainPlan, TrainResult

_CHOSEN = {
    "test": "The best epoch is chosen on the test set, as the paper does: report the last one.",
    "validation": "The best epoch is chosen on training data that were held out.",
}


def train_report(result: TrainResult) -> Report:
    """The result table of `train`."""
    columns = (
        *columns_of(
            TrainResult,
            *("recipe", "data", "model", "neuron", "timesteps", "batch_norm", "window", "seed"),
            *("epochs", "parameters", "accuracy_percent_last", "accuracy_percent_best"),
            *("epoch_best", "best_chosen_on", "train_loss_train_mode", "train_loss_eval_mode"),
            *("test_loss", "firing_rate", "train_seconds", "total_seconds", "samples_per_second"),
        ),
        *columns_of(TimeShares, *vars(result.time)),
        *columns_of(TrainResult, "device", "processes", "target", "connections", "run_folder"),
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
    sizes = {
        "data": "data",
        "weights": "weights, gradients, momentum",
        "activations": "kept for backward",
        "memory": "sum",
    }
    shown = {
        **dataclasses.asdict(plan),
        **{f"{name}_mib": mebibytes(getattr(plan, f"{name}_bytes")) for name in sizes},
    }
    columns = columns_of(
        TrainPlan,
        *("recipe", "train_samples", "test_samples", "parameters"),
        *(Column(f"{name}_mib", f"memory: {words} [MiB]", 1) for name, words in sizes.items()),
        *("device", "processes", "target", "connections", "threads", "run_folder"),
    )
    found = "valid" if plan.train_samples is not None else "valid but for its data"
    table = Table(f"{plan.recipe}: {found}, nothing was run", columns, (shown,), vertical=True)
    ways = connection_tables(
        plan.connection_paths,
        "In a step with fresh weights on a few samples; the rule decides again for each batch.",
    )
    return Report(document_of(plan), (table, *ways), text=resolved)

"""`train` and its dry run -> report."""

import dataclasses

from clifctl.amounts import mebibytes
from clifctl.report.connections import connection_tables
from clifctl.report.eval import rate_tables
from clifctl.report.published import published_tables
from clifctl.report.render import Column, Report, Table, columns_of, document_of
from clifctl.results.decoding import flat
from clifctl.results.train import TimeShares, TrainPlan, TrainResult

_CHOSEN = {
    "test": "The best epoch is chosen on the test set, as the paper does: report the last one.",
    "validation": "The best epoch is chosen on the validation split.",
}


def train_report(result: TrainResult) -> Report:
    """The result table of `train`."""
    before = columns_of(TrainResult, "recipe", "state", "data", "model", "neuron")
    after = (
        *columns_of(
            TrainResult,
            *("timesteps", "batch_norm", "window", "seed"),
            *("epochs", "parameters", "accuracy_percent_last", "accuracy_percent_best"),
            *("epoch_best", "best_chosen_on", "train_loss_train_mode", "train_loss_eval_mode"),
            *("test_loss", "firing_rate", "train_seconds", "total_seconds", "samples_per_second"),
        ),
        *columns_of(TimeShares, *vars(result.time)),
        *columns_of(TrainResult, "device", "processes", "target", "connections", "run_folder"),
    )
    recipe = flat(result.resolved_recipe)
    keys = {key: Column(key, key) for key in recipe}
    tuned = (keys[key] for key in recipe if _is_tuned(key) and recipe[key] is not None)
    notes = (_CHOSEN[result.best_chosen_on],)
    title = f"{result.recipe}: trained"
    # In jsonl the result is the last of several lines: each says what it is.
    found = {**vars(result), **vars(result.time)}
    fields = {column.key: found[column.key] for column in (*before, *after)}
    row = {"record": "result", **fields, **recipe}
    summary = Table(title, (*before, *tuned, *after), (row,), vertical=True, notes=notes)
    published = published_tables(result.published, result.accuracy_percent_best)
    more = (*published, *rate_tables(result.firing_rates))
    # For a program: every key of the recipe.
    others = (keys[key] for key in keys if key not in fields)
    data = Table(title, (*before, *after, *others), (row,))
    return Report(document_of(result), (summary, *more), data=(data, *more))


def _is_tuned(key: str) -> bool:
    """Whether a key of the recipe is one that a person tunes, and stands in no other line."""
    if key in ("train.lr", "train.batch_size"):
        return True
    return key.startswith("neuron.") and key not in (
        "neuron.name",
        "neuron.window",
        "neuron.window_reading",
    )


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

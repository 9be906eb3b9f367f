"""`runs ls|show|compare` -> report."""

import dataclasses

from clifctl.report.published import published_tables
from clifctl.report.render import Column, Report, Table, columns_of, document_of, list_table
from clifctl.results.runs import RunComparison, RunList, RunRow, RunShown

_COLUMNS = (
    *("run", "data", "model", "neuron", "timesteps", "batch_norm", "window", "seed"),
    *("epochs_done", "epochs", "accuracy_percent_last", "accuracy_percent_best"),
    *("train_loss_train_mode", "test_loss"),
)
# What a narrow terminal leaves out first.
_OPTIONAL = (
    *("window", "batch_norm", "train_loss_train_mode", "accuracy_percent_best", "model"),
    *("data", "test_loss", "timesteps", "epochs", "epochs_done", "seed"),
)


def runs_report(result: RunList) -> Report:
    """Every run, a line each."""
    notes = tuple(f"damaged: '{one.run}': {one.problem}" for one in result.damaged)
    table = _runs_table(f"{len(result.runs)} run(s) below '{result.folder}'", result.runs, notes)
    return Report(document_of(result), (table,))


def run_report(result: RunShown) -> Report:
    """One run: what it is, then its epochs."""
    summary = Table(
        result.row.run,
        columns_of(RunRow, *_COLUMNS, "started", short=True),
        (dataclasses.asdict(result.row),),
        vertical=True,
    )
    epochs = result.curves.epochs
    columns = (
        Column("epoch", "epoch"),
        Column("train_loss_train_mode", "train loss, train mode", 4),
        Column("test_loss", "test loss", 4),
        Column("test_accuracy_percent", "test accuracy [%]", 2),
    )
    rows = tuple(
        {
            "epoch": epoch,
            "train_loss_train_mode": train,
            "test_loss": test,
            "test_accuracy_percent": accuracy,
        }
        for epoch, (train, test, accuracy) in enumerate(
            zip(
                epochs.train_loss_train_mode,
                epochs.test_loss,
                epochs.test_accuracy_percent,
                strict=True,
            ),
            1,
        )
    )
    after = result.curves.exchange_after_epoch
    notes = () if after is None else (f"the neuron is exchanged after epoch {after}",)
    table = Table("epochs", columns, rows, notes=notes)
    published = published_tables(result.published, result.row.accuracy_percent_best)
    return Report(document_of(result), (summary, *published, table), data=table)


def run_comparison_report(result: RunComparison) -> Report:
    """Where the recipes differ, then the runs."""
    numbers = range(1, len(result.runs) + 1)
    columns = (Column("key", "key"), *(Column(f"run_{n}", f"run {n}") for n in numbers))
    rows = tuple(
        {"key": one.key, **{f"run_{n}": one.values[n - 1] for n in numbers}}
        for one in result.differences
    )
    notes = tuple(f"run {n}: {row.run}" for n, row in zip(numbers, result.runs, strict=True))
    if not rows:
        notes = ("the recipes are equal", *notes)
    if result.same_data is False:
        notes = (*notes, "the runs saw different data (sha256)")
    differences = Table("recipe differences", columns if rows else (), rows, notes=notes)
    runs = _runs_table("runs", result.runs, ())
    return Report(document_of(result), (differences, runs), data=runs)


def _runs_table(title: str, rows: tuple[RunRow, ...], notes: tuple[str, ...]) -> Table:
    return list_table(title, RunRow, rows, *_COLUMNS, short=True, notes=notes, optional=_OPTIONAL)

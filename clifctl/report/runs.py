"""`runs ls|show|compare` -> report."""

import dataclasses

from clifctl.amounts import counted
from clifctl.report.published import published_tables
from clifctl.report.render import Column, Report, Table, columns_of, document_of
from clifctl.report.text_panels import TextPanel
from clifctl.results.runs import RunComparison, RunList, RunRow, RunShown
from clifctl.results.trials import Epochs

_RECIPE = ("data", "model", "neuron", "timesteps", "batch_norm", "window", "seed")
_MEASURED = (
    "accuracy_percent_last",
    "accuracy_percent_best",
    "train_loss_train_mode",
    "test_loss",
)
_COLUMNS = ("run", *_RECIPE, "epochs_done", "epochs", *_MEASURED)
_STATE = ("state", "saved_epochs", "saved_steps", "problem")
# The keys of recipes that a reader knows by a shorter name.
_SHORT = {
    "data.name": "data",
    "model.name": "model",
    "neuron.name": "neuron",
    "timesteps": "T",
    "train.seed": "seed",
}
_MOST_KEYS = 6
# What a narrow terminal leaves out first.
_OPTIONAL = ("train_loss_train_mode", "accuracy_percent_best", "test_loss")


def runs_report(result: RunList) -> Report:
    """Every run, a line each."""
    damaged = tuple(f"damaged: '{one.run}': {one.problem}" for one in result.damaged)
    title = f"{counted(len(result.runs), 'run')} below '{result.folder}'"
    return Report(
        document_of(result),
        (_runs_table(title, result.runs, damaged),),
        data=(_data_table(title, result.runs),),
    )


def run_report(result: RunShown) -> Report:
    """One run: what it is, then its epochs."""
    summary = Table(
        result.row.run,
        columns_of(
            RunRow,
            *_COLUMNS,
            "state",
            Column("stopped", "stopped"),
            "problem",
            "started",
            short=True,
        ),
        ({**dataclasses.asdict(result.row), "stopped": stopped_in_words(result.row)},),
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
    table = Table("epochs", columns, rows, notes=notes, name="epochs")
    published = published_tables(result.published, result.row.accuracy_percent_best)
    tables = (summary, *published, table)
    data = (table, summary, *published)
    return Report(document_of(result), tables, data=data, panels=_panels(epochs))


def _panels(epochs: Epochs) -> tuple[TextPanel, ...]:
    """The curves of a run, for a terminal."""
    losses = {"training, train mode": epochs.train_loss_train_mode, "test": epochs.test_loss}
    accuracy = {"test": epochs.test_accuracy_percent}
    return TextPanel("loss", losses, 3), TextPanel("accuracy [%]", accuracy, 2)


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
    title = "recipe differences"
    differences = Table(title, columns if rows else (), rows, notes=notes, name="differences")
    runs = _runs_table("runs", result.runs, ())
    data = (_data_table("runs", result.runs), differences)
    return Report(document_of(result), (differences, runs), data=data)


def _runs_table(title: str, rows: tuple[RunRow, ...], notes: tuple[str, ...]) -> Table:
    """Runs for a reader: the keys in which they differ, how they stand, and what came of them."""
    keys = list(rows[0].hyperparameters) if rows else []
    shown, left = keys[:_MOST_KEYS], keys[_MOST_KEYS:]
    columns = (
        Column("run", "run"),
        *(Column(key, _SHORT.get(key, key)) for key in shown),
        Column("state", "state"),
        *([Column("stopped", "stopped")] if any(map(stopped_in_words, rows)) else []),
        Column("epochs_of", "epochs"),
        *columns_of(RunRow, *_MEASURED, short=True),
    )
    cells = tuple(
        {
            **dataclasses.asdict(row),
            **row.hyperparameters,
            "stopped": stopped_in_words(row),
            "epochs_of": f"{row.epochs_done}/{row.epochs}",
        }
        for row in rows
    )
    notes = (*(f"{row.state}: '{row.run}': {row.problem}" for row in rows if row.problem), *notes)
    if left:
        notes = (*notes, f"they differ in {', '.join(left)} too: --keys chooses")
    optional = (*_OPTIONAL, *reversed(shown[2:]), "epochs_of", "stopped", *reversed(shown[:2]))
    return Table(f"{title}{_in_common(rows)}", columns, cells, notes=notes, optional=optional)


def _data_table(title: str, rows: tuple[RunRow, ...]) -> Table:
    """Runs for a program: every field, and the keys that are listed, under their own names."""
    fields = (*_COLUMNS, *_STATE)
    keys = [key for key in (rows[0].hyperparameters if rows else ()) if key not in fields]
    columns = columns_of(RunRow, *fields, *(Column(key, key) for key in keys))
    cells = tuple({**dataclasses.asdict(row), **row.hyperparameters} for row in rows)
    cells = tuple({column.key: cell[column.key] for column in columns} for cell in cells)
    return Table(title, columns, cells)


def _in_common(rows: tuple[RunRow, ...]) -> str:
    """What all runs share, behind a colon."""
    if not rows:
        return ""
    names = ("data", "model", "neuron", "timesteps")
    values = {name: {getattr(row, name) for row in rows} for name in names}
    shared = [
        f"T = {value}" if name == "timesteps" else value
        for name, (value, *others) in values.items()
        if not others
    ]
    every = "all " if len(rows) > 1 else ""
    return f": {every}{', '.join(shared)}" if shared else ""


def stopped_in_words(row: RunRow) -> str | None:
    """Where the last checkpoint stands of a run that was stopped."""
    if row.saved_epochs is None or row.saved_steps is None:
        return None
    if row.saved_steps:
        return f"epoch {row.saved_epochs + 1}, step {row.saved_steps}"
    return f"after epoch {row.saved_epochs}" if row.saved_epochs else "before anything was saved"

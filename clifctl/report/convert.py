"""Conversions -> report: the table of resets as the paper prints it, beside the paper's."""

import dataclasses
from typing import Any

from clifctl.report.render import Column, Report, Table, document_of
from clifctl.results.convert import DeployedRow, DeployResult

_CHOICE = {
    "validation": ("held out", "Chosen on training data that were held out."),
    "train": (
        "train",
        "Chosen on the data that the net was trained on (in-sample): none were held out.",
    ),
    "test": ("test", "Chosen on the test set, as the paper does: its accuracy there is biased."),
}


def deploy_report(result: DeployResult) -> Report:
    """What came of `convert --to lif`: the table of resets, then what was written."""
    row = {**dataclasses.asdict(result), **_of_choice(result.chosen)}
    summary = Table(
        f"{result.checkpoint}: on LIF neurons",
        (
            Column("output", "written"),
            Column("recipe", "recipe"),
            Column("trained_neuron", "trained with"),
            Column("timesteps", "time steps"),
            Column("chosen_reset", "chosen reset"),
            Column("chosen_on", "chosen on"),
            Column("chosen_recalibrated", "batch norm estimated anew"),
            Column("accuracy_percent_test", "test accuracy [%]", 2),
            Column("accuracy_percent_test_trained", "test accuracy as trained [%]", 2),
            Column("firing_rate", "firing rate [spikes/neuron/step]", 4),
            Column("firing_rate_trained", "firing rate as trained", 4),
            *((Column("norms_folded", "norms folded"),) if result.norms_folded else ()),
            *((Column("norms_kept", "norms kept"),) if result.norms_kept else ()),
            Column("seconds", "time [s]", 1),
        ),
        (row,),
        vertical=True,
        notes=(_CHOICE[result.chosen_on][1],),
    )
    return Report(document_of(result), (_resets(result), summary), data=_data(result))


def _of_choice(chosen: DeployedRow) -> dict[str, Any]:
    return {
        "chosen_reset": _shown(chosen),
        "chosen_recalibrated": chosen.recalibrated,
        "accuracy_percent_test": chosen.accuracy_percent_test,
        "firing_rate": chosen.firing_rate,
    }


def _shown(row: DeployedRow) -> str:
    return "soft" if row.v_reset is None else f"hard, to {row.v_reset:g}"


def _head(row: DeployedRow) -> str:
    return "soft" if row.v_reset is None else f"{row.v_reset:g}"


def _resets(result: DeployResult) -> Table:
    """The paper's table: a column a reset; rows are this net, on each data, and the paper's."""
    shown = [row for row in result.settings if not row.recalibrated]
    columns = (
        Column("net", "net"),
        Column("data", "accuracy [%] on"),
        Column("trained", "as trained", 2),
        *(Column(_head(row), _head(row), 2) for row in shown),
    )
    lines = []
    splits = [("test", "test")]
    if result.chosen_on != "test":
        splits.insert(0, ("choice", _CHOICE[result.chosen_on][0]))
    for again in dict.fromkeys(row.recalibrated for row in result.settings):
        for key, name in splits:
            line: dict[str, Any] = {
                "net": "norm estimated anew" if again else "this net",
                "data": name,
                "trained": None if again else getattr(result, f"accuracy_percent_{key}_trained"),
            }
            for row in result.settings:
                if row.recalibrated == again:
                    line[_head(row)] = getattr(row, f"accuracy_percent_{key}")
            lines.append(line)
    notes = ["soft: a spike subtracts the threshold; a number: the hard reset goes there."]
    if result.published is not None:
        paper = result.published
        cells = zip(map(_head, shown), paper.accuracy_percent, strict=True)
        trained = paper.accuracy_percent_trained
        where = f"the paper's, Table {paper.table}"
        lines.append({"net": where, "data": "test", "trained": trained, **dict(cells)})
        notes += [f"Table {paper.table}, {paper.row}: {paper.note}"] if paper.note else []
    title = f"{result.data}, {result.model}, T = {result.timesteps}: LIF by its reset"
    return Table(title, columns, tuple(lines), notes=tuple(notes))


def _data(result: DeployResult) -> Table:
    """A row a setting, for csv and jsonl."""
    keys = [field.name for field in dataclasses.fields(DeployedRow)]
    columns = tuple(Column(key, key) for key in ("checkpoint", "chosen_on", *keys))
    shared = {"checkpoint": result.checkpoint, "chosen_on": result.chosen_on}
    rows = tuple({**shared, **dataclasses.asdict(row)} for row in result.settings)
    return Table("settings", columns, rows)

"""Conversions -> report: the table of resets as the paper prints it, beside the paper's."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from clifctl.report.render import Column, Report, Table, columns_of, document_of, flat_table
from clifctl.results.convert import DeployedRow, DeployResult, NirResult, ReaderRow
from clifctl.results.quantities import FIRING_RATE

_CHOICE = {
    "validation": ("held out", "Chosen on the validation split."),
    "train": (
        "train",
        "Chosen on the data that the net was trained on (in-sample): none were held out.",
    ),
    "test": ("test", "Chosen on the test set, as the paper does: its accuracy there is biased."),
}


def deploy_report(result: DeployResult) -> Report:
    """What came of `convert --to lif`: the table of resets, then what was written."""
    row = {**dataclasses.asdict(result), **_of_choice(result.chosen), "norms_shown": _norms(result)}
    folds = result.norms_folded is not None
    folding = (Column("norms_shown", "batch norms folded"),) if folds else ()
    summary = Table(
        f"{result.checkpoint}: on LIF neurons",
        columns_of(
            DeployResult,
            *("output", "recipe", "trained_neuron", "timesteps"),
            Column("chosen_reset", "chosen reset"),
            "chosen_on",
            Column("chosen_recalibrated", "batch norm re-estimated"),
            "accuracy_percent_test",
            Column("accuracy_percent_test_given", f"test accuracy {_as_given(result)} [%]", 2),
            Column("firing_rate", FIRING_RATE.heading, FIRING_RATE.digits),
            Column("firing_rate_given", f"firing rate {_as_given(result)}", FIRING_RATE.digits),
            *folding,
            "seconds",
        ),
        (row,),
        vertical=True,
        notes=(_CHOICE[result.chosen_on][1],),
    )
    data = (flat_table("settings", _settings(result)), summary)
    return Report(document_of(result), (_resets(result), summary), data=data)


def _of_choice(chosen: DeployedRow) -> dict[str, Any]:
    return {
        "chosen_reset": _shown(chosen),
        "chosen_recalibrated": chosen.recalibrated,
        "firing_rate": chosen.firing_rate,
    }


def _as_given(result: DeployResult) -> str:
    return "as it was" if result.converted_before else "as trained"


def _norms(result: DeployResult) -> str:
    folded, kept = result.norms_folded or (), result.norms_kept or ()
    said = f"{len(folded)} of {len(folded) + len(kept)}"
    return f"{said}; behind a sum: {', '.join(kept)}" if kept else said


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
        Column("given", _as_given(result), 2),
        *(Column(_head(row), _head(row), 2) for row in shown),
    )
    lines = []
    splits = [("test", "test")]
    if result.chosen_on != "test":
        splits.insert(0, ("choice", _CHOICE[result.chosen_on][0]))
    for again in dict.fromkeys(row.recalibrated for row in result.settings):
        for key, name in splits:
            line: dict[str, Any] = {
                "net": "norm re-estimated" if again else "this net",
                "data": name,
                "given": None if again else getattr(result, f"accuracy_percent_{key}_given"),
            }
            for row in result.settings:
                if row.recalibrated == again:
                    line[_head(row)] = getattr(row, f"accuracy_percent_{key}")
            lines.append(line)
    notes = ["soft: a spike subtracts the threshold; a number: the hard reset goes there."]
    if result.published is not None:
        paper = result.published
        cells = zip(map(_head, shown), paper.accuracy_percent, strict=True)
        where = f"the paper's, Table {paper.table}"
        given = paper.accuracy_percent_trained
        lines.append({"net": where, "data": "test", "given": given, **dict(cells)})
        said = f": {paper.note}" if paper.note else "."
        notes.append(f"The paper's row: Table {paper.table}, {paper.row}{said}")
    title = f"{result.data}, {result.model}, T = {result.timesteps}: LIF by its reset"
    return Table(
        *(title, columns, tuple(lines)),
        notes=tuple(notes),
        keys=2,
        name="settings",
        published=() if result.published is None else (len(lines) - 1,),
    )


def _settings(result: DeployResult) -> Iterator[dict[str, Any]]:
    """A row a setting, for csv and jsonl."""
    shared = {"checkpoint": result.checkpoint, "chosen_on": result.chosen_on}
    return ({**shared, **dataclasses.asdict(row)} for row in result.settings)


def nir_report(result: NirResult) -> Report:
    """What came of `convert --to nir`: what readers find, then what was written."""
    readers = Table(
        f"{result.output}: read back, every layer's spikes and the logits compared at every step",
        columns_of(
            ReaderRow,
            *("reader", "version", "arithmetic", "spikes", "mismatches"),
            *(Column("difference_shown", "largest difference of logits"), "verdict"),
        ),
        tuple(
            {**dataclasses.asdict(row), "difference_shown": _rounded(row.output_difference)}
            for row in result.readers
        ),
        notes=_said(result),
        name="readers",
    )
    row = {
        **dataclasses.asdict(result),
        "nodes_shown": ", ".join(f"{count} {kind}" for kind, count in result.nodes.items()),
        "reset_shown": _reset_of(result),
        "kib": result.bytes / 1024,
    }
    summary = Table(
        f"{result.checkpoint}: as a NIR graph",
        columns_of(
            NirResult,
            Column("output", "written" if result.written else "not written"),
            *("recipe", "profile", Column("reset_shown", "reset of the net"), "dt_s"),
            *(Column("nodes_shown", "nodes"), "edges", "neurons", "samples", "positions"),
            *(Column("kib", "size [KiB]", 1), "seconds"),
        ),
        (row,),
        vertical=True,
    )
    if not result.readers:
        return Report(document_of(result), (summary,))
    return Report(document_of(result), (readers, summary), data=(_readers(result), summary))


def _reset_of(result: NirResult) -> str:
    if result.v_reset is None:
        return "hard, to a value of each layer's own"
    return "soft" if result.reset == "soft" else f"hard, to {result.v_reset:g}"


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.1e}" if value else "0"


def _readers(result: NirResult) -> Table:
    """A row a reader, for csv and jsonl."""
    shared = {key: getattr(result, key) for key in ("checkpoint", "output", "written")}
    return flat_table("readers", ({**shared, **dataclasses.asdict(row)} for row in result.readers))


def _said(result: NirResult) -> tuple[str, ...]:
    notes = [f"{row.reader}: {row.note}" for row in result.readers if row.note]
    if result.layers_silent:
        silent = ", ".join(result.layers_silent)
        notes.append(
            f"No neuron of {silent} fires on these samples, so only silence was compared there."
        )
    excused = sum(row.samples_excused or 0 for row in result.readers)
    if excused:
        notes.append(
            "Rounding: the first mismatch of a sample lies within 1e-9 (float64) or 1e-5 (float32) "
            "thresholds of the threshold; later differences follow from it."
        )
    if any(not row.holds and row.mismatches == 0 for row in result.readers):
        notes.append("The spikes are the same, the logits are not: the readout differs.")
    return tuple(notes)

"""A run: what came of it, its recipe, the machine, its curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from clifctl.amounts import duration
from clifctl.report.page.chart import Chart, values_axis
from clifctl.report.page.colours import plain_style
from clifctl.report.page.evaluation import rates_section
from clifctl.report.page.figure import Key, cards, figure, figures, named_values, pairs, tiles
from clifctl.report.page.section import Section, paragraph, tables
from clifctl.report.published import published_tables
from clifctl.report.runs import run_comparison_report, run_report, runs_report, stopped_in_words
from clifctl.report.styles import Style, run_styles
from clifctl.report.train import train_report
from clifctl.results.decoding import flat
from clifctl.results.runs import RunComparison, RunCurves, RunList, RunShown
from clifctl.results.train import TrainResult

_LOSSES = (
    ("train_loss_train_mode", "training loss, train mode"),
    ("test_loss", "test loss, evaluation mode"),
)
_MOST_CURVES = 12
# What a manifest says of the machine and the arithmetic, and what that is called.
_MACHINE = {
    "device_name": "device",
    "platform": "system",
    "threads": "CPU threads",
    "processes": "processes",
}
_KERNELS = {
    "device": "device",
    "target": "kernel target",
    "target_reason": "because",
    "connections": "connections",
    "connections_reason": "because",
    "precision": "precision",
    "precision_reason": "because",
    "tf32": "TF32",
    "deterministic": "deterministic",
}
_ORIGIN = {
    "started": "started",
    "git_commit": "commit",
    "numerics_version": "numerics version",
    "data_sha256": "SHA-256 of the data",
}


def glance(run: RunShown | None, trained: TrainResult | None) -> list[Section]:
    """The numbers that are looked for first, and how a run that is not done stands."""
    parts: list[Element] = []
    if run is not None and run.row.state not in ("done", None):
        row = run.row
        where = stopped_in_words(row)
        said = f"This run is {row.state}: {row.epochs_done} of {row.epochs} epochs are finished"
        said += f"; its last checkpoint is of {where}" if where else ""
        said += f". It failed: {row.problem}" if row.problem else ""
        parts.append(paragraph(f"{said.rstrip('.')}.", "warning"))
    parts.append(tiles(_tiles(run, trained)))
    published = run.published if run is not None else trained.published if trained else None
    best = run.row.accuracy_percent_best if run is not None else None
    if trained is not None:
        best = trained.accuracy_percent_best
    if published is not None:
        parts += tables(published_tables(published, best))
    return [Section("At a glance", tuple(parts))]


def _tiles(run: RunShown | None, trained: TrainResult | None) -> list[tuple[str, str, str]]:
    found = []
    source: Any = trained if trained is not None else run.row if run is not None else None
    last, best = source.accuracy_percent_last, source.accuracy_percent_best
    if last is not None:
        epoch = f"epoch {trained.epochs}" if trained else f"epoch {source.epochs_done}"
        found.append(("test accuracy, last epoch", f"{last:.2f} %", epoch))
    if best is not None:
        note = "chosen on the test data"
        if trained is not None:
            note = f"epoch {trained.epoch_best}, chosen on {trained.best_chosen_on} data"
        found.append(("test accuracy, best epoch", f"{best:.2f} %", note))
    if trained is not None:
        if trained.validation_accuracy_percent_last is not None:
            value = f"{trained.validation_accuracy_percent_last:.2f} %"
            found.append(("validation accuracy, last epoch", value, ""))
        if trained.firing_rate is not None:
            rate = f"{trained.firing_rate:.4f}"
            found.append(("firing rate", rate, "spikes per neuron and time step"))
        found.append(("parameters", f"{trained.parameters:,}", ""))
        speed = f"{trained.samples_per_second:,.0f} samples/s in the last epoch"
        found.append(("training time", duration(trained.train_seconds), speed))
    note = f"{source.neuron}, T = {source.timesteps}, on {source.data}, seed {source.seed}"
    return [*found, ("net", source.model, note)]


def recipe_section(document: Mapping[str, Any]) -> Section:
    """The resolved recipe, a card for each of its parts."""
    top = {key: value for key, value in document.items() if not isinstance(value, Mapping)}
    shown = [pairs("recipe", named_values(top))] if top else []
    shown += [
        pairs(name, named_values(flat(part)))
        for name, part in document.items()
        if isinstance(part, Mapping)
    ]
    return Section("Recipe", (cards(shown),))


def machine_section(manifest: Mapping[str, Any]) -> Section:
    """What the run ran on and with; and when it went on, and with what."""
    if not manifest:
        return Section("Machine", missing="the run's manifest.json is lost or broken")
    shown = [
        pairs("machine", _named(manifest, _MACHINE)),
        pairs("kernels and arithmetic", _named(manifest, _KERNELS)),
    ]
    versions = manifest.get("versions")
    if isinstance(versions, Mapping):
        shown.append(pairs("versions", named_values(versions)))
    shown.append(pairs("origin", _named(manifest, _ORIGIN)))
    for one in manifest.get("continued", ()):
        named = {"epoch": "after epoch", "step": "after step", **_ORIGIN, **_MACHINE}
        shown.append(pairs("gone on", _named(one, named)))
    return Section("Machine", (cards(shown),))


def _named(document: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    known = {name: document[key] for key, name in names.items() if document.get(key) is not None}
    return named_values(known)


def curves_section(run: RunShown) -> Section:
    """Losses and accuracy, epoch by epoch."""
    epochs = run.curves.epochs
    if not epochs.test_loss:
        return Section("Curves", missing="no epoch is finished")
    losses = {
        name: (getattr(epochs, key), plain_style(at)) for at, (key, name) in enumerate(_LOSSES)
    }
    accuracy = {"test accuracy": (epochs.test_accuracy_percent, plain_style(2))}
    marked = [run.curves.exchange_after_epoch]
    shown = (
        curves_figure("Loss", "loss (TET)", losses, marked),
        curves_figure("Test accuracy", "test accuracy [%]", accuracy, marked, keyed=False),
    )
    report = run_report(run)
    rows = [one for one in report.tables if one.name == "epochs"]
    return Section("Curves", (figures(*shown), *tables(rows, fold=True)))


def curves_figure(
    title: str,
    label: str,
    series: Mapping[str, tuple[Sequence[float], Style]],
    exchanges: Sequence[int | None] = (),
    *,
    keyed: bool = True,
) -> Element:
    """Curves over epochs; an exchange of the neuron is a line upwards."""
    longest = max(len(values) for values, _ in series.values())
    every = [one for values, _ in series.values() for one in values]
    y = values_axis(label, every, most=100.0 if "%" in label else math.inf)
    x = values_axis("epoch", range(1, longest + 1), whole=True, room=0.02, least=1.0)
    chart = Chart(title, x, y)
    for name, (values, style) in series.items():
        said = [f"{name}, epoch {epoch}: {one:.4f}" for epoch, one in enumerate(values, 1)]
        chart.curve(list(enumerate(values, 1)), style, said)
    after = sorted({one for one in exchanges if one is not None})
    for epoch in after:
        chart.upright(epoch + 0.5, "the neuron is exchanged")
    note = f"Thin line: the neuron is exchanged after epoch {', '.join(map(str, after))}."
    keys = [Key(name, style) for name, (_, style) in series.items()] if keyed else []
    return figure(title, chart.svg, keys=keys, caption=note if after else "")


def trained_rates(trained: TrainResult) -> list[Section]:
    """The firing rates that a run has measured at its end."""
    if not trained.firing_rates:
        return []
    return [rates_section(trained.firing_rates, trained.neuron, "All test samples, last epoch.")]


def trained_sections(result: TrainResult) -> list[Section]:
    """The result of a run whose folder is not there."""
    found = glance(None, result)
    if result.resolved_recipe:
        found.append(recipe_section(result.resolved_recipe))
    shown = [one for one in train_report(result).tables if one.name == "result"]
    return [*found, *trained_rates(result), Section("Result", tables(shown, fold=True))]


def shown_sections(result: RunShown) -> list[Section]:
    """What `runs show` told of a run."""
    recipe = recipe_section(result.resolved_recipe)
    machine = machine_section(result.manifest)
    return [*glance(result, None), recipe, machine, curves_section(result)]


def compared_sections(result: RunComparison) -> list[Section]:
    """Runs side by side: where their recipes differ, their curves, their results."""
    shown = _overlaid(result.curves, [row.neuron for row in result.runs])
    report = run_comparison_report(result)
    return [Section("Comparison of runs", (*tables(report.tables, fold=False), figures(*shown)))]


def listed_sections(result: RunList) -> list[Section]:
    """A list of runs."""
    return [Section("Runs", tables(runs_report(result).tables, fold=False))]


def _overlaid(runs: Sequence[RunCurves], neurons: Sequence[str]) -> list[Element]:
    """The curves of several runs in one figure a quantity, the first dozen of them."""
    named = list(zip(runs, run_styles(neurons), strict=True))[:_MOST_CURVES]
    known = [(run, style) for run, style in named if run.epochs.test_loss]
    if not known:
        return []
    titles = {
        "train_loss_train_mode": ("Training loss, train mode", "loss (TET)"),
        "test_loss": ("Test loss, evaluation mode", "loss (TET)"),
        "test_accuracy_percent": ("Test accuracy", "test accuracy [%]"),
    }
    exchanges = [run.exchange_after_epoch for run, _ in known]
    found = []
    for key, (title, label) in titles.items():
        series = {run.label: (getattr(run.epochs, key), style) for run, style in known}
        found.append(curves_figure(title, label, series, exchanges))
    return found

"""Stored results -> figures by name: `digits.images.clif.accuracy` is '97.04 ± 0.17'.

A name is that of the group, the label of the step, and what a document of that schema has to say.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import clifctl
from clifctl.results.bench_eval import EvalBenchResult
from clifctl.results.bench_neurons import BenchResult
from clifctl.results.bench_train import TrainBenchResult
from clifctl.results.compare_neurons import NeuronComparison
from clifctl.results.convert import DeployResult
from clifctl.results.decoding import decode
from clifctl.results.dynamics import DynamicsResult
from clifctl.results.energy import EnergyResult
from clifctl.results.gradients import GradientsResult
from clifctl.results.train import TrainResult
from clifctl.results.truncate_bptt import TruncationResult
from quoted import compared, estimates, looked_into, many, timed
from quoted.formats import number, span
from quoted.store import Stored, newest_by_group

Document = dict[str, Any]

# name of a schema -> the type of the result, and what it has to say
_BY_SCHEMA: dict[str, tuple[type, Callable[[Document], dict[str, str]]]] = {
    "clifctl.compare-neurons": (NeuronComparison, compared.neurons),
    "clifctl.truncate-bptt": (TruncationResult, compared.windows),
    "clifctl.train": (TrainResult, compared.run),
    "clifctl.gradients": (GradientsResult, looked_into.gradients),
    "clifctl.dynamics": (DynamicsResult, looked_into.dynamics),
    "clifctl.energy": (EnergyResult, looked_into.energy),
    "clifctl.bench.neurons": (BenchResult, timed.neurons),
    "clifctl.bench.train": (TrainBenchResult, timed.training),
    "clifctl.bench.eval": (EvalBenchResult, timed.inference),
    "clifctl.convert.lif": (DeployResult, lambda _: {}),  # several seeds make a figure
}


# The same for scripts of benchmarks/, whose documents are read as they are.
_OF_SCRIPTS: dict[str, Callable[[Document], dict[str, str]]] = {
    "clifctl.benchmarks.crossovers": timed.crossovers,
    "clifctl.benchmarks.baselines": compared.baseline,
    "clifctl.benchmarks.large-grid": many.large_grid,
    "clifctl.benchmarks.processes": many.processes,
}
# More programs than this on average before a measurement, and the machine was not free.
_BUSY = 0.5


def figures_of(stored: Stored) -> dict[str, str]:
    """Every figure of one file by its name without the group, and where the file comes from."""
    figures = {"machine": machine(stored), "from": provenance(stored)}
    if stored.transcribed is not None:
        return figures | stored.transcribed
    # Core-seconds, too, are more where other programs take the caches.
    figures["state"] = "busy" if (stored.document["load_before"] or 0) > _BUSY else "free"
    results = stored.document["results"]
    for label, document in results.items():
        found = _figures(document)
        seconds = stored.document["cpu_seconds"].get(label)
        if seconds:
            found["core_minutes"] = number(seconds / 60, 1)
        if seconds and isinstance(runs := document.get("trials"), list):
            found["takes"] = f"{seconds / len(runs):.0f}"
        figures |= {f"{label}.{name}": text for name, text in found.items()}
    converted = {label: one for label, one in results.items() if _is_conversion(one)}
    for name, labels in (("all", results), ("deployment", converted)):
        spent = [stored.document["cpu_seconds"].get(label) for label in labels]
        if spent and all(spent):
            figures[f"{name}.core_minutes"] = number(sum(spent) / 60, 1)
    return figures | looked_into.conversions(list(converted.values()))


def _is_conversion(document: Document) -> bool:
    return document.get("schema", "").startswith("clifctl.convert.lif/")


def _figures(document: Document) -> dict[str, str]:
    """Of a result of clifctl, read as every other is: what an older one lacks has its default. The
    older scripts of benchmarks/ print documents without a schema."""
    if "schema" not in document:
        return timed.twins(document) if "best_twin" in document else timed.inputs(document)
    schema = document["schema"].rpartition("/")[0]
    if schema in _OF_SCRIPTS:
        return _OF_SCRIPTS[schema](document)
    kind, figures = _BY_SCHEMA[schema]
    return figures(asdict(decode(kind, document)))


def by_name(files: Sequence[Stored]) -> dict[str, str]:
    """Every figure by its name with the group, from the newest file of each, and how far the
    accuracies of one command lie apart on different machines."""
    newest = newest_by_group(files)
    figures = {
        f"{group}.{name}": text
        for group, stored in newest.items()
        for name, text in figures_of(stored).items()
    }
    figures |= estimates.night(figures)
    return figures | _ranges([figures_of(stored) for stored in files if stored.group == "digits"])


def _ranges(machines: Sequence[dict[str, str]]) -> dict[str, str]:
    """`digits.images.clif.range` and so on: the least and the most of the machines' means."""
    figures = {}
    for label in ("images", "events", "rows"):
        means = [
            [_mean(found[f"{label}.{neuron}.accuracy"]) for neuron in ("clif", "lif")]
            for found in machines
            if f"{label}.clif.accuracy" in found
        ]
        clif, lif = zip(*means, strict=True) if means else ((), ())
        for name, values in (("clif", clif), ("lif", lif)):
            figures[f"digits.{label}.{name}.range"] = span(values, 1) if values else "-"
        apart = [one - other for one, other in means]
        told = f"{min(apart):+.1f} to {max(apart):+.1f}" if apart else "-"
        figures[f"digits.{label}.difference.range"] = told
    return figures


def _mean(printed: str) -> float:
    return float(printed.split(" ")[0])


def machine(stored: Stored) -> str:
    """The machine in words."""
    found = stored.document["machine"]
    words = [found["name"].replace("(R)", "").replace(" Processor", "")]
    if found["cores"]:
        words.append(f"{found['cores']} cores")
    if found["vectors"]:
        words.append(found["vectors"])
    return ", ".join(words)


def provenance(stored: Stored) -> str:
    """Machine, date, commit and numerics version in words."""
    document = stored.document
    commit = document["commit"]
    numerics = document["numerics_version"]
    told = "numerics version not recorded"
    if numerics is not None:
        told = f"numerics version {numerics}"
        if numerics != clifctl.NUMERICS_VERSION:
            told += f" (now {clifctl.NUMERICS_VERSION})"
    commit = f"commit {commit[:7]}{'+' * commit.endswith('+')}" if commit else "commit not recorded"
    return f"{machine(stored)}; {document['date']}, {commit}, {told}"

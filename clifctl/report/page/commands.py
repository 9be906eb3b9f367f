"""The command line that makes a result again, as far as the result says it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from clifctl.commands import command_line
from clifctl.results.compare_neurons import NeuronComparison
from clifctl.results.convert import DeployResult, NirResult
from clifctl.results.dynamics import DynamicsResult
from clifctl.results.energy import EnergyResult
from clifctl.results.eval import EvalResult
from clifctl.results.gradients import GradientsResult
from clifctl.results.paper import PaperList, PaperShown
from clifctl.results.result import Result
from clifctl.results.runs import RunList, RunShown
from clifctl.results.sweep import SweepResult
from clifctl.results.train import TrainResult
from clifctl.results.truncate_bptt import TruncationResult

Words = list[object]


def _train(result: TrainResult) -> Words:
    folder = result.run_folder
    return ["train", result.recipe] if folder is None else ["runs", "show", folder]


def _eval(result: EvalResult) -> Words:
    source = result.checkpoint or result.recipe
    asked = {"--per-class": result.per_class, "--confusion": result.confusion}
    return ["eval", source, *(name for name, found in asked.items() if found is not None)]


def _energy(result: EnergyResult) -> Words:
    spiking = [row for row in result.rows if row.neuron != "relu"] or list(result.rows)
    sources = dict.fromkeys(row.source for row in spiking)
    rates = {row.rates for row in spiking} - {"measured", "none", "unknown", "given"}
    more = ["--per-layer"] if any(row.layers for row in result.rows) else []
    return ["energy", *sources, *(["--rates", *rates] if len(rates) == 1 else []), *more]


def _gradients(result: GradientsResult) -> Words:
    words: Words = ["gradients", result.source, "--samples", result.samples, "--seed", result.seed]
    words += ["--input", "noise"] if result.input == "noise" else []
    return words + (["--float64"] if result.dtype == "float64" else [])


def _comparison(result: NeuronComparison) -> Words:
    neurons = ",".join(dict.fromkeys(row.neuron for row in result.rows))
    words: Words = ["compare-neurons", result.recipe, "--neurons", neurons]
    return [*words, "--seeds", result.seeds_asked, "--baseline", result.baseline]


def _truncation(result: TruncationResult) -> Words:
    windows = ",".join(dict.fromkeys(str(row.window) for row in result.rows))
    taus = ",".join(dict.fromkeys(f"{row.tau:g}" for row in result.rows))
    words: Words = ["truncate-bptt", result.recipe, "--k", windows, "--tau", taus]
    return [*words, "--seeds", result.seeds_asked]


def _sweep(result: SweepResult) -> Words:
    keys = [
        f"{key}={','.join(dict.fromkeys(str(row.values[key]) for row in result.rows))}"
        for key in result.keys
    ]
    return ["sweep", result.recipe, *keys, "--seeds", result.seeds_asked]


def _dynamics(result: DynamicsResult) -> Words:
    return ["dynamics", "--neurons", ",".join(one.neuron for one in result.neurons)]


_COMMANDS: Mapping[type, Callable[[Any], Words]] = MappingProxyType(
    {
        TrainResult: _train,
        EvalResult: _eval,
        EnergyResult: _energy,
        GradientsResult: _gradients,
        NeuronComparison: _comparison,
        TruncationResult: _truncation,
        SweepResult: _sweep,
        DynamicsResult: _dynamics,
        DeployResult: lambda result: ["convert", result.checkpoint, "-o", result.output],
        NirResult: lambda one: ["convert", one.checkpoint, "--to", "nir", "-o", one.output],
        PaperList: lambda result: ["paper", "ls", "--runs", result.runs_folder],
        PaperShown: lambda result: ["paper", "show", result.name],
        RunShown: lambda result: ["runs", "show", result.row.run],
        RunList: lambda result: ["runs", "ls", result.folder],
    }
)


def command_of(result: Result) -> str | None:
    """The command of a result; None of a kind whose result does not say enough."""
    words = _COMMANDS.get(type(result))
    return None if words is None else command_line(*words(result))

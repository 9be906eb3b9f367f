"""`dynamics`: what single neurons do with one and the same input (Figures 7 and 8)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clifctl.amounts import counted
from clifctl.analysis.autocorrelation import autocorrelation, normalised, without_mean
from clifctl.analysis.simulation import Trace, rates_of, simulate
from clifctl.data.archives import BadArchive, read_array
from clifctl.devices import CPU
from clifctl.errors import ArgumentError, DataError, UsageError, unknown_name
from clifctl.experiments.grid.seeds import require_seed, seeds_of
from clifctl.experiments.grid.statistics import estimate, interval_95
from clifctl.kernels import resolve_target
from clifctl.neurons import Hyperparameters, Neuron
from clifctl.paper import figure_note
from clifctl.recipe.neuron_specs import read_specs
from clifctl.recipe.schema import MAX_TIMESTEPS
from clifctl.recipe.yamlfile import parse_scalar
from clifctl.results.dynamics import (
    Autocorrelation,
    DynamicsResult,
    NeuronDynamics,
    RateOverTime,
    Traces,
)

POISSON, CONSTANT = "poisson", "constant"
# With a weight below the threshold the membrane potential adds up inputs before it fires.
DEFAULT_RATE, DEFAULT_WEIGHT, DEFAULT_SEEDS = 0.5, 0.8, 20
DEFAULT_TIMESTEPS = (64, 128, 256, 512)
# As far as the shortest of the time steps allows.
DEFAULT_LAGS = 32
# The paper's, of random input: traces, and autocorrelations.
FIGURES = (7, 8)
# Constant inputs of the f-I curve.
CURRENTS = tuple(round(0.1 * number, 1) for number in range(21))
_MEMBRANE = "membrane potential before reset"


@dataclass(frozen=True)
class DynamicsOptions:
    """What is asked for; None: the default, where the input has one. `overrides` are
    `neuron.KEY=VALUE`, for every neuron that has such a hyperparameter."""

    neurons: Sequence[str]
    overrides: Sequence[str] = ()
    input: str = POISSON
    rate: float | None = None
    weight: float | None = None
    timesteps: Sequence[int] | None = None
    seeds: int | None = None
    seed: int = 0
    lags: int | None = None
    target: str = "auto"


@dataclass(frozen=True)
class _Input:
    """The input current `[T, trials]`, and what it was made of."""

    x: Tensor
    timesteps: tuple[int, ...]
    rate: float | None = None
    weight: float | None = None
    seed: int | None = None


def dynamics(options: DynamicsOptions) -> DynamicsResult:
    """Every neuron on the same input, from its initial state.

    The input is drawn once, for the largest T; the figures for a smaller T are those of its first
    steps. Raises ClifctlError for a neuron, an input or a number that cannot be used. Nothing is
    written.
    """
    require_seed("seed", options.seed)
    neurons = _neurons(options)
    target = resolve_target(options.target, CPU)
    given = _input(options)
    lags = _lags(options, given.timesteps[0])
    rows = []
    for name, neuron, values in neurons:
        torch.manual_seed(options.seed)  # start values of learnable parameters
        rows.append(_row(name, neuron, values, given, lags, target.name))
    return DynamicsResult(
        input=options.input,
        rate=given.rate,
        weight=given.weight,
        trials=given.x.shape[1],
        seed=given.seed,
        timesteps=given.timesteps,
        x=_floats(given.x[:, 0]),
        currents=CURRENTS,
        neurons=tuple(rows),
        target=target.name,
        notes=_notes(rows, given, options),
    )


def _lags(options: DynamicsOptions, shortest: int) -> int:
    lags = min(DEFAULT_LAGS, shortest - 1) if options.lags is None else options.lags
    if not 0 <= lags < shortest:
        raise ArgumentError(
            "lags",
            lags,
            f"must be between 0 and {shortest - 1}",
            hint="a lag is shorter than the fewest time steps",
        )
    return lags


def _neurons(options: DynamicsOptions) -> list[tuple[str, Neuron, Hyperparameters]]:
    if not options.neurons:
        raise ArgumentError("neurons", None, "there is none")
    specs = read_specs(options.neurons)
    for name, spec in specs.items():
        if not spec.neuron.spiking or spec.neuron.max_timesteps is not None:
            raise ArgumentError(
                "neurons", name, "it does not spike over time", hint="choose a spiking neuron"
            )
    values = _overrides(options.overrides, [spec.neuron for spec in specs.values()])
    found = []
    for name, spec in specs.items():
        fields = spec.neuron.hyperparameters.model_fields
        common = {key: value for key, value in values.items() if key in fields}
        found.append((name, spec.neuron, spec.neuron.with_values(**{**common, **spec.keys})))
    return found


def _overrides(overrides: Sequence[str], neurons: Sequence[Neuron]) -> dict[str, Any]:
    """Hyperparameters for every neuron that has them."""
    known = dict.fromkeys(f for n in neurons for f in n.hyperparameters.model_fields)
    values = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        section, _, name = key.partition(".")
        if not equals or section != "neuron" or not name:
            raise UsageError(
                f"'{override}' is not a hyperparameter", hint="write neuron.KEY=VALUE: neuron.tau=3"
            )
        if name not in known:
            raise UsageError(unknown_name("hyperparameter of these neurons", name, known))
        values[name] = parse_scalar(text, f"override {key}")
    return values


def _input(options: DynamicsOptions) -> _Input:
    if options.input not in (POISSON, CONSTANT):
        return _from_file(options)
    steps = _timesteps(options, DEFAULT_TIMESTEPS)
    weight = DEFAULT_WEIGHT if options.weight is None else options.weight
    if not math.isfinite(weight):
        raise ArgumentError("weight", weight, "must be a number", hint="as in 0.8")
    if options.input == CONSTANT:
        _refuse(options, "constant", rate=options.rate, seeds=options.seeds)
        return _Input(torch.full((steps[-1], 1), weight), steps, weight=weight)
    rate = DEFAULT_RATE if options.rate is None else options.rate
    if not 0.0 <= rate <= 1.0:
        raise ArgumentError(
            "rate",
            rate,
            "must be between 0 and 1",
            hint="it is the probability of an input spike at a time step",
        )
    seeds = DEFAULT_SEEDS if options.seeds is None else options.seeds
    trials = []
    for seed in seeds_of(options.seed, seeds):
        generator = torch.Generator().manual_seed(seed)
        trials.append(torch.rand(steps[-1], generator=generator) < rate)
    x = torch.stack(trials, 1).float() * weight
    return _Input(x, steps, rate=rate, weight=weight, seed=options.seed)


def _from_file(options: DynamicsOptions) -> _Input:
    """A file of numpy: `[T]`, or `[T, trials]`."""
    path = Path(options.input)
    if path.suffix != ".npy":
        raise ArgumentError(
            "input",
            options.input,
            f"must be {POISSON}, {CONSTANT} or a .npy file",
            hint="numpy.save writes one: [T] or [T, trials]",
        )
    _refuse(options, "a file", rate=options.rate, weight=options.weight, seeds=options.seeds)
    try:
        array = read_array(path)
    except OSError as unreadable:
        raise DataError(
            f"cannot read '{path}': {unreadable.strerror or unreadable}", hint="check the path"
        ) from None
    except BadArchive as broken:
        raise DataError(
            f"'{path}' is no array of numpy ({broken})", hint="numpy.save writes one"
        ) from None
    if array.ndim not in (1, 2) or not array.size or array.dtype.kind not in "fiub":
        raise DataError(
            f"'{path}' holds {array.dtype} of shape {list(array.shape)}",
            hint="the input current is numbers, [T] or [T, trials]",
        )
    x = torch.from_numpy(array.astype(np.float32)).reshape(len(array), -1)
    if not bool(x.isfinite().all()):
        raise DataError(
            f"'{path}' holds numbers that are not finite",
            hint="replace them: currents are finite numbers",
        )
    if not 2 <= len(x) <= MAX_TIMESTEPS and options.timesteps is None:
        raise UsageError(
            f"'{path}' has {len(x)} time step{'' if len(x) == 1 else 's'}: between 2 and "
            f"{MAX_TIMESTEPS} can be run",
            hint="timesteps of its own takes the first steps of a longer file",
        )
    steps = _timesteps(options, (len(x),))
    if steps[-1] > len(x):
        raise ArgumentError(
            "timesteps",
            steps[-1],
            f"'{path}' has {counted(len(x), 'time step')}",
            hint="give fewer",
        )
    return _Input(x[: steps[-1]], steps)


def _refuse(options: DynamicsOptions, what: str, **given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(
                name, value, f"the input is {what}", hint="it goes with another input"
            )


def _timesteps(options: DynamicsOptions, default: tuple[int, ...]) -> tuple[int, ...]:
    steps = tuple(sorted(options.timesteps or default))
    for one in steps:
        if not 2 <= one <= MAX_TIMESTEPS:
            raise ArgumentError(
                "timesteps", one, f"must be between 2 and {MAX_TIMESTEPS}", hint="as in 64,512"
            )
    return steps


def _row(
    name: str,
    neuron: Neuron,
    values: Hyperparameters,
    given: _Input,
    lags: int,
    target: str,
) -> NeuronDynamics:
    found = simulate(neuron, values, given.x, target=target)
    currents = torch.tensor(CURRENTS).expand(given.timesteps[-1], -1)
    return NeuronDynamics(
        neuron=name,
        title=neuron.title,
        hyperparameters=values.model_dump(),
        rates=tuple(_rate(found.spikes, steps) for steps in given.timesteps),
        autocorrelations=tuple(
            _autocorrelation(signal, x[:steps], _described(neuron, found, signal), lags)
            for steps in given.timesteps
            for signal, x in found.signals.items()
        ),
        rates_of_currents=_floats(rates_of(neuron, values, currents, target=target)),
        traces=_traces(found),
    )


def _described(neuron: Neuron, found: Trace, signal: str) -> str:
    if signal not in found.states:
        return _MEMBRANE
    states = {state.name: state.description for state in neuron.states}
    return states[signal if signal in states else signal.removesuffix("_state")]


def _rate(spikes: Tensor, steps: int) -> RateOverTime:
    known = estimate(spikes[:steps].double().mean(0).tolist())
    low, high = interval_95(known)
    return RateOverTime(timesteps=steps, rate=known, interval_95_low=low, interval_95_high=high)


def _autocorrelation(signal: str, x: Tensor, description: str, lags: int) -> Autocorrelation:
    raw = autocorrelation(x, lags)
    removed = autocorrelation(without_mean(x), lags)
    # A constant signal has rounding alone left.
    removed[:, removed[0] <= 1e-12 * raw[0]] = 0.0
    return Autocorrelation(
        signal=signal,
        description=description,
        timesteps=len(x),
        raw=_floats(raw.mean(1)),
        normalised=_known(normalised(raw)),
        mean_removed=_known(normalised(removed)),
    )


def _known(r: Tensor) -> tuple[float | None, ...]:
    """The mean over the trials that have a value."""
    return tuple(None if math.isnan(value) else value for value in r.nanmean(1).tolist())


def _traces(found: Trace) -> Traces:
    return Traces(
        spikes=tuple(int(spike) for spike in found.spikes[:, 0].tolist()),
        u=None if found.u is None else _floats(found.u[:, 0]),
        threshold=None if found.threshold is None else _floats(found.threshold[:, 0]),
        states={name: _floats(state[:, 0]) for name, state in found.states.items()},
    )


def _floats(x: Tensor) -> tuple[float, ...]:
    return tuple(x.tolist())


def _notes(
    rows: Sequence[NeuronDynamics], given: _Input, options: DynamicsOptions
) -> tuple[str, ...]:
    notes = []
    for override in options.overrides:
        name = override.partition("=")[0].removeprefix("neuron.")
        without = [row.neuron for row in rows if name not in row.hyperparameters]
        if without:
            notes.append(f"{override} is not for {', '.join(without)}: no such hyperparameter.")
    if given.x.shape[1] == 1:
        notes.append("One trial: there is no interval.")
    hidden = [row.neuron for row in rows if row.traces.u is None]
    if hidden:
        notes.append(
            f"{', '.join(hidden)}: the step shows no membrane potential before reset that is "
            "compared with a threshold; its states are shown."
        )
    if options.input == POISSON:
        notes += filter(None, map(figure_note, FIGURES))
    return tuple(notes)

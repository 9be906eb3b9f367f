"""What `dynamics` returns. Times are in time steps, rates in spikes per time step."""

from dataclasses import dataclass
from typing import Any, ClassVar

from clifctl.results.result import Result
from clifctl.results.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class RateOverTime:
    """The firing rate over the first `timesteps` steps: mean over trials and its 95 % interval
    (Student's t; None for one trial, or where all trials agree)."""

    timesteps: int
    rate: Estimate
    interval_95_low: float | None
    interval_95_high: float | None


@dataclass(frozen=True, kw_only=True)
class Autocorrelation:
    """Of one signal over the first `timesteps` steps, an entry a lag from 0 on, means over trials:
    raw as in the paper, relative to lag 0, and with the mean removed, relative to lag 0. None for a
    signal that is constant (zero)."""

    signal: str
    description: str
    timesteps: int
    raw: tuple[float, ...]
    normalised: tuple[float | None, ...]
    mean_removed: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Traces:
    """The first trial, an entry a time step. `u` is the membrane potential before reset and
    `threshold` what it is compared with, None where the neuron's step does not show them."""

    spikes: tuple[int, ...]
    u: tuple[float, ...] | None
    threshold: tuple[float, ...] | None
    states: dict[str, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class NeuronDynamics:
    """One neuron on the common input. `rates_of_currents` belong to the result's `currents`."""

    neuron: str
    title: str
    hyperparameters: dict[str, Any]
    rates: tuple[RateOverTime, ...]
    autocorrelations: tuple[Autocorrelation, ...]
    rates_of_currents: tuple[float, ...]
    traces: Traces


@dataclass(frozen=True, kw_only=True)
class DynamicsResult(Result):
    """`dynamics`. `x` is the input current of the first trial, the same for all neurons; `rate` is
    the probability of an input spike at a step, `weight` the current that one brings."""

    schema: ClassVar[str] = "clifctl.dynamics/1"

    input: str
    rate: float | None
    weight: float | None
    trials: int
    seed: int | None
    timesteps: tuple[int, ...]
    x: tuple[float, ...]
    currents: tuple[float, ...]
    neurons: tuple[NeuronDynamics, ...]
    target: str
    notes: tuple[str, ...]

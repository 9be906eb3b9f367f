"""NIR's neurons in time steps: what their constants are after one step of forward Euler.

NIR's are differential equations in seconds; `dt` says how long a time step is:

    LIF      v += dt/tau * (v_leak - v + r x)        spike where v > v_threshold, then v = v_reset
    IF       v += dt * r x
    CubaLIF  I += dt/tau_syn * (w_in x - I);   v += dt/tau_mem * (v_leak - v + r I)

All of them are linear until they fire, so two constants can be had for nothing: potentials are
counted from where they rest (v_leak; of an IF, which rests anywhere, from v_reset), and in units of
what an input of 1 adds. What is left are

    u[t] = decay * v[t-1] + x[t]      decay = 1 - dt/tau, 1 of an IF
    v_threshold' = (v_threshold - v_rest) / gain,   v_reset' = (v_reset - v_rest) / gain

with gain = dt/tau * r (IF: dt * r; CubaLIF: dt/tau_mem * r * dt/tau_syn * w_in), the same spikes.
Where v_reset is v_leak that is clifctl's `lif` with a hard reset to 0 and tau/dt, and an IF is its
`if`; potentials start at rest, as those of the writers do. NIR fires above the threshold, clifctl
at it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from clifctl.convert.nir_file import BadGraph, NirNode
from clifctl.convert.nir_order import SOFT_LIF
from clifctl.neurons import (
    NEURONS,
    Hyperparameters,
    Learnable,
    Neuron,
    State,
    SurrogateHyperparameters,
    spike,
)
from clifctl.neurons.contract import Step

# A float32 time constant of one step is one step.
_ONE_STEP = 1e-6
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LayerNeuron:
    """The neuron of a layer; `learnables` are its constants by channel, where they differ."""

    neuron: Neuron
    hyperparameters: Hyperparameters
    learnables: Mapping[str, Tensor]


def neuron_of(node: NirNode, shape: tuple[int, ...], dt: float) -> LayerNeuron:
    """The neuron of a node for values of `shape`. Raises BadGraph."""
    given = {key: np.asarray(value, np.float64) for key, value in node.values.items()}
    for key, value in given.items():
        _require_shape(node, key, value, shape)
    with np.errstate(all="ignore"):
        constants = _CONSTANTS[node.kind](_Node(node, given, dt))
    if not all(bool(np.isfinite(value).all()) for value in constants.values()):
        raise BadGraph(f"node '{node.name}': its constants are too large or small for a time step")
    if all(map(_is_uniform, constants.values())):
        return _of_all(node.kind, {key: float(one.flat[0]) for key, one in constants.items()})
    by_channel = {key: _by_channel(node, value, shape) for key, value in constants.items()}
    neuron = _BY_CHANNEL[node.kind]
    return LayerNeuron(neuron, neuron.hyperparameters(), by_channel)


def _of_all(kind: str, constants: Mapping[str, float]) -> LayerNeuron:
    """The neuron whose constants are the same in the whole layer."""
    hard = kind == "LIF" and constants["v_reset"] == 0.0 and constants["decay"] > 0.0
    if hard or kind == SOFT_LIF:
        lif = NEURONS["lif"]
        values = {"tau": 1 / (1 - constants["decay"]), "v_threshold": constants["v_threshold"]}
        reset = "hard" if hard else "soft"
        return LayerNeuron(lif, lif.hyperparameters(reset=reset, **values), {})
    if kind == "IF":
        integrates = NEURONS["if"]
        return LayerNeuron(integrates, integrates.hyperparameters(reset="hard", **constants), {})
    neuron = _UNIFORM[kind]
    return LayerNeuron(neuron, neuron.hyperparameters(**constants), {})


@dataclass(frozen=True)
class _Node:
    node: NirNode
    given: Mapping[str, Array]
    dt: float

    def __getitem__(self, key: str) -> Array:
        return self.given[key]

    def get(self, key: str, otherwise: float) -> Array:
        return self.given.get(key, np.array(otherwise))

    def rate(self, key: str) -> Array:
        """dt / tau, the part of the way that a step goes."""
        tau = self[key]
        if not (tau > 0).all():
            raise BadGraph(f"node '{self.node.name}': {key} = {tau.min():g}, must be above 0")
        rate = self.dt / tau
        if (rate > 1 + _ONE_STEP).any():
            raise BadGraph(
                f"node '{self.node.name}': {key} = {tau.min():g} s is shorter than a time step of "
                f"{self.dt:g} s",
                hint="--dt says how many seconds a time step is",
            )
        return np.minimum(rate, 1.0)

    def positive(self, key: str, value: Array) -> Array:
        if not (value > 0).all():
            raise BadGraph(f"node '{self.node.name}': {key} = {value.min():g}, must be above 0")
        return value

    def fires(self, rest: Array, gain: Array) -> dict[str, Array]:
        """Threshold and reset, from rest and in units of the gain."""
        threshold = self["v_threshold"] - rest
        if not (threshold > 0).all():
            raise BadGraph(
                f"node '{self.node.name}': v_threshold = {self['v_threshold'].min():g} is not "
                "above the resting potential, so that it fires without any input"
            )
        reset = self.get("v_reset", 0.0) - rest
        if not (reset < threshold).all():
            raise BadGraph(f"node '{self.node.name}': v_reset is not below v_threshold")
        # -0 is 0
        return {"v_threshold": threshold / gain, "v_reset": reset / gain + 0.0}


def _lif(node: _Node) -> dict[str, Array]:
    rate = node.rate("tau")
    gain = rate * node.positive("r", node["r"])
    return {"decay": 1 - rate, **node.fires(node["v_leak"], gain)}


def _soft_lif(node: _Node) -> dict[str, Array]:
    return {"decay": 1 - node.rate("tau"), "v_threshold": node["v_threshold"] / node["gain"]}


def _if(node: _Node) -> dict[str, Array]:
    gain = node.dt * node.positive("r", node["r"])
    fires = node.fires(node.get("v_reset", 0.0), gain)
    return {"v_threshold": fires["v_threshold"]}


def _cuba_lif(node: _Node) -> dict[str, Array]:
    memory = node.rate("tau_mem")
    gain = memory * node.positive("r", node["r"]) * _synapse(node)
    decays = {"decay": 1 - memory, "decay_current": 1 - node.rate("tau_syn")}
    return {**decays, **node.fires(node["v_leak"], gain)}


def _synapse(node: _Node) -> Array:
    return node.rate("tau_syn") * node.positive("w_in", node.get("w_in", 1.0))


def _li(node: _Node) -> dict[str, Array]:
    rate = node.rate("tau")
    return {"decay": 1 - rate, "gain": rate * node["r"], "v_leak": node["v_leak"]}


def _cuba_li(node: _Node) -> dict[str, Array]:
    rate, synapse = node.rate("tau_mem"), node.rate("tau_syn")
    gain = rate * node["r"] * synapse * node.get("w_in", 1.0)
    decays = {"decay": 1 - rate, "decay_current": 1 - synapse}
    return {**decays, "gain": gain, "v_leak": node["v_leak"]}


def _threshold(node: _Node) -> dict[str, Array]:
    return {"v_threshold": node["threshold"]}


_CONSTANTS: dict[str, Callable[[_Node], dict[str, Array]]] = {
    "LIF": _lif,
    SOFT_LIF: _soft_lif,
    "IF": _if,
    "CubaLIF": _cuba_lif,
    "LI": _li,
    "CubaLI": _cuba_li,
    "Threshold": _threshold,
}
NEURON_KINDS = tuple(_CONSTANTS)


def _require_shape(node: NirNode, key: str, value: Array, shape: tuple[int, ...]) -> None:
    if value.size != 1 and value.shape != shape:
        raise BadGraph(
            f"node '{node.name}': {key} is {list(value.shape)}, what it gets is {list(shape)}"
        )


def _is_uniform(value: Array) -> bool:
    return bool((value == value.flat[0]).all())


def _by_channel(node: NirNode, value: Array, shape: tuple[int, ...]) -> Tensor:
    """The constant of each channel `[C]`. Raises BadGraph where it differs within one."""
    channels = np.broadcast_to(value, shape).reshape(shape[0], -1)
    if not bool((channels == channels[:, :1]).all()):
        raise BadGraph(
            f"node '{node.name}': its constants differ within a channel {list(shape)}, which no "
            "neuron of clifctl can have"
        )
    return torch.from_numpy(channels[:, 0].copy())


def _decayed(decay: Any, value: Tensor) -> Any:
    """`decay * value`, where it is not the value itself."""
    return value if isinstance(decay, float) and decay == 1.0 else decay * value


def _fire(u: Tensor, v_threshold: Any, v_reset: Any, p: Any) -> tuple[Tensor, Tensor]:
    s = spike(u - v_threshold, p.surrogate, p.surrogate_width)
    v = u * (1 - s)
    return s, v if isinstance(v_reset, float) and v_reset == 0.0 else v + s * v_reset


def _lif_step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    s, v = _fire(_decayed(p.decay, state[0]) + x, p.v_threshold, p.v_reset, p)
    return s, (v,)


def _if_step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    s, v = _fire(state[0] + x, p.v_threshold, 0.0, p)
    return s, (v,)


def _cuba_lif_step(
    x: Tensor, state: tuple[Tensor, ...], p: Any
) -> tuple[Tensor, tuple[Tensor, ...]]:
    i = _decayed(p.decay_current, state[0]) + x
    s, v = _fire(_decayed(p.decay, state[1]) + i, p.v_threshold, p.v_reset, p)
    return s, (i, v)


def _li_step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    v = _decayed(p.decay, state[0]) + p.gain * x
    return v + p.v_leak, (v,)


def _cuba_li_step(
    x: Tensor, state: tuple[Tensor, ...], p: Any
) -> tuple[Tensor, tuple[Tensor, ...]]:
    i = _decayed(p.decay_current, state[0]) + p.gain * x
    v = _decayed(p.decay, state[1]) + i
    return v + p.v_leak, (i, v)


def _threshold_step(
    x: Tensor, state: tuple[Tensor, ...], p: Any
) -> tuple[Tensor, tuple[Tensor, ...]]:
    return spike(x - p.v_threshold, p.surrogate, p.surrogate_width), state


class _Uniform(SurrogateHyperparameters):
    """Constants of a whole layer; each neuron has those that its step reads."""


class _Firing(_Uniform):
    decay: float = Field(0.5, description="of the membrane potential, a time step")
    v_threshold: float = Field(1.0, description="firing threshold, from rest")
    v_reset: float = Field(0.0, description="where a spike sets the potential, from rest")


class _Integrating(_Uniform):
    v_threshold: float = Field(1.0, description="firing threshold, from rest")


class _CubaFiring(_Firing):
    decay_current: float = Field(0.5, description="of the synaptic current, a time step")


class _Leaky(_Uniform):
    decay: float = Field(0.5, description="of the membrane potential, a time step")
    gain: float = Field(1.0, description="what an input of 1 adds")
    v_leak: float = Field(0.0, description="resting potential")


class _CubaLeaky(_Leaky):
    decay_current: float = Field(0.5, description="of the synaptic current, a time step")


_CURRENT = State("i", "synaptic current")
_POTENTIAL = State("v", "membrane potential, from rest")
_ROWS: dict[str, tuple[str, str, Step, tuple[State, ...], type[Hyperparameters]]] = {
    "LIF": ("nir_lif", "LIF of NIR", _lif_step, (_POTENTIAL,), _Firing),
    "IF": ("nir_if", "IF of NIR", _if_step, (_POTENTIAL,), _Integrating),
    "CubaLIF": (
        "nir_cuba_lif", "current-based LIF of NIR", _cuba_lif_step, (_CURRENT, _POTENTIAL),
        _CubaFiring,
    ),
    "LI": ("nir_li", "leaky integrator of NIR", _li_step, (_POTENTIAL,), _Leaky),
    "CubaLI": (
        "nir_cuba_li", "current-based leaky integrator of NIR", _cuba_li_step,
        (_CURRENT, _POTENTIAL), _CubaLeaky,
    ),
    "Threshold": ("nir_threshold", "threshold of NIR", _threshold_step, (), _Integrating),
}  # fmt: skip
_READ_OUTS = ("LI", "CubaLI")


def _neuron(kind: str, *, by_channel: bool) -> Neuron:
    name, title, step, states, hyperparameters = _ROWS[kind]
    constants = [key for key in hyperparameters.model_fields if "surrogate" not in key]
    return Neuron(
        name=name,
        title=title,
        paper="NIR, Pedersen et al., Nature Communications 2024",
        step=step,
        states=states,
        hyperparameters=SurrogateHyperparameters if by_channel else hyperparameters,
        learnables=tuple(_learnable(key) for key in constants) if by_channel else (),
        spiking=kind not in _READ_OUTS,
    )


def _learnable(key: str) -> Learnable:
    return Learnable(key, "constant of a channel", "channel", lambda p, steps: 0.5)


_UNIFORM = {kind: _neuron(kind, by_channel=False) for kind in _ROWS}
_BY_CHANNEL = {kind: _neuron(kind, by_channel=True) for kind in _ROWS}

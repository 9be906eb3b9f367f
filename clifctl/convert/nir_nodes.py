"""The nodes of neurons in a NIR graph: their constants in seconds, as readers agree on them."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from clifctl.convert.graph import GraphLayer

DT_S = 1e-4  # a time step, in seconds


def resets_softly(layer: GraphLayer) -> bool:
    """Whether a spike of its neurons subtracts the threshold."""
    return getattr(layer.values["hyperparameters"], "reset", None) == "soft"


def neuron_node(layer: GraphLayer) -> Any:
    """The node of a layer of neurons that reset hard, or of a read-out."""
    return _NODES[layer.values["neuron"].name](layer)


def soft_reset_loop(name: str, layer: GraphLayer) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The nodes of a neuron with soft reset, whose Threshold is called `name`, and their edges."""
    import nir

    p, shape = layer.values["hyperparameters"], layer.shape
    nodes = {
        f"{name}_membrane": nir.LI(
            tau=np.full(shape, p.tau * DT_S),
            r=np.full(shape, 1.0 if p.decay_input else p.tau),
            v_leak=np.zeros(shape),
        ),
        name: nir.Threshold(threshold=np.full(shape, p.v_threshold)),
        f"{name}_delay": nir.Delay(delay=np.full(shape, DT_S)),
        f"{name}_reset": nir.Scale(
            scale=np.full(
                shape, -(1 - 1 / p.tau) * p.v_threshold * (p.tau if p.decay_input else 1.0)
            )
        ),
    }
    around = [f"{name}_membrane", name, f"{name}_delay", f"{name}_reset", f"{name}_membrane"]
    return nodes, list(itertools.pairwise(around))


def _lif(layer: GraphLayer) -> Any:
    import nir

    p, shape = layer.values["hyperparameters"], layer.shape
    threshold = (p.v_threshold - p.v_reset) / (1.0 if p.decay_input else p.tau)
    return nir.LIF(
        tau=np.full(shape, p.tau * DT_S),
        r=np.ones(shape),
        v_leak=np.zeros(shape),
        v_threshold=np.full(shape, threshold),
        v_reset=np.zeros(shape),
    )


def _if(layer: GraphLayer) -> Any:
    import nir

    p, shape = layer.values["hyperparameters"], layer.shape
    return nir.IF(
        r=np.full(shape, 1 / DT_S),
        v_threshold=np.full(shape, p.v_threshold - p.v_reset),
        v_reset=np.zeros(shape),
    )


class _Constants:
    """The constants of a neuron that was read from a graph, in time steps, in full shape."""

    def __init__(self, layer: GraphLayer) -> None:
        self._layer = layer

    def __getattr__(self, key: str) -> Any:
        shape = self._layer.shape
        by_channel = self._layer.values["learnables"].get(key)
        if by_channel is None:
            return np.full(shape, getattr(self._layer.values["hyperparameters"], key))
        wide = by_channel.numpy().reshape(-1, *(1,) * (len(shape) - 1))
        return np.broadcast_to(wide, shape).copy()

    def seconds(self, decay: str) -> Any:
        """The time constant of a decay."""
        return DT_S / (1 - getattr(self, decay))

    @property
    def nothing(self) -> Any:
        """Zeros."""
        return np.zeros(self._layer.shape)


def _nir_lif(layer: GraphLayer) -> Any:
    import nir

    p = _Constants(layer)
    tau = p.seconds("decay")
    return nir.LIF(
        tau=tau, r=tau / DT_S, v_leak=p.nothing, v_threshold=p.v_threshold, v_reset=p.v_reset
    )


def _nir_if(layer: GraphLayer) -> Any:
    import nir

    p = _Constants(layer)
    r = np.full(layer.shape, 1 / DT_S)
    return nir.IF(r=r, v_threshold=p.v_threshold, v_reset=p.nothing)


def _nir_cuba_lif(layer: GraphLayer) -> Any:
    import nir

    p = _Constants(layer)
    memory, synapse = p.seconds("decay"), p.seconds("decay_current")
    return nir.CubaLIF(
        tau_syn=synapse,
        tau_mem=memory,
        r=memory / DT_S,
        v_leak=p.nothing,
        v_threshold=p.v_threshold,
        v_reset=p.v_reset,
        w_in=synapse / DT_S,
    )


def _nir_li(layer: GraphLayer) -> Any:
    import nir

    p = _Constants(layer)
    tau = p.seconds("decay")
    return nir.LI(tau=tau, r=p.gain * tau / DT_S, v_leak=p.v_leak)


def _nir_cuba_li(layer: GraphLayer) -> Any:
    import nir

    p = _Constants(layer)
    memory, synapse = p.seconds("decay"), p.seconds("decay_current")
    return nir.CubaLI(
        tau_syn=synapse,
        tau_mem=memory,
        r=p.gain * memory / DT_S,
        v_leak=p.v_leak,
        w_in=synapse / DT_S,
    )


def _nir_threshold(layer: GraphLayer) -> Any:
    import nir

    return nir.Threshold(threshold=_Constants(layer).v_threshold)


_NODES: dict[str, Callable[[GraphLayer], Any]] = {
    "lif": _lif,
    "if": _if,
    "nir_lif": _nir_lif,
    "nir_if": _nir_if,
    "nir_cuba_lif": _nir_cuba_lif,
    "nir_li": _nir_li,
    "nir_cuba_li": _nir_cuba_li,
    "nir_threshold": _nir_threshold,
}
# Neurons that NIR has.
WRITABLE = tuple(_NODES)

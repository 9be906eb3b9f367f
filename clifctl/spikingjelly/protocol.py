"""What is used of SpikingJelly: the base of a module with states, and its surrogates."""

from typing import TYPE_CHECKING, Any

from torch import nn

from clifctl.errors import NeuronError
from clifctl.neurons import Hyperparameters

# Without this base class SpikingJelly's functions warn, and skip the states of a module. The
# package is untyped: what is used of it is declared here.
if TYPE_CHECKING:
    surrogate: Any

    class MemoryModule(nn.Module):
        """SpikingJelly's base of a module with states: attributes that `reset` sets back."""

        step_mode: str
        _memories: dict[str, Any]

        def register_memory(self, name: str, value: float) -> None:
            """Declare a state and its value before the first step."""

        def reset(self) -> None:
            """Set every state back to its first value."""

else:
    from spikingjelly.activation_based import surrogate
    from spikingjelly.activation_based.base import MemoryModule as MemoryModule

# SpikingJelly's surrogate -> the surrogate of clifctl and its width times alpha
_SURROGATES: dict[str, tuple[str, float]] = {
    "Rect": ("rectangle", 1.0),
    "PiecewiseQuadratic": ("triangle", 1.0),
    "Sigmoid": ("sigmoid", 4.0),
    "ATan": ("arctangent", 2.0),
}


def surrogate_values(function: Any) -> dict[str, Any]:
    """The hyperparameters that say what SpikingJelly's `function` does.

    Raises NeuronError where no surrogate of clifctl does the same.
    """
    name = type(function).__name__
    if name not in _SURROGATES or type(function) is not getattr(surrogate, name):
        raise NeuronError(
            f"surrogate_function = {function!r}: no surrogate of clifctl does the same",
            hint=f"those of spikingjelly's surrogate: {', '.join(_SURROGATES)}; or one of "
            "clifctl's by its name, surrogate='rectangle' (clifctl.neurons.SURROGATES)",
        )
    if not function.spiking:
        raise NeuronError(
            f"surrogate_function = {function!r}: a node gives spikes, and not the primitive "
            "function in their place",
            hint="surrogate_function.set_spiking_mode(True)",
        )
    ours, product = _SURROGATES[name]
    return {"surrogate": ours, "surrogate_width": product / function.alpha}


def surrogate_function(hyperparameters: Hyperparameters) -> nn.Module | None:
    """SpikingJelly's surrogate for the one of `hyperparameters`; None for a neuron without."""
    values = dict(hyperparameters)
    for name, (ours, product) in _SURROGATES.items():
        if ours == values.get("surrogate"):
            made: nn.Module = getattr(surrogate, name)(alpha=product / values["surrogate_width"])
            return made
    return None

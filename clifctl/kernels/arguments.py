"""What `scan` and its kin are given: refused in words, or as kernels take it."""

import torch
from torch import Tensor

from clifctl.amounts import counted
from clifctl.errors import NeuronError
from clifctl.kernels.fused import compute_dtype
from clifctl.kernels.spikes.tensor import as_floats
from clifctl.neurons import NEURONS, Parameters


def require_kinds(x: object, state: object, parameters: object) -> None:
    """Raise NeuronError for what is no tensor, no tuple of states, or no neuron with its values."""
    if not isinstance(parameters, Parameters):
        known = isinstance(parameters, str) and parameters in NEURONS
        example = parameters if known else next(iter(NEURONS))
        shown = f"'{parameters}'" if isinstance(parameters, str) else type(parameters).__name__
        raise NeuronError(
            f"the neuron must come with its parameters, got {shown}",
            hint=f"NEURONS[{example!r}].parameters(), of clifctl.neurons; "
            "one with learnable parameters: .parameters_at_start(channels=C, timesteps=T)",
        )
    where = f"neuron '{parameters.neuron.name}'"
    if not isinstance(x, Tensor):
        raise NeuronError(
            f"{where}: input must be a tensor [T, N, *features], got {type(x).__name__}",
            hint="torch.as_tensor makes one of numbers or of an array",
        )
    if state is None:
        return
    if not isinstance(state, list | tuple) or not all(isinstance(one, Tensor) for one in state):
        raise NeuronError(
            f"{where}: the states are a tuple with a tensor for each of "
            f"{', '.join(one.name for one in parameters.neuron.states)}",
            hint="None begins with their initial values",
        )


def to_be_kept(
    x: Tensor, state: tuple[Tensor, ...] | None
) -> tuple[Tensor, tuple[Tensor, ...] | None]:
    """Input and states as torch can keep them for backward: those that inference mode has made are
    copied. Spikes for an input are floats."""
    if torch.compiler.is_compiling():
        return x, state
    x = as_floats(x)
    if not torch.is_grad_enabled():
        return x, state
    x = x.clone() if x.is_inference() else x
    if state is not None:
        state = tuple(s.clone() if s.is_inference() else s for s in state)
    return x, state


def learnables_of(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    """The transformed learnable parameters, in the dtype of the arithmetic."""
    return {
        declared.name: declared.in_range(
            parameters.learnables[declared.name].to(compute_dtype(x.dtype))
        )
        for declared in parameters.neuron.learnables
    }


def initial_state(x: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
    """The states before the first step for an input `[T, N, *features]`: `[N, *features]` each."""
    dtype = compute_dtype(x.dtype)
    starts = (declared.start(parameters.hyperparameters) for declared in parameters.neuron.states)
    return tuple(torch.full(x.shape[1:], v, dtype=dtype, device=x.device) for v in starts)


def check_shapes(x: Tensor, state: tuple[Tensor, ...] | None, parameters: Parameters) -> None:
    neuron = parameters.neuron
    where = f"neuron '{neuron.name}'"
    if x.dim() < 2 or x.shape[0] < 1:
        raise NeuronError(f"{where}: input must be [T, N, *features], got {list(x.shape)}")
    if not x.is_floating_point():
        raise NeuronError(f"{where}: input must be floating point, got {x.dtype}")
    steps = x.shape[0]
    if neuron.max_timesteps is not None and steps > neuron.max_timesteps:
        raise NeuronError(
            f"{where}: at most {counted(neuron.max_timesteps, 'time step')} allowed, got {steps}"
        )
    if state is not None:
        if len(state) != len(neuron.states):
            raise NeuronError(
                f"{where}: the number of states is {len(neuron.states)}, got {len(state)}",
                hint=f"in this order: {', '.join(one.name for one in neuron.states) or 'none'}",
            )
        for declared, tensor in zip(neuron.states, state, strict=True):
            _same_device(where, f"state '{declared.name}'", tensor, x)
            if tensor.shape != x.shape[1:]:
                raise NeuronError(
                    f"{where}: state '{declared.name}' must be {list(x.shape[1:])}, "
                    f"got {list(tensor.shape)}"
                )
    for learnable in neuron.learnables:
        tensor = parameters.learnables[learnable.name]
        _same_device(where, f"learnable parameter '{learnable.name}'", tensor, x)
        if learnable.by_channel and x.dim() < 3:
            raise NeuronError(f"{where}: input must be [T, N, C, *features], got {list(x.shape)}")
        channels = x.shape[2] if learnable.by_channel else 0
        expected = list(learnable.size(channels=channels, timesteps=steps))
        if list(tensor.shape) != expected:
            raise NeuronError(
                f"{where}: learnable parameter '{learnable.name}' must be {expected}, "
                f"got {list(tensor.shape)}"
            )


def _same_device(where: str, what: str, tensor: Tensor, x: Tensor) -> None:
    if tensor.device != x.device:
        raise NeuronError(
            f"{where}: {what} is on '{tensor.device}', the input on '{x.device}'",
            hint="move the net, its state and its input to one device",
        )

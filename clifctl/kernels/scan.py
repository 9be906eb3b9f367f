"""`scan`: a neuron over a whole sequence. The one entry point for every neuron and target."""

from typing import Any

import torch
from torch import Tensor

from clifctl.errors import NeuronError
from clifctl.kernels import reference
from clifctl.kernels.targets import resolve_target
from clifctl.neurons import Parameters
from clifctl.neurons.contract import Learnable, finish

_LOW_PRECISION = (torch.bfloat16, torch.float16)


def scan(
    x: Tensor,
    state: tuple[Tensor, ...] | None,
    parameters: Parameters,
    *,
    window: int | None = None,
    target: str = "auto",
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a neuron over time.

    `x` is the input current `[T, N, *features]`, `state` a tuple of `[N, *features]` in the order
    of the neuron's states (None: their initial values). Returns the output, of the shape and dtype
    of `x`, and the final state. `window` = k in 1..T is the sliding window of truncated BPTT, None
    is full BPTT. bfloat16 and float16 are computed, and their states held, in float32.

    Raises NeuronError for a bad shape, dtype, state or window, TargetError for a bad target.
    """
    neuron = parameters.neuron
    _check(x, state, parameters, window)
    resolve_target(target)  # one target so far: this refuses any other request
    dtype = torch.float32 if x.dtype in _LOW_PRECISION else x.dtype
    current = x.to(dtype)
    start = initial_state(x, parameters) if state is None else tuple(s.to(dtype) for s in state)
    tensors = {
        learnable.name: learnable.transform(parameters.learnables[learnable.name].to(dtype))
        for learnable in neuron.learnables
    }

    def parameters_at(t: int) -> Any:
        return finish(
            parameters.hyperparameters,
            {
                learnable.name: _broadcast(learnable, tensors[learnable.name], t, x.dim() - 1)
                for learnable in neuron.learnables
            },
        )

    output, final = reference.run(neuron, current, start, parameters_at, window)
    return output.to(x.dtype), final


def initial_state(x: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
    """The states before the first step for an input `[T, N, *features]`: `[N, *features]` each."""
    dtype = torch.float32 if x.dtype in _LOW_PRECISION else x.dtype
    return tuple(
        torch.full(x.shape[1:], declared.initial, dtype=dtype, device=x.device)
        for declared in parameters.neuron.states
    )


def _broadcast(learnable: Learnable, tensor: Tensor, t: int, dims: int) -> Tensor:
    """The value of a learnable parameter at step t, broadcastable against `[N, *features]`."""
    if learnable.shape == "step":
        return tensor[t]
    if learnable.shape == "channel":
        return tensor.view(-1, *(1,) * (dims - 2))
    return tensor


def _check(
    x: Tensor, state: tuple[Tensor, ...] | None, parameters: Parameters, window: int | None
) -> None:
    neuron = parameters.neuron
    where = f"neuron '{neuron.name}'"
    if x.dim() < 2 or x.shape[0] < 1:
        raise NeuronError(f"{where}: input must be [T, N, *features], got {list(x.shape)}")
    if not x.is_floating_point():
        raise NeuronError(f"{where}: input must be floating point, got {x.dtype}")
    steps = x.shape[0]
    if neuron.max_timesteps is not None and steps > neuron.max_timesteps:
        raise NeuronError(
            f"{where}: at most {neuron.max_timesteps} time step(s) allowed, got {steps}"
        )
    if window is not None and not 1 <= window <= steps:
        raise NeuronError(f"{where}: window must be between 1 and T = {steps}, got {window}")
    if state is not None:
        if len(state) != len(neuron.states):
            raise NeuronError(f"{where}: {len(neuron.states)} states needed, got {len(state)}")
        for declared, tensor in zip(neuron.states, state, strict=True):
            if tensor.shape != x.shape[1:]:
                raise NeuronError(
                    f"{where}: state '{declared.name}' must be {list(x.shape[1:])}, "
                    f"got {list(tensor.shape)}"
                )
    for learnable in neuron.learnables:
        tensor = parameters.learnables[learnable.name]
        expected = {"scalar": [], "channel": list(x.shape[2:3]), "step": [steps]}[learnable.shape]
        if list(tensor.shape) != expected:
            raise NeuronError(
                f"{where}: learnable parameter '{learnable.name}' must be {expected}, "
                f"got {list(tensor.shape)}"
            )

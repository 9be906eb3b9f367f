"""The eager reference: the neuron's own `step` in a loop over time, differentiated by autograd."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from clifctl.errors import NeuronError
from clifctl.neurons import Neuron

State = tuple[Tensor, ...]
ParametersAt = Callable[[int], Any]


def run(
    neuron: Neuron, x: Tensor, state: State, parameters_at: ParametersAt, window: int | None
) -> tuple[Tensor, State]:
    """Output `[T, N, *features]` and final state for input `x` of the same shape.

    `parameters_at(t)` gives the `p` of time step t. `window` = k truncates the gradient: the output
    of step t' is recomputed from the state detached after step t' - k, so that it reaches the last
    k steps only (`window` = T or None: full BPTT). The initial state is an input of the first step
    and is not detached, so that k = T is full BPTT for it too.
    """
    steps = x.shape[0]
    if window is None or window >= steps:
        return _unroll(neuron, x, state, parameters_at, range(steps))
    carried = [state]
    with torch.no_grad():
        for t in range(steps - 1):
            carried.append(_checked_step(neuron, x[t], carried[t], parameters_at(t))[1])
    outputs = []
    final = state
    for last in range(steps):
        first = max(0, last - window + 1)
        unrolled, final = _unroll(neuron, x, carried[first], parameters_at, range(first, last + 1))
        outputs.append(unrolled[-1])
    return torch.stack(outputs), final


def _unroll(
    neuron: Neuron, x: Tensor, state: State, parameters_at: ParametersAt, steps: range
) -> tuple[Tensor, State]:
    outputs = []
    for t in steps:
        output, state = _checked_step(neuron, x[t], state, parameters_at(t))
        outputs.append(output)
    return torch.stack(outputs), state


def _checked_step(neuron: Neuron, x: Tensor, state: State, p: Any) -> tuple[Tensor, State]:
    output, new_state = neuron.step(x, state, p)
    if len(new_state) != len(neuron.states):
        raise NeuronError(
            f"neuron '{neuron.name}': step returned {len(new_state)} states, "
            f"declared are {len(neuron.states)}"
        )
    if output.shape != x.shape:
        raise NeuronError(
            f"neuron '{neuron.name}': step returned an output of shape {list(output.shape)} "
            f"for an input of shape {list(x.shape)}"
        )
    for declared, tensor in zip(neuron.states, new_state, strict=True):
        if tensor.shape != x.shape:
            raise NeuronError(
                f"neuron '{neuron.name}': step returned state '{declared.name}' of shape "
                f"{list(tensor.shape)} for an input of shape {list(x.shape)}"
            )
    return output, new_state

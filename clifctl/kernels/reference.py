"""The eager reference: the neuron's own `step` in a loop over time, differentiated by autograd."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clifctl.errors import NeuronError
from clifctl.foreign_code import foreign_code
from clifctl.kernels.window import Window
from clifctl.neurons import Hyperparameters, Neuron
from clifctl.neurons.contract import Learnable, step_parameters

State = tuple[Tensor, ...]


def run(
    neuron: Neuron,
    hyperparameters: Hyperparameters,
    x: Tensor,
    state: State,
    learnables: Mapping[str, Tensor],
    window: Window | None,
) -> tuple[Tensor, State]:
    """Output `[T, N, *features]` and final state for input `x` of the same shape.

    `learnables` are the transformed tensors. A sliding window recomputes the output of each step
    from the detached state of k steps before.
    """
    scan = _Scan(neuron, hyperparameters, x, learnables)
    steps = x.shape[0]
    if window is None or not window.sliding:
        cuts = {t for t in range(steps) if window is not None and window.cut_before(t)}
        outputs, final = scan.unroll(state, range(steps), cuts)
        return torch.stack(outputs), final
    carried = [state]
    with torch.no_grad():
        for t in range(steps - 1):
            carried.append(scan.step(t, carried[t])[1])
    outputs = []
    final = state
    for last in range(steps):
        first = max(0, last - window.k + 1)
        unrolled, final = scan.unroll(carried[first], range(first, last + 1), set())
        outputs.append(unrolled[-1])
    return torch.stack(outputs), final


class _Scan:
    def __init__(
        self,
        neuron: Neuron,
        hyperparameters: Hyperparameters,
        x: Tensor,
        learnables: Mapping[str, Tensor],
    ) -> None:
        self.neuron = neuron
        self.hyperparameters = hyperparameters
        self.x = x
        self.learnables = learnables

    def unroll(self, state: State, steps: range, cuts: set[int]) -> tuple[list[Tensor], State]:
        outputs = []
        for t in steps:
            if t in cuts:
                state = tuple(s.detach() for s in state)
            output, state = self.step(t, state)
            outputs.append(output)
        return outputs, state

    def step(self, t: int, state: State) -> tuple[Tensor, State]:
        x = self.x[t]
        values = {
            learnable.name: _at(learnable, self.learnables[learnable.name], t, x.dim())
            for learnable in self.neuron.learnables
        }
        with foreign_code(f"neuron '{self.neuron.name}': step"):
            result = self.neuron.step(x, state, step_parameters(self.hyperparameters, values))
        output, new_state = self.neuron.result_of(result)
        _check(self.neuron, x, output, new_state)
        return output, new_state


def _at(learnable: Learnable, tensor: Tensor, t: int, dims: int) -> Tensor:
    """The value of a learnable parameter at step t, broadcastable against `[N, *features]`."""
    if learnable.by_step:
        tensor = tensor[t]
    return tensor.view(-1, *(1,) * (dims - 2)) if learnable.by_channel else tensor


def _check(neuron: Neuron, x: Tensor, output: Tensor, state: Any) -> None:
    where = f"neuron '{neuron.name}'"
    for value in (output, *state):
        if not isinstance(value, Tensor):
            raise NeuronError(
                f"{where}: step returned {value!r}, which is not a tensor",
                hint="make one of it: torch.zeros_like(x) + value",
            )
    if output.shape != x.shape:
        raise NeuronError(
            f"{where}: step returned an output of shape {list(output.shape)} "
            f"for an input of shape {list(x.shape)}"
        )
    for declared, tensor in zip(neuron.states, state, strict=True):
        if tensor.shape != x.shape:
            raise NeuronError(
                f"{where}: step returned state '{declared.name}' of shape "
                f"{list(tensor.shape)} for an input of shape {list(x.shape)}"
            )

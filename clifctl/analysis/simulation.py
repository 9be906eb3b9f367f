"""One neuron and the input that it gets: every state at every time step.

The states and spikes come from the kernels, one time step at a time with the state carried over.
The membrane potential before reset is no state of most neurons: it is read from the program of the
step, as what the spike compares with the threshold.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from clifctl.errors import NeuronError
from clifctl.kernels import initial_state, scan
from clifctl.kernels.ir.program import Operand, Program
from clifctl.kernels.ir.trace import trace
from clifctl.neurons import Hyperparameters, Neuron, Parameters

# What a trace calls by these names is no state: a state of that name is shown as NAME_state.
_TAKEN = ("u", "threshold", "spike")
# Operation of a program -> what it does to tensors (and numbers).
EVALUATE: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "neg": operator.neg, "abs": torch.abs, "minimum": lambda a, b: _binary(torch.minimum, a, b),
    "maximum": lambda a, b: _binary(torch.maximum, a, b), "sigmoid": torch.sigmoid,
    "exp": torch.exp, "tanh": torch.tanh, "gt": operator.gt, "ge": operator.ge, "lt": operator.lt,
    "le": operator.le, "eq": operator.eq, "ne": operator.ne, "and": operator.and_,
    "or": operator.or_, "not": operator.invert, "where": torch.where, "detach": lambda a: a,
    "spike": lambda a: (a >= 0).to(a.dtype),
}  # fmt: skip


def _binary(function: Callable[[Tensor, Tensor], Tensor], a: Any, b: Any) -> Tensor:
    like = a if isinstance(a, Tensor) else b
    return function(torch.as_tensor(a, dtype=like.dtype), torch.as_tensor(b, dtype=like.dtype))


@dataclass(frozen=True)
class Trace:
    """What neurons did, each of the shape of the input current, time first: that current, spikes,
    every state by its name, the membrane potential before reset and the threshold that it is
    compared with. The last two are None where the step does not show them: it cannot be traced, or
    spikes at something else."""

    x: Tensor
    spikes: Tensor
    states: dict[str, Tensor]
    u: Tensor | None
    threshold: Tensor | None

    @property
    def signals(self) -> dict[str, Tensor]:
        """Membrane potential before reset, if it is known, then every state."""
        return {**({} if self.u is None else {"u": self.u}), **self.states}

    def of(self, choose: Callable[[Tensor], Tensor]) -> "Trace":
        """What `choose` takes of each signal."""
        return Trace(
            x=choose(self.x),
            spikes=choose(self.spikes),
            states={name: choose(one) for name, one in self.states.items()},
            u=None if self.u is None else choose(self.u),
            threshold=None if self.threshold is None else choose(self.threshold),
        )


def simulate(
    neuron: Neuron, hyperparameters: Hyperparameters, x: Tensor, *, target: str = "auto"
) -> Trace:
    """Run `neuron` from its initial state on the input current `x` `[T, trials]`; learnable
    parameters have their start values, those by channel one channel's. Signals are `[T, trials]`.

    Raises NeuronError for a neuron that does not take this many time steps.
    """
    parameters = Parameters(neuron, hyperparameters, start_values(neuron, hyperparameters, len(x)))
    return observe(parameters, x[:, :, None], target=target).of(lambda signal: signal[:, :, 0])


def observe(parameters: Parameters, current: Tensor, *, target: str = "auto") -> Trace:
    """Run neurons from their initial state on their input current `[T, N, *features]`, of which the
    first is the channel. Signals have that shape too.

    Raises NeuronError for a neuron that does not take this many time steps.
    """
    neuron, learnables = parameters.neuron, parameters.learnables
    state = initial_state(current, parameters)
    before, after, spikes = [], [], []
    with torch.no_grad():
        for t in range(len(current)):
            before.append(state)
            now = Parameters(neuron, parameters.hyperparameters, _at(neuron, learnables, t))
            fired, state = scan(current[t : t + 1], state, now, target=target)
            spikes.append(fired[0])
            after.append(state)
        u = threshold = None
        compared = _compared(neuron, parameters.hyperparameters)
        if compared is not None:
            rows = _rows(neuron, learnables, current.dim())
            values = {"x": current, **_stacked(neuron, before), **rows}
            u, threshold = (evaluate(one, values, current) for one in compared)
    return Trace(
        x=current,
        spikes=torch.stack(spikes),
        states=_shown(_stacked(neuron, after), u),
        u=u,
        threshold=threshold,
    )


def _shown(states: dict[str, Tensor], u: Tensor | None) -> dict[str, Tensor]:
    """The states by the names that a trace gives them: a state `u` that is the membrane potential
    before reset (GLIF's) keeps its name."""
    same = u is not None and "u" in states and torch.allclose(u, states["u"])
    taken = [name for name in _TAKEN if name != "u" or not same]
    return {f"{name}_state" if name in taken else name: x for name, x in states.items()}


def rates_of(
    neuron: Neuron, hyperparameters: Hyperparameters, x: Tensor, *, target: str = "auto"
) -> Tensor:
    """Spikes per time step `[trials]` for the input current `x` `[T, trials]`."""
    learnables = start_values(neuron, hyperparameters, len(x))
    parameters = Parameters(neuron, hyperparameters, learnables)
    with torch.no_grad():
        spikes, _ = scan(x[:, :, None], None, parameters, target=target)
    return spikes[:, :, 0].double().mean(0)


def start_values(neuron: Neuron, hyperparameters: Hyperparameters, steps: int) -> dict[str, Tensor]:
    """The learnable parameters before training, raw, of one channel."""
    return {
        declared.name: declared.start(hyperparameters, channels=1, timesteps=steps)
        for declared in neuron.learnables
    }


def _at(neuron: Neuron, learnables: dict[str, Tensor], t: int) -> dict[str, Tensor]:
    return {
        declared.name: learnables[declared.name][t : t + 1]
        if declared.by_step
        else learnables[declared.name]
        for declared in neuron.learnables
    }


def _rows(neuron: Neuron, learnables: dict[str, Tensor], dims: int) -> dict[str, Tensor]:
    """The transformed values, to be taken beside `[T, N, C, *]` of so many dimensions: `[T or 1, 1,
    C or 1, 1 ...]`."""
    found = {}
    for declared in neuron.learnables:
        values = declared.in_range(learnables[declared.name])
        of_steps = len(values) if declared.by_step else 1
        channels = values.shape[-1] if declared.by_channel else 1
        found[declared.name] = values.reshape(of_steps, 1, channels, *(1,) * (dims - 3))
    return found


def _stacked(neuron: Neuron, states: list[tuple[Tensor, ...]]) -> dict[str, Tensor]:
    return {
        declared.name: torch.stack([state[number] for state in states])
        for number, declared in enumerate(neuron.states)
    }


def _compared(neuron: Neuron, hyperparameters: Hyperparameters) -> tuple[Program, Program] | None:
    """What the spike compares, potential and threshold, each as a program of one output."""
    try:
        program = trace(neuron, hyperparameters)
    except NeuronError:
        return None  # only the reference runs such a step
    made = {instruction.result: instruction for instruction in program.instructions}
    spikes = [i for i in program.instructions if i.op == "spike"]
    distance = made.get(str(spikes[0].args[0])) if len(spikes) == 1 else None
    if distance is None or distance.op != "sub":
        return None
    u, threshold = distance.args
    return (
        replace(program, outputs={"value": u}).only(["value"]),
        replace(program, outputs={"value": threshold}).only(["value"]),
    )


def evaluate(program: Program, values: dict[str, Tensor], like: Tensor) -> Tensor:
    """The output `value` of a program for tensors that broadcast; of the shape of `like`."""
    known: dict[str, Any] = dict(values)

    def operand(one: Operand) -> Any:
        return known[one] if isinstance(one, str) else one

    for instruction in program.instructions:
        arguments = map(operand, instruction.args)
        known[instruction.result] = EVALUATE[instruction.op](*arguments)
    return torch.as_tensor(operand(program.outputs["value"]), dtype=like.dtype).expand(like.shape)

"""`recurrent_scan`: a layer of neurons whose last output is part of its input.

    current[t] = x[t] + W output[t - 1]

One matrix W within the layer, the same at every step. Each step needs the one before, so steps run
one after the other: a product with W, and one step of the neuron's generated kernel. The way back
is that of `scan`, a step at a time: the adjoint of one step gives the gradient of its current, and
W carries that to the output of the step before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clifctl.errors import NeuronError
from clifctl.kernels.arguments import check_shapes, learnables_of, require_kinds, to_be_kept
from clifctl.kernels.backward import first_gradient, kept
from clifctl.kernels.cpu import recurrent as cpu
from clifctl.kernels.cpu.neuron import CompiledNeuron
from clifctl.kernels.eager import is_eager, is_transformed
from clifctl.kernels.ir.trace import is_binary
from clifctl.kernels.scan import scan
from clifctl.kernels.spikes.bits import pack_bits, pack_operator, unpack_bits
from clifctl.kernels.targets import resolve_target
from clifctl.neurons import Parameters


def recurrent_scan(
    x: Tensor,
    state: tuple[Tensor, ...] | None,
    weight: Tensor,
    parameters: Parameters,
    *,
    target: str = "auto",
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a layer of neurons over time, its last output fed back by `weight` `[n, n]`.

    `x` is the input current from outside, `[T, N, n]`. `state` are the neuron's states and, last,
    the layer's last output, `[N, n]` each; None: initial values, and no output yet. Returns the
    output `[T, N, n]` and the final state, of the same form. On the CPU the product adds up the
    columns of those neurons alone that fired; the currents are kept for backward, and the output
    (spikes as bits). On a GPU, and in arithmetic of 16 bits, each step is a call of its own.

    Raises what `clifctl.kernels.scan` raises, and NeuronError for a bad weight.
    """
    require_kinds(x, state, parameters)
    _check(x, state, weight, parameters)
    x, state = to_be_kept(x, state)
    start, last = (None, None) if state is None else (state[:-1], state[-1])
    check_shapes(x, start, parameters)
    if not _is_fused(x, weight, last, target):
        return _by_step(x, start, last, weight, parameters, target)
    learnables = learnables_of(x, parameters).values()
    call = _Call(parameters, start is not None)
    output, *finals = _RecurrentScan.apply(call, x, weight, last, *(start or ()), *learnables)
    return output, (*finals, output[-1])


def _check(
    x: Tensor, state: tuple[Tensor, ...] | None, weight: Tensor, parameters: Parameters
) -> None:
    where = f"neuron '{parameters.neuron.name}' with recurrence"
    if x.dim() != 3:
        raise NeuronError(f"{where}: input must be [T, N, features], got {list(x.shape)}")
    size = x.shape[2]
    if weight.shape != (size, size):
        raise NeuronError(
            f"{where}: the weight must be {[size, size]}, got {list(weight.shape)}",
            hint="[features, features], as that of torch.nn.Linear(features, features)",
        )
    if state is None:
        return
    names = (*(declared.name for declared in parameters.neuron.states), "last output")
    if len(state) != len(names):
        raise NeuronError(
            f"{where}: the number of states is {len(names)}, got {len(state)}",
            hint=f"in this order: {', '.join(names)}",
        )
    if state[-1].shape != x.shape[1:]:
        raise NeuronError(
            f"{where}: the last output must be {list(x.shape[1:])}, got {list(state[-1].shape)}"
        )


def _is_fused(x: Tensor, weight: Tensor, last: Tensor | None, target: str) -> bool:
    """Whether one kernel runs all steps."""
    if resolve_target(target, x.device, x.dtype).name != "numba":
        return False
    kinds = {x.dtype, weight.dtype, x.dtype if last is None else last.dtype}
    if len(kinds) > 1 or x.dtype not in cpu.DTYPES or is_transformed(weight, last):
        return False
    if x.is_meta:  # shapes, and what is kept
        return not torch.compiler.is_compiling()
    return is_eager(x) and bool(x.numel()) and not torch.is_autocast_enabled(x.device.type)


def _by_step(
    x: Tensor,
    state: tuple[Tensor, ...] | None,
    last: Tensor | None,
    weight: Tensor,
    parameters: Parameters,
    target: str,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One `scan` a step, differentiated by autograd: for every target, dtype and transform."""
    outputs = []
    for t, current in enumerate(x):
        if last is not None:
            current = current + F.linear(last, weight)
        learnables = {
            declared.name: _at(t, parameters.learnables[declared.name], declared.by_step)
            for declared in parameters.neuron.learnables
        }
        own = Parameters(parameters.neuron, parameters.hyperparameters, learnables)
        output, state = scan(current[None], state, own, target=target, connections="dense")
        last = output[0]
        outputs.append(last)
    assert state is not None
    assert last is not None
    return torch.stack(outputs), (*state, last)


def _at(t: int, learnable: Tensor, by_step: bool) -> Tensor:
    """The value at step t as that of a sequence of one step."""
    return learnable[t : t + 1] if by_step else learnable


@dataclass(frozen=True, eq=False)
class _Call:
    """What a recurrent scan is besides its tensors. `given`: initial states are among them."""

    parameters: Parameters
    given: bool

    @property
    def states(self) -> int:
        return len(self.parameters.neuron.states)

    @property
    def binary(self) -> bool:
        return is_binary(self.parameters.neuron, self.parameters.hyperparameters)

    def compiled(self, dtype: torch.dtype) -> CompiledNeuron:
        return cpu.kernel(self.parameters.neuron, self.parameters.hyperparameters, dtype)

    def reads(
        self, currents: Tensor, weight: Tensor, last: Tensor | None, tensors: Sequence[Tensor]
    ) -> cpu.RecurrentInput:
        """What the kernels read; `tensors` are initial states and learnable parameters."""
        first = self.states if self.given else 0
        states: list[Tensor | None] = [_plain(s.to(currents.dtype)) for s in tensors[:first]]
        return cpu.RecurrentInput(
            currents,
            _plain(weight),
            None if last is None else _plain(last),
            states or [None] * self.states,
            [_plain(p) for p in tensors[first:]],
        )


def _plain(x: Tensor) -> Tensor:
    return x.detach().contiguous()


class _RecurrentScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, call: _Call, x: Tensor, weight: Tensor, last: Tensor | None, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        currents = x.clone(memory_format=torch.contiguous_format)
        out = torch.empty_like(currents)
        finals = [torch.empty_like(out[0]) for _ in range(call.states)]
        if not x.is_meta:
            given = call.reads(currents, weight, last, tensors)
            cpu.forward(call.compiled(x.dtype), given, out, finals)
        if any(ctx.needs_input_grad):
            ctx.set_materialize_grads(False)
            ctx.call = call
            pack = pack_operator if x.is_meta else pack_bits
            output = pack(out.view(-1)) if call.binary else out
            ctx.save_for_backward(currents, output, weight, last, *tensors)
        return out, *finals

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[2:4]
        tensors = kept(ctx)
        if torch.is_grad_enabled() or is_transformed(*gradients):  # create_graph=True, vmap
            operator: Any = _gradients
            # So that a gradient of what it gives is asked for, and refused.
            tensors = (tensors[0].detach().requires_grad_(), *tensors[1:])
            return None, *first_gradient(operator, ctx.call, needed, [*tensors], [*gradients])
        return None, *_gradients(ctx.call, needed, tensors, gradients)


def _gradients(
    call: _Call,
    needed: Sequence[bool],
    saved: Sequence[Any],
    gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Gradients of x, weight, last output, initial states and learnable parameters; those of weight
    and last output where they are `needed`."""
    currents, output, weight, last, *tensors = saved
    given = call.reads(currents, weight, last, tensors)
    g_out, *g_finals = gradients
    # The kernel adds to it.
    g = torch.zeros_like(currents) if g_out is None else torch.empty_like(currents).copy_(g_out)
    g_currents = torch.empty_like(currents)
    finals = [None if g is None else g.contiguous() for g in g_finals]
    found = cpu.backward(call.compiled(currents.dtype), given, g, finals, g_currents)
    g_weight = g_last = None
    if needed[0]:
        if call.binary:
            output = unpack_bits(output, currents.numel(), currents.dtype, 1.0)
            output = output.view(currents.shape)
        g_weight = g_currents[1:].flatten(0, 1).t() @ output[:-1].flatten(0, 1)
        if last is not None:
            g_weight.addmm_(g_currents[0].t(), last)
    if last is not None and needed[1]:
        g_last = g_currents[0] @ weight
    g_states = [g for g in found.states if g is not None]
    return [g_currents, g_weight, g_last, *g_states, *found.learnables]

"""Batch norm and neuron as one operator of torch.

It keeps the norm's input alone: neither what the norm gives nor anything of the neuron. Its forward
is that of the neuron with a prologue (`clifctl.kernels.ir.prologue`); its backward adds what flows
through the batch's statistics, from the sums that the kernel gives:

    z = (x - mean) * scale + bias,    scale = weight / sqrt(variance + eps)
    dL/dx = scale * (g - sum(g) / n - (x - mean) * sum(g * (x - mean)) / (n * (variance + eps)))

with g = dL/dz and sums over the n elements that share a mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clifctl.kernels.backward import by_sample, first_gradient, kept
from clifctl.kernels.distributed import sum_over_processes
from clifctl.kernels.eager import is_eager, is_transformed
from clifctl.kernels.fused import (
    Work,
    compute_dtype,
    results,
    scan_forward,
    spikes_forward,
    states_of,
)
from clifctl.kernels.layout import Layout
from clifctl.kernels.norm_passes import corrected


@dataclass(frozen=True)
class Norm:
    """The norm before a neuron. `mean` and `inverse` (one over the deviation) are `[T, C]`, or
    `[1, C]` for all steps; `weight` and `bias` `[C]`; `count` how many elements share a mean, over
    all processes: None where mean and deviation do not depend on the input (running averages).
    `steps` time steps are run; an input of one step stands for as many equal ones.
    """

    mean: Tensor
    inverse: Tensor
    weight: Tensor
    bias: Tensor
    count: Tensor | None
    steps: int
    processes: bool = False

    @property
    def tensors(self) -> list[Tensor]:
        """What the operator takes."""
        count = [] if self.count is None else [self.count]
        return [self.mean, self.inverse, self.weight, self.bias, *count]


def norm_scan_forward(
    x: Tensor,
    tensors: Sequence[Tensor],
    norm: Sequence[Tensor],
    call: str,
    steps: int,
    processes: bool,
) -> list[Tensor]:
    """`[output, *final states]` for `x` `[T or 1, N, C, *features]`; `tensors` as in
    `clifctl.kernels.fused.scan_forward`, `norm` is mean, inverse, weight, bias and, where they come
    from this batch, the count; `call` is one of the neuron with a prologue."""
    return scan_forward(_expanded(x, steps), [*tensors, *_prologue(norm, steps)], call)


def _spikes_forward(
    x: Tensor,
    tensors: Sequence[Tensor],
    norm: Sequence[Tensor],
    call: str,
    steps: int,
    windows: bool,
) -> list[Tensor]:
    """`norm_scan_forward` with `Spikes` for an output."""
    return spikes_forward(_expanded(x, steps), [*tensors, *_prologue(norm, steps)], call, windows)


_operator = torch.library.custom_op("clifctl::norm_scan", norm_scan_forward, mutates_args=())


@_operator.register_fake
def _(
    x: Tensor,
    tensors: Sequence[Tensor],
    norm: Sequence[Tensor],
    call: str,
    steps: int,
    processes: bool,
) -> list[Tensor]:
    return results(_expanded(x, steps), call, x.dtype)


def norm_scan_backward(
    x: Tensor,
    tensors: Sequence[Tensor],
    norm: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    call: str,
    steps: int,
    processes: bool,
) -> list[Tensor]:
    """Gradients of x, of `tensors`, and of the norm's weight and bias."""
    mean, inverse, weight, _, *count = norm
    if not x.numel():
        others = (torch.zeros_like(t) for t in (x, *tensors, weight, weight))
        return list(others)
    work = Work.of(_expanded(x, steps), [*tensors, *_prologue(norm, steps)], call)
    # Rounded once, after the correction.
    g_x, rows = work.room(compute_dtype(x.dtype)), work.given.x
    found = work.backward(gradients, g_x)
    *g_learnables, _, g_scale, g_bias = found.learnables
    if len(x) < steps:
        g_x, rows = g_x.sum(0, keepdim=True), rows[:1]
    g_weight = (g_scale * inverse).sum(0)
    if count:
        if len(mean) == 1:
            g_scale, g_bias = g_scale.sum(0, keepdim=True), g_bias.sum(0, keepdim=True)
        if processes:
            g_scale, g_bias = sum_over_processes(g_scale, g_bias)
        scale = inverse * weight
        level = scale * g_bias / count[0]
        slope = scale * inverse * inverse * g_scale / count[0]
        shape = (len(x), mean.shape[1])
        middle, level, slope = (t.expand(shape) for t in (mean, level, slope))
        g_x = corrected(g_x, rows, middle, level, slope, work.layout.sample)
    g_states = [work.layout.shaped(g) for g in found.states if g is not None]
    g_input = work.layout.shaped(g_x).to(x.dtype)
    return [g_input, *g_states, *g_learnables, g_weight, found.learnables[-1].sum(0)]


fused_backward = torch.library.custom_op(
    "clifctl::norm_scan_backward", norm_scan_backward, mutates_args=()
)


@fused_backward.register_fake
def _(
    x: Tensor,
    tensors: Sequence[Tensor],
    norm: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    call: str,
    steps: int,
    processes: bool,
) -> list[Tensor]:
    like, layout = compute_dtype(x.dtype), Layout.of(x)
    states = states_of(call)
    return [
        layout.empty(x, steps=len(x), dtype=x.dtype),
        *(layout.empty(x, steps=None, dtype=like) for _ in range(states)),
        *(t.new_empty(t.shape, dtype=like) for t in (*tensors[states:], norm[2], norm[3])),
    ]


fused_backward.register_vmap(by_sample(fused_backward))


def _expanded(x: Tensor, steps: int) -> Tensor:
    return x.expand(steps, *x.shape[1:])


def _prologue(norm: Sequence[Tensor], steps: int) -> list[Tensor]:
    """Mean, scale and bias of each step: `[T, C]`."""
    mean, inverse, weight, bias = norm[:4]
    rows = (mean, inverse * weight, bias[None])
    return [row.expand(steps, row.shape[1]) for row in rows]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, tensors, norm, *rest = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, *tensors, *norm)
    ctx.given, ctx.rest = len(tensors), rest


def _gradients(
    ctx: Any, gradients: Sequence[Tensor | None], backward: Callable[..., Sequence[Tensor]]
) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
    """The gradients of x, of `tensors` and of `norm`."""
    x, *others = kept(ctx)
    tensors, norm = others[: ctx.given], others[ctx.given :]
    g_x, *rest = backward(x, tensors, norm, gradients, *ctx.rest)
    return g_x, rest[:-2], [None, None, *rest[-2:], *[None] * (len(norm) - 4)]


def _backward(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    return *_gradients(ctx, gradients, fused_backward), None, None, None


_operator.register_autograd(_backward, setup_context=_remember)
_operator.register_vmap(by_sample(_operator))


def _eager_backward(
    x: Tensor,
    tensors: Sequence[Tensor],
    norm: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    *rest: Any,
) -> Sequence[Tensor]:
    if torch.is_grad_enabled():  # create_graph=True
        return first_gradient(fused_backward, x, tensors, norm, gradients, *rest)
    plain = is_eager(x) and not is_transformed(*tensors, *norm, *gradients)
    return (norm_scan_backward if plain else fused_backward)(x, tensors, norm, gradients, *rest)


class _NormScan(torch.autograd.Function):
    """The operator without torch's detour for operators; its forward, backward and memory. It is
    what the transforms of `torch.func` need too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        (tensors, norm), call, steps, processes, windows, x = _sorted(inputs)
        if windows is not None:
            return tuple(_spikes_forward(x, tensors, norm, call, steps, windows))
        plain = is_eager(x) and not is_transformed(*tensors, *norm)
        forward = norm_scan_forward if plain else _operator
        return tuple(forward(x, tensors, norm, call, steps, processes))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        (tensors, norm), call, steps, processes, _, x = _sorted(inputs)
        _remember(ctx, (x, tensors, norm, call, steps, processes), list(output))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        g_x, g_tensors, g_norm = _gradients(ctx, gradients, _eager_backward)
        return None, None, None, None, None, g_x, *g_tensors, *g_norm


def _sorted(inputs: tuple[Any, ...]) -> Any:
    call, steps, processes, windows, given, x, *others = inputs
    return (others[:given], others[given:]), call, steps, processes, windows, x


def norm_scan(
    x: Tensor,
    tensors: Sequence[Tensor],
    norm: Sequence[Tensor],
    call: str,
    steps: int,
    processes: bool,
    windows: bool | None = None,
) -> Sequence[Tensor]:
    """See `norm_scan_forward`; it has a gradient. `windows` as in `clifctl.kernels.fused.run`."""
    if is_eager(x) or is_transformed(x, *tensors, *norm):
        found: Sequence[Tensor] = _NormScan.apply(
            call, steps, processes, windows, len(tensors), x, *tensors, *norm
        )
        return found
    return _operator(x, tensors, norm, call, steps, processes)

"""Batch norm and neuron in one prepared call a direction: eager tensors on the CPU, one process.

What depends on shapes and choices alone, the checks of both included, is made at the first call of
its kind; `clifctl.kernels.normed` does the rest: other devices, graphs, `torch.func`, statistics of
several processes.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.backward import first_gradient, kept
from clifctl.kernels.cpu import numba_target
from clifctl.kernels.cpu.norm_neuron import NormAndNeuron, NormChoice, NormTensors
from clifctl.kernels.cpu.rule import too_few
from clifctl.kernels.distributed import several_processes
from clifctl.kernels.eager import is_eager, is_transformed
from clifctl.kernels.fused import compute_dtype, needs_windows, states_of
from clifctl.kernels.ir.prologue import NORM, with_norm
from clifctl.kernels.normed import Norm, fused_backward
from clifctl.kernels.window import Window
from clifctl.neurons import Parameters

# Prepared layers that a process keeps: beyond them it begins anew.
MOST_LAYERS = 1024


class BatchNorm(Protocol):
    """A batch norm as a module: see `clifctl.models.TemporalBatchNorm`."""

    channels: int
    mode: Any
    eps: float
    momentum: float | None
    training: bool
    processes: bool
    weight: Any
    bias: Any
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    @property
    def of_batch(self) -> bool:
        """Whether the batch's own statistics are used."""

    def require(self, x: Tensor) -> None:
        """Raise ValueError where `x` cannot be normalised."""

    def before(self, x: Tensor, steps: int) -> Norm:
        """The norm as the prologue of a kernel; running averages are updated."""


@dataclass(frozen=True)
class PreparedLayer:
    """A prepared layer, its `fused.call_name`, and whether its output is `Spikes`."""

    work: NormAndNeuron
    call: str
    spikes: bool


class LayerRequest(NamedTuple):
    """What `scan` asks for: `key` says which layer it is, the tensors are those of this call."""

    key: Hashable
    norm: NormTensors
    choice: NormChoice


_layers: dict[Hashable, PreparedLayer] = {}


def request(
    x: Tensor,
    state: Sequence[Tensor] | None,
    parameters: Parameters,
    norm: BatchNorm,
    repeat: int,
    *how: Hashable,
) -> LayerRequest | None:
    """The layer of `parameters` behind `norm` for `x`, which stands for `repeat` equal steps, run
    as `how` says; None where the operators have to do it."""
    if (
        not is_eager(x)
        or torch._C._are_functorch_transforms_active()
        or x.device.type != CPU
        or (norm.processes and several_processes())
    ):
        return None
    tensors = NormTensors(
        norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.num_batches_tracked
    )
    choice = NormChoice(
        norm.channels, norm.eps, norm.momentum, norm.mode == "folded", norm.of_batch, norm.training
    )
    key = (
        parameters.neuron,
        parameters.hyperparameters,
        (repeat, *how),
        too_few(x.numel() * repeat, norm.channels, maps=x.dim() == 5) is None,
        choice,
        (x.shape, x.stride(), x.dtype),
        *map(_kind, tensors),
        # Checked at the first call, as whoever takes their addresses copies what lies otherwise.
        tuple(
            (t.shape, t.dtype, t.device) for t in (*parameters.learnables.values(), *(state or ()))
        ),
        state is None,
    )
    return LayerRequest(key, tensors, choice)


def _kind(x: Tensor | None) -> Hashable:
    """Of a vector or number: all that its address has to be trusted with."""
    return x if x is None else (x.numel(), x.dtype, x.is_cpu and x.is_contiguous())


def prepared(requested: LayerRequest | None) -> PreparedLayer | None:
    """The layer, where it is prepared."""
    return None if requested is None else _layers.get(requested.key)


def prepare(
    requested: LayerRequest | None,
    x: Tensor,
    parameters: Parameters,
    steps: int,
    window: Window | None,
    target: str,
    call: str,
    spikes: bool,
) -> PreparedLayer | None:
    """Prepare a layer whose tensors have been checked; None where the operators have to do it."""
    if (
        requested is None
        or target != "numba"
        or x.dtype not in numba_target.DTYPES
        or not x.numel()
        or not all(_can_be_reached(t, compute_dtype(x.dtype)) for t in requested.norm)
    ):
        return None
    neuron = with_norm(parameters.neuron)
    kernel = numba_target.kernel(neuron, parameters.hyperparameters, x.dtype)
    if kernel.source.summed[-2:] != tuple(p.name for p in NORM[1:]):
        return None  # no gradient flows through it
    if len(_layers) >= MOST_LAYERS:
        _layers.clear()
    work = NormAndNeuron(
        kernel, x.detach(), steps, requested.choice, window, given_state=states_of(call) > 0
    )
    made = _layers[requested.key] = PreparedLayer(work, call, spikes)
    return made


def _can_be_reached(x: Tensor | None, dtype: torch.dtype) -> bool:
    if x is None:
        return True
    right = x.dtype in (dtype, torch.int64)
    return right and x.is_cpu and x.is_contiguous() and is_eager(x)


def run(
    layer: PreparedLayer,
    x: Tensor,
    norm: NormTensors,
    state: Sequence[Tensor] | None,
    learnables: Iterable[Tensor],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Output and final state; they have a gradient."""
    tensors = (norm.weight, norm.bias, *(state or ()), *learnables)
    windows = needs_windows((x, *tensors)) if layer.spikes else None
    output, *final = _PreparedNormScan.apply(layer, norm, windows, x, *tensors)
    return output, tuple(final)


class _PreparedNormScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        layer: PreparedLayer,
        norm: NormTensors,
        windows: bool | None,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        out, finals, statistics = layer.work.forward(x, norm, tensors, windows)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, bias, statistics, *tensors)
        ctx.layer = layer
        return out, *finals

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, bias, statistics, *tensors = kept(ctx)
        layer: PreparedLayer = ctx.layer
        if torch.is_grad_enabled() or is_transformed(*gradients):  # create_graph=True, vmap
            found = _by_operators(layer, x, weight, bias, statistics, tensors, gradients)
            return None, None, None, *found
        found = layer.work.backward(x, weight, bias, statistics, tensors, gradients)
        return None, None, None, *found


def _by_operators(
    layer: PreparedLayer,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    statistics: Tensor,
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """What `backward` gives, under a transform; a gradient of it is refused in words."""
    mean, inverse = statistics
    affine = weight is not None
    norm = [
        mean,
        inverse,
        torch.ones_like(mean[0]) if weight is None else weight,
        torch.zeros_like(mean[0]) if bias is None else bias,
    ]
    if layer.work.count:
        norm.append(mean.new_full((), layer.work.count))
    backward: Any = fused_backward
    rest = (x, tensors, norm, gradients, layer.call, layer.work.neuron.steps, False)
    found = first_gradient(backward, *rest) if torch.is_grad_enabled() else backward(*rest)
    g_x, *others, g_weight, g_bias = found
    return g_x, g_weight if affine else None, g_bias if affine else None, *others

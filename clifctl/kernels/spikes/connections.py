"""Convolutions and linear layers of `Spikes`: event-driven where the rule says so, else dense.

A linear layer is a convolution of maps of a single pixel.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.devices import CPU
from clifctl.kernels.backward import NO_BACKWARD, backward_pass
from clifctl.kernels.cpu import connections, rule
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.paths import record
from clifctl.kernels.cpu.rule import Choice, Direction, choose, unsupported
from clifctl.kernels.spikes.tensor import FUNCTIONS, Spikes, handles

aten = torch.ops.aten
# Below so many channels oneDNN's backward of a 1x1 convolution with a stride writes past its
# scratchpad (uxlfoundation/oneDNN#6035): its blocks have 8 of them on AVX2 and 16 on AVX-512.
CHANNEL_BLOCK = 16

Run = tuple[int, int]
# stride, padding, dilation, transposed, output padding and groups, as aten has them
Options = tuple[Sequence[int], Sequence[int], Sequence[int], bool, Sequence[int], int]


@handles(aten.convolution.default)
def convolution(x: Any, weight: Any, bias: Any, *options: Any) -> Any:
    """aten's convolution of `x` `[N, C, H, W]`."""
    if not isinstance(x, Spikes) or x.dim() != 4 or not _are_plain(weight, bias):
        return NotImplemented
    run = x.run()
    choice, geometry, density = _choose("forward", x, run, weight, options)
    record("forward", weight, choice, geometry=geometry, density=density)
    if not choice.event:
        return _dense(x.floats(), weight, bias, options)
    assert run is not None
    assert geometry is not None
    return connections.forward(geometry, x.active(run), weight, bias)


@handles(aten.convolution_backward.default)
def convolution_backward(g: Any, x: Any, weight: Any, bias_sizes: Any, *rest: Any) -> Any:
    """aten's gradients of input, weight and bias, each where it is wanted."""
    *options, wanted = rest
    if not isinstance(x, Spikes) or x.dim() != 4 or not _are_plain(g, weight):
        return NotImplemented
    g_x = g_weight = g_bias = None
    if wanted[1] or wanted[2]:
        g_weight, g_bias = _weight_gradient(g, x, weight, bias_sizes, options, wanted)
    if wanted[0]:
        g_x = _input_gradient(g, x, weight, options)
    return g_x, g_weight, g_bias


def _weight_gradient(
    g: Tensor, x: Spikes, weight: Tensor, bias_sizes: Any, options: Any, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    run = x.run()
    if wanted[1]:
        choice, geometry, density = _choose("weight_gradient", x, run, weight, options)
        record("weight_gradient", weight, choice, geometry=geometry, density=density)
        if choice.event:
            assert run is not None
            assert geometry is not None
            g_weight, g_bias = connections.weight_gradient(geometry, x.active(run), g, weight)
            return g_weight, g_bias if wanted[2] else None
    maps = x.floats() if wanted[1] else _like(x)
    mask = [False, wanted[1], wanted[2]]
    found = _dense_backward(g, maps, weight, bias_sizes, options, mask)
    return found[1], found[2]


def _input_gradient(g: Tensor, x: Spikes, weight: Tensor, options: Any) -> Tensor:
    run, window = x.run(), x.window
    geometry, density, choice = None, None, _refusal(x, run, weight, options)
    if choice is None:
        assert run is not None
        geometry = _geometry(x, weight, options)
        if window is None:
            choice = rule.UNBOUNDED
        # A gradient of this gradient, or somebody who calls this outside of a backward pass.
        elif window.observed or torch.is_grad_enabled() or backward_pass() == NO_BACKWARD:
            choice = rule.OBSERVED
        else:
            density = window.density(*run)
            choice = choose("input_gradient", geometry, density, values=False)
    record("input_gradient", weight, choice, geometry=geometry, density=density)
    if choice.event:
        assert run is not None
        assert window is not None
        assert geometry is not None
        return connections.input_gradient(geometry, window.part(*run).bits, g, weight)
    found = _dense_backward(g, _like(x), weight, None, options, [True, False, False])[0]
    assert found is not None
    return found


def _are_plain(*tensors: Tensor | None) -> bool:
    return all(t is None or type(t) in (Tensor, nn.Parameter) for t in tensors)


def _refusal(x: Spikes, run: Run | None, weight: Tensor, options: Any) -> Choice | None:
    """Why there is nothing to choose between, None where there is."""
    _, _, dilation, transposed, _, groups = options
    refused = unsupported(
        device=weight.device,
        dtype=weight.dtype,
        groups=groups,
        transposed=transposed,
        dilation=(dilation[0], dilation[-1]),
    )
    return refused or (rule.NO_SPIKES if run is None or not run[1] else None)


def _choose(
    direction: Direction, x: Spikes, run: Run | None, weight: Tensor, options: Any
) -> tuple[Choice, Geometry | None, float | None]:
    """How a direction that reads the spikes runs, for which geometry and density."""
    refused = _refusal(x, run, weight, options)
    if refused is not None:
        return refused, None, None
    assert run is not None
    geometry = _geometry(x, weight, options)
    density = x.memory.density(*run)
    choice = choose(direction, geometry, density, values=x.value is None)
    return choice, geometry, density


def _geometry(x: Spikes, weight: Tensor, options: Any) -> Geometry:
    stride, padding = options[:2]
    return _of_shapes(x.place[0], weight.shape, tuple(stride), tuple(padding))


@lru_cache(maxsize=connections.PREPARED)
def _of_shapes(
    size: tuple[int, ...], weight: tuple[int, ...], stride: Run, padding: Run
) -> Geometry:
    samples, channels, height, width = size
    outputs, _, *kernel = weight
    return Geometry(
        samples,
        channels,
        height,
        width,
        outputs,
        (kernel[0], kernel[1]),
        (stride[0], stride[-1]),
        (padding[0], padding[-1]),
    )


def _like(x: Spikes) -> Tensor:
    """A plain tensor of the shape and strides of `x`, of unknown content."""
    size, stride, _ = x.place
    return torch.empty_strided(size, stride, device=CPU)


def _dense(x: Tensor, weight: Tensor, bias: Tensor | None, options: Any) -> Tensor:
    if _is_linear(x, weight, options):
        product = F.linear(x.flatten(1), weight.flatten(1), bias)
        return product[:, :, None, None]
    if _overruns(weight, options):
        x, options = _strided(x, options)
    return aten.convolution.default(x, weight, bias, *options)


def _dense_backward(
    g: Tensor, x: Tensor, weight: Tensor, bias_sizes: Any, options: Any, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    if _is_linear(x, weight, options):
        rows = g.flatten(1)
        return (
            (rows @ weight.flatten(1)).view(x.shape) if wanted[0] else None,
            (rows.t() @ x.flatten(1)).view(weight.shape) if wanted[1] else None,
            rows.sum(0) if wanted[2] else None,
        )
    read, whole = x, x
    if _overruns(weight, options):
        (stride, padding), (read, options) = options[:2], _strided(x, options)
    backward = aten.convolution_backward.default
    g_x, *others = backward(g, read, weight, bias_sizes, *options, list(wanted))
    if g_x is not None and read is not whole:
        spread = torch.zeros_like(F.pad(whole, (padding[-1],) * 2 + (padding[0],) * 2))
        spread[:, :, :: stride[0], :: stride[-1]] = g_x
        height, width = whole.shape[2:]
        top, left = padding[0], padding[-1]
        g_x = spread[:, :, top : top + height, left : left + width]
    return g_x, *others


def _is_linear(x: Tensor, weight: Tensor, options: Any) -> bool:
    return tuple(x.shape[2:]) == tuple(weight.shape[2:]) == (1, 1) and not any(options[1])


def _overruns(weight: Tensor, options: Any) -> bool:
    narrow = weight.shape[1] < CHANNEL_BLOCK
    return narrow and max(options[0]) > 1 and tuple(weight.shape[2:]) == (1, 1)


def _strided(x: Tensor, options: Any) -> tuple[Tensor, Any]:
    """A 1x1 convolution with a stride as one of the pixels that it reads."""
    stride, padding, *others = options
    x = F.pad(x, (padding[-1],) * 2 + (padding[0],) * 2)
    return x[:, :, :: stride[0], :: stride[-1]], ([1, 1], [0, 0], *others)


def _linear(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    """`torch.nn.functional.linear` of spikes, as a convolution of maps of a single pixel: so the
    gradient of its input is one too, and can be that at open windows alone."""

    def run(x: Any, weight: Any, bias: Any = None) -> Tensor:
        if not _is_matrix(x, weight) or rule.too_few(x.numel(), x.shape[-1], maps=False):
            result: Tensor = func(x, weight, bias)
            return result
        *lead, channels = x.shape
        maps = x.reshape(-1, channels, 1, 1)
        y = F.conv2d(maps, weight[:, :, None, None], bias)
        return y.view(*lead, weight.shape[0])

    return run(*args, **kwargs)


def _is_matrix(x: Any, weight: Any) -> bool:
    return (
        isinstance(x, Spikes)
        and x.dim() > 1
        and _are_plain(weight)
        and weight.dim() == 2
        and weight.dtype == torch.float32
        and weight.device.type == CPU
        and not torch.is_autocast_enabled(CPU)
    )


FUNCTIONS[F.linear] = _linear

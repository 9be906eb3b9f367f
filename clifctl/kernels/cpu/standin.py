"""Stand-ins through floats."""

import torch
from torch import Tensor
from torch.nn import grad

from clifctl.kernels.bits import unpack_bits
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.source import Active


def _maps(geometry: Geometry, bits: Tensor, value: float) -> Tensor:
    n = geometry.inputs
    flat = unpack_bits(bits[: -(-n // 8)], n, torch.float32, value)
    shape = (geometry.samples, geometry.height, geometry.width, geometry.channels)
    return flat.view(shape).movedim(-1, -3)


def _input(geometry: Geometry, active: Active) -> Tensor:
    x = _maps(geometry, active.bits, active.value)
    if active.values is not None:
        x = x * active.values.view(geometry.samples, geometry.height, geometry.width, -1).movedim(
            -1, -3
        )
    return x


class Forward:
    def __init__(self, geometry: Geometry, with_values: bool) -> None:
        self.geometry = geometry

    def __call__(self, active: Active, weight: Tensor, bias: Tensor | None) -> Tensor:
        g = self.geometry
        y = torch.nn.functional.conv2d(_input(g, active), weight, bias, g.stride, g.padding)
        return y.contiguous(memory_format=torch.channels_last)


class WeightGradient:
    def __init__(self, geometry: Geometry, with_values: bool) -> None:
        self.geometry = geometry

    def __call__(self, active: Active, g: Tensor) -> tuple[Tensor, Tensor]:
        s = self.geometry
        size = (s.outputs, s.channels, *s.kernel)
        w = grad.conv2d_weight(_input(s, active), size, g, s.stride, s.padding)
        return w, g.sum((0, 2, 3))


class InputGradient:
    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry

    def __call__(self, window: Tensor, g: Tensor, weight: Tensor) -> Tensor:
        s = self.geometry
        size = (s.samples, s.channels, s.height, s.width)
        dx = grad.conv2d_input(size, weight, g, s.stride, s.padding)
        return (dx * _maps(s, window, 1.0)).contiguous(memory_format=torch.channels_last)

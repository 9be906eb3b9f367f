"""The event-driven directions of a connection, prepared once a geometry."""

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.source import Active

if TYPE_CHECKING:  # they bring numba, which takes its time to import
    from clifctl.kernels.cpu.forward import Forward
    from clifctl.kernels.cpu.input_gradient import InputGradient
    from clifctl.kernels.cpu.weight_gradient import WeightGradient

PREPARED = 1024


@lru_cache(maxsize=PREPARED)
def _forward(geometry: Geometry, with_values: bool) -> "Forward":
    from clifctl.kernels.cpu.forward import Forward

    return Forward(geometry, with_values)


@lru_cache(maxsize=PREPARED)
def _weight_gradient(
    geometry: Geometry, with_values: bool, channels_last: bool
) -> "WeightGradient":
    from clifctl.kernels.cpu.weight_gradient import WeightGradient

    return WeightGradient(geometry, with_values, channels_last)


@lru_cache(maxsize=PREPARED)
def _input_gradient(geometry: Geometry) -> "InputGradient":
    from clifctl.kernels.cpu.input_gradient import InputGradient

    return InputGradient(geometry)


def forward(geometry: Geometry, active: Active, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The connection of what is `active`: `[samples, outputs, H', W']`, channels innermost."""
    run = _forward(geometry, active.values is not None)
    return run(active, weight.detach(), None if bias is None else bias.detach())


def weight_gradient(
    geometry: Geometry, active: Active, g: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of weight `[outputs, channels, kh, kw]`, lying in memory as it does, and of bias
    `[outputs]`, from that of the output."""
    last = not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)
    return _weight_gradient(geometry, active.values is not None, last)(active, g)


def input_gradient(geometry: Geometry, window: Tensor, g: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the input `[samples, channels, H, W]` where the bits of `window` are set, 0
    elsewhere; channels innermost."""
    return _input_gradient(geometry)(window, g, weight.detach())

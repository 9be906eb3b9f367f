"""The spike function and its surrogate gradients.

Forward: s = 1 where distance >= 0 (firing at equality, as the authors' code does), else 0.
Backward: the derivative of the surrogate at `distance`, the membrane potential minus the threshold.
Every surrogate has a width, 1 unless said otherwise and whatever the threshold; at width 1 each is
the one that the authors' code and SpikingJelly give by default. A derivative is written in the
operations that a neuron's `step` may use, so that kernels are derived from it too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clifctl.errors import NeuronError, unknown_name


@dataclass(frozen=True)
class Surrogate:
    """A surrogate gradient: its derivative, and the primitive that it is the derivative of.

    `bounded`: whether the derivative is exactly 0 outside a window around the threshold.
    """

    name: str
    source: str
    derivative: Callable[[Tensor, float], Tensor]
    primitive: Callable[[Tensor, float], Tensor]
    bounded: bool


def _rectangle(distance: Tensor, width: float) -> Tensor:
    return (distance.abs() <= width / 2).to(distance.dtype) * (1 / width)


def _rectangle_primitive(distance: Tensor, width: float) -> Tensor:
    return (distance / width + 0.5).clamp(0.0, 1.0)


def _triangle(distance: Tensor, width: float) -> Tensor:
    return (1 / width) * torch.relu(1 - distance.abs() * (1 / width))


def _triangle_primitive(distance: Tensor, width: float) -> Tensor:
    x = (distance / width).clamp(-1.0, 1.0)
    return 0.5 + x - 0.5 * x * x.abs()


def _sigmoid(distance: Tensor, width: float) -> Tensor:
    s = torch.sigmoid(distance * (4 / width))
    return (4 / width) * (s * (1 - s))


def _sigmoid_primitive(distance: Tensor, width: float) -> Tensor:
    return torch.sigmoid(distance * (4 / width))


def _arctangent(distance: Tensor, width: float) -> Tensor:
    x = distance * (math.pi / width)
    return (1 / width) / (1 + x * x)


def _arctangent_primitive(distance: Tensor, width: float) -> Tensor:
    return torch.atan(distance * (math.pi / width)) / math.pi + 0.5


SURROGATES: dict[str, Surrogate] = {
    "rectangle": Surrogate(
        name="rectangle",
        # The edge |distance| = width/2 counts as inside, as in Eq. 39 and the authors' code;
        # Eq. 8 and 14 print a strict inequality.
        source="CLIF, ICML 2024, Eq. 8 and 39; the width is the paper's alpha",
        derivative=_rectangle,
        primitive=_rectangle_primitive,
        bounded=True,
    ),
    "triangle": Surrogate(
        name="triangle",
        source="Esser et al., PNAS 2016; SpikingJelly's PiecewiseQuadratic with alpha = 1 / width",
        derivative=_triangle,
        primitive=_triangle_primitive,
        bounded=True,
    ),
    "sigmoid": Surrogate(
        name="sigmoid",
        source="SpikingJelly's Sigmoid with alpha = 4 / width",
        derivative=_sigmoid,
        primitive=_sigmoid_primitive,
        bounded=False,
    ),
    "arctangent": Surrogate(
        name="arctangent",
        source="Fang et al., ICCV 2021; SpikingJelly's ATan with alpha = 2 / width",
        derivative=_arctangent,
        primitive=_arctangent_primitive,
        bounded=False,
    ),
}


class _Spike(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(distance: Tensor, surrogate: str, width: float) -> Tensor:
        fired = (distance >= 0).to(distance.dtype)
        # NaN compares false: without this line a broken input would look like silence.
        return torch.where(distance.isnan(), distance, fired)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, str, float], output: Tensor) -> None:
        distance, ctx.surrogate, ctx.width = inputs
        ctx.save_for_backward(distance)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (distance,) = ctx.saved_tensors
        slope = SURROGATES[ctx.surrogate].derivative(distance, ctx.width)
        return grads[0] * slope, None, None


def spike(distance: Tensor, surrogate: str = "rectangle", width: float = 1.0) -> Tensor:
    """1 where `distance` (membrane potential minus threshold) >= 0, else 0; NaN stays NaN.

    The gradient is the surrogate's derivative. Raises NeuronError for an unknown surrogate.
    """
    if surrogate not in SURROGATES:
        raise NeuronError(unknown_name("surrogate", surrogate, SURROGATES))
    # A tracer passes a stand-in for a tensor, which records the call under this function's name.
    if torch.overrides.has_torch_function_unary(distance):
        return torch.overrides.handle_torch_function(spike, (distance,), distance, surrogate, width)
    result: Tensor = _Spike.apply(distance, surrogate, width)
    return result

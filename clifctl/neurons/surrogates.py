"""The spike function and its surrogate gradients.

Forward: s = 1 where distance >= 0 (firing at equality, as the authors' code does), else 0.
Backward: the derivative of the surrogate at `distance`, the membrane potential minus the threshold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clifctl.errors import NeuronError, unknown_name


@dataclass(frozen=True)
class Surrogate:
    """A surrogate gradient: its derivative, and the primitive that it is the derivative of."""

    name: str
    source: str
    derivative: Callable[[Tensor, float], Tensor]
    primitive: Callable[[Tensor, float], Tensor]


def _rectangle(distance: Tensor, width: float) -> Tensor:
    return (distance.abs() <= width / 2).to(distance.dtype) / width


def _rectangle_primitive(distance: Tensor, width: float) -> Tensor:
    return (distance / width + 0.5).clamp(0.0, 1.0)


SURROGATES: dict[str, Surrogate] = {
    "rectangle": Surrogate(
        name="rectangle",
        # The edge |distance| = width/2 counts as inside, as in Eq. 39 and the authors' code;
        # Eq. 8 and 14 print a strict inequality.
        source="CLIF, ICML 2024, Eq. 8 and 39; `width` is the paper's alpha",
        derivative=_rectangle,
        primitive=_rectangle_primitive,
    ),
}


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor, surrogate: str, width: float) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.surrogate, ctx.width = surrogate, width
        fired = (distance >= 0).to(distance.dtype)
        # NaN compares false: without this line a broken input would look like silence.
        return torch.where(distance.isnan(), distance, fired)

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
    result: Tensor = _Spike.apply(distance, surrogate, width)
    return result

"""A connection whose sums are exact in float32, in whatever order: event-driven against dense."""

import torch
from torch import Tensor

from clifctl.kernels.cpu import connections
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.rule import Direction
from clifctl.kernels.cpu.source import SLACK, Active, room_for_bits
from clifctl.kernels.spikes.bits import pack_bits

# Nothing in it is even, or a multiple of a vector.
SHAPE = Geometry(3, 21, 7, 5, 19, kernel=(3, 3), stride=(2, 1), padding=(1, 1))


def worst() -> tuple[Direction, float]:
    """The direction that differs most from torch's dense operation in float64, and how much: 0.0
    where the kernels are right."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> Tensor:
        return torch.randint(-8, 9, shape, generator=generator) / 64

    s = SHAPE
    weight, bias = numbers(s.outputs, s.channels, *s.kernel), numbers(s.outputs)
    g = numbers(*s.output_shape)
    active = torch.rand(s.samples, s.height, s.width, s.channels, generator=generator) < 0.3
    bits = room_for_bits(s.inputs)
    bits[: len(bits) - SLACK] = pack_bits(active.reshape(-1).float())
    x, exact = (
        active.permute(0, 3, 1, 2).double().requires_grad_(),
        weight.double().requires_grad_(),
    )
    with torch.enable_grad():
        dense = torch.conv2d(x, exact, bias.double(), s.stride, s.padding)
    g_x, g_weight = torch.autograd.grad(dense, (x, exact), g.double())
    pairs: dict[Direction, tuple[Tensor, Tensor]] = {
        "forward": (connections.forward(s, Active(bits), weight, bias), dense.detach()),
        "weight_gradient": (connections.weight_gradient(s, Active(bits), g, weight)[0], g_weight),
        "input_gradient": (
            connections.input_gradient(s, bits, g, weight),
            torch.where(x > 0, g_x, 0.0),
        ),
    }
    errors = {name: float((a.double() - b).abs().max()) for name, (a, b) in pairs.items()}
    direction = max(errors, key=lambda name: errors[name])
    return direction, errors[direction]

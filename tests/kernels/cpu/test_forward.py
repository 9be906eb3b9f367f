"""The event-driven forward: what the dense one computes, exactly where every order of a sum is."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv2d

from clifctl.kernels.cpu import forward as module
from clifctl.kernels.cpu import forward_plan
from clifctl.kernels.cpu.forward import Forward
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.packing import bits_of
from clifctl.kernels.cpu.source import Active

# One of each kind: windows of whole words of channels, of any channels, in several strips; points;
# patches; more outputs than a block, and fewer than a vector.
KINDS = [
    Geometry(2, 64, 5, 6, 37, (3, 3), (1, 1), (1, 1)),
    Geometry(2, 130, 5, 4, 16, (3, 2), (2, 1), (1, 0)),
    Geometry(1, 20, 6, 90, 3, (3, 3), (1, 2), (0, 1)),
    Geometry(70, 130, 1, 1, 40),
    Geometry(3, 1300, 2, 2, 5, (1, 1), (2, 2)),
    Geometry(2, 7, 6, 5, 9, (3, 3), (1, 1), (1, 1)),
    Geometry(1, 2, 40, 40, 50, (5, 5), (1, 1), (2, 2)),
]


def tensors(g: Geometry, rate: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Values of the inputs that are active, weights and bias: all multiples of 1/64, so small that
    each of their sums is exact in float32."""
    torch.manual_seed(seed)
    shape = (g.samples, g.channels, g.height, g.width)
    x = (torch.rand(shape) < rate) * torch.randint(1, 9, shape) / 8.0
    weight = torch.randint(-32, 33, (g.outputs, g.channels, *g.kernel)) / 64
    return x, weight, torch.randint(-32, 33, (g.outputs,)) / 64


def dense(g: Geometry, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """In double precision."""
    shift = None if bias is None else bias.double()
    return conv2d(x.double(), weight.double(), shift, g.stride, g.padding)


def active(x: Tensor, with_values: bool) -> Active:
    """`x` as what a connection reads; without values all that is active is 1."""
    values = x.movedim(1, -1).contiguous() if with_values else None
    return Active(bits_of(x), values=values)


def check_exact(g: Geometry, rate: float, with_values: bool, channels_last: bool) -> None:
    """What is computed is the dense result, to the bit."""
    x, weight, bias = tensors(g, rate)
    if not with_values:
        x = (x != 0).float()
    given_weight = weight.to(memory_format=torch.channels_last) if channels_last else weight
    found = Forward(g, with_values)(active(x, with_values), given_weight, bias)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found.double(), dense(g, x, weight, bias))


@pytest.mark.parametrize("with_values", [False, True])
@pytest.mark.parametrize("g", KINDS)
def test_equal_to_dense_and_nothing_else_is_written(
    g: Geometry, with_values: bool, guarded: Callable[[ModuleType], None]
) -> None:
    guarded(module)
    for rate in (0.0, 0.1, 1.0):
        check_exact(g, rate, with_values, channels_last=rate == 0.1)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Any connection of a few pixels."""
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    padding = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    least = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
    height, width = (draw(st.integers(n, n + 6)) for n in least)
    channels = draw(st.integers(1, 9) | st.sampled_from([20, 56, 57, 64, 100, 130]))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    samples, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 70))
    return Geometry(samples, channels, height, width, outputs, kernel, stride, padding)


cases = (geometries(), st.sampled_from([0.0, 0.05, 0.3, 1.0]), st.booleans(), st.booleans())


@given(*cases)
@settings(max_examples=25)
@example(Geometry(1, 1, 1, 1, 1, (1, 1), (1, 1), (3, 2)), 1.0, False, False)
def test_any_shape_is_equal_to_dense(
    g: Geometry, rate: float, with_values: bool, channels_last: bool
) -> None:
    check_exact(g, rate, with_values, channels_last)


@pytest.mark.exhaustive
@given(*cases)
@settings(max_examples=400)
def test_very_many_shapes_are_equal_to_dense(
    g: Geometry, rate: float, with_values: bool, channels_last: bool
) -> None:
    check_exact(g, rate, with_values, channels_last)


@pytest.mark.parametrize("with_values", [False, True])
@pytest.mark.parametrize("g", KINDS[:5:2])
def test_real_values_are_within_the_bound_of_a_sum(g: Geometry, with_values: bool) -> None:
    torch.manual_seed(1)
    x, weight, bias = tensors(g, 0.3)
    weight, bias = torch.randn_like(weight), torch.randn_like(bias)
    x = torch.where(x != 0, torch.randn_like(x) if with_values else 1.7, 0.0)
    given = active(x, with_values) if with_values else Active(bits_of(x), value=1.7)
    found = Forward(g, with_values)(given, weight, bias)
    terms = dense(g, (x != 0).float(), torch.ones_like(weight), None) + 2
    size = dense(g, x.abs(), weight.abs(), bias.abs())
    assert ((found - dense(g, x, weight, bias)).abs() <= terms * 2**-24 * size).all()


@pytest.mark.parametrize("g", KINDS[::3])
def test_any_number_of_threads_gives_the_same_bits(
    g: Geometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, bias = tensors(g, 0.2)
    weight, bias = torch.randn_like(weight), torch.randn_like(bias)
    monkeypatch.setattr("clifctl.kernels.cpu.threads.SMALL_JOB", 0)
    monkeypatch.setattr(forward_plan, "TILE", 16)
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(Forward(g)(active(x, False), weight, bias))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_no_bias_and_the_two_dimensions_of_a_linear_layer() -> None:
    g = Geometry(6, 20, 1, 1, 33)
    x, weight, _ = tensors(g, 0.4)
    found = Forward(g, True)(active(x, True), torch.nn.Parameter(weight[:, :, 0, 0]), None)
    assert torch.equal(found.double(), dense(g, x, weight, None))


def test_what_is_not_active_is_not_read() -> None:
    g = Geometry(1, 8, 3, 3, 4, (3, 3), (1, 1), (1, 1))
    x, weight, bias = tensors(g, 0.3)
    values = torch.where(x != 0, x, torch.nan).movedim(1, -1).contiguous()
    found = Forward(g, True)(Active(bits_of(x), values=values), weight, bias)
    assert torch.equal(found.double(), dense(g, x, weight, bias))


def test_a_kernel_of_too_many_taps_is_refused() -> None:
    with pytest.raises(ValueError, match="a kernel of 4096 taps; lists allow 4095"):
        Forward(Geometry(1, 8, 64, 64, 40, (64, 64)))
    g = Geometry(1, 1, 65, 63, 33, (65, 63))
    x, weight, bias = tensors(g, 1.0)
    found = Forward(g)(active((x != 0).float(), False), weight, bias)
    assert torch.equal(found.double(), dense(g, (x != 0).float(), weight, bias))


def test_tensors_of_another_connection_are_refused() -> None:
    g = Geometry(2, 8, 3, 3, 4, (3, 3), (1, 1), (1, 1))
    x, weight, bias = tensors(g, 0.3)
    right, values = active(x, False), x.movedim(1, -1)
    for arguments in (
        (Active(right.bits[:-1]), weight, bias),
        (Active(right.bits, values=values.contiguous()), weight, bias),
        (right, weight[:3], bias),
        (right, weight, bias[:3]),
    ):
        with pytest.raises(ValueError, match="are not those of a connection"):
            Forward(g)(*arguments)
    for wrong in (None, values, values[1:].contiguous()):
        with pytest.raises(ValueError, match="are not those of a connection"):
            Forward(g, True)(Active(right.bits, values=wrong), weight, bias)

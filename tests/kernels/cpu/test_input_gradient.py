"""The input gradient at open windows, against torch's dense one."""

from collections.abc import Callable
from itertools import product
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.grad import conv2d_input

from clifctl.kernels.cpu import input_gradient as module
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.input_gradient import InputGradient
from clifctl.kernels.cpu.packing import bits_of


@st.composite
def geometries(draw: Any) -> Geometry:
    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    kernel, stride, padding = pair(1, 5), pair(1, 3), pair(0, 3)
    height, width = (
        draw(st.integers(max(1, k - 2 * p), 13)) for k, p in zip(kernel, padding, strict=True)
    )
    samples, outputs = draw(st.integers(1, 9)), draw(st.integers(1, 70))
    channels = draw(st.sampled_from((1, 3, 4, 8, 20, 57, 64, 72, 130)))
    return Geometry(samples, channels, height, width, outputs, kernel, stride, padding)


def sixtyfourths(*shape: int, seed: int = 0) -> Tensor:
    """Multiples of 1/64, of whose products the sum is exact in every order."""
    whole = torch.randint(-64, 65, shape, generator=torch.Generator().manual_seed(seed))
    return whole.float() / 64


def windows(geometry: Geometry, density: float) -> Tensor:
    shape = (geometry.samples, geometry.channels, geometry.height, geometry.width)
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < density).float()


def case(geometry: Geometry) -> tuple[Tensor, Tensor]:
    """The output's gradient and the weights."""
    weight = sixtyfourths(geometry.outputs, geometry.channels, *geometry.kernel, seed=2)
    return sixtyfourths(*geometry.output_shape), weight


def dense(geometry: Geometry, window: Tensor, g: Tensor, weight: Tensor) -> Tensor:
    """In float64, in which every sum here of float32 is exact, or nearly so."""
    found = conv2d_input(
        window.shape, weight.double(), g.double(), geometry.stride, geometry.padding
    )
    return found * window


def check(geometry: Geometry, density: float, channels_last: bool) -> None:
    g, weight = case(geometry)
    window = windows(geometry, density)
    expected = dense(geometry, window, g, weight)
    if channels_last:
        weight = weight.to(memory_format=torch.channels_last)
    found = InputGradient(geometry)(bits_of(window), g, weight)
    assert torch.equal(found.double(), expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(geometries(), st.sampled_from((0.0, 0.1, 0.3, 1.0)), st.booleans())
def test_exact_sums_are_those_of_torch(
    geometry: Geometry, density: float, channels_last: bool
) -> None:
    check(geometry, density, channels_last)


@pytest.mark.exhaustive
@settings(max_examples=300, deadline=None)
@given(geometries(), st.sampled_from((0.0, 0.1, 0.3, 1.0)), st.booleans())
def test_exact_sums_are_those_of_torch_for_many_shapes(
    geometry: Geometry, density: float, channels_last: bool
) -> None:
    check(geometry, density, channels_last)


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(3, 64, 32, 32, 64, (3, 3), (1, 1), (1, 1)),
        Geometry(5, 64, 16, 16, 96, (3, 3), (2, 2), (1, 1)),
        Geometry(5, 64, 16, 16, 130, (1, 1), (2, 2)),
        Geometry(9, 72, 4, 4, 64, (3, 3), (1, 1), (1, 1)),
        Geometry(40, 100, 1, 1, 10),
        Geometry(2, 8, 1, 900, 16, (1, 3), (1, 1), (0, 1)),
        Geometry(1, 8, 40, 200, 40, (5, 5), (1, 1), (2, 2)),
    ],
    ids=lambda g: f"{g.channels}-{g.outputs}@{g.height}x{g.width}",
)
def test_exact_sums_of_layers(geometry: Geometry) -> None:
    check(geometry, 0.2, False)


def test_error_is_within_that_of_any_order_of_summation() -> None:
    geometry = Geometry(2, 30, 9, 7, 50, (3, 3), (1, 1), (1, 1))
    generator = torch.Generator().manual_seed(0)
    g = torch.randn(geometry.output_shape, generator=generator)
    weight = torch.randn(50, 30, 3, 3, generator=generator)
    window = windows(geometry, 0.5)
    found = InputGradient(geometry)(bits_of(window), g, weight)
    exact = dense(geometry, window, g, weight)
    terms = dense(geometry, window, g.abs(), weight.abs())
    assert ((found - exact).abs() <= 9 * 50 * 2.0**-24 * terms).all()
    assert found.abs().sum() > 0


def test_threads_have_no_influence_on_any_bit() -> None:
    geometry = Geometry(7, 24, 11, 13, 40, (3, 3), (1, 1), (1, 1))
    g = torch.randn(geometry.output_shape, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(40, 24, 3, 3, generator=torch.Generator().manual_seed(1))
    bits = bits_of(windows(geometry, 0.3))
    threads = torch.get_num_threads()
    try:
        found = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(InputGradient(geometry)(bits, g, weight))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(3, 57, 5, 7, 20, (3, 3), (1, 1), (1, 1)),
        Geometry(5, 64, 4, 4, 33, (3, 3), (2, 2), (1, 1)),
        Geometry(9, 20, 1, 1, 10),
        Geometry(2, 130, 6, 3, 7, (1, 1), (2, 2)),
        Geometry(1, 9, 3, 500, 40, (3, 4), (2, 1), (0, 2)),
        Geometry(3, 16, 8, 8, 8, (3, 3), (1, 1), (1, 1)),
        Geometry(2, 16, 6, 20, 150, (3, 3), (1, 1), (1, 1)),
    ],
    ids=lambda g: f"{g.channels}-{g.outputs}@{g.height}x{g.width}",
)
def test_writes_nothing_but_what_is_its_own(
    geometry: Geometry, density: float, guarded: Callable[[ModuleType], None]
) -> None:
    guarded(module)
    check(geometry, density, channels_last=density == 0.3)


def test_values_of_a_kernel_are_those_of_its_definition() -> None:
    """By hand, for the one that torch takes no part in: each place, tap and output."""
    geometry = Geometry(2, 3, 4, 5, 2, (2, 3), (2, 1), (1, 0))
    g, weight = case(geometry)
    window = windows(geometry, 0.7)
    found = InputGradient(geometry)(bits_of(window), g, weight)
    expected = torch.zeros_like(found)
    rows, columns = range(geometry.out_height), range(geometry.out_width)
    for row, column, i, j in product(rows, columns, range(2), range(3)):
        y, x = 2 * row + i - 1, column + j
        if 0 <= y < 4:
            expected[:, :, y, x] += g[:, :, row, column] @ weight[:, :, i, j]
    assert torch.equal(found, expected * window)


def test_tensors_of_another_connection_are_refused() -> None:
    geometry = Geometry(2, 8, 3, 3, 4, (3, 3), (1, 1), (1, 1))
    g, weight = case(geometry)
    bits = bits_of(windows(geometry, 0.3))
    for wrong in ((bits[:-1], g, weight), (bits, g[:1], weight), (bits, g, weight[:3])):
        with pytest.raises(ValueError, match="are not those of a connection"):
            InputGradient(geometry)(*wrong)
    with pytest.raises(ValueError, match="are not those of a connection"):
        InputGradient(geometry)(bits, g.double(), weight)


def test_no_samples_give_no_gradient() -> None:
    geometry = Geometry(0, 8, 3, 3, 4, (3, 3), (1, 1), (1, 1))
    g, weight = case(geometry)
    assert InputGradient(geometry)(bits_of(windows(geometry, 0.3)), g, weight).shape == (0, 8, 3, 3)

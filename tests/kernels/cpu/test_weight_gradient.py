"""The weight gradient of active inputs, against torch's dense one."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.grad import conv2d_weight

from clifctl.kernels.cpu import threads
from clifctl.kernels.cpu import weight_gradient as module
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.packing import bits_of
from clifctl.kernels.cpu.source import Active
from clifctl.kernels.cpu.weight_gradient import WeightGradient


@st.composite
def geometries(draw: Any) -> Geometry:
    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    kernel, stride, padding = pair(1, 5), pair(1, 3), pair(0, 3)
    height, width = (
        draw(st.integers(max(1, k - 2 * p), 13)) for k, p in zip(kernel, padding, strict=True)
    )
    channels = draw(st.sampled_from((1, 3, 4, 8, 20, 57, 64, 72, 130)))
    samples, outputs = draw(st.integers(1, 9)), draw(st.integers(1, 70))
    return Geometry(samples, channels, height, width, outputs, kernel, stride, padding)


def few(geometry: Geometry, rate: float, values: bool = False, seed: int = 0) -> Tensor:
    """Inputs that are 1, or multiples of 1/4, or 0."""
    source = torch.Generator().manual_seed(seed)
    shape = (geometry.samples, geometry.channels, geometry.height, geometry.width)
    x = (torch.rand(shape, generator=source) < rate).float()
    return x * torch.randint(-8, 9, shape, generator=source) / 4 if values else x


def sixtyfourths(geometry: Geometry, seed: int = 1) -> Tensor:
    """A gradient of multiples of 1/64: sums of these are exact in every order."""
    source = torch.Generator().manual_seed(seed)
    return torch.randint(-64, 65, geometry.output_shape, generator=source) / 64


def active(x: Tensor, values: bool = False) -> Active:
    return Active(bits_of(x), values=x.movedim(1, -1).contiguous() if values else None)


def dense(geometry: Geometry, x: Tensor, g: Tensor) -> Tensor:
    """In double precision."""
    shape = [geometry.outputs, geometry.channels, *geometry.kernel]
    return conv2d_weight(
        x.double(), shape, g.double(), stride=geometry.stride, padding=geometry.padding
    )


def check(geometry: Geometry, rate: float, values: bool, channels_last: bool) -> None:
    x, g = few(geometry, rate, values), sixtyfourths(geometry)
    weights, bias = WeightGradient(geometry, values, channels_last)(active(x, values), g)
    form = torch.channels_last if channels_last else torch.contiguous_format
    assert weights.is_contiguous(memory_format=form)
    assert torch.equal(weights.double(), dense(geometry, x, g))
    assert torch.equal(bias, g.sum((0, 2, 3)))


@pytest.mark.exhaustive
@given(geometries(), st.sampled_from((0.0, 0.02, 0.2, 1.0)), st.booleans(), st.booleans())
@settings(max_examples=400)
def test_every_shape_gives_the_dense_gradient_exactly(
    geometry: Geometry, rate: float, values: bool, channels_last: bool
) -> None:
    check(geometry, rate, values, channels_last)


@given(geometries(), st.sampled_from((0.0, 0.2, 1.0)), st.booleans(), st.booleans())
@example(Geometry(3, 8, 5, 6, 16, (3, 3), (1, 1), (1, 1)), 0.2, False, False)
@example(Geometry(2, 20, 11, 13, 5, (5, 4), (2, 3), (2, 1)), 0.2, True, True)
@example(Geometry(9, 130, 1, 1, 33), 0.2, False, False)
@example(Geometry(9, 1, 1, 1, 1), 1.0, True, True)
@example(Geometry(1, 1, 3, 1, 1, (2, 1), (2, 1)), 1.0, False, False)
@example(Geometry(1, 2, 1, 1, 1, (3, 3), (2, 2), (1, 1)), 1.0, False, True)
@example(Geometry(2, 3, 6, 5, 17, (2, 2), (3, 1), (3, 3)), 1.0, True, False)
@settings(max_examples=20)
def test_shapes_give_the_dense_gradient_exactly(
    geometry: Geometry, rate: float, values: bool, channels_last: bool
) -> None:
    check(geometry, rate, values, channels_last)


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(1, 3, 44, 50, 16, (3, 3), (1, 1), (1, 1)),  # tiles of rows
        Geometry(2, 2, 3, 1500, 3, (3, 5), (1, 1), (1, 2)),  # of columns
        Geometry(1, 4, 70, 80, 3, (7, 7), (2, 2), (3, 3)),  # with a stride
        Geometry(100, 5, 8, 8, 20, (3, 3), (1, 1), (1, 1)),  # of some images, the last of fewer
        Geometry(1, 1, 2, 9000, 1, (1, 3000), (1, 1), (0, 0)),  # of columns, with a wide kernel
        Geometry(200, 30, 1, 1, 150),  # of samples, several blocks at once
        Geometry(1, 300, 3, 3, 17, (5, 5), (1, 1), (2, 2)),  # more than one span of channels
    ],
)
@pytest.mark.parametrize("values", [False, True])
def test_tiles_and_spans_join(geometry: Geometry, values: bool) -> None:
    check(geometry, 0.2, values, channels_last=values)


def test_the_value_of_spikes_multiplies_the_weights_gradient_alone() -> None:
    geometry = Geometry(3, 9, 4, 4, 10, (3, 3), (1, 1), (1, 1))
    x, g = few(geometry, 0.3), sixtyfourths(geometry)
    spikes = Active(active(x).bits, value=1.25)
    weights, bias = WeightGradient(geometry)(spikes, g)
    assert torch.equal(weights.double(), 1.25 * dense(geometry, x, g))
    assert torch.equal(bias, g.sum((0, 2, 3)))


@pytest.mark.parametrize("values", [False, True])
def test_real_numbers_are_within_the_bound_of_their_sum(values: bool) -> None:
    geometry = Geometry(40, 7, 8, 8, 20, (3, 3), (1, 1), (1, 1))
    source = torch.Generator().manual_seed(2)
    x = few(geometry, 0.3, values) * (torch.rand(1, generator=source) if values else 1.0)
    g = torch.randn(geometry.output_shape, generator=source)
    weights, bias = WeightGradient(geometry, values)(active(x, values), g)
    unit = 2.0**-24
    terms = geometry.samples * geometry.height * geometry.width
    error = (weights.double() - dense(geometry, x, g)).abs()
    assert (error <= terms * unit * dense(geometry, x.abs(), g.abs())).all()
    error = (bias.double() - g.double().sum((0, 2, 3))).abs()
    assert (error <= terms * unit * g.double().abs().sum((0, 2, 3))).all()


@pytest.mark.parametrize("values", [False, True])
def test_no_number_of_threads_changes_a_bit(values: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SMALL_JOB", 0)
    geometry = Geometry(20, 30, 9, 9, 50, (3, 3), (1, 1), (1, 1))
    x = few(geometry, 0.3, values)
    g = torch.randn(geometry.output_shape, generator=torch.Generator().manual_seed(2))
    found = []
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(WeightGradient(geometry, values)(active(x, values), g))
    finally:
        torch.set_num_threads(before)
    for weights, bias in found[1:]:
        assert torch.equal(weights, found[0][0])
        assert torch.equal(bias, found[0][1])


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(7, 20, 5, 6, 19, (3, 3), (1, 1), (1, 1)),
        Geometry(5, 65, 9, 7, 33, (3, 2), (2, 3), (0, 1)),
        Geometry(50, 64, 1, 1, 16),
        Geometry(50, 20, 1, 1, 150),
        Geometry(2, 3, 31, 40, 5, (5, 5), (2, 1), (2, 2)),
        Geometry(2, 9, 3, 3, 2, (1, 1), (2, 2), (1, 1)),
    ],
)
def test_nothing_is_written_beside_a_buffer_nor_read_before_it_is_written(
    geometry: Geometry, values: bool, guarded: Callable[[ModuleType], None]
) -> None:
    x, g = few(geometry, 1.0, values), sixtyfourths(geometry)
    expected = dense(geometry, x, g)
    given_bits = active(x, values)
    guarded(module)
    for channels_last in (False, True):
        weights, bias = WeightGradient(geometry, values, channels_last)(given_bits, g)
        assert torch.equal(weights.double(), expected)
        assert torch.equal(bias, g.sum((0, 2, 3)))


def test_tensors_of_another_connection_are_refused() -> None:
    geometry = Geometry(3, 8, 5, 6, 16, (3, 3), (1, 1), (1, 1))
    given_bits, g = active(few(geometry, 0.3)), sixtyfourths(geometry)
    with_values = active(few(geometry, 0.3, values=True), values=True)
    for wrong, gradient in (
        (Active(given_bits.bits[:-1]), g),
        (with_values, g),
        (given_bits, g[:2]),
        (given_bits, g.double()),
    ):
        with pytest.raises(ValueError, match="these tensors are not those of a connection"):
            WeightGradient(geometry)(wrong, gradient)
    with pytest.raises(ValueError, match="these tensors are not those of a connection"):
        WeightGradient(geometry, with_values=True)(given_bits, g)


def test_a_gradient_in_any_layout_gives_the_same() -> None:
    geometry = Geometry(3, 8, 5, 6, 16, (3, 3), (1, 1), (1, 1))
    x, g = active(few(geometry, 0.3)), sixtyfourths(geometry)
    expected = WeightGradient(geometry)(x, g)
    turned = g.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    for other in (g.contiguous(memory_format=torch.channels_last), turned):
        found = WeightGradient(geometry)(x, other)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])

"""Statistics of batch norm to what arithmetic allows, and the passes on any number of threads."""

import math

import pytest
import torch
from torch import Tensor

from clifctl.kernels import batch_moments
from clifctl.kernels.cpu.moments import CHUNK
from clifctl.kernels.cpu.numba_passes import RUN
from clifctl.kernels.cpu.parts import LONG
from clifctl.kernels.flat import SampleLayout
from clifctl.kernels.layout import Layout
from clifctl.kernels.norm_passes import corrected

# Small samples, one sample, many channels, vectors; odd sizes, and more than one group of rows.
SHAPES = [(3, 7, 5, 19, 23), (1, 1, 5, 64, 64), (2, 13, 64, 3, 3), (3, 701, 5), (1, 2, 3)]
IMAGES = [shape for shape in SHAPES if len(shape) == 5]
# Half a unit in the last place of float32, relative.
UNIT = 2.0**-24
LAYOUTS = [(shape, False) for shape in SHAPES] + [(shape, True) for shape in IMAGES]


def numbers(shape: tuple[int, ...], channels_last: bool, mean: float, deviation: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = (mean + deviation * torch.randn(shape, generator=generator, dtype=torch.float64)).float()
    return x.movedim(2, -1).contiguous().movedim(-1, 2) if channels_last else x


def exact(x: Tensor) -> tuple[Tensor, Tensor]:
    """In float64, of distances from a value near the mean: nothing is lost far from zero."""
    rows = x.double().transpose(1, 2).flatten(2)
    middle = rows.mean(-1, keepdim=True).float().double()
    mean = (rows - middle).mean(-1, keepdim=True)
    return (middle + mean)[..., 0], (rows - middle - mean).square().mean(-1)


def error(found: Tensor, expected: Tensor) -> float:
    return float(((found.double() - expected) / expected).abs().max())


def rounding(x: Tensor, channels_last: bool) -> float:
    """What float32 may lose of a sum of squares, relative to it: n additions in any order, since
    every CPU has its own, and four more roundings (a distance, twice in its square; the square;
    the result). n is the number of elements that are added up before float64 takes over."""
    inner = 1 if channels_last else math.prod(x.shape[3:])
    return (4 + (min(inner, RUN) if inner > LONG else CHUNK)) * UNIT


@pytest.mark.parametrize(("shape", "channels_last"), LAYOUTS)
def test_far_from_zero_nothing_is_lost(shape: tuple[int, ...], channels_last: bool) -> None:
    x = numbers(shape, channels_last, 1e4, 1.0)
    allowed = rounding(x, channels_last)
    mean, variance = exact(x)
    ours = batch_moments(x)
    assert ours[0].shape == ours[1].shape == (shape[0], shape[2])
    # The mean of squares less the square of the mean would be off by 1e8 units.
    assert error(ours[1], variance) <= allowed
    # The distances are 1e-4 of the mean, and so is what is lost of them: half a unit in the last
    # place is left.
    assert error(ours[0], mean) <= UNIT * (1 + 1e-4 * allowed / UNIT)
    # Steps together: as accurate, whatever lies between their means.
    x[0] -= 1e4
    mean, variance = exact(x.flatten(0, 1)[None])
    ours = batch_moments(x, together=True)
    assert ours[0].shape == ours[1].shape == (1, shape[2])
    assert error(ours[1], variance) <= allowed
    assert ((ours[0] - mean).abs() <= allowed + UNIT * mean.abs()).all()


@pytest.mark.parametrize(("shape", "channels_last"), LAYOUTS)
def test_near_zero(shape: tuple[int, ...], channels_last: bool) -> None:
    x = numbers(shape, channels_last, 0.1, 1.0)
    allowed = rounding(x, channels_last)
    mean, variance = exact(x)
    ours = batch_moments(x)
    assert error(ours[1], variance) <= allowed
    assert float((ours[0] - mean).abs().max()) <= allowed


@pytest.mark.parametrize("channels_last", [False, True])
def test_sums_of_whole_numbers_are_exact(channels_last: bool) -> None:
    """No sum of a run rounds, in whatever order it is added up: each is balanced about its centre.
    What is left is the final rounding, so that long sums must have been float64's."""
    # Innermost channels that are whole vectors: what is added up is a channel's.
    centre, samples, channels, size = 10_000, 40, 1040 if channels_last else 2, (6, 16)
    generator = torch.Generator().manual_seed(0)
    half = torch.randint(-50, 51, (2, samples, channels, 6, 8), generator=generator)
    x = (centre + torch.stack([half, -half], -1).reshape(2, samples, channels, *size)).float()
    if channels_last:
        x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    else:
        x += torch.arange(samples).view(-1, 1, 1, 1)  # a centre for each run
    mean, variance = exact(x)
    ours = batch_moments(x)
    assert torch.equal(ours[0], mean.float())
    assert torch.equal(ours[1], variance.float())


@pytest.mark.parametrize(("shape", "channels_last"), LAYOUTS)
def test_double_precision_is_double(shape: tuple[int, ...], channels_last: bool) -> None:
    x = numbers(shape, channels_last, 1e4, 1.0).double() / 3
    mean, variance = exact(x)
    ours = batch_moments(x)
    assert error(ours[1], variance) < 1e-11
    assert error(ours[0], mean) < 1e-14


@pytest.mark.parametrize("outlier", [1e6, -1e8])
@pytest.mark.parametrize(("shape", "channels_last"), [LAYOUTS[0], LAYOUTS[3], LAYOUTS[5]])
def test_one_huge_value_that_comes_first(
    shape: tuple[int, ...], channels_last: bool, outlier: float
) -> None:
    x = numbers(shape, channels_last, 0.0, 1.0)
    first = (slice(None), 0, slice(None), *[0] * (len(shape) - 3))
    x[first] = outlier
    mean, variance = exact(x)
    ours = batch_moments(x)
    allowed = rounding(x, channels_last)
    assert error(ours[1], variance) <= allowed
    # The distances of a run add up to twice the outlier.
    assert error(ours[0], mean) <= 2 * allowed


@pytest.mark.parametrize("value", [0.0, 0.1, -12345.678])
@pytest.mark.parametrize(("shape", "channels_last"), [LAYOUTS[0], LAYOUTS[3], LAYOUTS[5]])
def test_a_constant_has_no_variance(
    shape: tuple[int, ...], channels_last: bool, value: float
) -> None:
    x = numbers(shape, channels_last, value, 0.0)
    mean, variance = batch_moments(x)
    assert torch.allclose(mean, x.new_tensor(value).expand_as(mean), rtol=1e-7, atol=0)
    # Distances from a middle that is itself rounded; all of them are equal, and so is their mean.
    allowed = rounding(x, channels_last)
    assert variance.max().item() <= 2 * allowed * (allowed * value) ** 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("shape", "channels_last"), [LAYOUTS[0], LAYOUTS[3], LAYOUTS[5]])
def test_what_is_not_finite_stays_in_its_channel_and_step(
    shape: tuple[int, ...], channels_last: bool, value: float
) -> None:
    x = numbers(shape, channels_last, 0.0, 1.0)
    x[(1, shape[1] - 1, 3, *[0] * (len(shape) - 3))] = value
    for found in batch_moments(x):
        finite = found.isfinite()
        assert not finite[1, 3]
        assert finite.sum().item() == finite.numel() - 1
    assert batch_moments(x)[1][1, 3].isnan()


def test_nothing_has_no_statistics() -> None:
    mean, variance = batch_moments(torch.empty(2, 0, 3, 4, 4))
    assert mean.shape == variance.shape == (2, 3)
    assert mean.isnan().all()
    assert variance.isnan().all()


@pytest.mark.parametrize("channels_last", [False, True])
def test_passes_are_bit_identical_at_any_number_of_threads(channels_last: bool) -> None:
    x = numbers((2, 11, 6, 31, 33), channels_last, 3.0, 2.0)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append([*batch_moments(x), _corrected(x)])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert torch.equal(a, b)


def _corrected(x: Tensor) -> Tensor:
    """g - level - slope * (x - mean) for numbers made of x."""
    layout = Layout.of(x)
    rows = layout.rows(x, x.dtype)
    mean, level, slope = (torch.arange(12.0).view(2, 6) * k for k in (1, 0.5, -0.25))
    found = corrected(rows.cos(), rows, mean, level, slope, layout.sample)
    return layout.shaped(found)


@pytest.mark.parametrize(("shape", "channels_last"), LAYOUTS)
def test_the_correction_of_the_gradient(shape: tuple[int, ...], channels_last: bool) -> None:
    x = numbers(shape, channels_last, 0.5, 1.0).double()
    layout = Layout.of(x)
    assert layout.sample == SampleLayout(shape[2], 1 if channels_last else math.prod(shape[3:]))
    per_channel = (shape[0], 1, shape[2], *[1] * (len(shape) - 3))
    mean, level, slope = (
        torch.linspace(-k, 1.0, shape[0] * shape[2], dtype=torch.float64).view(shape[0], shape[2])
        for k in (1, 2, 3)
    )
    rows = layout.rows(x, x.dtype)
    found = layout.shaped(corrected(rows.sin(), rows, mean, level, slope, layout.sample))
    m, a, b = (t.view(per_channel) for t in (mean, level, slope))
    assert torch.allclose(found, x.sin() - a - b * (x - m), atol=1e-14, rtol=0)


def test_the_statistics_hold_what_torch_asks_of_an_operator() -> None:
    for x in (torch.randn(2, 3, 4), numbers((2, 3, 4, 5, 3), True, 0.0, 1.0)):
        for together in (False, True):
            torch.library.opcheck(torch.ops.clifctl.moments.default, (x, together))

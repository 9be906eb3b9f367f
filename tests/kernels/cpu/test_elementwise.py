"""The operations of a neuron's step on vectors: the numbers of torch, NaN and infinity included."""

from typing import Any

import pytest
import torch
from numba import njit
from torch import Tensor

from clifctl.kernels.cpu import elementary
from clifctl.kernels.cpu import elementwise as vec
from clifctl.kernels.cpu.vectors import LANES

ODD = [0.0, -0.0, 1.0, -1.5, float("nan"), float("inf"), -float("inf"), 3e-39, 0.1, -7.25]


def pairs(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Every odd number with every other, filled up to whole vectors."""
    grid = torch.cartesian_prod(*[torch.tensor(ODD, dtype=dtype)] * 2)
    whole = -(-len(grid) // LANES) * LANES
    first, second = torch.cat([grid, grid[: whole - len(grid)]]).T.contiguous()
    return first.contiguous(), second.contiguous()


def computed(expressions: list[str], x: Tensor, y: Tensor) -> list[Tensor]:
    """What expressions of vectors x and y give, a vector at a time: in one function, for each
    takes a while to compile."""
    kind, item = ("floats", 4) if x.dtype == torch.float32 else ("doubles", 8)
    lines = [
        "def run(a, b, out, size):",
        f"    for at in range(0, size, {LANES * item}):",
        f"        x, y = vec.load_{kind}(a + at), vec.load_{kind}(b + at)",
        f"        ZERO, ONE = vec.{kind}(0.0), vec.{kind}(1.0)",
        *(
            f"        vec.store_{kind}(out + {place} * size + at, {expression})"
            for place, expression in enumerate(expressions)
        ),
    ]
    names: dict[str, Any] = {"vec": vec, "sigmoid_double": elementary.sigmoid_double}
    exec("\n".join(lines), names)
    out = torch.empty(len(expressions), len(x), dtype=x.dtype)
    njit(names["run"])(x.data_ptr(), y.data_ptr(), out.data_ptr(), len(x) * item)
    return list(out)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether all numbers are equal, zeros' signs and NaN included."""
    numbers = torch.equal(a.nan_to_num(7.0, 8.0, 9.0), b.nan_to_num(7.0, 8.0, 9.0))
    return (
        numbers
        and torch.equal(a.isnan(), b.isnan())
        and torch.equal(a.signbit() | a.isnan(), b.signbit() | b.isnan())
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_operations_are_those_of_torch(dtype: torch.dtype) -> None:
    x, y = pairs(dtype)
    wanted = {
        "vec.add(x, y)": x + y,
        "vec.sub(x, y)": x - y,
        "vec.mul(x, y)": x * y,
        "vec.div(x, y)": x / y,
        "vec.neg(x)": -x,
        "vec.absolute(x)": x.abs(),
        "vec.spike(x)": torch.where(x.isnan(), x, (x >= 0).to(x.dtype)),
        # Of two zeros either.
        "vec.add(ZERO, vec.minimum(x, y))": torch.minimum(x, y) + 0.0,
        "vec.add(ZERO, vec.maximum(x, y))": torch.maximum(x, y) + 0.0,
        "vec.at_most(x, ONE)": x.clamp(max=1.0),
        "vec.at_least(x, ONE)": x.clamp(min=1.0),
    }
    for name in ("gt", "ge", "lt", "le", "eq", "ne"):
        wanted[f"vec.where(vec.{name}(x, y), x, ONE)"] = torch.where(
            getattr(torch, name)(x, y), x, torch.ones_like(x)
        )
    for expression, given in zip(wanted, computed(list(wanted), x, y), strict=True):
        assert same(given, wanted[expression]), expression


def test_masks_are_joined_and_written_as_bits() -> None:
    @njit
    def run(a: int, b: int, bits: int) -> tuple[bool, bool]:
        x, y = vec.load_floats(a), vec.load_floats(b)
        small, large = vec.lt(x, vec.floats(3.0)), vec.gt(y, vec.floats(4.0))
        vec.store_bits(bits, vec.both(small, large))
        vec.store_bits(bits + 2, vec.either(small, vec.inverse(large)))
        vec.store_bits(bits + 4, vec.where(small, large, vec.inverse(small)))
        return vec.is_any(vec.both(small, vec.inverse(small))), vec.is_any(small)

    x, y = (torch.arange(LANES).float() % k for k in (7, 5))
    bits = torch.full((8,), 0xA5, dtype=torch.uint8)
    y = y * 2
    assert run(x.data_ptr(), y.data_ptr(), bits.data_ptr()) == (False, True)
    small, large = x < 3, y > 4
    wanted = (small & large, small | ~large, torch.where(small, large, ~small))
    for place, mask in enumerate(wanted):
        found = bits[2 * place : 2 * place + LANES // 8]
        assert torch.equal((found[:, None] >> torch.arange(8) & 1).flatten().bool(), mask)
    assert bits[6:].tolist() == [0xA5, 0xA5]


def test_bfloat16_is_read_and_rounded_as_torch_does() -> None:
    @njit
    def run(a: int, out: int) -> None:
        vec.store_bfloat16(out, vec.load_floats(a))

    @njit
    def back(a: int, out: int) -> None:
        vec.store_floats(out, vec.load_bfloat16(a))

    # Halves that are rounded to even, up and down, and the largest.
    bits = [0x3F808000, 0x3F818000, 0x3F808001, 0x3F80FFFF, 0x7F7FFFFF, 0x7F800000, 0x7F800001]
    x = torch.tensor((bits + [0xBF80 << 16] * LANES)[:LANES], dtype=torch.int64)
    x = x.to(torch.int32).view(torch.float32)
    out = torch.empty(LANES, dtype=torch.bfloat16)
    run(x.data_ptr(), out.data_ptr())
    assert same(out.float(), x.bfloat16().float())
    again = torch.empty(LANES)
    back(out.data_ptr(), again.data_ptr())
    assert same(again, out.float())


def test_a_total_is_in_double_precision_in_the_order_of_elements() -> None:
    @njit
    def run(a: int, before: float) -> float:
        return vec.total(vec.load_floats(a), before)

    x = torch.rand(LANES, generator=torch.Generator().manual_seed(0))
    expected = 0.1
    for number in x.double().tolist():
        expected += number
    assert run(x.data_ptr(), 0.1) == expected


def test_functions_of_double_precision_are_those_of_the_c_library() -> None:
    x = torch.linspace(-30, 30, 4 * LANES, dtype=torch.float64)
    wanted = {
        "vec.exp_double(x)": x.exp(),
        "vec.tanh_double(x)": x.tanh(),
        "sigmoid_double(x)": x.sigmoid(),
    }
    for expression, given in zip(wanted, computed(list(wanted), x, x), strict=True):
        torch.testing.assert_close(given, wanted[expression], rtol=1e-14, atol=0)

"""Products, sums and pools of `Spikes`.

A product of spikes is spikes, and so is a maximum; a mean of spikes, a sum of spikes, or a product
with any numbers, is sparse values; a sum with floats is the floats, changed where there is a spike.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.backward import NO_BACKWARD, backward_pass
from clifctl.kernels.cpu.source import SLACK, Active, room_for_bits
from clifctl.kernels.eager import is_eager, is_transformed
from clifctl.kernels.spikes.tensor import (
    Memory,
    Spikes,
    SurrogateWindow,
    channels_last,
    handles,
    innermost_channels,
    packed,
    part_of_bits,
)

aten = torch.ops.aten
# Below it float32 holds every whole number.
EXACT = 1 << 24

# --- products -----------------------------------------------------------------------------------


@handles(aten.mul.Tensor)
def _product(a: Any, b: Any) -> Any:
    if not isinstance(a, Spikes):
        a, b = b, a
    if backward_pass() != NO_BACKWARD:
        return _of_gradient(b, a)
    if a.run() is None:
        return NotImplemented
    if isinstance(b, Spikes):
        return _of_spikes(a, b)
    if isinstance(b, int | float) or (type(b) is Tensor and b.dim() == 0):
        return _scaled(a, b)
    return _of_numbers(a, b)


def _of_gradient(g: Any, spikes: Spikes) -> Any:
    """A gradient times spikes, which is no spike."""
    if not _fit(g, spikes):
        return NotImplemented
    from clifctl.kernels.cpu import bit_passes

    run, held = spikes.run(), spikes.memory.active
    assert run is not None
    assert held is not None
    out = torch.empty_like(g)
    bit_passes.multiplied(held.bits, run[0], held.value, g.detach(), out)
    return out


def _scaled(x: Spikes, number: Any) -> Any:
    factor = float(number)
    run, value = x.run(), x.value
    is_float32 = not isinstance(number, Tensor) or number.dtype == torch.float32
    if run is None or value is None or not math.isfinite(factor) or not is_float32:
        return NotImplemented
    # Rounded as the product of the floats is.
    scaled = float(
        torch.tensor(value, device=CPU) * torch.tensor(factor, dtype=torch.float32, device=CPU)
    )
    if not math.isfinite(scaled) or (isinstance(number, Tensor) and number.requires_grad):
        return NotImplemented
    return _alike(x, Active(x.active(run).bits, scaled), _own_window(x))


def _of_numbers(x: Spikes, numbers: Any) -> Any:
    """The product with a tensor of any numbers: sparse values. What is 0 times infinity is kept."""
    size = x.place[0]
    if type(numbers) is not Tensor or numbers.dtype != torch.float32:
        return NotImplemented
    if numbers.requires_grad or torch.broadcast_shapes(size, numbers.shape) != size:
        return NotImplemented
    return as_sparse(x.floats() * numbers, _own_window(x))


def _of_spikes(a: Spikes, b: Spikes) -> Any:
    """The product of spikes, one of which may be broadcast."""
    if a.numel() < b.numel():
        a, b = b, a
    size = a.place[0]
    if b.run() is None or a.value is None or b.value is None:
        return NotImplemented
    if len(b.shape) != len(size) or torch.broadcast_shapes(size, b.shape) != size:
        return NotImplemented
    value = float(torch.tensor(a.value, device=CPU) * torch.tensor(b.value, device=CPU))
    both = _Bytes.of(a), _Bytes.of(b)
    if not _can_meet(a, b) or value == 0.0 or not math.isfinite(value):
        return NotImplemented
    product = _Bytes.whole(both[0].bits & both[1].bits, size)
    return _alike(a, Active(product, value), _window_of_product(a, b, *both))


def _can_meet(a: Spikes, b: Spikes) -> bool:
    """Whether their bits can be met byte by byte."""
    same = a.shape == b.shape
    return same or (a.shape[_channel(a)] % 8 == 0 and a.shape[_channel(a)] == b.shape[_channel(b)])


def _channel(x: Spikes) -> int:
    return -3 if x.dim() >= 4 else -1


def _window_of_product(
    a: Spikes, b: Spikes, a_bits: "_Bytes", b_bits: "_Bytes"
) -> SurrogateWindow | None:
    """The gradient of a product is needed where that of one factor is and the other is not 0."""
    opened: Tensor | None = None
    watches: tuple[Any, ...] = ()
    for x, other in ((a, b_bits), (b, a_bits)):
        if not x.requires_grad:
            continue
        if x.window is None or not torch.is_grad_enabled():
            return None
        own = _Bytes.of(x, x.window.bits).bits & other.bits
        opened = own if opened is None else opened | own
        watches += x.window.watches
    if opened is None:
        return None
    return SurrogateWindow(_Bytes.whole(opened, a.place[0]), watches)


class _Bytes:
    """Bits of spikes as bytes: `[.., H, W, C / 8]` where channels fill bytes, else in a line."""

    def __init__(self, bits: Tensor) -> None:
        self.bits = bits

    @classmethod
    def of(cls, x: Spikes, bits: Tensor | None = None) -> "_Bytes":
        """The bytes of `x`, or those of other `bits` in the order of its memory."""
        run = x.run()
        assert run is not None
        if bits is None:
            assert x.memory.active is not None
            bits = x.memory.active.bits
        part, count = part_of_bits(bits, *run), run[1]
        line = part[: -(-count // 8)]
        size = list(x.place[0])
        channels = size.pop(_channel(x))
        return cls(line if channels % 8 else line.view(*size, channels // 8))

    @staticmethod
    def whole(found: Tensor, size: Sequence[int]) -> Tensor:
        """`found` with the slack that bits of spikes `size` have behind them."""
        bits = room_for_bits(math.prod(size))
        bits[: len(bits) - SLACK] = found.reshape(-1)
        return bits


def _own_window(x: Spikes) -> SurrogateWindow | None:
    run = x.run()
    if x.window is None or run is None or not torch.is_grad_enabled():
        return None
    return x.window.part(*run)


def _alike(x: Spikes, active: Active, window: SurrogateWindow | None) -> Spikes:
    made = Spikes.whole(active, x.place[0])
    made.window = window
    return made


def as_sparse(x: Tensor, window: SurrogateWindow | None = None) -> Spikes:
    """What differs from 0 in a plain float32 tensor, as `Spikes` with values."""
    lying = channels_last(x)
    values = lying.clone() if lying.data_ptr() == x.data_ptr() else lying
    made = Spikes.whole(Active(packed(x), values=values), x.shape)
    made.window = window
    return made


def as_spikes(x: Tensor, value: float) -> Spikes:
    """`value` times a plain float32 tensor of 0 and 1, as `Spikes` without a gradient."""
    return Spikes.whole(Active(packed(x), value), x.shape)


class _Sparse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return as_sparse(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g


def sparse(x: Tensor) -> Tensor:
    """`x` `[.., C, H, W]` or `[.., C]`, few of whose elements differ from 0 (event frames, say), as
    `Spikes` with values: a float tensor, with a gradient, whose zeros cost a convolution or linear
    layer behind it nothing. What is no plain float32 tensor on the CPU is returned as it is.
    """
    known = is_eager(x) and not is_transformed(x)
    if not known or x.dtype != torch.float32 or x.device.type != CPU:
        return x
    found: Tensor = _Sparse.apply(x)
    return found


# --- sums ---------------------------------------------------------------------------------------


@handles(aten.add.Tensor)
def _sum(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    if isinstance(a, Spikes) and isinstance(b, Spikes):
        return NotImplemented if alpha != 1 else _of_both(a, b)
    x, spikes = (b, a) if isinstance(a, Spikes) else (a, b)
    if alpha != 1 or not _fit(x, spikes):
        return NotImplemented
    return _added(x, spikes, torch.empty_like(x))


def _of_both(a: Spikes, b: Spikes) -> Any:
    """The sum of spikes, or of sparse values: sparse values, such as those of SEW-ResNet."""
    if a.shape != b.shape or a.run() is None or b.run() is None:
        return NotImplemented
    return as_sparse(a.floats() + b.floats(), _window_of_sum(a, b))


def _window_of_sum(a: Spikes, b: Spikes) -> SurrogateWindow | None:
    """The gradient of a sum is needed where that of one of both is."""
    needed = [x for x in (a, b) if x.requires_grad]
    if not needed or not torch.is_grad_enabled() or any(x.window is None for x in needed):
        return None
    windows = [x.window for x in needed if x.window is not None]
    parts = [_Bytes.of(x, w.bits).bits for x, w in zip(needed, windows, strict=True)]
    opened = parts[0] | parts[-1]
    watches = tuple(watch for window in windows for watch in window.watches)
    return SurrogateWindow(_Bytes.whole(opened, a.place[0]), watches)


@handles(aten.add_.Tensor)
def _sum_in_place(x: Any, spikes: Any, *, alpha: Any = 1) -> Any:
    if isinstance(x, Spikes) and isinstance(spikes, Spikes):
        # As `out += shortcut` is written; what is a part of its memory is written as floats.
        whole = x.run() == (0, x.memory.elements)
        total = _of_both(x, spikes) if whole and alpha == 1 else NotImplemented
        if total is NotImplemented:
            return NotImplemented
        x.memory.replace(total.memory.active)
        x.window = total.window
        return x
    if alpha != 1 or not _fit(x, spikes):
        return NotImplemented
    return _added(x, spikes, x)


def _fit(x: Any, spikes: Any) -> bool:
    """Whether floats and spikes lie in the same order."""
    return (
        type(x) is Tensor
        and isinstance(spikes, Spikes)
        and spikes.value is not None
        and spikes.run() is not None
        and x.dtype == torch.float32
        and x.device == spikes.device
        and tuple(x.shape) == spikes.place[0]
        and _lies_alike(x)
    )


def _lies_alike(x: Tensor) -> bool:
    wanted = innermost_channels(x.shape)
    return all(n == 1 or a == b for n, a, b in zip(x.shape, x.stride(), wanted, strict=True))


def _added(x: Tensor, spikes: Spikes, out: Tensor) -> Tensor:
    from clifctl.kernels.cpu import bit_passes

    run, held = spikes.run(), spikes.memory.active
    assert run is not None
    assert held is not None
    bit_passes.added(held.bits, run[0], held.value, x.detach(), out.detach())
    return out


@handles(aten.cat.default)
def _joined(parts: Sequence[Any], dim: int = 0) -> Any:
    """Spikes side by side are spikes, where all are of one value; else sparse values."""
    if not all(isinstance(x, Spikes) and x.run() is not None for x in parts):
        return NotImplemented
    whole = aten.cat.default([x.floats() for x in parts], dim)
    value = parts[0].value
    if value is None or any(x.value != value for x in parts):
        joined = as_sparse(whole)
    else:
        joined = Spikes.whole(Active(packed(whole), value), whole.shape)
    joined.window = _joined_window(parts, dim)
    return joined


def _joined_window(parts: Sequence[Spikes], dim: int) -> SurrogateWindow | None:
    """The gradient of each part is needed where its own is."""
    if not torch.is_grad_enabled() or any(x.window is None for x in parts):
        return None
    windows = [x.window for x in parts if x.window is not None]
    opened = [
        Spikes(Memory(Active(window.bits), x.memory.elements), x.place).floats()
        for x, window in zip(parts, windows, strict=True)
    ]
    watches = tuple(watch for window in windows for watch in window.watches)
    return SurrogateWindow(packed(aten.cat.default(opened, dim)), watches)


@handles(aten.sum.default, aten.sum.dim_IntList)
def _total(
    x: Any, dims: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    """Spikes are counted where all features of a step or sample are added up."""
    run, size = x.run(), x.place[0]
    whole = range(len(size)) if not dims else sorted(d % len(size) for d in dims)
    first = len(size) - len(whole)
    if x.value != 1.0 or run is None or keepdim or list(whole) != list(range(first, len(size))):
        return NotImplemented
    if first > len(size) + _channel(x):  # their elements are no run
        return NotImplemented
    from clifctl.kernels.cpu import bit_passes

    assert x.memory.active is not None
    rows, features = math.prod(size[:first]), math.prod(size[first:])
    if features >= EXACT:
        return NotImplemented
    found = bit_passes.counted_rows(x.memory.active.bits, run[0], rows, features)
    return found.view(size[:first]).to(dtype or torch.float32)


# --- pools --------------------------------------------------------------------------------------


@handles(aten.max_pool2d_with_indices.default)
def _max_pool(x: Any, kernel: Any, stride: Any = (), padding: Any = 0, *rest: Any) -> Any:
    pooled, places = aten.max_pool2d_with_indices.default(
        x.floats(), kernel, stride, padding, *rest
    )
    if x.value is None or x.run() is None:
        return pooled, places
    window = None if any(rest) else _pooled_window(x, kernel, stride, padding, pooled)
    made = Spikes.whole(Active(packed(pooled), x.value), pooled.shape)
    made.window = window
    return made, places


@handles(aten.max_pool2d_with_indices_backward.default)
def _max_pool_backward(g: Any, x: Any, *rest: Any) -> Any:
    if not isinstance(x, Spikes):
        return NotImplemented
    size, stride, _ = x.place  # which is all that it asks for
    like = torch.empty_strided(size, stride, device=CPU)
    return aten.max_pool2d_with_indices_backward.default(g, like, *rest)


@handles(aten.avg_pool2d.default)
def _average_pool(x: Any, kernel: Any, stride: Any = (), padding: Any = 0, *rest: Any) -> Any:
    pooled = aten.avg_pool2d.default(x.floats(), kernel, stride, padding, *rest)
    if x.run() is None:
        return pooled
    window = None if any(rest[:1]) else _pooled_window(x, kernel, stride, padding, pooled)
    return as_sparse(pooled, window)


@handles(aten.avg_pool2d_backward.default)
def _average_pool_backward(g: Any, x: Any, *rest: Any) -> Any:
    if not isinstance(x, Spikes):
        return NotImplemented
    size, stride, _ = x.place
    return aten.avg_pool2d_backward.default(g, torch.empty_strided(size, stride, device=CPU), *rest)


def _pooled_window(
    x: Any, kernel: Any, stride: Any, padding: Any, like: Tensor
) -> SurrogateWindow | None:
    """The gradient of what is pooled is needed where that of any of its inputs is."""
    if x.window is None or x.dim() != 4 or x.shape[1] % 8 or not torch.is_grad_enabled():
        return None
    (rows, columns), (down, right), (top, left) = map(_pair, (kernel, stride or kernel, padding))
    bits = _Bytes.of(x, x.window.bits).bits
    samples, height, width, channels = bits.shape
    out_height, out_width = like.shape[2:]
    # With room around for every place that a kernel may cover.
    reach = ((out_height - 1) * down + rows, (out_width - 1) * right + columns)
    shape = (max(height + top, reach[0]), max(width + left, reach[1]))
    wide = bits.new_zeros((samples, *shape, channels))
    wide[:, top : top + height, left : left + width] = bits
    opened = bits.new_zeros((samples, out_height, out_width, channels))
    for i in range(rows):
        for j in range(columns):
            opened |= wide[
                :, i : i + reach[0] - rows + 1 : down, j : j + reach[1] - columns + 1 : right
            ]
    return SurrogateWindow(_Bytes.whole(opened, like.shape), x.window.watches)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])

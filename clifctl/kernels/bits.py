"""Spikes kept for backward as one bit an element.

What saves a tensor for its backward saves it through `spikes_as_bits`: a tensor that is known to be
spikes, because a neuron has marked its memory, is kept as bits and unpacked when it is asked for;
any other is kept as it is. The mark lies on the memory, so that views carry it, and holds for one
version of it: what is changed in place is no longer known. Nothing is recognised by its values.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from clifctl.devices import CPU
from clifctl.kernels.eager import is_eager, is_transformed
from clifctl.kernels.threads import run_units

_MARK = "clifctl_spikes"
# Bytes of bits that are one unit of work.
BLOCK = 16 * 1024
# Whole numbers of the size of a floating-point one.
_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass
class _Mark:
    """Memory that holds nothing but 0 and `value`, at one version of it; its bits, once made."""

    version: int
    value: float
    dtype: torch.dtype
    bits: Tensor | None = None


@dataclass(frozen=True)
class _Whole:
    """A tensor that is kept as it is, and the version of it that was saved."""

    tensor: Tensor
    version: int


@dataclass(frozen=True)
class _Kept:
    """What is kept instead of a tensor: the bits of its whole memory, and where it lies in it."""

    bits: Any
    value: float
    dtype: torch.dtype
    elements: int
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


def mark_spikes(x: Tensor, value: float = 1.0) -> None:
    """Say that `x`, which fills its memory, holds nothing but 0 and `value`."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or is_transformed(x):
        return
    setattr(x.untyped_storage(), _MARK, _Mark(x._version, value, x.dtype))


def spike_value(x: Tensor) -> float | None:
    """The value of the spikes that `x` is known to hold; None where it is not known to."""
    mark = _mark_of(x)
    return None if mark is None else mark.value


def _mark_of(x: Tensor) -> _Mark | None:
    if torch.compiler.is_compiling() or is_transformed(x):
        return None
    mark = getattr(x.untyped_storage(), _MARK, None)
    if mark is None or mark.version != x._version:
        return None
    # The same memory can be read as something else: numbers of another kind, or negated.
    return mark if mark.dtype == x.dtype and not x.is_neg() else None


@contextmanager
def spikes_as_bits() -> Iterator[None]:
    """Within it, what is saved for backward is kept as bits where it is known to be spikes. Hooks
    for saved tensors that are set around it get the bits, and everything else, as they would."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or _hooks_are_refused():
        yield
        return
    outer: Any = torch._C._autograd._top_saved_tensors_default_hooks(False)
    keep, give = outer or (_whole, _unchanged)
    with saved_tensors_hooks(_packer(keep), _unpacker(give)):
        yield


def _hooks_are_refused() -> bool:
    """As within torch.func.grad."""
    return torch._C._autograd._saved_tensors_hooks_get_disabled_error_message() is not None


def _whole(x: Tensor) -> _Whole:
    # Detached: an operation that saved its own result would hold itself in memory.
    return _Whole(x.detach(), x._version)


def _unchanged(kept: _Whole) -> Tensor:
    """What torch checks of a tensor that it keeps itself, and of none that a hook has kept."""
    if kept.tensor._version != kept.version:
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: {kept.tensor.dtype} {list(kept.tensor.shape)} is at version "
            f"{kept.tensor._version}; expected version {kept.version} instead"
        )
    return kept.tensor


def _packer(keep: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    def pack(x: Tensor) -> Any:
        mark = _mark_of(x)
        if mark is None:
            return keep(x)
        elements = x.untyped_storage().nbytes() // x.element_size()
        if mark.bits is None:
            flat = x.detach().as_strided((elements,), (1,), 0)
            mark.bits = (pack_bits if is_eager(flat) else _pack_bits)(flat)
        return _Kept(
            keep(mark.bits), mark.value, x.dtype, elements,
            x.size(), x.stride(), int(x.storage_offset()),
        )  # fmt: skip

    return pack


def _unpacker(give: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    def unpack(kept: Any) -> Tensor:
        if not isinstance(kept, _Kept):
            return give(kept)
        bits = give(kept.bits)
        unpacked = unpack_bits if is_eager(bits) else _unpack_bits
        flat = unpacked(bits, kept.elements, kept.dtype, kept.value)
        return flat.as_strided(kept.size, kept.stride, kept.offset)

    return unpack


def pack_bits(x: Tensor) -> Tensor:
    """One bit an element of `x` `[n]`, set where it is not 0: uint8 `[ceil(n / 8)]`."""
    bits = x.new_empty(-(-len(x) // 8), dtype=torch.uint8)
    whole = x.view(_WHOLE[x.element_size()])
    if x.device.type != CPU:
        padded = torch.nn.functional.pad((whole != 0).to(torch.uint8), (0, -len(x) % 8))
        return (padded.view(-1, 8) << _places(x)).sum(1, dtype=torch.uint8)
    from clifctl.kernels import numba_passes

    given, made = whole.numpy(), bits.numpy()
    run_units(
        lambda first, last: numba_passes.pack(first, last, BLOCK, given, made),
        -(-len(bits) // BLOCK),
        len(x),
    )
    return bits


_pack_bits = torch.library.custom_op("clifctl::pack_bits", pack_bits, mutates_args=())


@_pack_bits.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(-(-len(x) // 8), dtype=torch.uint8)


def unpack_bits(bits: Tensor, elements: int, dtype: torch.dtype, value: float) -> Tensor:
    """The inverse: `[elements]` of `dtype`, `value` where a bit is set, else 0."""
    x = bits.new_empty(elements, dtype=dtype)
    if bits.device.type != CPU:
        each = (bits[:, None] >> _places(bits)) & 1
        return each.view(-1)[:elements].to(dtype) * value
    from clifctl.kernels import numba_passes

    whole = _WHOLE[x.element_size()]
    given, made = bits.numpy(), x.view(whole).numpy()
    one = torch.tensor([value], dtype=dtype).view(whole).numpy()[0]
    run_units(
        lambda first, last: numba_passes.unpack(first, last, BLOCK, given, one, made),
        -(-len(bits) // BLOCK),
        elements,
    )
    return x


_unpack_bits = torch.library.custom_op("clifctl::unpack_bits", unpack_bits, mutates_args=())


@_unpack_bits.register_fake
def _(bits: Tensor, elements: int, dtype: torch.dtype, value: float) -> Tensor:
    return bits.new_empty(elements, dtype=dtype)


def _places(like: Tensor) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=like.device)

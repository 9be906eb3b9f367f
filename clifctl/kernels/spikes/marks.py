"""Spikes that are floats, kept for backward as one bit an element: on a GPU, by the reference, in
compiled nets, where connections are dense, and where spikes are few. Elsewhere spikes are bits from
the start (`clifctl.kernels.spikes.tensor`).

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

from clifctl.kernels.cpu.paths import recording
from clifctl.kernels.eager import is_eager, is_transformed
from clifctl.kernels.spikes.bits import pack_bits, pack_operator, unpack_bits, unpack_operator
from clifctl.kernels.spikes.tensor import Spikes

_MARK = "clifctl_spikes"


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
    if torch.compiler.is_compiling() or is_transformed(x):
        return
    if not (torch.is_grad_enabled() or recording()):  # nobody will ask
        return
    if x.is_inference():  # it has no version, by which a change would be seen
        return
    if isinstance(x, Spikes):  # which know it themselves
        return
    setattr(x.untyped_storage(), _MARK, _Mark(x._version, value, x.dtype))


def spike_value(x: Tensor) -> float | None:
    """The value of the spikes that `x` is known to hold; None where it is not known to."""
    if isinstance(x, Spikes):
        return x.value
    mark = _mark_of(x)
    return None if mark is None else mark.value


def _mark_of(x: Tensor) -> _Mark | None:
    if torch.compiler.is_compiling() or is_transformed(x) or isinstance(x, Spikes):
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
            mark.bits = (pack_bits if is_eager(flat) else pack_operator)(flat)
        return _Kept(
            keep(mark.bits),
            mark.value,
            x.dtype,
            elements,
            x.size(),
            x.stride(),
            int(x.storage_offset()),
        )

    return pack


def _unpacker(give: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    def unpack(kept: Any) -> Tensor:
        if not isinstance(kept, _Kept):
            return give(kept)
        bits = give(kept.bits)
        unpacked = unpack_bits if is_eager(bits) else unpack_operator
        flat = unpacked(bits, kept.elements, kept.dtype, kept.value)
        return flat.as_strided(kept.size, kept.stride, kept.offset)

    return unpack

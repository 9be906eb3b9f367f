"""What operations of aten, and functions of torch, do with `Spikes` in hand."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from clifctl.devices import CPU
from clifctl.kernels.cpu.rule import too_few
from clifctl.kernels.cpu.source import Active
from clifctl.kernels.spikes.tensor import (
    FUNCTIONS,
    Memory,
    Spikes,
    SurrogateWindow,
    handles,
    innermost_channels,
    packed,
    viewed,
)

aten = torch.ops.aten

# --- the same spikes ----------------------------------------------------------------------------


@handles(aten.detach.default, aten.alias.default)
def _same(x: Spikes) -> Spikes:
    # Also what torch itself does to a tensor that it saves: the window goes with it.
    return Spikes(x.memory, x.place, x.window)


@handles(aten._unsafe_view.default)
def _view(x: Spikes, size: Sequence[int]) -> Any:
    # Whose schema does not say that it is a view.
    return viewed(aten.view.default, x, (tuple(size),), {})


@handles(aten.clone.default)
def _clone(x: Spikes, *, memory_format: torch.memory_format | None = None) -> Any:
    run = x.run()
    if run is None:
        return NotImplemented
    reordered = memory_format == torch.contiguous_format and x.dim() >= 4
    # Maps are flattened: what is behind them reads vectors.
    if reordered and x.value is not None:
        features = math.prod(x.place[0][-3:])
        if too_few(run[1], features, maps=False):
            return x.floats().contiguous()
    window = _window(x, run) if torch.is_grad_enabled() else None
    size = x.place[0]
    cloned = Spikes(Memory(x.active(run), run[1]), (size, innermost_channels(size), 0), window)
    return _reordered(cloned) if reordered else cloned


def _window(x: Spikes, run: tuple[int, int]) -> SurrogateWindow | None:
    return None if x.window is None else x.window.part(*run)


def _reordered(x: Spikes) -> Spikes:
    """`[.., C, H, W]` with its pixels innermost, as torch's default has them: the bits in that
    order."""
    size, held = x.place[0], x.memory.active
    if size[-1] == size[-2] == 1:
        return x
    assert held is not None

    def moved(flat: Tensor) -> Tensor:
        return flat.as_strided(*x.place).contiguous().view(-1)

    def bits(of: Active) -> Tensor:
        return packed(moved(Memory(of, x.memory.elements).read(0, x.memory.elements)))

    values = None if held.values is None else moved(held.values)
    memory = Memory(Active(bits(Active(held.bits)), held.value, values), x.memory.elements)
    window = (
        None if x.window is None else SurrogateWindow(bits(Active(x.window.bits)), x.window.watches)
    )
    stride = torch.empty(size, device="meta").stride()
    return Spikes(memory, (size, stride, 0), window)


def _unread(operation: Any) -> Any:
    """An operation that asks for no more than the shape: it gets a tensor of unknown content."""

    def run(x: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, Spikes):
            return NotImplemented
        size, stride, _ = x.place
        return operation(torch.empty_strided(size, stride, device=CPU), *args, **kwargs)

    return run


for _operation in (
    aten.empty_like.default, aten.zeros_like.default, aten.ones_like.default,
    aten.full_like.default, aten.rand_like.default, aten.randn_like.default,
    aten.new_empty.default, aten.new_zeros.default, aten.new_ones.default, aten.new_full.default,
):  # fmt: skip
    handles(_operation)(_unread(_operation))

# --- functions of torch -------------------------------------------------------------------------


def _watched(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Somebody looks at the gradient of spikes: it is computed everywhere."""
    for x in tree_leaves((args, kwargs)):
        if isinstance(x, Spikes) and x.window is not None:
            x.window.observe()
    return func(*args, **kwargs)


def _without_window(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Somebody cuts the graph, and may ask for the gradient of what follows."""
    result = func(*args, **kwargs)
    if isinstance(result, Spikes):
        result.window = None
    return result


def _with_memory(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Somebody asks where the floats lie: they are made, and stay."""
    x, *rest = args
    return func(x.melted(), *rest, **kwargs)


def _with_floats(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x, *rest = args
    return func(x.floats(), *rest, **kwargs)


def _numpy(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """An array of floats, which cannot be written to: that would not reach the spikes."""
    x, *rest = args
    if x.requires_grad and not kwargs.get("force", rest and rest[0]):
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    array = x.floats().numpy()
    array.flags.writeable = False
    return array


def _array(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x, *rest = args
    array = _numpy(Tensor.numpy, (x,), {})
    return array if not rest or rest[0] is None else array.astype(rest[0], copy=False)


def _reduced(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Spikes are pickled as the plain tensor that they look like."""
    x, *rest = args
    plain = x.floats().clone().requires_grad_(x.requires_grad)
    return plain.__reduce_ex__(*rest, **kwargs)


def _deepcopied(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x, memo = args
    if x.requires_grad and not x.is_leaf:
        return func(*args, **kwargs)  # refused, in torch's words
    if id(x) not in memo:
        with torch.no_grad():
            memo[id(x)] = x.clone().requires_grad_(x.requires_grad)
    return memo[id(x)]


def _attribute(name: str) -> Any:
    """The function by which torch is asked for an attribute of a tensor."""
    return getattr(Tensor, name)


_LOOKS = (
    Tensor.register_hook, Tensor.register_post_accumulate_grad_hook, Tensor.retain_grad,
    Tensor.requires_grad_, _attribute("requires_grad").__set__, _attribute("grad_fn").__get__,
    torch.autograd.grad, torch.autograd.backward,
)  # fmt: skip
_CUTS = (Tensor.detach, torch.detach, _attribute("data").__get__)
_MEMORY = (
    Tensor.data_ptr, Tensor.untyped_storage, Tensor.storage, Tensor._typed_storage,
    Tensor.share_memory_, Tensor.is_shared, Tensor.__dlpack__,
)  # fmt: skip

FUNCTIONS |= dict.fromkeys(_LOOKS, _watched)
FUNCTIONS |= dict.fromkeys(_CUTS, _without_window)
FUNCTIONS |= dict.fromkeys(_MEMORY, _with_memory)
FUNCTIONS |= {
    Tensor.tolist: _with_floats,
    Tensor.numpy: _numpy,
    Tensor.__array__: _array,
    Tensor.__reduce_ex__: _reduced,
    Tensor.__deepcopy__: _deepcopied,
}

"""Spikes as a tensor of their own kind: bits inside, a float tensor to everybody who asks.

What a neuron gives are `Spikes`: a wrapper subclass of `torch.Tensor` that holds one bit an element
(`clifctl.kernels.cpu.source.Active`). Its `__torch_dispatch__` sits below autograd. Operations that
understand bits get them (`HANDLERS`: `clifctl.kernels.spikes.operations`, `.connections`), so
that a `torch.nn.Conv2d` behind a neuron does the work that spikes cause, and what autograd keeps
are bits. Every other operation gets floats, made for it and not kept.

Spikes are a view, as any tensor is, of memory that is shared by all views of it: a line of
elements. What writes in place turns the memory into floats, for good; they are plain from then on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from clifctl.devices import CPU
from clifctl.kernels.cpu.source import Active, bits_bytes

_CPU = torch.device(CPU)
# Size, stride and offset of a view.
Place = tuple[tuple[int, ...], tuple[int, ...], int]


class Memory:
    """A line of elements that Spikes are views of: `active` (bits, its values in one dimension),
    or, once something was written in place, `floats` alone."""

    def __init__(self, active: Active, elements: int) -> None:
        self.active: Active | None = active
        self.elements = elements
        self.floats: Tensor | None = None
        self.written = 0  # how often something else came to lie there as bits
        self._counts: dict[tuple[int, int], int] = {}

    def replace(self, active: Active) -> None:
        """Let other elements lie here, which all views see from now on."""
        self.active = active
        self.written += 1
        self._counts.clear()

    def melt(self) -> Tensor:
        """The elements as floats that stay, for what writes to them."""
        if self.floats is None:
            self.floats = self.read(0, self.elements)
            self.active = None
        return self.floats

    def read(self, first: int, count: int) -> Tensor:
        """`count` elements from `first`, a multiple of 8, as floats; not to be written to."""
        if self.active is None or self.active.values is not None:
            held = self.floats if self.active is None else self.active.values
            assert held is not None
            return held[first : first + count]
        from clifctl.kernels.cpu.packing import floats_of

        return floats_of(self.active.bits[first // 8 :], (count,), self.active.value)

    def density(self, first: int, count: int) -> float:
        """Which part of `count` elements from `first` is active."""
        assert self.active is not None
        return _density(self.active.bits, first, count, self._counts)


def _density(bits: Tensor, first: int, count: int, known: dict[tuple[int, int], int]) -> float:
    if (first, count) not in known:
        from clifctl.kernels.cpu import bit_passes

        known[first, count] = bit_passes.counted(bits, first, count)
    return known[first, count] / max(1, count)


@dataclass
class Watch:
    """Whether the gradient of spikes is observed."""

    seen: bool = False


@dataclass(frozen=True)
class SurrogateWindow:
    """Where the surrogate's derivative is not 0, as bits in the order of the spikes' memory. The
    neuron multiplies the gradient of its spikes by 0 elsewhere, so nobody needs it there, unless
    it is observed (`watches`: of every neuron that the gradient comes to)."""

    bits: Tensor
    watches: tuple[Watch, ...] = field(default_factory=lambda: (Watch(),))
    _counts: dict[tuple[int, int], int] = field(default_factory=dict)

    def density(self, first: int, count: int) -> float:
        """Which part of `count` elements from `first` is open."""
        return _density(self.bits, first, count, self._counts)

    def part(self, first: int, count: int) -> "SurrogateWindow":
        """The window of `count` elements from `first`."""
        return SurrogateWindow(part_of_bits(self.bits, first, count), self.watches)

    @property
    def observed(self) -> bool:
        """Whether the gradient is observed."""
        return any(watch.seen for watch in self.watches)

    def observe(self) -> None:
        """Note that it is observed from now on."""
        for watch in self.watches:
            watch.seen = True


def part_of_bits(bits: Tensor, first: int, count: int) -> Tensor:
    """The bits of `count` elements from `first`; a view where they begin at a byte."""
    if first % 8 == 0:
        return bits[first // 8 : first // 8 + bits_bytes(count)]
    from clifctl.kernels.cpu import bit_passes

    return bit_passes.moved(bits, first, count)


class Spikes(Tensor):
    """Spikes `[.., C, H, W]` or `[.., C]`: a view of `memory`. `window` is where their gradient is
    needed; None: everywhere."""

    memory: Memory
    _window: tuple[SurrogateWindow | None, int]

    @staticmethod
    def __new__(
        cls, memory: Memory, place: Place, window: SurrogateWindow | None = None
    ) -> "Spikes":
        size, stride, offset = place
        made: Spikes = torch.Tensor._make_wrapper_subclass(
            cls, size, strides=stride, storage_offset=offset, dtype=torch.float32, device=_CPU
        )
        made.memory = memory
        made.window = window
        return made

    @classmethod
    def whole(cls, active: Active, size: Sequence[int], window: Tensor | None = None) -> "Spikes":
        """Spikes that fill a memory of their own; `active.values` and `window` (bits) lie in the
        same order."""
        size = tuple(size)
        elements = 1
        for length in size:
            elements *= length
        if active.values is not None:
            active = Active(active.bits, 1.0, active.values.reshape(-1))
        place = (size, innermost_channels(size), 0)
        return cls(
            Memory(active, elements), place, None if window is None else SurrogateWindow(window)
        )

    def __repr__(self) -> str:  # type: ignore[override]
        with torch._C.DisableTorchFunctionSubclass():
            shown, node, needed = repr(self.floats())[:-1], self.grad_fn, self.requires_grad
        if node is not None:
            return f"{shown}, grad_fn=<{node.name()}>)"
        return f"{shown}, requires_grad=True)" if needed else f"{shown})"

    @property
    def window(self) -> SurrogateWindow | None:
        """Where the gradient is needed: everywhere (None) once something else lies in the memory
        than when that was said."""
        window, written = self._window
        return window if written == self.memory.written else None

    @window.setter
    def window(self, window: SurrogateWindow | None) -> None:
        self._window = window, self.memory.written

    @property
    def place(self) -> Place:
        """Size, stride and offset."""
        with torch._C.DisableTorchFunctionSubclass():
            return tuple(self.size()), self.stride(), int(self.storage_offset())

    def floats(self) -> Tensor:
        """As a plain tensor without a gradient, not to be written to."""
        size, stride, offset = self.place
        first = offset // 8 * 8
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1
        if 0 in size:
            first = last = 0
        line = self.memory.read(first, last - first)
        return line.as_strided(size, stride, line.storage_offset() + offset - first)

    def melted(self) -> Tensor:
        """As a plain tensor whose memory is that of these spikes from now on, floats."""
        return self.memory.melt().as_strided(*self.place)

    def run(self) -> tuple[int, int] | None:
        """`(first, count)` where these are a run of elements in the memory, channels innermost and
        without gaps; None where they are not, or are no longer bits."""
        size, stride, offset = self.place
        if self.memory.active is None or not _is_run(size, stride):
            return None
        count = 1
        for length in size:
            count *= length
        return offset, count

    def active(self, run: tuple[int, int]) -> Active:
        """What is active in a `run`; its values in one dimension."""
        held = self.memory.active
        assert held is not None
        first, count = run
        values = None if held.values is None else held.values[first : first + count]
        return Active(part_of_bits(held.bits, first, count), held.value, values)

    @property
    def value(self) -> float | None:
        """What every spike is; None where they differ, or are no longer known to be spikes."""
        held = self.memory.active
        return None if held is None or held.values is not None else held.value

    @property
    def parts(self) -> list[Tensor]:
        """The tensors that hold these spikes."""
        held = self.memory.active
        parts = [self.memory.floats] if held is None else [held.bits, held.values]
        parts.append(None if self.window is None else self.window.bits)
        return [part for part in parts if part is not None]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        special = FUNCTIONS.get(func)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs) if special is None else special(func, args, kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        handler = HANDLERS.get(func)
        if handler is not None:
            result = handler(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if _is_composite(func):  # in inference mode: a reshape, say, which may copy or not
            return func.decompose(*args, **kwargs)
        kind = _kind(func)
        if kind == "view" and isinstance(args[0], Spikes):
            return viewed(func, args[0], args[1:], kwargs)
        if kind == "writes":
            return _written(func, args, kwargs)
        args, kwargs = tree_map_only(Spikes, Spikes.floats, (args, kwargs))
        return func(*args, **kwargs)


class _AsFloats(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Spikes) -> Tensor:
        floats = x.floats()
        bits = x.value is not None
        return floats if bits else floats.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g


def as_floats(x: Tensor) -> Tensor:
    """Spikes as a plain tensor, with a gradient; any other tensor as it is."""
    if not isinstance(x, Spikes):
        return x
    found: Tensor = _AsFloats.apply(x)
    return found


def _leave_to_python(function: Any) -> None:
    """Keep torch's compiler from `function` and what it calls: where a compiled program has to run
    spikes eagerly, it would try to compile the functions that do."""
    frames: Any = torch._C._dynamo.eval_frame
    if hasattr(frames, "set_code_exec_strategy"):  # since torch 2.7
        skip = frames._FrameAction.SKIP
        strategy = frames._FrameExecStrategy(skip, skip)
        frames.set_code_exec_strategy(function.__code__, strategy)


_leave_to_python(Spikes.__torch_function__.__func__)  # type: ignore[attr-defined]
_leave_to_python(Spikes.__torch_dispatch__.__func__)  # type: ignore[attr-defined]

# Operation of aten -> what does it with bits in hand, or gives NotImplemented.
HANDLERS: dict[Any, Callable[..., Any]] = {}
# Function of torch -> what is done in its place: `(function, args, kwargs)`.
FUNCTIONS: dict[Any, Callable[[Any, Sequence[Any], dict[str, Any]], Any]] = {}


def handles(*operations: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function does these operations of aten on Spikes."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        HANDLERS.update(dict.fromkeys(operations, handler))
        return handler

    return register


def innermost_channels(size: Sequence[int]) -> tuple[int, ...]:
    """Strides of `[.., C, H, W]` (of `[.., C]` below four dimensions) with channels innermost."""
    order = list(range(len(size)))
    if len(size) >= 4:
        order.append(order.pop(-3))
    stride, step = [0] * len(size), 1
    for dim in reversed(order):
        stride[dim] = step
        step *= size[dim]
    return tuple(stride)


@lru_cache(maxsize=4096)
def _is_run(size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    wanted = innermost_channels(size)
    return all(n == 1 or s == w for n, s, w in zip(size, stride, wanted, strict=True))


def packed(x: Tensor) -> Tensor:
    """The bits of a plain float tensor in the order in which its channels are innermost, with the
    slack behind them."""
    from clifctl.kernels.cpu.packing import bits_of

    return bits_of(channels_last(x).reshape(-1))


def channels_last(x: Tensor) -> Tensor:
    """A plain `[.., C, H, W]` as contiguous `[.., H, W, C]`; below four dimensions as it is."""
    return (x.movedim(-3, -1) if x.dim() >= 4 else x).contiguous()


@lru_cache(maxsize=1024)
def _is_composite(func: Any) -> bool:
    """Whether torch makes an operation of others, which it does itself outside of inference
    mode."""
    return bool(func._can_decompose())


@lru_cache(maxsize=1024)
def _kind(func: Any) -> str:
    """What an operation does to the memory of its arguments: "writes", "view" or "reads"."""
    schema = func._schema
    arguments = [a for a in schema.arguments if a.alias_info is not None]
    if any(a.alias_info.is_write for a in arguments):
        return "writes"
    return "view" if any(r.alias_info is not None for r in schema.returns) else "reads"


def viewed(func: Any, x: Spikes, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A view of spikes is spikes: where it lies is found on a tensor without values."""
    fixed = tuple(tuple(a) if isinstance(a, list) else a for a in args)
    try:
        places = _places(func, x.place, x.memory.elements, fixed, tuple(kwargs.items()))
    except TypeError:  # lists among the named arguments
        places = _placed(func, x.place, x.memory.elements, args, kwargs)
    if places is None:  # memory seen as something else, such as whole numbers
        return func(x.melted(), *args, **kwargs)
    # An ordinary step of training makes its views with a graph. Without one they are made by what
    # hands gradients to somebody, such as a module's hooks, or where there will be no gradient.
    window = x.window if torch.is_grad_enabled() else None
    if isinstance(places, list):
        return [Spikes(x.memory, place, window) for place in places]
    return Spikes(x.memory, places, window)


def _placed(
    func: Any, place: Place, elements: int, args: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    like = torch.empty(elements, device="meta").as_strided(*place)
    found = func(like, *args, **kwargs)
    if isinstance(found, Tensor):
        if found.dtype != torch.float32 or found.is_neg():
            return None
        return (tuple(found.shape), found.stride(), int(found.storage_offset()))
    return [(tuple(f.shape), f.stride(), int(f.storage_offset())) for f in found]


@lru_cache(maxsize=4096)
def _places(
    func: Any, place: Place, elements: int, args: tuple[Any, ...], kwargs: tuple[Any, ...]
) -> Any:
    return _placed(func, place, elements, args, dict(kwargs))


def _written(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """An operation that writes to some of its arguments: spikes among them become floats."""
    if torch.Tag.inplace_view in func.tags:
        raise RuntimeError(
            f"{func} changes the shape of spikes in place, which cannot be done: use the operation "
            "that returns a new tensor"
        )
    schema = func._schema.arguments
    written: dict[int, Spikes] = {}

    def plain(argument: Any, value: Any) -> Any:
        write = argument.alias_info is not None and argument.alias_info.is_write

        def one(x: Spikes) -> Tensor:
            if not write:
                return x.floats()
            floats = x.melted()
            written[id(floats)] = x
            kept.append(floats)
            return floats

        return tree_map_only(Spikes, one, value)

    kept: list[Tensor] = []
    # Those that are read come first: what is read may be a view of what is written.
    named = {a.name: a for a in schema}
    pairs = [*zip(schema, args, strict=False), *((named[k], v) for k, v in kwargs.items())]
    given = [plain(argument, value) for argument, value in pairs]
    keywords = dict(zip(kwargs, given[len(args) :], strict=True))
    result = func(*given[: len(args)], **keywords)
    return tree_map_only(Tensor, lambda t: written.get(id(t), t), result)

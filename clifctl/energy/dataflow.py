"""What a net calls while it runs, each tensor followed from the operation that made it.

So what feeds an operation is known by data flow, never by looking at values. Modules are watched
only where neurons run, by what `clifctl.models.firing_modules` says, wherever the batch norm before
them is computed: this file is all of `energy` that depends on how nets are built. A function of
torch that has no rule, applied to something that depends on the image, is an operation whose price
is not known: it is `computed` as that, with its name and place.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from clifctl.devices import CPU, GPU
from clifctl.energy.calls import MOVED, OperatorCall, Value, flat
from clifctl.energy.composites import COMPOSITES, first_tensor
from clifctl.energy.rules import RULES
from clifctl.errors import EnergyError
from clifctl.models import SpikingLayer, SpikingNet, TemporalBatchNorm, firing_modules

_EXPANDING = frozenset(("expand", "expand_as", "broadcast_to", "repeat", "tile"))
# Functions that move values around, or leave some of them out.
_STRUCTURE = _EXPANDING | {
    *("flatten", "unflatten", "ravel", "view", "view_as", "reshape", "reshape_as", "contiguous"),
    *("transpose", "permute", "movedim", "moveaxis", "swapaxes", "swapdims", "t", "T", "mT"),
    *("getitem", "narrow", "select", "index_select", "gather", "take_along_dim", "diagonal"),
    *("unsqueeze", "squeeze", "chunk", "split", "split_with_sizes", "tensor_split", "unbind"),
    *("hsplit", "vsplit", "repeat_interleave", "roll", "flip", "fliplr", "flipud", "rot90"),
    *("pad", "unfold", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "tril", "triu"),
    *("native_channel_shuffle", "clone", "detach", "data", "copy", "setitem", "requires_grad"),
    *("to", "type", "type_as", "float", "double", "half", "bfloat16", "bool", "int", "long"),
    *(CPU, GPU, "neg", "negative", "positive", "broadcast_tensors", "real", "imag"),
}
_DROPOUTS = frozenset(
    ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
)
# Functions that write into their first argument.
_WRITING = frozenset(("setitem", "copy"))
# Functions whose result has nothing of the values: new tensors of the same kind.
_MAKERS = re.compile(r"(new|zeros|ones|empty|full|rand|randn|bernoulli)(_\w+)?")


class DataFlow(TorchFunctionMode, ABC):
    """Sees every function of torch that a net calls while it is followed.

    What is seen is passed on in the order in which it is computed: `began` with the image, then
    `computed` for an operation that has a rule and `fired` for a layer of neurons, `ended` last.
    No tensor is held on to.
    """

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.layers: dict[nn.Module, str] = {}
        self._sources = WeakTensorKeyDictionary()
        self._modules: list[str] = []
        self._in_neurons = 0

    @abstractmethod
    def began(self, image: Tensor) -> None:
        """The net starts to run on `image` `[T, N, *]` (of a static one: `[1, N, *]`)."""

    @abstractmethod
    def computed(self, call: OperatorCall, fields: dict[str, Any]) -> None:
        """An operation was computed; `fields` is what its rule says of it."""

    @abstractmethod
    def fired(
        self,
        layer: SpikingLayer,
        norms: Sequence[TemporalBatchNorm],
        operand: Value,
        spikes: Tensor,
    ) -> None:
        """A layer of neurons gave `spikes` `[T, N, *]` for `operand`, after the batch norms that it
        computed together with its neurons."""

    @abstractmethod
    def ended(self) -> None:
        """The net has run."""

    def comes_from(self, source: int, steps: int, result: Tensor) -> Value:
        """Let `result` be known as that of operation `source`, computed at `steps` time steps."""
        self._sources[result] = (source, steps)
        return Value(source, steps, result)

    @contextmanager
    def following(self, net: SpikingNet) -> Iterator[None]:
        """Follow every run of `net` within the block."""
        self.layers = {module: name for name, module in firing_modules(net).items()}
        with ExitStack() as hooks:
            for name, module in net.named_modules():
                entering = module.register_forward_pre_hook(self._entering(name))
                leaving = module.register_forward_hook(
                    self._leave, with_kwargs=True, always_call=True
                )
                hooks.callback(entering.remove)
                hooks.callback(leaving.remove)
            with self:
                yield

    def _entering(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, args: Any) -> None:
            if not self._modules:
                self._sources.clear()
                self.began(args[0])
            self._modules.append(name)
            self._in_neurons += module in self.layers

        return enter

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        place = self._modules.pop()
        neurons = isinstance(module, SpikingLayer) and module in self.layers
        if neurons and output is not None:
            self._fired(place, module, (*args, *kwargs.values()), output[0])
        # Now only: what is counted of the spikes is no operation of the net.
        self._in_neurons -= neurons
        if output is None:  # it raised
            return
        if not self._modules:
            self.ended()

    def _fired(self, place: str, layer: Any, given: tuple[Any, ...], spikes: Tensor) -> None:
        operand = next(self._known(given), None)
        if operand is None:
            raise EnergyError(f"the layer of neurons '{place}' gets nothing that depends on data")
        norms = [n for n in (*layer.modules(), *given) if isinstance(n, TemporalBatchNorm)]
        self.fired(layer, norms, operand, spikes)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        if self._in_neurons or not self._modules:
            return result
        operands = tuple(self._known((*args, *given.values())))
        name = _name_of(func)
        of = [args[0]] if name == "setitem" else [result]
        made = [item for item in flat(of) if isinstance(item, Tensor)]
        if operands and made and not self._is_known_composite(name, args, given, made):
            self._take(OperatorCall(name, args, given, made[0], operands, self.timesteps), made)
        return result

    def _is_known_composite(
        self, name: str, args: Any, given: dict[str, Any], made: list[Tensor]
    ) -> bool:
        """Whether a call is several operations; then these have been followed."""
        if name not in COMPOSITES:
            return False
        with self:
            last = first_tensor(COMPOSITES[name](*args, **given))
        if last is None:
            return False
        for tensor in made:
            self._sources[tensor] = self._sources[last]
        return True

    def _take(self, call: OperatorCall, made: list[Tensor]) -> None:
        """Pass a call on, or let what it `made` be known as what it moved."""
        rule = RULES.get(call.name)
        fields = rule(call) if rule is not None else None
        if fields is MOVED or (fields is None and self._moves(call)):
            for tensor in made:
                self._move(call, tensor)
        elif fields is not None or not _MAKERS.fullmatch(call.name):
            self.computed(call, fields or {"kind": "unpriced"})
            source, steps = self._sources[call.result]
            for tensor in made[1:]:
                self.comes_from(source, steps, tensor)

    def _known(self, items: Iterable[Any]) -> Iterator[Value]:
        """The arguments that depend on the image."""
        for item in flat(items):
            if isinstance(item, Tensor) and item in self._sources:
                source, steps = self._sources[item]
                yield Value(source, steps, item)

    def _moves(self, call: OperatorCall) -> bool:
        if call.name in _DROPOUTS:
            training = call.bound("input", "p", "training").get("training", True)
            return not training
        if call.name == "setitem" and len({operand.source for operand in call.operands}) > 1:
            return False
        return call.name in _STRUCTURE

    def _move(self, call: OperatorCall, tensor: Tensor) -> None:
        value = call.operands[-1 if call.name in _WRITING else 0]
        times = self.timesteps // value.steps
        steps = value.steps
        if call.name in _EXPANDING and tensor.numel() == value.tensor.numel() * times:
            # What was computed for one time step stands for all of them.
            steps *= times
        elif _is_one_step(call):
            steps = 1
        self.comes_from(value.source, steps, tensor)

    def place(self) -> str:
        """Where in the net it is, for a message."""
        return f"module '{self.module}'" if self.module else "the net's own forward"

    @property
    def module(self) -> str:
        """The name of the innermost module that runs, empty in the net's own forward."""
        return next((name for name in reversed(self._modules) if name), "")


def _is_one_step(call: OperatorCall) -> bool:
    """Whether a call takes a single time step out of a sequence `[T, *]`."""
    if call.x.shape[:1] != (call.operands[0].steps,):
        return False
    if call.name == "getitem":
        index = call.args[1]
        first = index[0] if isinstance(index, tuple) and index else index
        if isinstance(first, slice):  # as x[:1]
            return call.x.shape[0] > 1 == call.result.shape[0]
        return isinstance(first, int)
    if call.name not in ("select", "unbind"):
        return False
    return call.bound("input", "dim").get("dim", 0) in (0, -call.x.dim())


def _name_of(func: Any) -> str:
    """`add` for `torch.add`, `Tensor.add_` and `Tensor.__add__`; a property has its own name."""
    name = str(getattr(func, "__name__", func))
    if name == "__get__":
        name = str(getattr(func.__self__, "__name__", name))
    return name.strip("_")

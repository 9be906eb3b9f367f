"""A person's own net, tried on shapes alone: what it returns, and what it must not do.

It runs on the meta device, where nothing is computed: what asks for a value is found there too.
"""

import copy
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.errors import ClifctlError, ModelError
from clifctl.foreign_code import in_a_line
from clifctl.models.layers import SpikingLayer
from clifctl.models.norm import TemporalBatchNorm
from clifctl.models.own.nodes import has_memory
from clifctl.models.own.steps import StepSpiking
from clifctl.models.spiking import Spiking

_NORMS = (TemporalBatchNorm, nn.modules.batchnorm._NormBase)
# What torch keeps in a module of its own accord.
_TORCHS = frozenset(vars(nn.Module()))


@dataclass(frozen=True)
class Tried:
    """What a net did: `output` is the shape that it returned, `layers` the shapes `[T, N, *]` of
    the input of its layers of neurons, in the order in which they ran."""

    output: tuple[int, ...]
    layers: dict[str, tuple[int, ...]]


def try_shapes(
    net: nn.Module, run: Callable[[Any, Tensor], Any], x: Tensor, where: str, file: str | None
) -> Tried:
    """The module `net.net` on `x` `[T, N, *]` (meta), by `run` of a copy of `net`, in evaluation
    and in training.

    Raises ModelError for a net that fails, and says in which layer; that changes its input or keeps
    anything between calls; that has no layer of neurons, or runs one twice or on other shapes than
    `[T, N, *]`; and that returns no tensor. `file` is the net's own, whose lines are named.
    """
    trial = _Trial(_on_meta(net, where), x, where, file)
    trial.run(run, training=False)
    before = _kept(trial.net)
    found = trial.run(run, training=False)
    _require_nothing_kept(before, _kept(trial.net), where)
    trial.run(run, training=True)
    _require_nothing_kept(before, _kept(trial.net), where)
    return found


def _on_meta(net: nn.Module, where: str) -> nn.Module:
    try:
        return copy.deepcopy(net).to("meta")
    except Exception as refused:
        raise ModelError(
            f"{where} cannot be copied: {in_a_line(refused)}",
            hint="what it holds beside its modules, parameters and buffers must be plain values",
        ) from refused


class _Trial:
    def __init__(self, whole: Any, x: Tensor, where: str, file: str | None) -> None:
        self.whole = whole
        self.net: nn.Module = whole.net
        self.x = x
        self.where = where
        self.file = file
        self._running: list[tuple[str, nn.Module, Any]] = []
        self._layers: dict[str, tuple[int, ...]] = {}
        self._shown: dict[str, str] = {}
        for name, module in self.net.named_modules():
            if isinstance(module, SpikingLayer):
                stub: Any = self._stub(name, module)
                module.forward = stub  # type: ignore[method-assign]

    def run(self, run: Callable[[Any, Tensor], Any], *, training: bool) -> Tried:
        self.net.train(training)
        self._layers = {}
        x = self.x.clone()
        version = x._version
        for module in self.net.modules():
            if has_memory(module):
                module.reset()  # type: ignore[operator]
        with self._watched(), torch.random.fork_rng(devices=[]):
            try:
                with torch.no_grad(), torch.device("meta"):
                    result = run(self.whole, x)
            except (ClifctlError, KeyboardInterrupt):
                raise
            except BaseException as broken:
                raise self._failed(broken) from broken
        if x._version != version:
            raise ModelError(
                f"{self.where} changes its input in place",
                hint="in a copy it may: x = x.clone(), or x + 1 in the place of x += 1",
            )
        if not self._layers:
            raise ModelError(
                f"{self.where} runs no layer of neurons",
                hint="build one by neuron(channels), or of clifctl.nn, or of SpikingJelly",
            )
        silent = [name for name in self._shown if name not in self._layers]
        if silent:
            raise ModelError(
                f"{self.where} does not run its layer of neurons '{self._shown[silent[0]]}'",
                hint="what a net has, it must use",
            )
        if not isinstance(result, Tensor):
            raise ModelError(
                f"{self.where} returns a {type(result).__name__}, and not a tensor",
                hint="it returns the logits [T, N, classes] or [N, classes] alone",
            )
        return Tried(tuple(result.shape), dict(self._layers))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self._running = []
        with ExitStack() as hooks:
            for name, module in self.net.named_modules():
                hooks.callback(module.register_forward_pre_hook(self._enter(name)).remove)
                hooks.callback(module.register_forward_hook(self._leave).remove)
            yield

    def _enter(self, name: str) -> Any:
        def enter(module: nn.Module, args: Any) -> None:
            self._running.append((name, module, args))

        return enter

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._running.pop()

    def _stub(self, name: str, module: SpikingLayer) -> Any:
        holder_name, _, last = name.rpartition(".")
        holder = self.net.get_submodule(holder_name)
        shown = holder_name if last == "neurons" and isinstance(holder, Spiking) else name
        self._shown[name] = shown
        channels = holder.channels if isinstance(holder, Spiking) else None

        def forward(
            x: Tensor, state: Any = None, norm: Any = None, repeat: int = 1, **further: Any
        ) -> Any:
            self._require_sequence(shown, x, channels, folded=isinstance(holder, StepSpiking))
            if name in self._layers:
                raise ModelError(
                    f"{self.where}: the layer of neurons '{shown}' runs twice",
                    hint="each place in the net needs a layer of its own",
                )
            self._layers[name] = tuple(x.shape)
            return torch.empty_like(x), ()

        return forward

    def _require_sequence(
        self, name: str, x: Tensor, channels: int | None, *, folded: bool
    ) -> None:
        steps, samples = self.x.shape[:2]
        place = f"{self.where}: the layer of neurons '{name}' gets {list(x.shape)}"
        if tuple(x.shape[:2]) != (steps, samples):
            why = "" if folded else f", where T = {steps} and N = {samples}"
            raise ModelError(
                f"{place}{why}: it needs [T, N, *]",
                hint="clifctl.nn.FoldTime runs modules without time on [T, N, *]",
            )
        if channels is not None and (x.dim() < 3 or x.shape[2] != channels):
            raise ModelError(
                f"{place}: it was built for {channels} channels, [T, N, {channels}, *]",
                hint="neuron(channels) gets the channels of what comes into it",
            )

    def _failed(self, broken: BaseException) -> ModelError:
        """What to say of an exception in the net."""
        line = _line_in(self.file, broken)
        told = in_a_line(broken)
        name, module, args = self._running[-1] if self._running else ("", self.net, (self.x,))
        shapes = ", ".join(str(list(a.shape)) for a in args if isinstance(a, Tensor))
        if "meta tensor" in told.lower() or "out of meta" in told or "aten::_local_scalar" in told:
            return ModelError(
                f"{self.where}{line} asks for the value of a tensor: what a net does must follow "
                "from shapes alone",
                hint="torch.where chooses by values",
            )
        if "device" in told and "meta" in told:
            return ModelError(
                f"{self.where}{line}: a tensor is not where the input is: {told}",
                hint="register it: self.register_buffer(name, tensor)",
            )
        kind = type(module).__name__
        if name:
            place = f"{self.where}{line}: layer '{name}' ({kind}) fails for an input {shapes}"
        else:
            place = f"{self.where}{line} fails for an input {shapes}"
        return ModelError(f"{place}: {told}", hint="T comes first: x is [T, N, *]")


def _line_in(file: str | None, broken: BaseException) -> str:
    """The line of the person's own file that the exception came through, in brackets."""
    frames = traceback.extract_tb(broken.__traceback__)
    lines = [frame.lineno for frame in frames if file is not None and frame.filename == file]
    return f" (line {lines[-1]})" if lines else ""


def _kept(net: nn.Module) -> dict[str, Any]:
    """What a net holds that could be a state, by name: buffers, and attributes that are its own."""
    found: dict[str, Any] = {}
    for name, module in net.named_modules():
        if isinstance(module, _NORMS):
            continue
        for key, value in module._buffers.items():
            found[f"{name}.{key}".lstrip(".")] = _print_of(value)
        if has_memory(module) or isinstance(module, SpikingLayer | Spiking):
            continue
        for key, value in vars(module).items():
            if key not in _TORCHS:
                found[f"{name}.{key}".lstrip(".")] = _print_of(value)
    return found


def _print_of(value: Any) -> Any:
    """What changes when a value does; it holds on to the value, so that no id comes again."""
    if isinstance(value, Tensor):
        return ("tensor", id(value), value._version, value)
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(_print_of, value))
    if isinstance(value, dict):
        return ("dict", *((str(key), _print_of(one)) for key, one in value.items()))
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return value
    return ("object", id(value))


def _require_nothing_kept(before: dict[str, Any], after: dict[str, Any], where: str) -> None:
    names = {**before, **after}
    changed = [name for name in names if not _same(before.get(name, ...), after.get(name, ...))]
    if changed:
        raise ModelError(
            f"{where} keeps something between calls: '{changed[0]}' is another one after each",
            hint="what a step leaves to the next belongs into a layer of neurons; hold no results",
        )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return one is other
    return type(one) is type(other) and (one == other or one != one)

"""A net as layers and what feeds them, read from one run of its own forward.

The run is on the meta device: nothing is computed. Each function of torch that is called on
something that depends on the input becomes a layer, or is refused by its name and place; so a net
that holds an operation that has no layer here cannot lose it on the way.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from clifctl.errors import ConversionError
from clifctl.models import SpikingLayer, SpikingNet, TemporalBatchNorm, TorchNorm, norms_in

# Sizes of the run that no layer can take for one another: folded they are 6 samples.
STEPS, SAMPLES = 2, 3

_ARGUMENTS: dict[str, dict[str, Any]] = {
    "conv2d": {"weight": None, "bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    "linear": {"weight": None, "bias": None},
    "avg_pool2d": {
        "kernel_size": None, "stride": None, "padding": 0, "ceil_mode": False,
        "count_include_pad": True, "divisor_override": None,
    },
    "adaptive_avg_pool2d": {"output_size": None},
}  # fmt: skip
_KINDS = {
    "conv2d": "convolution",
    "linear": "linear",
    "avg_pool2d": "pool",
    "adaptive_avg_pool2d": "adaptive pool",
}
_NORM = ("running_mean", "running_var", "weight", "bias", "training")
_SHAPING = frozenset(
    ("flatten", "unflatten", "view", "reshape", "contiguous", "to", "clone", "detach", "expand")
)
_DROPOUTS = frozenset(("dropout", "dropout1d", "dropout2d", "dropout3d"))
_SUMS = frozenset(("add", "iadd", "radd"))
_JOINS = frozenset(("cat", "concat", "concatenate"))


@dataclass(frozen=True)
class GraphLayer:
    """One operation. `shape` is that of one sample at one step, behind it. `values` are what the
    kind needs: weights and biases in float64, strides, a neuron's constants."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerGraph:
    """Layers in an order in which they can run; the first is the input, `output` gives the logits.

    Kinds: input, convolution, linear, pool, adaptive pool, flatten, norm (`scale` and `shift` a
    channel), neuron, sum, concatenation (of channels, or of features).
    """

    layers: tuple[GraphLayer, ...]
    output: str

    def __getitem__(self, name: str) -> GraphLayer:
        return next(layer for layer in self.layers if layer.name == name)

    def consumers(self, name: str) -> tuple[GraphLayer, ...]:
        """The layers that `name` feeds."""
        return tuple(layer for layer in self.layers if name in layer.inputs)

    def of_kind(self, kind: str) -> tuple[GraphLayer, ...]:
        """The layers of one kind, in order."""
        return tuple(layer for layer in self.layers if layer.kind == kind)

    def with_layers(self, changed: Iterable[GraphLayer]) -> "LayerGraph":
        """The graph with layers of these names replaced."""
        new = {layer.name: layer for layer in changed}
        return replace(self, layers=tuple(new.get(one.name, one) for one in self.layers))

    def without(self, name: str) -> "LayerGraph":
        """The graph without a layer; what it fed is fed by what fed it."""
        gone = self[name]
        layers = []
        for layer in self.layers:
            if name in layer.inputs:
                fed = [s for i in layer.inputs for s in (gone.inputs if i == name else (i,))]
                layer = replace(layer, inputs=tuple(fed))
            if layer is not gone:
                layers.append(layer)
        if self.output == name and len(gone.inputs) != 1:
            raise ValueError(f"the output '{name}' cannot be taken out")
        output = gone.inputs[0] if self.output == name else self.output
        return LayerGraph(tuple(layers), output)


def read_net(net: SpikingNet, input_shape: Sequence[int]) -> LayerGraph:
    """The layers of `net` in evaluation mode, for samples `input_shape`.

    Raises ConversionError for an operation that is no layer, with its place.
    """
    empty = copy.deepcopy(net).to("meta").eval()
    for module in empty.modules():  # the copy of a net that is watched is not
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    recorder = _Recorder(net, empty)
    dtype = next((parameter.dtype for parameter in net.parameters()), None)
    image = torch.empty(STEPS, SAMPLES, *input_shape, device="meta", dtype=dtype)
    recorder.add(image, "input", "input", ())
    handles = list(recorder.watch(empty))
    try:
        with torch.no_grad(), recorder:
            logits, _ = empty(image)
    finally:
        for handle in handles:
            handle.remove()
    found = recorder.layer_of(logits)
    if found is None:
        raise ConversionError("the net's logits do not depend on its input")
    return LayerGraph(tuple(recorder.layers), found)


class _Recorder(TorchFunctionMode):
    def __init__(self, net: nn.Module, empty: nn.Module) -> None:
        super().__init__()
        self.layers: list[GraphLayer] = []
        self._own = dict(net.named_parameters())
        self._names = {id(tensor): name for name, tensor in empty.named_parameters()}
        self._known: dict[int, tuple[Tensor, str]] = {}  # the tensor too: ids are used again
        self._modules: list[str] = []
        self._paused = False
        self._norm_buffers: dict[int, str] = {}  # running mean -> batch norm of torch
        norms = norms_in(net)
        for name, module in empty.named_modules():
            if isinstance(module, SpikingLayer):
                module.forward = self._neuron(name, module)  # type: ignore[method-assign]
            elif isinstance(module, TemporalBatchNorm):
                module.forward = self._norm(name, norms[name])  # type: ignore[method-assign]
            elif isinstance(module, TorchNorm):
                self._norm_buffers[id(module.running_mean)] = name
        self._norm_names = {id(empty.get_submodule(name)): name for name in norms}
        self._norms = norms

    def watch(self, empty: nn.Module) -> Iterator[Any]:
        """Hooks that tell in which module a function is called."""
        for name, module in empty.named_modules():
            yield module.register_forward_pre_hook(lambda *_, name=name: self._modules.append(name))
            yield module.register_forward_hook(lambda *_: self._leave(), always_call=True)

    def _leave(self) -> None:
        self._modules.pop()

    def layer_of(self, tensor: Any) -> str | None:
        """The layer that `tensor` comes from."""
        return self._known[id(tensor)][1] if id(tensor) in self._known else None

    def add(
        self, result: Tensor, name: str, kind: str, inputs: tuple[str, ...], **values: Any
    ) -> None:
        """Add a layer, and note that `result` comes from it."""
        taken = {layer.name for layer in self.layers}
        unique, number = name or kind, 2
        while unique in taken:
            unique, number = f"{name}.{number}", number + 1
        self.layers.append(GraphLayer(unique, kind, inputs, self._features(result), values))
        self._known[id(result)] = (result, unique)

    def _neuron(self, name: str, module: SpikingLayer) -> Callable[..., Any]:
        def forward(x: Tensor, state: Any = None, norm: Any = None, repeat: int = 1) -> Any:
            if module.recurrent is not None:
                raise ConversionError(
                    f"the layer of neurons '{name}' feeds its spikes back to itself: recurrence "
                    "is not converted",
                    hint="train a net without, as with model.recurrent=false",
                )
            if norm is not None:
                own = self._norm_names[id(norm)]
                x = self._norm(own, self._norms[own])(x)
            spikes = self._like(x)
            values = {"neuron": module.neuron, "hyperparameters": module.hyperparameters}
            values["learnables"] = {
                key: self._own[f"{name}.{key}"].detach().cpu().double()
                for key in module.learnables()
            }
            self.add(spikes, name, "neuron", (self._source(x, name),), **values)
            return spikes, ()

        return forward

    def _norm(self, name: str, module: TemporalBatchNorm | TorchNorm) -> Callable[..., Tensor]:
        def forward(x: Tensor, repeats: int = 1) -> Tensor:
            result = self._like(x)
            scale, shift = scale_and_shift(module)
            self.add(result, name, "norm", (self._source(x, name),), scale=scale, shift=shift)
            return result

        return forward

    def _like(self, x: Tensor) -> Tensor:
        self._paused = True
        try:
            return torch.empty_like(x)
        finally:
            self._paused = False

    def _source(self, x: Tensor, place: str) -> str:
        found = self.layer_of(x)
        if found is None:
            raise ConversionError(f"'{place}' gets nothing that depends on the net's input")
        return found

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        arguments = _flat((*args, *given.values()))
        sources = [] if self._paused else [*map(self.layer_of, arguments)]
        fed_by = tuple(source for source in sources if source is not None)
        if not fed_by or not _holds_tensors(result):
            return result
        name = str(getattr(func, "__name__", func)).strip("_")
        if name in _KINDS and fed_by == (sources[0],):
            self._add_call(name, result, fed_by, args, given)
        elif name == "batch_norm" and fed_by == (sources[0],):
            self._add_norm(result, fed_by, {**dict(zip(_NORM, args[1:], strict=False)), **given})
        elif name in _SUMS and len(fed_by) == 2 and result.shape == args[0].shape == args[1].shape:
            self.add(result, f"{self._place()}.sum".strip("."), "sum", fed_by)
        elif name in _JOINS and self._joins_channels(result, fed_by, args, given):
            self.add(result, f"{self._place()}.{name}".strip("."), "concatenation", fed_by)
        elif name in _DROPOUTS and not _dropout_trains(args, given):
            self._known[id(result)] = (result, fed_by[0])
        elif name in _SHAPING and len(fed_by) == 1:
            self._reshape(name, args[0], result, fed_by[0])
        else:
            raise self._refused(name)
        return result

    def _joins_channels(
        self, result: Tensor, fed_by: tuple[str, ...], args: Any, given: Mapping[str, Any]
    ) -> bool:
        parts = args[0] if args else given["tensors"]
        dim = (args[1] if len(args) > 1 else given.get("dim", given.get("axis", 0))) % result.dim()
        channels = result.dim() - len(self._features(result))
        return len(fed_by) == len(parts) and dim == channels

    def _add_norm(self, result: Tensor, fed_by: tuple[str, ...], given: Mapping[str, Any]) -> None:
        own = self._norm_buffers.get(id(given["running_mean"]))
        if own is None or given.get("training"):
            raise self._refused("batch norm without running averages")
        scale, shift = scale_and_shift(self._norms[own])
        self.add(result, own, "norm", fed_by, scale=scale, shift=shift)

    def _add_call(
        self, name: str, result: Tensor, fed_by: tuple[str, ...], args: Any, given: dict[str, Any]
    ) -> None:
        defaults = _ARGUMENTS[name]
        values = {**defaults, **dict(zip(defaults, args[1:], strict=False)), **given}
        values.pop("input", None)
        place = self._place()
        for key in ("weight", "bias"):
            tensor = values.get(key)
            if tensor is None:
                continue
            own = self._names.get(id(tensor))
            if own is None:  # computed, as in attention
                raise self._refused(f"{name} with a {key} that is computed")
            values[key] = self._own[own].detach().cpu().double()
            place = own.rpartition(".")[0] or place
        self.add(result, place, _KINDS[name], fed_by, **values)

    def _reshape(self, name: str, x: Tensor, result: Tensor, source: str) -> None:
        before, after = self._features(x), self._features(result)
        if before == after:
            self._known[id(result)] = (result, source)
        elif after == (prod(before),):
            place = self._place()
            name = place if place.endswith("flatten") else f"{place}.flatten".strip(".")
            self.add(result, name, "flatten", (source,))
        else:
            raise self._refused(f"{name} of {list(before)} to {list(after)}")

    def _features(self, x: Tensor) -> tuple[int, ...]:
        """The shape of one sample at one step, of `[T, N, *]` or `[T * N, *]`."""
        shape = tuple(x.shape)
        if shape[:2] == (STEPS, SAMPLES):
            return shape[2:]
        if shape[:1] == (STEPS * SAMPLES,):
            return shape[1:]
        raise self._refused("what mixes time steps or samples")

    def _place(self) -> str:
        return next((name for name in reversed(self._modules) if name), "")

    def _refused(self, what: str) -> ConversionError:
        place = self._place()
        where = f"module '{place}'" if place else "the net's own forward"
        return ConversionError(
            f"{where}: {what} cannot be converted",
            hint="there are convolutions, linear layers, average pools, batch norm, flatten, sums "
            "of two layers, concatenated channels, and neurons; train a net of those (vgg11, "
            "resnet18, snn5, mlp, or sew_resnet18 with model.stem=cifar)",
        )


def scale_and_shift(norm: TemporalBatchNorm | TorchNorm) -> tuple[Tensor, Tensor]:
    """What a norm does in evaluation mode, `scale * x + shift`: both `[C]`, float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = norm.running_mean.cpu().double(), norm.running_var.cpu().double()
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach().cpu().double()
    shift = -mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().cpu().double()
    return scale, shift


def _flat(items: Iterable[Any]) -> Iterator[Any]:
    """Everything in nested lists and tuples, as `cat` takes its parts."""
    for item in items:
        if isinstance(item, list | tuple):
            yield from _flat(item)
        else:
            yield item


def _holds_tensors(result: Any) -> bool:
    if isinstance(result, tuple | list) and not isinstance(result, torch.Size):
        return any(_holds_tensors(item) for item in result)
    return isinstance(result, Tensor)


def _dropout_trains(args: Any, given: dict[str, Any]) -> bool:
    return bool(given.get("training", args[2] if len(args) > 2 else True))

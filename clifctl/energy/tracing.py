"""From a net to its operations: the net runs once on the meta device, and what it calls is noted.

Each tensor is followed from the operation that made it, so what feeds an operation is known by data
flow, never by looking at values. Modules are watched only where neurons run, by what
`clifctl.models.firing_modules` says, wherever the batch norm before them is computed: this file is
all of `energy` that depends on how nets are built. A function of torch that has no rule, applied to
something that depends on the image, is refused by its name and place.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from clifctl.energy.graph import Operation, OperationGraph
from clifctl.energy.rules import PRODUCTS, RULES, Call, Value, flat
from clifctl.errors import EnergyError
from clifctl.models import SpikingLayer, SpikingNet, TemporalBatchNorm, firing_modules

_EXPANDING = frozenset(("expand", "expand_as", "broadcast_to", "repeat", "tile"))
# Functions that move values around.
_STRUCTURE = _EXPANDING | {
    *("flatten", "unflatten", "view", "view_as", "reshape", "reshape_as", "transpose", "permute"),
    *("movedim", "swapaxes", "T", "mT", "contiguous", "getitem", "narrow", "select", "unsqueeze"),
    *("squeeze", "chunk", "split", "unbind", "clone", "detach", "data", "to", "float", "type"),
}
_JOINING = frozenset(("cat", "concat", "stack"))
# A multiplication of everything by one number goes into the next weights or threshold.
_SCALINGS = frozenset((*PRODUCTS, "div", "truediv", "itruediv", "divide", "neg"))
_DROPOUTS = frozenset(("dropout", "dropout1d", "dropout2d", "dropout3d"))
# Functions whose result has nothing of the values: new tensors of the same kind.
_MAKERS = re.compile(r"(new|zeros|ones|empty|full|rand|randn)(_\w+)?")


def trace_net(
    net: SpikingNet, input_shape: Sequence[int], timesteps: int, *, repeat: int = 1
) -> OperationGraph:
    """The operations of `net` in evaluation mode, for one sample `[T, 1, *input_shape]`.

    `repeat` = T says that the input is equal at every step (a static image), as in the net's
    forward. Build the net on the meta device: then nothing is computed. Raises EnergyError for an
    operation that has no rule.
    """
    steps = timesteps // repeat
    device = next((parameter.device for parameter in net.parameters()), torch.device("meta"))
    image = torch.empty(steps, 1, *input_shape, device=device)
    tracer = _Tracer(timesteps, net)
    tracer.note(image, steps, name="image", kind="image", inputs=(), **_shapes(image, image))
    was_training = net.training
    net.eval()
    try:
        with torch.no_grad(), ExitStack() as hooks:
            for handle in tracer.watch():
                hooks.callback(handle.remove)
            with tracer:
                net(image, repeat=repeat)
    finally:
        net.train(was_training)
    tracer.require_every_layer()
    layers = [module for module in net.modules() if isinstance(module, SpikingLayer)]
    return OperationGraph(
        tuple(tracer.operations),
        timesteps,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        neuron_parameters=sum(
            layer.get_parameter(learnable.name).numel()
            for layer in layers
            for learnable in layer.neuron.learnables
        ),
    )


class _Tracer(TorchFunctionMode):
    """Sees every function of torch that is called while it is active."""

    def __init__(self, timesteps: int, net: nn.Module) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.operations: list[Operation] = []
        self._net = net
        self._layers = {module: name for name, module in firing_modules(net).items()}
        self._values: dict[int, Value] = {}
        self._modules: list[str] = []
        self._in_neurons = 0

    def require_every_layer(self) -> None:
        """Raise EnergyError where a layer of neurons was not seen."""
        seen = {operation.name for operation in self.operations if operation.kind == "neuron"}
        silent = [name for name in self._layers.values() if name not in seen]
        if silent:
            raise EnergyError(f"the net does not run its layer of neurons '{silent[0]}'")

    def watch(self) -> Iterator[Any]:
        """Hooks that tell in which module a function is called, and where neurons run."""
        for name, module in self._net.named_modules():
            yield module.register_forward_pre_hook(self._entering(name))
            yield module.register_forward_hook(self._leave, with_kwargs=True, always_call=True)

    def _entering(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, args: Any) -> None:
            self._modules.append(name)
            self._in_neurons += module in self._layers

        return enter

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        place = self._modules.pop()
        if module not in self._layers:
            return
        self._in_neurons -= 1
        if output is None:  # it raised
            return
        given = (*args, *kwargs.values())
        operand = next(self._known(given), None)
        if operand is None:
            raise EnergyError(f"the layer of neurons '{place}' gets nothing that depends on data")
        spikes = output[0]
        shapes = _shapes(spikes, spikes)
        for norm in (*module.modules(), *given):
            if isinstance(norm, TemporalBatchNorm):  # computed together with the neuron
                operand = self.note(
                    spikes,
                    operand.steps,
                    name=next(name for name, own in self._net.named_modules() if own is norm),
                    kind="norm",
                    inputs=(operand.source,),
                    weights=0 if norm.weight is None else norm.weight.numel(),
                    biases=0 if norm.bias is None else norm.bias.numel(),
                    **shapes,
                )
        self.note(
            spikes, spikes.shape[0], name=place, kind="neuron", inputs=(operand.source,),
            own_threshold=module.own_threshold, **shapes,
        )  # fmt: skip

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        if self._in_neurons:
            return result
        operands = tuple(self._known((*args, *given.values())))
        made = [item for item in flat([result]) if isinstance(item, Tensor)]
        if not operands or not made:
            return result
        name = _name_of(func)
        call = Call(name, args, given, made[0], operands)
        fields = RULES[name](call) if name in RULES else None
        if fields is not None:
            self._add(call, fields)
        elif self._moves(call):
            for tensor in made:
                self._values[id(tensor)] = self._moved(name, operands[0], tensor)
        elif not _MAKERS.fullmatch(name):
            raise EnergyError(
                f"operation '{name}' in {self._place()} has no rule: its energy is not known",
                hint="rules are there for convolutions, linear layers, matrix products, pools, "
                "batch norm, layers of neurons, and sums and products of two results",
            )
        return result

    def _known(self, items: Iterable[Any]) -> Iterator[Value]:
        """The arguments that depend on the image."""
        for item in flat(items):
            if isinstance(item, Tensor) and id(item) in self._values:
                yield self._values[id(item)]

    def _moves(self, call: Call) -> bool:
        """Whether a call moves values, or multiplies all of them by one number."""
        if call.name in _DROPOUTS:
            training = call.bound("input", "p", "training").get("training", True)
            return not training
        if call.name in _JOINING:  # parts of one result, put together again
            return len({operand.source for operand in call.operands}) == 1
        tensors = sum(isinstance(item, Tensor) for item in flat(call.args))
        return call.name in _STRUCTURE or (call.name in _SCALINGS and tensors == 1)

    def _moved(self, name: str, value: Value, tensor: Tensor) -> Value:
        times = self.timesteps // value.steps
        if name in _EXPANDING and tensor.numel() == value.tensor.numel() * times:
            # What was computed for one time step stands for all of them.
            return Value(value.source, value.steps * times, tensor)
        return Value(value.source, value.steps, tensor)

    def _place(self) -> str:
        inner = next((name for name in reversed(self._modules) if name), "")
        return f"module '{inner}'" if inner else "the net's own forward"

    def _add(self, call: Call, fields: dict[str, Any]) -> None:
        steps = fields.pop("steps", call.steps)
        shapes = {
            "input_shape": self._one_step(call.x, call.steps),
            "output_shape": fields.get("output_shape") or self._one_step(call.result, steps),
        }
        place = next((name for name in reversed(self._modules) if name), "")
        self.note(
            call.result,
            steps,
            **shapes
            | fields
            | {"name": place, "inputs": tuple(operand.source for operand in call.operands)},
        )

    def note(self, result: Tensor, steps: int, **fields: Any) -> Value:
        """One more operation, and that `result` comes from it."""
        self.operations.append(Operation(steps=steps, **fields))
        value = Value(len(self.operations) - 1, steps, result)
        self._values[id(result)] = value
        return value

    def _one_step(self, tensor: Tensor, steps: int) -> tuple[int, ...]:
        """The shape of one time step of one sample: the last dimensions that make it up."""
        size, rest = divmod(tensor.numel(), steps)
        if rest:
            raise EnergyError(
                f"{self._place()} computes on {list(tensor.shape)}, which has not {steps} time "
                "steps of one size",
                hint="nets take all time steps at once, [T, N, *features]",
            )
        for first in reversed(range(tensor.dim())):
            if prod(tensor.shape[first:]) == size:
                return tuple(tensor.shape[first:])
        return (size,)


def _shapes(taken: Tensor, result: Tensor) -> dict[str, tuple[int, ...]]:
    return {"input_shape": tuple(taken.shape[2:]), "output_shape": tuple(result.shape[2:])}


def _name_of(func: Any) -> str:
    """`add` for `torch.add`, `Tensor.add_` and `Tensor.__add__`; a property has its own name."""
    name = str(getattr(func, "__name__", func))
    if name == "__get__":
        name = str(getattr(func.__self__, "__name__", name))
    return name.strip("_")

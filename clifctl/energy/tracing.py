"""From a net to its operations: it runs once on the meta device, and what it calls is noted."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.energy.calls import OperatorCall, Value
from clifctl.energy.dataflow import DataFlow
from clifctl.energy.graph import Operation, OperationGraph
from clifctl.errors import EnergyError
from clifctl.models import SpikingLayer, SpikingNet, TemporalBatchNorm


def trace_net(
    net: SpikingNet, input_shape: Sequence[int], timesteps: int, *, repeat: int = 1
) -> OperationGraph:
    """The operations of `net` in evaluation mode, for one sample `[T, 1, *input_shape]`.

    `repeat` = T says that the input is equal at every step (a static image), as in the net's
    forward. Build the net on the meta device: then nothing is computed. An operation that has no
    rule is one of kind `unpriced`. Raises EnergyError for a layer of neurons that does not run.
    """
    device = next((parameter.device for parameter in net.parameters()), torch.device("meta"))
    image = torch.empty(timesteps // repeat, 1, *input_shape, device=device)
    tracer = _Tracer(timesteps, {norm: name for name, norm in net.named_modules()})
    was_training = net.training
    net.eval()
    try:
        with torch.no_grad(), tracer.following(net):
            net(image, repeat=repeat)
    finally:
        net.train(was_training)
    layers = [module for module in net.modules() if isinstance(module, SpikingLayer)]
    return OperationGraph(
        tuple(tracer.operations),
        timesteps,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        neuron_parameters=sum(
            tensor.numel() for layer in layers for tensor in layer.learnables().values()
        ),
    )


class _Tracer(DataFlow):
    """Notes each operation, with its shapes and counts."""

    def __init__(self, timesteps: int, names: Mapping[nn.Module, str]) -> None:
        super().__init__(timesteps)
        self.operations: list[Operation] = []
        self._names = names

    def began(self, image: Tensor) -> None:
        steps = image.shape[0]
        self._note(image, steps, name="image", kind="image", inputs=(), **_shapes(image, image))

    def computed(self, call: OperatorCall, fields: dict[str, Any]) -> None:
        steps = fields.pop("steps", call.steps)
        shapes = {
            "input_shape": _one_step(call.x, min(call.operands[0].steps, call.steps)),
            "output_shape": fields.get("output_shape") or _one_step(call.result, steps),
            "function": call.name,
        }
        inputs = tuple(operand.source for operand in call.operands)
        self._note(call.result, steps, **shapes | fields | {"name": self.module, "inputs": inputs})

    def fired(
        self,
        layer: SpikingLayer,
        norms: Sequence[TemporalBatchNorm],
        operand: Value,
        spikes: Tensor,
    ) -> None:
        shapes = _shapes(spikes, spikes)
        for norm in norms:
            operand = self._note(
                spikes,
                operand.steps,
                name=self._names[norm],
                kind="norm",
                inputs=(operand.source,),
                weights=0 if norm.weight is None else norm.weight.numel(),
                biases=0 if norm.bias is None else norm.bias.numel(),
                **shapes,
            )
        self._note(
            spikes,
            spikes.shape[0],
            name=self.layers[layer],
            kind="neuron",
            inputs=(operand.source,),
            own_threshold=layer.own_threshold,
            analog=bool(layer.neuron.states) and not layer.neuron.spiking,
            **shapes,
        )
        if layer.recurrent is not None and len(spikes) > 1:
            self._fed_back(layer.recurrent, self.layers[layer], **shapes)

    def _fed_back(self, matrix: nn.Linear, layer: str, **shapes: Any) -> None:
        """What a layer gives itself: the spikes of every step but the last are multiplied."""
        size = matrix.in_features
        fed_back = Operation(
            name=f"{layer}.recurrent",
            kind="linear",
            inputs=(len(self.operations) - 1,),
            steps=self.timesteps - 1,
            macs=matrix.weight.numel(),
            pairs=matrix.weight.numel(),
            fan_outs=((size,) * size,),
            weights=matrix.weight.numel(),
            recurrent=True,
            **shapes,
        )
        self.operations.append(fed_back)

    def ended(self) -> None:
        seen = {operation.name for operation in self.operations if operation.kind == "neuron"}
        silent = [name for name in self.layers.values() if name not in seen]
        if silent:
            raise EnergyError(f"the net does not run its layer of neurons '{silent[0]}'")

    def _note(self, result: Tensor, steps: int, **fields: Any) -> Value:
        """Add an operation, and note that `result` comes from it."""
        self.operations.append(Operation(steps=steps, **fields))
        return self.comes_from(len(self.operations) - 1, steps, result)


def _one_step(tensor: Tensor, steps: int) -> tuple[int, ...]:
    """The shape of one time step of one sample: the last dimensions that make it up. Of what has
    no steps of one size, all of it."""
    size, rest = divmod(tensor.numel(), steps)
    if rest:
        return tuple(tensor.shape)
    for first in reversed(range(tensor.dim())):
        if prod(tensor.shape[first:]) == size:
            return tuple(tensor.shape[first:])
    return (size,)


def _shapes(taken: Tensor, result: Tensor) -> dict[str, tuple[int, ...]]:
    return {"input_shape": tuple(taken.shape[2:]), "output_shape": tuple(result.shape[2:])}

"""What the spikes of a net reach, counted one by one while it runs on data.

The rate of a layer does not say it: neurons at the borders of a map, whose spikes reach fewer
outputs, fire at other rates than those within. So each spike that a window moves over is weighed by
the fan-out of its own place, and spikes of which the net takes a maximum, a product or a sum are
counted too. Only sums are kept, no map of a sample.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from clifctl.energy.calls import OperatorCall, Value
from clifctl.energy.dataflow import DataFlow
from clifctl.energy.graph import CONNECTIONS, Operation, OperationGraph
from clifctl.energy.signals import Counted, Signals
from clifctl.errors import EnergyError
from clifctl.models import SpikingLayer, TemporalBatchNorm


class SpikeCounter(DataFlow):
    """Counts in the net whose operations `graph` has, over all that it runs on while it is
    followed: they come in the order of the graph, and EnergyError is raised where they do not."""

    def __init__(self, graph: OperationGraph) -> None:
        super().__init__(graph.timesteps)
        signals = Signals(graph, True, {})
        self._operations = graph.operations
        self._weighed = {
            number
            for number, operation in enumerate(graph.operations)
            if (operation.fan_outs or operation.kind in CONNECTIONS)
            and signals.fed_by(number) == "spikes"
        }
        self._spikes_into = {
            number: [signals.is_spikes(source) for source in graph.operations[number].inputs]
            for number in self._weighed
        }
        self._dense = {
            number
            for number, operation in enumerate(graph.operations)
            if operation.kind in CONNECTIONS and number not in self._weighed
        }
        self._made = {
            number
            for number, operation in enumerate(graph.operations)
            if operation.kind != "neuron" and signals.is_spikes(number)
        }
        self._reached: dict[int, Any] = {}
        self._nonzero: dict[int, Any] = {}
        self._spikes: dict[int, Tensor] = {}
        self._samples = 0
        self._last = 0

    def counted(self) -> Counted:
        """The means over all samples."""
        reached, nonzero = (
            {number: int(total.min()) / self._samples for number, total in totals.items()}
            for totals in (self._reached, self._nonzero)
        )
        rates = {}
        for number, spikes in self._spikes.items():
            operation = self._operations[number]
            rates[number] = int(spikes) / (self._samples * operation.n_out * operation.steps)
        return Counted(reached, rates, nonzero)

    def began(self, image: Tensor) -> None:
        self._samples += image.shape[1]
        self._last = 0
        self.comes_from(0, image.shape[0], image)

    def computed(self, call: OperatorCall, fields: dict[str, Any]) -> None:
        number = self._next(fields["kind"], call.result)
        if self._operations[number].kind != "product":
            self._reach(number, call.x)
        elif number in self._weighed:
            macs = fields["macs"] * call.steps
            reached = _product_reached(call, macs, self._spikes_into[number])
            self._reached[number] = self._reached.get(number, 0) + reached
        if number in self._made:
            self._spikes[number] = self._spikes.get(number, 0) + _count(call.result)

    def fired(
        self,
        layer: SpikingLayer,
        norms: Sequence[TemporalBatchNorm],
        operand: Value,
        spikes: Tensor,
    ) -> None:
        for _ in norms:
            self._next("norm", spikes)
        neurons = self._next("neuron", spikes)
        if layer.recurrent is not None and len(spikes) > 1:
            self._reach(self._next("linear", spikes), spikes[:-1])
            self.comes_from(neurons, len(spikes), spikes)

    def ended(self) -> None:
        if self._last + 1 < len(self._operations):
            raise _another_way(f"ends before its {self._operations[self._last + 1].kind}")

    def _reach(self, number: int, x: Tensor) -> None:
        """Count the outputs that `x` reaches, which no product of two results takes."""
        # Totals stay on the device: to read one would wait for every batch.
        operation = self._operations[number]
        if number in self._weighed:
            reached = outputs_reached(x, operation)
            self._reached[number] = self._reached.get(number, 0) + reached
        elif number in self._dense:
            nonzero = outputs_reached(x != 0, operation)
            self._nonzero[number] = self._nonzero.get(number, 0) + nonzero

    def _next(self, kind: str, result: Tensor) -> int:
        """The number of the operation whose `result` is there now."""
        self._last += 1
        if self._last == len(self._operations) or self._operations[self._last].kind != kind:
            raise _another_way(f"computes another {kind} in {self.place()}")
        self.comes_from(self._last, self._operations[self._last].steps, result)
        return self._last


def _another_way(found: str) -> EnergyError:
    return EnergyError(
        f"on data the net runs another way than without: it {found}",
        hint="firing rates can also be given: --rates FILE.json",
    )


def outputs_reached(x: Tensor, operation: Operation) -> Tensor:
    """How many outputs the spikes of `x` `[*, maps, *places]` reach through the windows of
    `operation`: a whole number, on the device of `x`."""
    first = x.dim() - len(operation.fan_outs)
    found = _count(x, tuple(range(first)))
    for fan_outs in reversed(operation.fan_outs):
        found = (found * found.new_tensor(fan_outs)).sum(-1)
    return found * operation.maps


def _product_reached(call: OperatorCall, macs: int, spikes: Sequence[bool]) -> Tensor:
    """What the spikes of each operand that has such reach in a product of so many `macs`."""
    return torch.stack(
        [
            _count(operand.tensor) * (macs // operand.tensor.numel())
            for operand, are_spikes in zip(call.operands, spikes, strict=True)
            if are_spikes
        ]
    )


def _count(x: Tensor, dim: tuple[int, ...] | None = None) -> Tensor:
    """Spikes in `x`, over the dimensions `dim` (None: all): a whole number n is n of them."""
    return x.sum(dim, dtype=torch.int64)

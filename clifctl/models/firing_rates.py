"""How often the neurons of a net fire, layer by layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.models.layers import LayerState, SpikingLayer


def firing_modules(net: nn.Module) -> dict[str, SpikingLayer]:
    """Layer of neurons -> the module whose forward gives its output `[T, N, *]` first."""
    return {
        name: module for name, module in net.named_modules() if isinstance(module, SpikingLayer)
    }


class FiringRates:
    """Spikes per neuron and time step, counted over the batches that pass while it is recording."""

    def __init__(self, model: nn.Module) -> None:
        self._layers = {
            name: module for name, module in firing_modules(model).items() if module.neuron.spiking
        }
        self._spikes: dict[str, Tensor] = {}
        self._squares: dict[str, float] = {}
        self._samples: dict[str, int] = {}
        self.neurons: dict[str, int] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Count in every spiking layer until the end of the block."""
        handles = [
            module.register_forward_hook(self._counter(name))
            for name, module in self._layers.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def add_others(self, gather: Callable[[Any], list[Any]]) -> None:
        """Count what the other processes of a run have counted; `gather` gives every process's."""
        counts = gather((self._spikes, self._squares, self._samples, self.neurons))
        if len(counts) == 1:
            return
        self._spikes, self._squares, self._samples, self.neurons = {}, {}, {}, {}
        for spikes, squares, samples, neurons in counts:
            self.neurons |= neurons
            for name in spikes:
                self._add(name, spikes[name], squares[name], samples[name])

    def per_step(self) -> dict[str, list[float]]:
        """Layer name -> firing rate `[T]` (spikes per neuron and step), in forward order."""
        return {
            name: (spikes / (self._samples[name] * self.neurons[name])).tolist()
            for name, spikes in self._spikes.items()
        }

    def sample_std(self) -> dict[str, float | None]:
        """Layer name -> standard deviation of the samples' firing rates; None for one sample."""
        found: dict[str, float | None] = {}
        for name, spikes in self._spikes.items():
            samples, positions = self._samples[name], len(spikes) * self.neurons[name]
            mean = float(spikes.sum()) / samples
            variance = (self._squares[name] - samples * mean**2) / (samples - 1 or 1)
            found[name] = max(variance, 0.0) ** 0.5 / positions if samples > 1 else None
        return found

    def _counter(self, name: str) -> Any:
        def count(module: nn.Module, inputs: Any, output: tuple[Tensor, LayerState]) -> None:
            spikes = output[0].detach()
            # Counts, not means: whole numbers add exactly, whatever the batch size.
            features = tuple(range(2, spikes.dim()))
            of_samples = spikes.sum(features, dtype=torch.float64).cpu()
            squares = float(of_samples.sum(0).square().sum())
            self._add(name, of_samples.sum(1), squares, spikes.shape[1])
            self.neurons[name] = spikes[0, 0].numel()

        return count

    def _add(self, name: str, spikes: Tensor, squares: float, samples: int) -> None:
        """Spikes `[T]` of so many samples, and the sum of the squares of each sample's."""
        self._spikes[name] = self._spikes.get(name, torch.zeros_like(spikes)) + spikes
        self._squares[name] = self._squares.get(name, 0.0) + squares
        self._samples[name] = self._samples.get(name, 0) + samples

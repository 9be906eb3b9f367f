"""What the benchmarks of whole nets have in common."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BenchRate:
    """The firing rate of a layer of neurons on a benchmark's input, in spikes per neuron and step;
    `target_rate` is what it was brought to (None: fresh weights as they are)."""

    timesteps: int
    layer: str
    neurons: int
    target_rate: float | None
    firing_rate: float

"""What the benchmarks of whole nets have in common."""

from dataclasses import dataclass

# What takes part in a benchmark of whole nets, and what it is called in a table.
CONTESTANTS = {
    "ours": "ours",
    "ours_dense": "ours, dense",
    "ours_plain": "ours, plain",
    "relu": "ReLU",
    "relu_one_step": "ReLU, T = 1",
    "sj_multi_step": "SJ multi",
    "sj_step_by_step": "SJ loop",
}


@dataclass(frozen=True, kw_only=True)
class BenchRate:
    """The firing rate of a layer of neurons on a benchmark's input, in spikes per neuron and step;
    `target_rate` is what it was brought to (None: fresh weights as they are)."""

    timesteps: int
    layer: str
    neurons: int
    target_rate: float | None
    firing_rate: float

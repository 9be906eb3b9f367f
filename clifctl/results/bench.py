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


@dataclass(frozen=True)
class Contestant:
    """What a net is timed against: its label, the memory formats of weights and input that are
    tried (the faster one counts), and the benchmarks that it takes part in."""

    label: str
    memory_formats: tuple[str, ...] = ("contiguous", "channels_last")
    benchmarks: tuple[str, ...] = ("train", "eval")


CONTESTANTS = {
    "ours": Contestant("ours", ("channels_last",)),
    "ours_dense": Contestant("ours, dense", ("channels_last",)),
    "ours_plain": Contestant("ours, plain", ("channels_last",), ("train",)),
    "relu": Contestant("ReLU"),
    "relu_one_step": Contestant("ReLU, T = 1", benchmarks=("eval",)),
    "sj_multi_step": Contestant("SJ multi"),
    "sj_step_by_step": Contestant("SJ loop"),
}


def memory_formats_of(benchmark: str) -> dict[str, tuple[str, ...]]:
    """The contestants of `benchmark` (train or eval), each with the memory formats to try."""
    return {
        name: one.memory_formats for name, one in CONTESTANTS.items() if benchmark in one.benchmarks
    }

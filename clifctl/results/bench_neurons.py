"""What `bench neurons` returns."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from clifctl.results.quantities import Quantity
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class BenchRun:
    """Times of one way to run a neuron: median, fastest and slowest round. `saved_bytes_ratio` is
    what autograd keeps for backward, in sizes of the input."""

    forward_ms: float
    forward_min_ms: float
    forward_max_ms: float
    forward_backward_ms: float
    forward_backward_min_ms: float
    forward_backward_max_ms: float
    saved_bytes_ratio: float


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """One neuron: the fused kernel, the plain loop and SpikingJelly (or why it is missing).

    `eager_..._ratio` and `peer_..._ratio` are medians over those of the fused kernel.
    `memory_bound_ms` is 5/2 of `copy_ms`, the copy of the input: the five transfers that forward
    and backward cannot do without; `ours_memory_bound_ratio` is ours over it.
    """

    neuron: str
    shape: tuple[int, ...]
    ours: BenchRun
    eager: BenchRun
    peer: BenchRun | None
    peer_missing: str | None
    copy_ms: float
    memory_bound_ms: Annotated[float, Quantity("memory bound", "ms", 2, short="bound [ms]")]
    eager_forward_ratio: float
    eager_forward_backward_ratio: float
    peer_forward_ratio: float | None
    peer_forward_backward_ratio: float | None
    ours_memory_bound_ratio: Annotated[
        float, Quantity("time over the memory bound", digits=2, short="ours/bound")
    ]


@dataclass(frozen=True, kw_only=True)
class BenchResult(Result):
    """Neurons timed on one machine. Every kernel passed the comparison with the reference."""

    schema: ClassVar[str] = "clifctl.bench.neurons/1"

    started: str
    shape: tuple[int, ...]
    dtype: str
    repeats: int
    device: str
    machine: str
    threads: int
    target: str
    versions: dict[str, str | None]
    rows: tuple[BenchRow, ...]

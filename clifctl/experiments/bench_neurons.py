"""`bench neurons`: fused kernels against the plain loop, SpikingJelly and a memory-copy bound.

First the gate: a kernel whose numbers are wrong gets no times. Then the contestants take turns
(A B C A B C ...), so that a machine that slows down slows all of them.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch
from torch import Tensor

from clifctl.amounts import size_in_words
from clifctl.devices import device_name, is_gpu, memory_bytes
from clifctl.errors import ArgumentError, UsageError, as_listed, unknown_name
from clifctl.experiments.bench.neuron_contestants import (
    Contestant,
    Setting,
    ours,
    shape_of,
    tensors,
)
from clifctl.experiments.bench.neuron_contestants import peer as peer_of
from clifctl.experiments.bench.neuron_gate import DIFFERING_SHARE, gate
from clifctl.experiments.bench.timing import cpu_threads, interleaved, require_repeats
from clifctl.experiments.run.execution import ON_CPU, ExecutionOptions
from clifctl.experiments.run.manifest import package_versions
from clifctl.neurons import NEURONS
from clifctl.results.bench_neurons import BenchResult, BenchRow, BenchRun
from clifctl.training.memory import held_for_backward

DTYPES = {"float32": torch.float32, "float64": torch.float64}
DEFAULT_SHAPE = (6, 16, 64, 32, 32)
MOST_AXES = 8
MOST_STEPS = 4096
# Forward and backward must read x and write the output, read x and its gradient and write the
# gradient of x: five transfers of x's size. A copy makes two, a read and a write.
TRANSFERS, COPY_TRANSFERS = 5, 2
CALLS_PER_WAIT = 10
# The plain loop keeps up to some twenty tensors of x's size (GLIF), and makes as many gradients.
BYTES_PER_INPUT_BYTE = 40


def bench_neurons(
    neurons: Sequence[str] | None = None,
    *,
    shape: Sequence[int] = DEFAULT_SHAPE,
    repeats: int = 7,
    execution: ExecutionOptions = ON_CPU,
    dtype: str = "float32",
    say: Callable[[str], None] = lambda line: None,
) -> BenchResult:
    """Time `neurons` (None: all) on an input of `shape` `[T, N, C, *features]`.

    Raises UsageError for a name, shape or number that cannot be used, RunFailed where a kernel does
    not do what the reference does.
    """
    names = _names(neurons)
    if dtype not in DTYPES:
        raise UsageError(unknown_name("dtype", dtype, DTYPES), hint=f"one of {', '.join(DTYPES)}")
    require_repeats(repeats)
    on = execution.resolve(DTYPES[dtype])
    where, target, count = on.device, on.kernels.target, on.threads.count
    sizes = _sizes(shape, DTYPES[dtype], where)
    if target.name == "reference":
        raise UsageError(
            f"device '{where}', {dtype}: there is no fused kernel to measure "
            f"({target.reason.removeprefix('auto: ')})",
            hint="use --device cpu",
        )
    setting = Setting(where, DTYPES[dtype], target.name, repeats)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with cpu_threads(count):
        for name in names:
            say(f"{name}: comparing {target.name} with the reference")
            gate(name, sizes, setting)
        rows = []
        for number, name in enumerate(names, 1):
            say(f"{name}: measuring ({number} of {len(names)})")
            rows.append(_measure(name, sizes, setting))
    return BenchResult(
        started=started,
        shape=sizes,
        dtype=dtype,
        repeats=repeats,
        device=str(where),
        machine=device_name(where),
        threads=count,
        target=target.name,
        versions=package_versions("clifctl", "torch", "numba", "triton", "spikingjelly"),
        rows=tuple(rows),
    )


def _names(neurons: Sequence[str] | None) -> list[str]:
    known: Mapping[str, Any] = NEURONS
    given = known if neurons is None else neurons
    names = list(dict.fromkeys(as_listed(name, known) for name in given))
    for name in names:
        if name not in known:
            raise UsageError(unknown_name("neuron", name, known), hint=f"one of {', '.join(known)}")
    return names


def _sizes(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> tuple[int, ...]:
    sizes, given = tuple(shape), "x".join(map(str, shape))
    hint = "time steps x samples x channels [x more], as in 6x16x64x32x32"
    if not 3 <= len(sizes) <= MOST_AXES:
        raise ArgumentError("shape", given, f"must have 3 to {MOST_AXES} sizes", hint=hint)
    if min(sizes) < 1:
        raise ArgumentError("shape", given, "every size must be at least 1", hint=hint)
    if sizes[0] > MOST_STEPS:
        raise ArgumentError("shape", given, f"at most {MOST_STEPS} time steps", hint=hint)
    needed = math.prod(sizes) * dtype.itemsize * BYTES_PER_INPUT_BYTE
    available = memory_bytes(device)
    if needed > available:
        raise ArgumentError(
            "shape",
            given,
            f"the plain loop may need {size_in_words(needed)} of memory, '{device}' has "
            f"{size_in_words(available)}",
            hint="a smaller shape will do",
        )
    return sizes


def _measure(name: str, sizes: tuple[int, ...], setting: Setting) -> BenchRow:
    shape = shape_of(name, sizes)
    x, g = tensors(shape, setting, setting.dtype)
    fused_one, eager, layer = ours(name, shape, setting, setting.dtype)
    contestants = {"ours": fused_one, "eager": eager}
    peer = peer_of(name, shape, layer, x)
    if isinstance(peer, Contestant):
        differing = float((peer.infer(x) != fused_one.infer(x)).double().mean())
        if differing < DIFFERING_SHARE:
            contestants["peer"] = peer
        else:
            peer = f"other spikes than this neuron ({100 * differing:.3g} %)"
    copied = torch.empty_like(x)
    jobs: dict[tuple[str, str], Callable[[], object]] = {("copy", ""): lambda: copied.copy_(x)}
    for who, contestant in contestants.items():
        jobs[who, "forward"] = partial(contestant.infer, x)
        jobs[who, "both"] = partial(contestant.gradients, x, g)
    # To wait for a GPU takes as long as a small kernel.
    calls = CALLS_PER_WAIT if is_gpu(setting.device) else 1
    times = interleaved(jobs, repeats=setting.repeats, device=setting.device, calls=calls)
    runs = {
        who: _run(times[who, "forward"], times[who, "both"], _saved_bytes(contestant, x) / x.nbytes)
        for who, contestant in contestants.items()
    }
    fused, loop, theirs = runs["ours"], runs["eager"], runs.get("peer")
    copy_ms = statistics.median(times["copy", ""])
    bound_ms = copy_ms * TRANSFERS / COPY_TRANSFERS
    both_ms = fused.forward_backward_ms
    return BenchRow(
        neuron=name,
        shape=shape,
        ours=fused,
        eager=loop,
        peer=theirs,
        peer_missing=peer if isinstance(peer, str) else None,
        copy_ms=copy_ms,
        memory_bound_ms=bound_ms,
        eager_forward_ratio=loop.forward_ms / fused.forward_ms,
        eager_forward_backward_ratio=loop.forward_backward_ms / both_ms,
        peer_forward_ratio=theirs.forward_ms / fused.forward_ms if theirs else None,
        peer_forward_backward_ratio=theirs.forward_backward_ms / both_ms if theirs else None,
        ours_memory_bound_ratio=both_ms / bound_ms,
    )


def _run(forward: list[float], both: list[float], saved: float) -> BenchRun:
    return BenchRun(
        forward_ms=statistics.median(forward),
        forward_min_ms=min(forward),
        forward_max_ms=max(forward),
        forward_backward_ms=statistics.median(both),
        forward_backward_min_ms=min(both),
        forward_backward_max_ms=max(both),
        saved_bytes_ratio=saved,
    )


def _saved_bytes(contestant: Contestant, x: Tensor) -> int:
    return held_for_backward(lambda: contestant.run(x.detach().requires_grad_()), contestant.leaves)

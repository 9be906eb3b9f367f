"""CLIF's kernel against the same by hand in C++, forward and backward, on one core.

    python benchmarks/cpp_twin.py [--shape 6x16x64x32x32] [--repeats 21] [--out FILE.json]

`clif_kernel.cpp` is compiled with -O3 -march=native -ffast-math by the compiler at hand ($CXX, c++,
g++ or clang++), in each of VARIANTS. Gate: spikes and gradients of the two agree. Then all take
turns in one process; a ratio is ours over the fastest variant's, both of the same round. Exit 2
where there is no compiler, 1 where forward + backward take more than BAR times as long as the C++.
"""

import argparse
import ctypes
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from documents import emit
from torch import Tensor

from clifctl.devices import device_name
from clifctl.kernels.cpu.numba_target import NumbaKernel, kernel
from clifctl.kernels.cpu.source import room_for_bits
from clifctl.kernels.flat import KernelInput, SampleLayout
from clifctl.kernels.ir.prologue import with_norm
from clifctl.neurons import NEURONS

BAR = 1.1
FLAGS = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
# Elements of a block, and what else the compiler is told: which is best depends on the machine.
VARIANTS = {
    "block 256": ["-DBLOCK=256"],
    "block 1024": ["-DBLOCK=1024"],
    "block 256, widest vectors": ["-DBLOCK=256", "-mprefer-vector-width=512"],
    "block 256, true division": ["-DBLOCK=256", "-mrecip=none"],
    "block 256, widest vectors, true division": [
        *("-DBLOCK=256", "-mprefer-vector-width=512", "-mrecip=none"),
    ],
}
DIRECTIONS = ("forward", "backward")


class Parameters(ctypes.Structure):
    """The struct of clif_kernel.cpp."""

    _fields_ = [(name, ctypes.c_float) for name in ("decay", "inverse_tau", "threshold")]


@dataclass(frozen=True)
class Job:
    """What all do: `[T, M]` and the final states `[M]`. They write to the same memory, so that none
    has the better pages."""

    x: Tensor
    g_out: Tensor
    sample: SampleLayout
    out: Tensor
    g_x: Tensor
    finals: list[Tensor]

    @classmethod
    def of(cls, shape: list[int]) -> "Job":
        torch.manual_seed(0)
        steps, samples, channels, *features = shape
        size = samples * channels * int(np.prod(features))
        x, g_out = 0.3 + 0.7 * torch.randn(steps, size), torch.randn(steps, size)
        finals = [torch.zeros(size) for _ in range(2)]
        sample = SampleLayout(channels, 1)
        return cls(x, g_out, sample, torch.zeros_like(x), torch.zeros_like(x), finals)


@dataclass(frozen=True)
class Contestant:
    """Its two directions."""

    forward: Callable[[], object]
    backward: Callable[[], object]


def compiler() -> str:
    """The C++ compiler at hand; ends with words where there is none."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    sys.stderr.write(
        "no C++ compiler found: none of $CXX, c++, g++ and clang++ is there; install one\n"
    )
    raise SystemExit(2)


def compiled(command: str, options: list[str], folder: Path) -> ctypes.CDLL | None:
    """The library; None where the compiler does not know an option."""
    source = Path(__file__).with_name("clif_kernel.cpp")
    library = folder / f"{len(list(folder.iterdir()))}.so"
    done = subprocess.run(
        [command, *FLAGS, *options, str(source), "-o", str(library)], capture_output=True, text=True
    )
    if done.returncode:
        sys.stderr.write(
            f"{' '.join(options)}: not compiled: {done.stderr.strip().splitlines()[0]}\n"
        )
        return None
    return ctypes.CDLL(str(library))


def twin(library: ctypes.CDLL, job: Job) -> Contestant:
    """The C++ with CLIF's default parameters."""
    steps, size = map(ctypes.c_int64, job.x.shape)
    parameters = Parameters(0.5, 0.5, 1.0)
    x, g, o, gx, v, m = (
        ctypes.c_void_p(t.data_ptr()) for t in (job.x, job.g_out, job.out, job.g_x, *job.finals)
    )
    p = ctypes.byref(parameters)
    return Contestant(
        lambda: library.clif_forward(steps, size, x, o, v, m, p),
        lambda: library.clif_backward(steps, size, x, g, gx, p),
    )


def ours(found: NumbaKernel, job: Job) -> Contestant:
    """The generated kernels."""
    nothing: list[Tensor | None] = [None, None]
    rows, channels = len(job.x), job.sample.channels
    # Of the norm, where there is one: mean, scale, bias.
    learnables = [
        torch.full((rows, channels), value)
        for value, _ in zip((0.0, 1.0, 0.0), found.neuron.learnables, strict=False)
    ]
    given = KernelInput(job.x, nothing, learnables, job.sample)
    return Contestant(
        lambda: found.forward(given, job.out, job.finals),
        lambda: found.backward(given, job.g_out, nothing, None, job.g_x),
    )


def bits(found: NumbaKernel, job: Job) -> Callable[[], object]:
    """The forward kernel with bits for an output."""
    spikes, window = room_for_bits(job.x.numel()), room_for_bits(job.x.numel())
    given = KernelInput(job.x, [None, None], [], job.sample)
    return lambda: found.forward_spikes(given, len(job.x), spikes, window, job.finals)


def differing(a: Contestant, b: Contestant, job: Job) -> float:
    """The share of neurons with another spike; exits where that, or the gradients of the others,
    are more than rounding."""
    results = []
    for each in (a, b):
        each.forward()
        each.backward()
        results.append((job.out.clone(), job.g_x.clone()))
    (out, g_x), (other_out, other_g_x) = results
    other = (out != other_out).any(0)
    share = float(other.float().mean())
    error = (g_x - other_g_x).abs()[:, ~other]
    # A neuron within rounding of the surrogate's edge has another gradient, too.
    wrong = float((error > 1e-4 * float(g_x.abs().max())).any(0).float().mean())
    if share > 1e-3 or wrong > 1e-3:
        raise SystemExit(f"the twins differ: {share:.2%} of spikes, {wrong:.2%} of gradients")
    return share


def timed(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of processor time of each, taking turns, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            started = time.thread_time()
            run()
            if turn:
                seconds[name].append(time.thread_time() - started)
    return seconds


def quartiles(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(values, n=4)
    return {"median": median, "low": low, "high": high}


def measured(job: Job, repeats: int) -> dict[str, object]:
    """Times and ratios of every contestant."""
    neuron = NEURONS["clif"]
    plain, normed = (
        kernel(each, each.hyperparameters(), torch.float32) for each in (neuron, with_norm(neuron))
    )
    command = compiler()
    with tempfile.TemporaryDirectory() as folder:
        libraries = {
            name: compiled(command, options, Path(folder)) for name, options in VARIANTS.items()
        }
        twins = {name: twin(found, job) for name, found in libraries.items() if found is not None}
        kernels = {"ours": ours(plain, job), "ours after batch norm": ours(normed, job)}
        shares = [differing(kernels["ours"], one, job) for one in twins.values()]
        runs = {
            f"{name}, {direction}": getattr(one, direction)
            for name, one in {**kernels, **twins}.items()
            for direction in DIRECTIONS
        }
        runs["ours, forward as bits"] = bits(plain, job)
        seconds = timed(runs, repeats)
    best = {
        direction: min(twins, key=lambda name: statistics.median(seconds[f"{name}, {direction}"]))
        for direction in DIRECTIONS
    }
    return {
        "compiler": version(command),
        "differing_spikes": max(shares),
        "best_twin": best,
    } | compared(seconds, best)


def compared(seconds: dict[str, list[float]], best: dict[str, str]) -> dict[str, object]:
    """Medians in milliseconds, and ratios within a round."""

    def both(name: dict[str, str]) -> list[float]:
        each = [seconds[f"{name[direction]}, {direction}"] for direction in DIRECTIONS]
        return [a + b for a, b in zip(*each, strict=True)]

    def ratio(a: list[float], b: list[float]) -> dict[str, float]:
        return quartiles([x / y for x, y in zip(a, b, strict=True)])

    us = dict.fromkeys(DIRECTIONS, "ours")
    ratios = {
        direction: ratio(seconds[f"ours, {direction}"], seconds[f"{best[direction]}, {direction}"])
        for direction in DIRECTIONS
    }
    ratios["forward_and_backward"] = ratio(both(us), both(best))
    ratios["bits_to_floats"] = ratio(seconds["ours, forward as bits"], seconds["ours, forward"])
    return {
        "milliseconds": {
            name: {key: 1e3 * value for key, value in quartiles(each).items()}
            for name, each in seconds.items()
        },
        "ratios": ratios,
    }


def version(command: str) -> str:
    """The first line of what a compiler says of itself."""
    return subprocess.run(
        [command, "--version"], capture_output=True, text=True
    ).stdout.splitlines()[0]


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="6x16x64x32x32", help="T x N x C x H x W")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--out", type=Path, help="keep the result in this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    document = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "device": device_name(torch.device("cpu")),
        "threads": 1,
        "torch": torch.__version__,
        "shape": options.shape,
        "repeats": options.repeats,
        "flags": FLAGS,
        "bar": BAR,
        **measured(Job.of([int(part) for part in options.shape.split("x")]), options.repeats),
    }
    emit(document, options.out)
    ratio = document["ratios"]["forward_and_backward"]["median"]
    if ratio > BAR:
        raise SystemExit(
            f"forward + backward take {ratio:.2f} times as long as the C++ (bar: {BAR})"
        )


if __name__ == "__main__":
    main()

"""Event-driven connections against torch's dense ones: where does doing only what spikes cause pay?

    python benchmarks/connections.py [--direction forward] [--layers resnet18,digits,linear]
        [--rates 0.05,0.1,0.2,0.4] [--rounds 15] [--samples N] [--threads 1] [--out FILE.json]

Every layer of ResNet-18 (on 3x32x32, T x N = 48), of the digits net (T x N = 128) and some linear
ones, with a bias, on spikes of each rate. Gate: with numbers that are small multiples of 1/64 both
give the same bits. Then they take turns: dense in both memory formats (linear layers have one), of
which the faster counts, and event-driven on each rate. Times are whole calls from Python. A ratio
is dense time / event-driven time, the median of those within a round; `crossover` is the rate at
which it falls to 1, between two rates by a line through the fastest times (0 and 1: at any).
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from clifctl.devices import device_name
from clifctl.kernels.cpu.forward import Forward
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.packing import bits_of
from clifctl.kernels.cpu.source import Active
from clifctl.kernels.cpu.vectors import LANES

FORMATS = (torch.channels_last, torch.contiguous_format)


def convolution(
    samples: int, channels: int, outputs: int, size: int, kernel: int = 3, stride: int = 1
) -> Geometry:
    """A square one that keeps the size, or divides it by the stride."""
    pairs = ((kernel, kernel), (stride, stride), (kernel // 2, kernel // 2))
    return Geometry(samples, channels, size, size, outputs, *pairs)


LAYERS: dict[str, dict[str, Geometry]] = {
    "resnet18": {
        "64-64 @32": convolution(48, 64, 64, 32),
        "64-128 @32 stride 2": convolution(48, 64, 128, 32, stride=2),
        "64-128 @32 1x1 stride 2": convolution(48, 64, 128, 32, 1, 2),
        "128-128 @16": convolution(48, 128, 128, 16),
        "128-256 @16 stride 2": convolution(48, 128, 256, 16, stride=2),
        "128-256 @16 1x1 stride 2": convolution(48, 128, 256, 16, 1, 2),
        "256-256 @8": convolution(48, 256, 256, 8),
        "256-512 @8 stride 2": convolution(48, 256, 512, 8, stride=2),
        "256-512 @8 1x1 stride 2": convolution(48, 256, 512, 8, 1, 2),
        "512-512 @4": convolution(48, 512, 512, 4),
    },
    "digits": {
        "4-8 @8": convolution(128, 4, 8, 8),
        "8-16 @8": convolution(128, 8, 16, 8),
        "16-16 @4": convolution(128, 16, 16, 4),
        "16-32 @4": convolution(128, 16, 32, 4),
        "20-20 @8": convolution(128, 20, 20, 8),
        "32-32 @8": convolution(128, 32, 32, 8),
        "64-64 @8": convolution(128, 64, 64, 8),
    },
    "linear": {
        "128-10": Geometry(128, 128, 1, 1, 10),
        "4096-10": Geometry(48, 4096, 1, 1, 10),
        "512-100": Geometry(48, 512, 1, 1, 100),
        "512-10": Geometry(48, 512, 1, 1, 10),
        "512-512": Geometry(48, 512, 1, 1, 512),
        "4608-1024": Geometry(48, 4608, 1, 1, 1024),
    },
}


class Tensors(NamedTuple):
    """What the directions read: an input of a rate, weights, bias, and the output's gradient."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    g: Tensor


def tensors(geometry: Geometry, rate: float) -> Tensors:
    """Small multiples of 1/64, whose sums are exact in float32, whatever their order."""
    torch.manual_seed(0)
    shape = (geometry.samples, geometry.channels, geometry.height, geometry.width)
    x = (torch.rand(shape) < rate).float()
    weight = torch.randint(-8, 9, (geometry.outputs, geometry.channels, *geometry.kernel)) / 64
    g = torch.randint(-8, 9, geometry.output_shape) / 64
    return Tensors(x, weight, torch.randint(-8, 9, (geometry.outputs,)) / 64, g)


Run = Callable[[], Tensor]


def dense_forward(geometry: Geometry, given: Tensors) -> Run:
    """torch's own."""
    if geometry.taps == geometry.height == geometry.width == 1:
        x, weight = given.x.flatten(1), given.weight.flatten(1)
        return lambda: torch.nn.functional.linear(x, weight, given.bias)
    return lambda: torch.nn.functional.conv2d(
        given.x, given.weight, given.bias, geometry.stride, geometry.padding
    )


def event_forward(geometry: Geometry, given: Tensors) -> Run:
    """On bits, which a neuron writes."""
    forward, active = Forward(geometry), Active(bits_of(given.x))
    return lambda: forward(active, given.weight, given.bias)


# direction -> dense and event-driven; of the first what is run must not depend on `x` being sparse
DIRECTIONS: dict[str, tuple[Callable[..., Run], Callable[..., Run]]] = {
    "forward": (dense_forward, event_forward),
}


def in_format(given: Tensors, memory_format: torch.memory_format) -> Tensors:
    """The same numbers in another memory format."""
    return Tensors(
        *(t.contiguous(memory_format=memory_format) if t.dim() == 4 else t for t in given)
    )


def seconds(run: Run) -> float:
    """Of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure(
    direction: str, geometry: Geometry, rates: list[float], rounds: int
) -> dict[str, object]:
    """Gate and times of one layer."""
    dense, event = DIRECTIONS[direction]
    events, denses = [], []
    for rate in rates:
        given = tensors(geometry, rate)
        denses = [dense(geometry, in_format(given, memory)) for memory in FORMATS]
        events.append(event(geometry, given))
        expected, found = denses[0](), events[-1]()
        assert torch.equal(found.reshape(expected.shape), expected), f"{geometry}: other values"
    times = [[seconds(run) for run in (*denses, *events)] for _ in range(rounds)]
    columns = list(zip(*times, strict=True))
    fastest = [min(column) for column in columns]
    faster = fastest.index(min(fastest[: len(denses)]))
    rows = []
    for rate, column, best in zip(
        rates, columns[len(denses) :], fastest[len(denses) :], strict=True
    ):
        ratios = [a / b for a, b in zip(columns[faster], column, strict=True)]
        rows.append(
            {
                "rate": rate,
                "event_ms": 1e3 * statistics.median(column),
                "event_fastest_ms": 1e3 * best,
                "ratio": statistics.median(ratios),
                "ratio_of_fastest": fastest[faster] / best,
            }
        )
    return {
        "dense_ms": 1e3 * statistics.median(columns[faster]),
        "dense_fastest_ms": 1e3 * fastest[faster],
        "dense_format": "channels_last" if faster == 0 else "contiguous",
        "rates": rows,
        "crossover": crossover(rates, [row["ratio_of_fastest"] for row in rows]),
    }


def crossover(rates: list[float], ratios: list[float]) -> float:
    """The rate at which dense / event-driven falls to 1: event-driven time grows as a line."""
    for i, ratio in enumerate(ratios):
        if ratio < 1:
            if i == 0:
                return 0.0
            low, high = 1 / ratios[i - 1], 1 / ratio
            return rates[i - 1] + (rates[i] - rates[i - 1]) * (1 - low) / (high - low)
    return 1.0


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--direction", choices=DIRECTIONS, default="forward")
    parser.add_argument("--layers", default=",".join(LAYERS), help="groups, or parts of names")
    parser.add_argument("--rates", default="0.05,0.1,0.15,0.2,0.4,0.63,1")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--samples", type=int, help="T x N, instead of each group's own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep the result in this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rates, wanted = [float(rate) for rate in options.rates.split(",")], options.layers.split(",")
    rows = []
    for group, layers in LAYERS.items():
        for name, geometry in layers.items():
            if group not in wanted and not any(part in name for part in wanted):
                continue
            geometry = replace(geometry, samples=options.samples or geometry.samples)
            row = measure(options.direction, geometry, rates, options.rounds)
            rows.append({"group": group, "layer": name, "samples": geometry.samples, **row})
            show(rows[-1])
    document = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "device": device_name(torch.device("cpu")),
        "lanes": LANES,
        "threads": options.threads,
        "torch": torch.__version__,
        "direction": options.direction,
        "rounds": options.rounds,
        "rows": rows,
    }
    if options.out:
        options.out.write_text(json.dumps(document, indent=2) + "\n")


def show(row: dict[str, object]) -> None:
    """A line of the table."""
    by_rate = "  ".join(
        f"{at['rate']:g}: {at['event_fastest_ms']:.3f} ({at['ratio']:.2f})" for at in row["rates"]
    )
    print(  # noqa: T201
        f"{row['layer']:26} dense {row['dense_fastest_ms']:8.3f} ms | {by_rate} | "
        f"crossover {row['crossover']:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()

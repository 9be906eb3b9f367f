"""Event-driven connections against torch's dense ones: where does doing only what spikes cause pay?

    python benchmarks/connections.py [--direction forward,weight_gradient,input_gradient]
        [--layers resnet18,digits,linear] [--rates 0.05,0.1,0.2,0.4] [--rounds 15] [--samples N]
        [--threads 1] [--out FILE.json] [--json]

Every layer of ResNet-18 (on 3x32x32, T x N = 48), of the digits net (T x N = 128) and some linear
ones, with a bias, on spikes of each rate (for the input gradient: windows, so many of them open).
Gate: with numbers that are small multiples of 1/64 both give the same bits. Then they take turns:
dense in both memory formats (linear layers have one), of which the faster counts, event-driven on
each rate, and what runs in the place of the latter where it does not pay: the dense one with
channels innermost, on floats that are made of bits first. Times are whole calls from Python, on one
thread those of the processor, whoever else uses it. A ratio is dense time / event-driven time, the
median of those within a round; `crossover` is the rate at which event-driven and what is in its
place take equally long, between two rates by a line through the fastest times (0 and 1: at any). At
the end stands the lowest one of each kind of connection, which is what the table in
`clifctl/kernels/cpu/rule.py` is made of.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import torch
from torch import Tensor

from clifctl.devices import device_name
from clifctl.kernels.cpu.forward import Forward
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.input_gradient import InputGradient
from clifctl.kernels.cpu.packing import bits_of
from clifctl.kernels.cpu.rule import kind_of
from clifctl.kernels.cpu.source import Active
from clifctl.kernels.cpu.vectors import LANES
from clifctl.kernels.cpu.weight_gradient import WeightGradient
from clifctl.kernels.spikes.bits import unpack_bits

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


def dense_backward(geometry: Geometry, given: Tensors, wanted: int) -> Run:
    """torch's own, of the gradient in that place (input or weight, which brings the bias's)."""
    g, mask = geometry, [wanted == 0, wanted == 1, wanted == 1]
    if geometry.taps == geometry.height == geometry.width == 1:
        x, weight, rows = given.x.flatten(1), given.weight.flatten(1), given.g.flatten(1)
        if wanted == 0:
            return lambda: rows @ weight
        return lambda: (rows.t() @ x, rows.sum(0))[0]
    options = (list(g.stride), list(g.padding), [1, 1], False, [0, 0], 1)
    backward = torch.ops.aten.convolution_backward.default
    return lambda: backward(given.g, given.x, given.weight, [g.outputs], *options, mask)[wanted]


def instead(direction: str, geometry: Geometry, given: Tensors) -> Run:
    """What runs where event-driven does not pay."""
    given = in_format(given, torch.channels_last)
    dense, _ = DIRECTIONS[direction]
    if direction == "input_gradient":
        return dense(geometry, given)
    shape = (geometry.samples, geometry.height, geometry.width, geometry.channels)
    bits = bits_of(given.x)[: -(-geometry.inputs // 8)]

    def run() -> Tensor:
        x = unpack_bits(bits, geometry.inputs, torch.float32, 1.0).view(shape).permute(0, 3, 1, 2)
        return dense(geometry, given._replace(x=x))()

    return run


def dense_weight_gradient(geometry: Geometry, given: Tensors) -> Run:
    """torch's own."""
    return dense_backward(geometry, given, 1)


def event_weight_gradient(geometry: Geometry, given: Tensors) -> Run:
    """On bits, which a neuron writes, in the layout in which its gradient comes."""
    gradient, active = WeightGradient(geometry), Active(bits_of(given.x))
    g = in_format(given, torch.channels_last).g
    return lambda: gradient(active, g)[0]


def dense_input_gradient(geometry: Geometry, given: Tensors) -> Run:
    """torch's own."""
    return dense_backward(geometry, given, 0)


def event_input_gradient(geometry: Geometry, given: Tensors) -> Run:
    """Where windows are open, of which a neuron writes the bits."""
    gradient, window = InputGradient(geometry), bits_of(given.x)
    g = in_format(given, torch.channels_last).g
    return lambda: gradient(window, g, given.weight)


# direction -> dense and event-driven; of the first what is run must not depend on `x` being sparse
DIRECTIONS: dict[str, tuple[Callable[..., Run], Callable[..., Run]]] = {
    "forward": (dense_forward, event_forward),
    "weight_gradient": (dense_weight_gradient, event_weight_gradient),
    "input_gradient": (dense_input_gradient, event_input_gradient),
}


def in_format(given: Tensors, memory_format: torch.memory_format) -> Tensors:
    """The same numbers in another memory format."""
    return Tensors(
        *(t.contiguous(memory_format=memory_format) if t.dim() == 4 else t for t in given)
    )


def seconds(run: Run) -> float:
    """Of one call."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    run()
    return clock() - started


def measure(direction: str, geometry: Geometry, rates: list[float], rounds: int) -> dict[str, Any]:
    """Gate and times of one layer."""
    dense, event = DIRECTIONS[direction]
    events, denses = [], []
    for rate in rates:
        given = tensors(geometry, rate)
        denses = [dense(geometry, in_format(given, memory)) for memory in FORMATS]
        # As they come in a net: what a connection gives, and so its gradient, is channels_last.
        events.append(event(geometry, in_format(given, torch.channels_last)))
        expected, found = denses[0](), events[-1]()
        if direction == "input_gradient":
            expected = torch.where(given.x.reshape(expected.shape) != 0, expected, 0.0)
        assert torch.equal(found.reshape(expected.shape), expected), f"{geometry}: other values"
    jobs = (*denses, *events, instead(direction, geometry, given))
    times = [[seconds(run) for run in jobs] for _ in range(rounds)]
    columns = list(zip(*times, strict=True))
    fastest = [min(column) for column in columns]
    faster = fastest.index(min(fastest[: len(denses)]))
    rows = []
    for rate, column, best in zip(
        rates, columns[len(denses) : -1], fastest[len(denses) : -1], strict=True
    ):
        ratios = [a / b for a, b in zip(columns[faster], column, strict=True)]
        rows.append(
            {
                "rate": rate,
                "event_ms": 1e3 * statistics.median(column),
                "event_fastest_ms": 1e3 * best,
                "ratio": statistics.median(ratios),
                "ratio_of_fastest": fastest[faster] / best,
                "ratio_instead": fastest[-1] / best,
            }
        )
    return {
        "dense_ms": 1e3 * statistics.median(columns[faster]),
        "dense_fastest_ms": 1e3 * fastest[faster],
        "dense_format": "channels_last" if faster == 0 else "contiguous",
        "instead_fastest_ms": 1e3 * fastest[-1],
        "rates": rows,
        "crossover": crossover(rates, [row["ratio_instead"] for row in rows]),
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
    parser.add_argument("--direction", default=",".join(DIRECTIONS), help="one, or several")
    parser.add_argument("--layers", default=",".join(LAYERS), help="groups, or parts of names")
    parser.add_argument("--rates", default="0.05,0.1,0.15,0.2,0.4,0.63,1")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--samples", type=int, help="T x N, instead of each group's own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep the result in this file")
    parser.add_argument("--json", action="store_true", help="print the result alone, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rates, wanted = [float(rate) for rate in options.rates.split(",")], options.layers.split(",")
    rows: list[dict[str, Any]] = []
    for direction, (group, layers) in product(options.direction.split(","), LAYERS.items()):
        for name, geometry in layers.items():
            if group not in wanted and not any(part in name for part in wanted):
                continue
            geometry = replace(geometry, samples=options.samples or geometry.samples)
            which = {"direction": direction, "kind": kind_of(geometry), "group": group}
            row = measure(direction, geometry, rates, options.rounds)
            rows.append({**which, "layer": name, "samples": geometry.samples, **row})
            show(rows[-1], sys.stderr if options.json else sys.stdout)
    lowest: dict[str, float] = {}
    for row in rows:
        key = f"{row['direction']}, {row['kind']}"
        lowest[key] = min(lowest.get(key, 1.0), row["crossover"])
    document = {
        "schema": "clifctl.benchmarks.crossovers/1",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "device": device_name(torch.device("cpu")),
        "lanes": LANES,
        "threads": options.threads,
        "torch": torch.__version__,
        "rounds": options.rounds,
        "lowest_crossovers": lowest,
        "rows": rows,
    }
    if options.json:
        print(json.dumps(document))  # noqa: T201
    else:
        print(f"lowest crossovers with {LANES} lanes: {lowest}")  # noqa: T201
    if options.out:
        options.out.write_text(json.dumps(document, indent=2) + "\n")


def show(row: dict[str, Any], where: TextIO) -> None:
    """A line of the table."""
    by_rate = "  ".join(
        f"{at['rate']:g}: {at['event_fastest_ms']:.3f} ({at['ratio']:.2f})" for at in row["rates"]
    )
    dense = f"{row['dense_fastest_ms']:8.3f} or {row['instead_fastest_ms']:8.3f} ms"
    print(
        f"{row['direction']:15} {row['layer']:25} dense {dense} | {by_rate} | "
        f"crossover {row['crossover']:.2f}",
        file=where,
        flush=True,
    )


if __name__ == "__main__":
    main()

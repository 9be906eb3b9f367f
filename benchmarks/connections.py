"""Where event-driven connections are faster than dense ones: the crossovers of the rule.

    python benchmarks/connections.py [--threads 1] [--rounds 7] [--kind spatial] [--out FILE.json]

For connections of each kind of `clifctl/kernels/cpu/rule.py`, and each direction: the time of the
event-driven kernel at several densities (inputs that are active, or windows that are open, drawn
independently), and that of torch's dense operation on the same spikes, which has to make floats of
bits first. They take turns, and the fastest round of each counts: others that use the machine only
add to a time. First the gate: with multiples of 1/64 both give the same bits. The crossover is the
density at which the times meet, on the straight line between the two nearest.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clifctl.devices import CPU, device_name
from clifctl.experiments.measuring import cpu_threads, interleaved
from clifctl.kernels.bits import pack_bits, unpack_bits
from clifctl.kernels.cpu import connections
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.rule import DIRECTIONS, Direction, kind_of
from clifctl.kernels.cpu.source import SLACK, Active, room_for_bits
from clifctl.kernels.cpu.vectors import LANES

DENSITIES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
SAMPLES = 24  # T = 6, batch 4
DIGITS = 128  # T = 4, batch 32
THREE = {"kernel": (3, 3), "padding": (1, 1)}
GEOMETRIES = (
    Geometry(SAMPLES, 64, 32, 32, 64, **THREE),
    Geometry(SAMPLES, 128, 16, 16, 128, **THREE),
    Geometry(SAMPLES, 256, 8, 8, 256, **THREE),
    Geometry(SAMPLES, 512, 4, 4, 512, **THREE),
    Geometry(SAMPLES, 64, 32, 32, 128, stride=(2, 2), **THREE),
    Geometry(DIGITS, 16, 4, 4, 16, **THREE),
    Geometry(DIGITS, 16, 4, 4, 32, stride=(2, 2), **THREE),
    Geometry(SAMPLES, 64, 32, 32, 128, stride=(2, 2)),
    Geometry(SAMPLES, 256, 8, 8, 512, stride=(2, 2)),
    Geometry(SAMPLES, 256, 8, 8, 256),
    Geometry(SAMPLES, 512, 1, 1, 512),
    Geometry(SAMPLES, 1024, 1, 1, 256),
    Geometry(DIGITS, 128, 1, 1, 10),
    Geometry(SAMPLES, 512, 1, 1, 10),
    Geometry(DIGITS, 4, 8, 8, 8, stride=(2, 2), **THREE),
    Geometry(DIGITS, 8, 4, 4, 16, **THREE),
    Geometry(SAMPLES, 2, 48, 48, 64, **THREE),
)
Job = Callable[[], Tensor]


class Connection:
    """A connection with numbers that are small multiples of 1/64."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.generator = torch.Generator().manual_seed(0)
        g = geometry
        self.weight = self._numbers(g.outputs, g.channels, *g.kernel)
        self.bias = self._numbers(g.outputs)
        self.gradient = self._numbers(*g.output_shape)

    def jobs(self, direction: Direction, density: float) -> tuple[Job, Job]:
        """The event-driven direction, and the dense one."""
        g, weight = self.geometry, self.weight
        shape = (g.samples, g.height, g.width, g.channels)
        active = torch.rand(shape, generator=self.generator) < density
        bits = room_for_bits(g.inputs)
        bits[: len(bits) - SLACK] = pack_bits(active.reshape(-1).float())

        def floats() -> Tensor:
            found = unpack_bits(bits[: len(bits) - SLACK], g.inputs, torch.float32, 1.0)
            return found.view(shape).permute(0, 3, 1, 2)

        def backward(x: Tensor, *wanted: bool) -> Any:
            padding, stride = list(g.padding), list(g.stride)
            return torch.ops.aten.convolution_backward.default(
                self.gradient, x, weight, [g.outputs], stride, padding, [1, 1], False, [0, 0], 1,
                list(wanted),
            )  # fmt: skip

        spikes, like = Active(bits), floats()
        if direction == "forward":
            return (
                lambda: connections.forward(g, spikes, weight, self.bias),
                lambda: torch.conv2d(floats(), weight, self.bias, g.stride, g.padding),
            )
        if direction == "weight_gradient":
            return (
                lambda: connections.weight_gradient(g, spikes, self.gradient, weight)[0],
                lambda: backward(floats(), False, True, True)[1],
            )
        return (
            lambda: connections.input_gradient(g, bits, self.gradient, weight),
            lambda: backward(like, True, False, False)[0],
        )

    def require_equal(self, direction: Direction, density: float) -> None:
        """Exit where the two give different numbers."""
        event, dense = (job() for job in self.jobs(direction, density))
        if direction == "input_gradient":
            dense = torch.where(event != 0, dense, 0.0)
        if not torch.equal(event, dense):
            raise SystemExit(f"{direction} of {self.geometry}: not what the dense one gives")

    def _numbers(self, *shape: int) -> Tensor:
        whole = torch.randint(-8, 9, shape, generator=self.generator)
        form = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        return (whole / 64).contiguous(memory_format=form)


def measure(geometry: Geometry, rounds: int) -> Iterator[dict[str, Any]]:
    """A row for each direction."""
    connection = Connection(geometry)
    for direction in DIRECTIONS:
        connection.require_equal(direction, 0.5)
        jobs: dict[Any, Job] = {}
        for density in DENSITIES:
            jobs[density], jobs["dense"] = connection.jobs(direction, density)
        times = interleaved(jobs, repeats=rounds, device=torch.device(CPU))
        fastest = {key: min(found) for key, found in times.items()}
        dense = fastest.pop("dense")
        yield {
            "kind": kind_of(geometry),
            "connection": described(geometry),
            "direction": direction,
            "dense_ms": dense,
            "event_driven_ms": [fastest[density] for density in DENSITIES],
            "crossover": crossover([fastest[density] / dense for density in DENSITIES]),
        }


def crossover(ratios: list[float]) -> float:
    """The density at which a ratio of times is 1; 0 or 1 where it is never or always below."""
    if ratios[0] >= 1.0:
        return 0.0
    for place in range(1, len(ratios)):
        below, above = ratios[place - 1], ratios[place]
        if above >= 1.0:
            low, high = DENSITIES[place - 1], DENSITIES[place]
            return low + (high - low) * (1.0 - below) / (above - below)
    return 1.0


def described(geometry: Geometry) -> str:
    """In words."""
    g = geometry
    kernel = "x".join(map(str, g.kernel))
    stride = f", stride {g.stride[0]}" if g.stride != (1, 1) else ""
    return f"{kernel}, {g.channels} -> {g.outputs}{stride}, {g.samples} x {g.height}x{g.width}"


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kind", help="connections of this kind alone")
    parser.add_argument("--out", type=Path, help="keep the result in this file")
    options = parser.parse_args()
    rows = []
    with cpu_threads(options.threads):
        for geometry in GEOMETRIES:
            if options.kind in (None, kind_of(geometry)):
                for row in measure(geometry, options.rounds):
                    rows.append(row)
                    ratios = [round(row["dense_ms"] / ms, 2) for ms in row["event_driven_ms"]]
                    print(  # noqa: T201
                        f"{row['kind']:10} {row['connection']:40} {row['direction']:16} "
                        f"crossover {row['crossover']:.2f}, times faster {ratios}",
                        flush=True,
                    )
    document = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": device_name(torch.device(CPU)),
        "threads": options.threads,
        "lanes": LANES,
        "torch": torch.__version__,
        "densities": DENSITIES,
        "rows": rows,
    }
    if options.out:
        options.out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""What several processes of one run can give: a model, not a measurement.

    python benchmarks/processes_model.py [--recipe NAME] [--override KEY=VALUE] [--rounds N]

Measured are the compute of a training step, in processor time of one thread at two sizes of a batch
(the fastest of some rounds; a line through them: what a step takes anyway, and what a sample adds),
and, counted in a group of
one process, how many transfers a step makes and how many bytes each has. From these the time of a
step of P processes on a given link follows: the compute of one P-th of the batch, then every
transfer, one after the other, as a ring sends bytes and a tree takes its latency. Nothing overlaps,
as in the program. What the model leaves out makes real processes slower: waiting for the slowest,
memory and caches that they share, the input.
"""

import argparse
import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from documents import emit

from clifctl.devices import CPU, device_name
from clifctl.experiments.build import (
    build_net,
    optimizer_of,
    prepare_net,
    repeat_of,
    run_on,
    training_step_of,
)
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.recipe.load import load_recipe
from clifctl.recipe.schema import Recipe
from clifctl.training.distributed import ALONE, Processes
from clifctl.training.precision import Precision
from clifctl.training.step import Sums, TrainingStep

COUNTS = (1, 2, 8, 64)
SIZES = (2, 10)  # samples of the steps that are measured
# Bytes a second and seconds a message, of 10 and of 100 Gbit/s: assumed, not measured.
LINKS = {"ethernet": (10e9 / 8, 50e-6), "infiniband": (100e9 / 8, 5e-6)}
# How many times as fast a device computes as the core that was measured.
FASTER = (1, 100, 1000)


@dataclass(frozen=True)
class Transfer:
    """One transfer of a step: what every process hands in, and whether all of it is kept (gathered)
    or added up."""

    size_bytes: int
    gathered: bool

    def seconds(self, processes: int, link: tuple[float, float]) -> float:
        """How long it takes among so many processes."""
        if processes == 1:
            return 0.0
        bytes_a_second, latency = link
        rounds = math.ceil(math.log2(processes))
        if self.gathered:
            return (processes - 1) * self.size_bytes / bytes_a_second + rounds * latency
        sent = 2 * (processes - 1) / processes * self.size_bytes
        return sent / bytes_a_second + 2 * rounds * latency


def step_of(recipe: Recipe, processes: Processes) -> TrainingStep:
    """A training step of the recipe's net, in float32 on the CPU."""
    torch.manual_seed(0)
    net = build_net(recipe)
    prepare_net(recipe, net, processes)
    optimizer, _ = optimizer_of(recipe, net)
    device = next(net.parameters()).device
    step = training_step_of(recipe, net, optimizer, Precision("float32", device), processes)
    net.train()
    return step


def batch_of(recipe: Recipe, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, with the labels of so many samples."""
    shape = (recipe.timesteps // repeat_of(recipe), samples, *recipe.data.input_shape)
    return torch.rand(shape), torch.arange(samples) % recipe.data.classes


def compute(recipe: Recipe, rounds: int) -> dict[int, float]:
    """Processor seconds of a step of each of SIZES samples."""
    step = step_of(recipe, ALONE)
    taken: dict[int, list[float]] = {size: [] for size in SIZES}
    for number in range(rounds + 1):
        for size in SIZES:
            inputs, targets = batch_of(recipe, size)
            before = time.process_time()
            step(1, number + 1, inputs, targets, Sums())
            if number:  # the first one compiles
                taken[size].append(time.process_time() - before)
    return {size: min(seconds) for size, seconds in taken.items()}


@contextmanager
def counted() -> Iterator[list[Transfer]]:
    """A group of one process, which notes every transfer."""
    group: Any = torch.distributed
    group.init_process_group("gloo", store=group.HashStore(), rank=0, world_size=1)
    add, gather = group.all_reduce, group.all_gather
    found: list[Transfer] = []

    def all_reduce(tensor: torch.Tensor, *arguments: Any) -> Any:
        found.append(Transfer(tensor.nbytes, gathered=False))
        return add(tensor, *arguments)

    def all_gather(rows: list[torch.Tensor], row: torch.Tensor) -> Any:
        found.append(Transfer(row.nbytes, gathered=True))
        return gather(rows, row)

    group.all_reduce, group.all_gather = all_reduce, all_gather
    try:
        yield found
    finally:
        group.all_reduce, group.all_gather = add, gather
        torch.distributed.destroy_process_group()


def transfers(recipe: Recipe) -> list[Transfer]:
    """Those of one step."""
    with counted() as found:
        step = step_of(recipe, Processes(0, 2))
        found.clear()  # of equal weights at the start
        inputs, targets = batch_of(recipe, 2 * SIZES[0])
        step(1, 1, inputs[:, : SIZES[0]], targets, Sums())
        return list(found)


def modelled(
    batch: int, line: tuple[float, float], sent: list[Transfer], link: tuple[float, float]
) -> list[dict[str, float]]:
    """A step of every number of processes: the same batch, and a batch that grows with them."""
    fixed, per_sample = line

    def seconds(processes: int, samples: float) -> tuple[float, float]:
        talking = sum(one.seconds(processes, link) for one in sent)
        return fixed + per_sample * samples, talking

    alone = sum(seconds(1, batch))
    rows = []
    for processes in COUNTS:
        computing, talking = seconds(processes, batch / processes)
        growing = sum(seconds(processes, batch))
        rows.append(
            {
                "processes": processes,
                "compute_seconds": computing,
                "transfer_seconds": talking,
                "speed_up": alone / (computing + talking),
                "efficiency_percent": 100 * alone / (computing + talking) / processes,
                "efficiency_percent_of_a_growing_batch": 100 * alone / growing,
            }
        )
    return rows


def main() -> None:
    """Measure, model and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="cifar10_resnet18")
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, help="keep the result in this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    execution = ExecutionOptions(CPU, threads=1).resolve()
    overrides = ["train.precision=float32", *options.override]
    recipe = run_on(load_recipe(options.recipe, overrides).recipe, execution.kernels)
    found = compute(recipe, options.rounds)
    per_sample = (found[SIZES[1]] - found[SIZES[0]]) / (SIZES[1] - SIZES[0])
    line = (max(0.0, found[SIZES[0]] - SIZES[0] * per_sample), per_sample)
    sent = transfers(recipe)
    batch = recipe.train.batch_size
    document = {
        "schema": "clifctl.benchmarks.processes/1",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": device_name(execution.device),
        "machine": platform.machine(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "recipe": options.recipe,
        "overrides": overrides,
        "batch_size": batch,
        "measured": {
            "cpu_seconds_of_a_step": {str(size): seconds for size, seconds in found.items()},
            "fixed_cpu_seconds": line[0],
            "cpu_seconds_a_sample": line[1],
            "transfers_a_step": len(sent),
            "gathers_a_step": sum(one.gathered for one in sent),
            "largest_transfer_bytes": max(one.size_bytes for one in sent),
            "bytes_a_step": sum(one.size_bytes for one in sent),
        },
        "assumed_links": {
            name: {"bytes_a_second": speed, "latency_seconds": latency}
            for name, (speed, latency) in LINKS.items()
        },
        "model": [
            {
                "times_as_fast_as_the_core": factor,
                "link": name,
                "processes": modelled(batch, (line[0] / factor, line[1] / factor), sent, link),
            }
            for factor in FASTER
            for name, link in LINKS.items()
        ],
    }
    emit(document, options.out)


if __name__ == "__main__":
    main()

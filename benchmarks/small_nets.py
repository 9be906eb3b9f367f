"""From how many spikes on do event-driven connections pay, the calls around them counted?

    python benchmarks/small_nets.py [--rounds 30]

Nets of few CLIF neurons with fresh weights, T = 4, on one thread: five 3x3 convolutions of equal
width without strides, and three linear layers of equal width; both end in ten classes. Each net
runs in blocks of five training steps, then of five inferences, event-driven and dense in turns: of
a block, whose first call does not count, the fastest call does. A ratio is event-driven / dense,
the median of those within a round with its quartiles. What stands in front of it is what
`clifctl.kernels.cpu.rule.too_few` looks at: the spikes of a layer times its channels (features).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from clifctl.kernels.cpu import rule
from clifctl.models import MODELS, NeuronChoice, SpikingNet
from clifctl.neurons import NEURONS

STEPS, CLASSES, CALLS = 4, 10, 5
# Side of the maps, channels, samples.
MAPS = (
    (4, 8, 8), (4, 32, 2), (4, 16, 8), (8, 8, 8), (4, 32, 8), (4, 64, 4), (8, 4, 32), (4, 16, 32),
    (4, 64, 8), (4, 32, 32), (8, 8, 32), (8, 32, 8), (8, 16, 32), (8, 64, 8), (8, 16, 64),
)  # fmt: skip
# Features, samples.
VECTORS = ((64, 32), (128, 32), (64, 128), (256, 32), (128, 128), (512, 32), (256, 128), (512, 128))


def net(connections: str, model: str, shape: tuple[int, ...], **options: Any) -> SpikingNet:
    """With the same weights every time."""
    torch.manual_seed(0)
    made, clif = MODELS[model], NEURONS["clif"]
    choice = NeuronChoice(clif, clif.hyperparameters(), connections=connections)
    return made.build(
        made.options(**options), input_shape=shape, classes=CLASSES, timesteps=STEPS, neuron=choice
    )


def block(call: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls in a row."""
    call()
    seconds = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def step(built: SpikingNet, x: Tensor) -> None:
    """Forward, a loss and backward."""
    built.zero_grad(set_to_none=True)
    built(x)[0].square().mean().backward()


def infer(built: SpikingNet, x: Tensor) -> None:
    """The logits, nothing kept for backward."""
    with torch.no_grad():
        built(x)


def compared(model: str, shape: tuple[int, ...], samples: int, rounds: int, **options: Any) -> str:
    """Both ratios, in words."""
    nets = {name: net(name, model, shape, **options) for name in ("auto", "dense")}
    x = torch.rand(STEPS, samples, *shape)
    said = []
    for name, run in (("step", step), ("inference", infer)):
        times: dict[str, list[float]] = {connections: [] for connections in nets}
        for _ in range(rounds):
            for connections, built in nets.items():
                built.train(run is step)
                times[connections].append(block(partial(run, built, x)))
        ratios = [a / b for a, b in zip(times["auto"], times["dense"], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        said.append(f"{name} {median:.2f} ({low:.2f} to {high:.2f})")
    return ", ".join(said)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    # However few: the vectors that the classifier reads are dense as ever.
    rule.FEWEST_IN_MAPS = {True: 0, False: 0}
    for side, channels, samples in MAPS:
        options = {"channels": (channels,) * 5, "kernel_sizes": (3,) * 5, "strides": (1,) * 5}
        found = compared("snn5", (1, side, side), samples, rounds, **options)
        spikes = STEPS * samples * channels * side**2
        print(f"maps    {spikes:7,} x {channels:3} = {spikes * channels:11,}: {found}", flush=True)  # noqa: T201
    rule.FEWEST_IN_VECTORS = {True: 0, False: 0}
    for features, samples in VECTORS:
        found = compared("mlp", (features,), samples, rounds, hidden=(features,) * 3)
        spikes = STEPS * samples * features
        print(f"vectors {spikes:7,} x {features:3} = {spikes * features:11,}: {found}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

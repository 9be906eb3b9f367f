"""How long a training step and a test take, from a step that is small enough to be timed at once.

A smaller step has fewer samples, then fewer time steps; its time is multiplied by counted work, the
multiply-accumulates of connections. The optimizer's step is as long as ever. On a CPU float16 takes
many times as long as float32: the step is timed in float32 there, and what one convolution
takes longer in float16 is added for each multiply-accumulate.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from clifctl.devices import CPU, is_gpu, wait_for
from clifctl.experiments.build import (
    build_net,
    optimizer_of,
    repeat_of,
    training_step_of,
)
from clifctl.models import SpikingNet
from clifctl.recipe.schema import Recipe
from clifctl.training.precision import ArithmeticName, Precision, resolve_precision
from clifctl.training.step import Sums

# Multiply-accumulates of the forward pass of a timed step, at most: on two slow cores, where the
# smallest step of the largest net has 5e9, a few tenths of a second. A GPU is not busy with less.
MOST_MACS_CPU, MOST_MACS_GPU = 2e9, 4e12
LEAST_SAMPLES = 2  # batch norm needs two
_STEPS, _SECONDS = 5, 1.0
# The convolution that says how long float16 takes: channels, height and width.
_CHANNELS, _SIDE = 64, 16


@dataclass(frozen=True)
class StepSize:
    """What a step works on, and the multiply-accumulates of its forward pass."""

    samples: int
    timesteps: int
    macs: float


@dataclass(frozen=True)
class StepCost:
    """The times of a whole step, and of testing one sample. `timed` is what was timed, in the
    arithmetic `precision`; `whole` the step itself, which takes `precision_factor` times as long
    in its own arithmetic."""

    step_seconds: float
    optimizer_seconds: float
    test_seconds_per_sample: float
    timed: StepSize
    whole: StepSize
    precision: ArithmeticName
    precision_factor: float

    def scaled_to(self, whole: StepSize) -> "StepCost":
        """The cost of another step of (nearly) the same net, by counted work."""
        factor = whole.macs / self.whole.macs
        per_sample = factor * self.whole.samples / whole.samples
        return replace(
            self,
            whole=whole,
            step_seconds=self.optimizer_seconds
            + factor * (self.step_seconds - self.optimizer_seconds),
            test_seconds_per_sample=self.test_seconds_per_sample * per_sample,
        )


def size_of(recipe: Recipe, samples: int, timesteps: int | None = None) -> StepSize:
    """A step of the recipe's net, counted on shapes alone."""
    recipe = shortened(recipe, recipe.timesteps if timesteps is None else timesteps)
    with torch.device("meta"):
        net = build_net(recipe)
        inputs = torch.empty(_input_shape(recipe, LEAST_SAMPLES))
    net.eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(inputs, repeat=repeat_of(recipe))
    macs = counter.get_total_flops() / 2 * samples / LEAST_SAMPLES
    return StepSize(samples, recipe.timesteps, macs)


def smaller(whole: StepSize, most_macs: float) -> tuple[int, int]:
    """Samples and time steps of a step with at most `most_macs`: as many samples as fit, and where
    the fewest are too many, as many time steps as fit."""
    samples = min(whole.samples, int(most_macs * whole.samples / max(whole.macs, 1.0)))
    if samples >= LEAST_SAMPLES:
        return samples, whole.timesteps
    samples = min(whole.samples, LEAST_SAMPLES)
    share = most_macs * whole.samples / samples / whole.macs
    return samples, max(1, min(whole.timesteps, int(share * whole.timesteps)))


def shortened(recipe: Recipe, timesteps: int) -> Recipe:
    """`recipe` with so many time steps, and a window of BPTT that is not longer."""
    window = recipe.neuron.window
    neuron = replace(recipe.neuron, window=None if window is None else min(window, timesteps))
    return replace(recipe, timesteps=timesteps, neuron=neuron)


def step_cost(
    recipe: Recipe, whole: StepSize, device: torch.device, float16_extra: Callable[[], float]
) -> StepCost:
    """The cost of the step `whole` of the recipe, on noise.

    `float16_extra` is how many seconds a multiply-accumulate takes longer in float16; it is asked
    on a CPU alone. A net that
    is to be compiled is timed as it is: compiling takes longer than a person waits for an answer.
    """
    most = MOST_MACS_GPU if is_gpu(device) else MOST_MACS_CPU
    samples, timesteps = smaller(whole, most)
    recipe = shortened(recipe, timesteps)
    recipe = replace(recipe, train=recipe.train.model_copy(update={"compile": False}))
    timed = size_of(recipe, samples)
    asked = resolve_precision(recipe.train.precision, device).name
    slow = asked == "float16" and not is_gpu(device)
    precision: ArithmeticName = "float32" if slow else asked
    net = build_net(recipe).to(device)
    inputs = torch.rand(_input_shape(recipe, samples), device=device)
    step, optimizer = _timed_steps(recipe, net, inputs, Precision(precision, device))
    test = _timed_test(recipe, net, inputs)
    own = max(step - optimizer, 1e-9)
    # The backward of a connection is two passes of the size of its forward one.
    factor = 1.0 + 3 * timed.macs * float16_extra() / own if slow else 1.0
    work = whole.macs / timed.macs if timed.macs else 1.0
    return StepCost(
        step_seconds=optimizer + factor * work * own,
        optimizer_seconds=optimizer,
        test_seconds_per_sample=test * work / whole.samples,
        timed=timed,
        whole=whole,
        precision=precision,
        precision_factor=factor,
    )


def _input_shape(recipe: Recipe, samples: int) -> tuple[int, ...]:
    return (recipe.timesteps // repeat_of(recipe), samples, *recipe.data.input_shape)


def _timed_steps(
    recipe: Recipe, net: SpikingNet, inputs: torch.Tensor, precision: Precision
) -> tuple[float, float]:
    """Seconds of a step (median), and of the optimizer's part in it."""
    optimizer, _ = optimizer_of(recipe, net)
    take_step = training_step_of(recipe, net, optimizer, precision)
    targets = torch.arange(inputs.shape[1], device=inputs.device) % recipe.data.classes
    sums, seconds = Sums(), list[float]()
    net.train()
    # The first step compiles kernels.
    while len(seconds) <= 1 or (len(seconds) <= _STEPS and sum(seconds[1:]) < _SECONDS):
        start = time.perf_counter()
        take_step(1, len(seconds) + 1, inputs, targets, sums)
        wait_for(inputs.device)
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    optimizer.step()
    wait_for(inputs.device)
    return statistics.median(seconds[1:]), time.perf_counter() - start


def _timed_test(recipe: Recipe, net: SpikingNet, inputs: torch.Tensor) -> float:
    net.eval()
    start = time.perf_counter()
    with torch.inference_mode():
        net(inputs, repeat=repeat_of(recipe))
    wait_for(inputs.device)
    return time.perf_counter() - start


def float16_extra_of_cpu() -> float:
    """Seconds that a multiply-accumulate of a convolution and its backward takes longer in float16
    than in float32."""
    layer = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1).to(memory_format=torch.channels_last)
    inputs = torch.rand(LEAST_SAMPLES, _CHANNELS, _SIDE, _SIDE, requires_grad=True)

    def seconds(*, half: bool) -> float:
        start = time.perf_counter()
        with torch.autocast(CPU, dtype=torch.float16, enabled=half):
            result = layer(inputs)
        result.float().sum().backward()
        return time.perf_counter() - start

    times = {half: min(seconds(half=half) for _ in range(3)) for half in (False, True)}
    macs = 3 * LEAST_SAMPLES * _SIDE**2 * _CHANNELS**2 * 3**2
    return max(0.0, times[True] - times[False]) / macs

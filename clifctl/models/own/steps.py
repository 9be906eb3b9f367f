"""Nets and modules of single steps, run on all steps at once: time is folded into the batch.

Each neuron and each module with a memory sees its sequence `[T, N, *]`, everything else T * N
samples, batch norm in training one step after the other. So the numbers are those of a net that is
called step by step, and every layer runs once.
"""

from typing import Any

import torch
from torch import Tensor, nn

from clifctl.models.layers import SpikingLayer
from clifctl.models.norm import NormMode
from clifctl.models.spiking import Spiking


class Clock:
    """How many time steps the sequence has that a net runs on just now."""

    def __init__(self) -> None:
        self.steps = 1


class StepSpiking(Spiking):
    """A layer of neurons among modules of single steps: `[T * N, *]` in and out."""

    clock: Clock

    @classmethod
    def timed(cls, neurons: SpikingLayer, clock: Clock) -> "StepSpiking":
        """The layer around `neurons`, whose sequence has the steps of `clock`."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._hold(neurons, stateful=False, step_mode="m")
        layer.clock = clock
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of the shape of `x`, `[T * N, *features]`."""
        return super().forward(x.unflatten(0, (self.clock.steps, -1))).flatten(0, 1)


class AllSteps(nn.Module):
    """A module that takes sequences, among modules of single steps: `[T * N, *]` in and out."""

    def __init__(self, module: nn.Module, clock: Clock) -> None:
        super().__init__()
        self.module = module
        self.clock = clock

    def forward(self, x: Tensor) -> Tensor:
        """What the module makes of the sequence that `x` `[T * N, *]` holds."""
        result: Tensor = self.module(x.unflatten(0, (self.clock.steps, -1)))
        return result.flatten(0, 1)


class _StepNorm(nn.modules.batchnorm._BatchNorm):
    clock: Clock
    mode: NormMode = "per_step"

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `input` `[T * N, C, *]`, each step with its own statistics in training."""
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        return torch.cat([super(_StepNorm, self).forward(x) for x in input.chunk(self.clock.steps)])


class StepNorm1d(_StepNorm, nn.BatchNorm1d):
    """`BatchNorm1d` in a net of single steps."""


class StepNorm2d(_StepNorm, nn.BatchNorm2d):
    """`BatchNorm2d` in a net of single steps."""


class StepNorm3d(_StepNorm, nn.BatchNorm3d):
    """`BatchNorm3d` in a net of single steps."""


_STEP_NORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: StepNorm1d,
    nn.BatchNorm2d: StepNorm2d,
    nn.BatchNorm3d: StepNorm3d,
}


def norms_by_step(net: nn.Module, clock: Clock) -> None:
    """Let every batch norm of torch in `net` take its statistics step by step; its keys stay."""
    for module in net.modules():
        for plain, by_step in _STEP_NORMS.items():
            # SpikingJelly's are called the same, and are the same on single steps.
            if isinstance(module, plain) and type(module).__name__ == plain.__name__:
                module.__class__ = by_step
                as_any: Any = module
                as_any.clock = clock

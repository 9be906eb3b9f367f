"""Batch norm as the first operations of a neuron's step: a neuron with three more parameters."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

from torch import Tensor

from clifctl.neurons import Learnable, Neuron


def _learnable(name: str, description: str, initial: float) -> Learnable:
    return Learnable(name, description, "step_channel", lambda p, T: initial)


NORM = (
    _learnable("norm_mean", "mean that is taken away", 0.0),
    _learnable("norm_scale", "factor: the norm's weight over the deviation", 1.0),
    _learnable("norm_bias", "the norm's bias", 0.0),
)


@lru_cache(maxsize=256)
def with_norm(neuron: Neuron) -> Neuron:
    """`neuron` on (x - norm_mean) * norm_scale + norm_bias, each `[T, C]`.

    Its kernels are derived like any other's. The gradients of scale and bias are the sums per step
    and channel that batch norm's backward needs: of g * (x - mean), without cancellation, and of g.
    None flows to the mean: what depends on it there is known from these.
    """

    def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        normed = (x - p.norm_mean.detach()) * p.norm_scale + p.norm_bias
        return neuron.step(normed, state, p)

    return replace(
        neuron,
        name=f"{neuron.name} after batch norm",
        step=step,
        learnables=(*neuron.learnables, *NORM),
    )

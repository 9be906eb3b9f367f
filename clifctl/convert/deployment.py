"""A trained net on plain LIF neurons: Table 8 of the paper (Appendix J).

Nothing is trained: the neurons are replaced, the weights stay. The soft reset is that of the
paper's "None"; a hard reset to v_r is as SpikingJelly defines it: the membrane starts at v_r and
leaks towards it. Shifted by v_r that is a reset to zero with the threshold v_threshold - v_r,
so a row of the table is a row of thresholds: 1.00, 1.02, ..., 1.10.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from clifctl.errors import ConversionError, UsageError
from clifctl.models import (
    NeuronChoice,
    SpikingNet,
    firing_modules,
    lif_constants,
    unfolded_norms,
)
from clifctl.neurons import NEURONS, Neuron

# The columns of Table 8 behind "None".
PAPER_RESETS = (0.0, -0.02, -0.04, -0.06, -0.08, -0.1)


@dataclass(frozen=True)
class Reset:
    """What a spike does to the membrane: hard, it goes to `v_reset`; None: it loses a threshold."""

    v_reset: float | None = None

    @property
    def kind(self) -> str:
        """`soft` or `hard`."""
        return "soft" if self.v_reset is None else "hard"

    @property
    def label(self) -> str:
        """The head of its column."""
        return "soft" if self.v_reset is None else f"{self.v_reset:g}"


def require_deployable(neuron: Neuron, hyperparameters: object, whose: str) -> None:
    """Raise ConversionError where neurons of `whose` ("'net.pt' is a net of") cannot become LIF."""
    if not neuron.spiking:
        raise ConversionError(
            f"{whose} '{neuron.name}', an ANN: it has no spiking neurons to replace",
            hint="an ANN becomes a spiking net by another method: "
            "spikingjelly.activation_based.ann2snn",
        )
    if neuron.learnables:
        learnt = ", ".join(learnable.name for learnable in neuron.learnables)
        raise ConversionError(
            f"{whose} '{neuron.name}', whose learned parameters ({learnt}) LIF has no place for",
            hint="train with clif or lif, which have none",
        )
    lacks = [key for key in ("tau", "v_threshold") if not hasattr(hyperparameters, key)]
    if lacks:
        raise ConversionError(
            f"{whose} '{neuron.name}', which has no {' and no '.join(lacks)} for LIF",
            hint="NIR and chips have it as it is: --to nir"
            if neuron.name == "if"
            else "train with clif or lif",
        )


def require_layers_deployable(net: SpikingNet, path: str) -> None:
    """The same of every layer of the net `path`, whose layers may be of several neurons."""
    for name, layer in firing_modules(net).items():
        whose = f"'{path}': its layer '{name}' is of"
        require_deployable(layer.neuron, layer.hyperparameters, whose)


def lif_of(choice: NeuronChoice, reset: Reset) -> NeuronChoice:
    """LIF with `reset` in the place of `choice`, with every constant that both have.

    Raises UsageError for a reset value that is not below the threshold, or as far below zero as the
    threshold is above.
    """
    values: Any = choice.hyperparameters
    threshold = values.v_threshold
    if reset.v_reset is not None and not -threshold < reset.v_reset < threshold:
        raise UsageError(
            f"reset value {reset.v_reset:g}: must lie between -{threshold:g} and {threshold:g}, "
            "the threshold",
            hint="the paper's are 0 to -0.1: --reset-values 0,-0.02,-0.06",
        )
    changed = lif_constants(values, reset=reset.kind, v_reset=reset.v_reset or 0.0)
    return replace(choice, neuron=NEURONS["lif"], hyperparameters=changed)


def require_below_thresholds(net: SpikingNet, resets: Iterable[Reset]) -> None:
    """Raise UsageError for a reset value at or above the threshold of a layer, which may have its
    own: such neurons would never stop firing."""
    for name, layer in firing_modules(net).items():
        constants: Any = layer.hyperparameters
        own = constants.v_threshold
        for reset in resets:
            value = reset.v_reset
            if value is not None and value >= own:
                raise UsageError(
                    f"reset value {value:g}: must lie below {own:g}, the threshold of '{name}'",
                    hint="the paper's are 0 to -0.1: --reset-values 0,-0.02,-0.06",
                )


@torch.no_grad()
def recalibrate(net: SpikingNet, inputs: Iterable[Tensor], *, repeat: int) -> None:
    """Estimate the running averages of every batch norm of `net` anew, with the neurons that it has
    now: the mean of the statistics of all batches `inputs` (each `[T, N, *]`, N > 1). Norms that
    were folded into the weights stay as they are.

    Within it each norm uses the statistics of the batch, as in training; dropout is off. `repeat`
    is that of the net's forward.
    """
    norms = unfolded_norms(net)
    momenta = [norm.momentum for norm in norms]
    net.eval()
    for norm in norms:
        averages = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        for tensor, start in zip(averages, (0, 1, 0), strict=True):
            assert tensor is not None
            tensor.fill_(start)
        norm.momentum = None  # the average of all updates
        norm.train()
    try:
        for batch in inputs:
            net(batch, repeat=repeat)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        net.eval()

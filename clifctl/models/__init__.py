"""Networks: the MODELS table and the layers that they are built of."""

from collections.abc import Callable
from dataclasses import dataclass

from clifctl.kernels import READINGS
from clifctl.models.layers import (
    FiringRates,
    NeuronChoice,
    SharedDropout,
    SpikingLayer,
    SynapticLayer,
    batch_statistics,
    fold_time,
)
from clifctl.models.mlp import MLPOptions, build_mlp
from clifctl.models.norm import TemporalBatchNorm
from clifctl.models.options import ModelOptions
from clifctl.models.sequential import SequentialNet
from clifctl.models.snn5 import SNN5Options, build_snn5


@dataclass(frozen=True)
class Model:
    """A network: one row of the MODELS table."""

    name: str
    title: str
    options: type[ModelOptions]
    build: Callable[..., SequentialNet]


# name -> model, in the order of display
MODELS: dict[str, Model] = {
    "snn5": Model("snn5", "5-layer convolutional SNN (Figure 2)", SNN5Options, build_snn5),
    "mlp": Model("mlp", "multilayer perceptron", MLPOptions, build_mlp),
}

__all__ = [
    "MODELS",
    "READINGS",
    "FiringRates",
    "Model",
    "ModelOptions",
    "NeuronChoice",
    "SequentialNet",
    "SharedDropout",
    "SpikingLayer",
    "SynapticLayer",
    "TemporalBatchNorm",
    "batch_statistics",
    "fold_time",
]

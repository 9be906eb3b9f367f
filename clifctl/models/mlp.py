"""A multilayer perceptron: (linear, norm, neuron) for each hidden layer, then a linear read-out."""

import math

from pydantic import Field
from torch import nn

from clifctl.models.layers import NeuronChoice, SynapticLayer
from clifctl.models.options import ModelOptions
from clifctl.models.sequential import SequentialNet
from clifctl.strict import Widths


class MLPOptions(ModelOptions):
    """Width of the hidden layers."""

    hidden: Widths = Field((128, 128), min_length=1, description="hidden features a layer")


def build_mlp(
    options: MLPOptions,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    timesteps: int,
    neuron: NeuronChoice,
) -> SequentialNet:
    """The net for an input of any shape; each sample is flattened. PyTorch's initialisation."""
    features = math.prod(input_shape)
    layers = []
    for hidden in options.hidden:
        connection = nn.Sequential(nn.Flatten(), nn.Linear(features, hidden))
        norm = options.norm(hidden)
        layers.append(SynapticLayer(connection, norm, neuron.layer(hidden, timesteps)))
        features = hidden
    return SequentialNet(layers, features=features, classes=classes, dropout=options.dropout)

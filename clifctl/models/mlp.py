"""A multilayer perceptron: (linear, norm, neuron) for each hidden layer, then a linear read-out."""

import math

from pydantic import Field
from torch import nn

from clifctl.models.layers import NeuronChoice, SynapticLayer
from clifctl.models.options import ModelOptions
from clifctl.models.sequential import SequentialNet
from clifctl.strict import Widths

# Of 0.5 and 1 times an orthogonal matrix, and torch's own start, the one that trained best on
# MNIST-1D, with LIF and with CLIF (one seed each).
RECURRENT_GAIN = 0.5


class MLPOptions(ModelOptions):
    """Width of the hidden layers, and whether they remember their last spikes."""

    hidden: Widths = Field((128, 128), min_length=1, description="hidden features a layer")
    recurrent: bool = Field(
        False, description="feed each layer's last spikes back to it through a learned matrix"
    )


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
        recurrent = recurrent_matrix(hidden) if options.recurrent else None
        neurons = neuron.layer(hidden, timesteps, recurrent=recurrent)
        layers.append(SynapticLayer(connection, norm, neurons))
        features = hidden
    return SequentialNet(layers, features=features, classes=classes, dropout=options.dropout)


def recurrent_matrix(size: int) -> nn.Linear:
    """The matrix through which a layer's last spikes come back to it, with its start values.

    Orthogonal, so that what goes round in it is neither blown up nor lost in some direction, and
    one half of that, as a spike comes back beside a current that is normalised.
    """
    matrix = nn.Linear(size, size, bias=False)
    nn.init.orthogonal_(matrix.weight, RECURRENT_GAIN)
    return matrix

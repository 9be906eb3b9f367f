"""WHAT a neuron is: the contract, the NEURONS table (one file a model) and the surrogates."""

from clifctl.neurons import clif, lif, relu
from clifctl.neurons.contract import (
    Hyperparameters,
    LeakyHyperparameters,
    Learnable,
    Neuron,
    Parameters,
    SpikingHyperparameters,
    State,
    Step,
)
from clifctl.neurons.surrogates import SURROGATES, spike

# name -> neuron, in the order of display
NEURONS: dict[str, Neuron] = {
    "lif": lif.NEURON,
    "clif": clif.NEURON,
    "relu": relu.NEURON,
}


__all__ = [
    "NEURONS",
    "SURROGATES",
    "Hyperparameters",
    "LeakyHyperparameters",
    "Learnable",
    "Neuron",
    "Parameters",
    "SpikingHyperparameters",
    "State",
    "Step",
    "spike",
]

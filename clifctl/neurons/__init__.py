"""WHAT a neuron is: the contract, the NEURONS table (one file a model) and the surrogates."""

from clifctl.errors import NeuronError, unknown_name
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


def find_neuron(name: str) -> Neuron:
    """The neuron of that name. Raises NeuronError with the nearest name where there is none."""
    if name not in NEURONS:
        raise NeuronError(unknown_name("neuron", name, NEURONS))
    return NEURONS[name]


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
    "find_neuron",
    "spike",
]

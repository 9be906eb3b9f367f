"""WHAT a neuron is: the contract, the NEURONS table (one file a model) and the surrogates."""

from clifctl.neurons import (
    alif,
    clif,
    cuba,
    glif,
    ilif,
    integrate_and_fire,
    klif,
    lif,
    plif,
    relu,
    tclif,
)
from clifctl.neurons.contract import (
    Hyperparameters,
    LeakyHyperparameters,
    Learnable,
    Neuron,
    Parameters,
    SpikingHyperparameters,
    State,
    Step,
    SurrogateHyperparameters,
)
from clifctl.neurons.surrogates import SURROGATES, spike

# name -> neuron, in the order of display
NEURONS: dict[str, Neuron] = {
    "if": integrate_and_fire.NEURON,
    "lif": lif.NEURON,
    "plif": plif.NEURON,
    "klif": klif.NEURON,
    "glif": glif.NEURON,
    "glif_channel": glif.CHANNEL_NEURON,
    "clif": clif.NEURON,
    "alif": alif.NEURON,
    "cuba": cuba.NEURON,
    "tclif": tclif.NEURON,
    "ilif": ilif.NEURON,
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
    "SurrogateHyperparameters",
    "spike",
]

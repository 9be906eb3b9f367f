"""Another neuron in a net that is being trained: the exchange of Figure 3a."""

from clifctl.kernels import is_binary
from clifctl.models.layers import NeuronChoice, SpikingLayer, SpikingNet


def put_neuron(net: SpikingNet, choice: NeuronChoice) -> None:
    """Let every spiking layer of `net` be of `choice` from now on.

    Nothing else changes: neither neuron has learnable parameters, so the state dict and the
    optimizer's state are those of before. Raises ValueError where that does not hold.
    """
    for layer in net.modules():
        if not isinstance(layer, SpikingLayer):
            continue
        if layer.neuron.learnables or choice.neuron.learnables:
            raise ValueError(
                f"'{layer.neuron.name}' and '{choice.neuron.name}' cannot be exchanged: "
                "their learnable parameters would be lost or invented"
            )
        layer.neuron = choice.neuron
        layer.hyperparameters = choice.hyperparameters.with_threshold(layer.own_threshold)
        layer.binary = is_binary(choice.neuron, layer.hyperparameters)

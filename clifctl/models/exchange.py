"""Another neuron in a net whose weights stay: the exchange of Figure 3a, and conversion to LIF."""

from collections.abc import Mapping

from clifctl.kernels import is_binary
from clifctl.models.layers import NeuronChoice, SpikingLayer, SpikingNet
from clifctl.neurons import NEURONS, Hyperparameters


def put_neuron(
    net: SpikingNet,
    choice: NeuronChoice,
    constants: Mapping[str, Hyperparameters] | None = None,
) -> None:
    """Let every spiking layer of `net` be of `choice` from now on; a layer whose name is in
    `constants` has those.

    Nothing else changes: neither neuron has learnable parameters, so the state dict and the
    optimizer's state are those of before. Raises ValueError where that does not hold.
    """
    for name, layer in net.named_modules():
        if not isinstance(layer, SpikingLayer):
            continue
        if layer.neuron.learnables or choice.neuron.learnables:
            raise ValueError(
                f"'{layer.neuron.name}' and '{choice.neuron.name}' cannot be exchanged: "
                "their learnable parameters would be lost or invented"
            )
        layer.neuron = choice.neuron
        own = (constants or {}).get(name, choice.hyperparameters)
        layer.hyperparameters = own.with_threshold(layer.own_threshold)
        layer.binary = is_binary(choice.neuron, layer.hyperparameters)


def lif_constants(given: Hyperparameters, *, reset: str, v_reset: float) -> Hyperparameters:
    """LIF with this reset, and with every other constant that it shares with `given`."""
    kind = NEURONS["lif"].hyperparameters
    shared = {name: value for name, value in given if name in kind.model_fields}
    return kind(**{**shared, "reset": reset, "v_reset": v_reset})

"""The neurons that a net came with, and LIF in their places: `convert --to lif`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clifctl.convert.deployment import require_layers_deployable
from clifctl.models import NeuronChoice, SpikingNet, firing_modules, lif_constants, put_neuron
from clifctl.neurons import Hyperparameters
from clifctl.recipe.schema import Recipe


@dataclass(frozen=True)
class NetNeurons:
    """Which neurons a net came with: `kinds`, their names; `constants` of the layers that have
    their own; `others`, the neuron of every other layer."""

    kinds: str
    constants: Mapping[str, Hyperparameters]
    others: NeuronChoice

    @classmethod
    def of(cls, net: SpikingNet, recipe: Recipe, path: Path) -> "NetNeurons":
        """Those of `net`. Raises ConversionError for one that cannot become LIF."""
        if not recipe.own_neurons:
            return cls(recipe.neuron.neuron.name, {}, recipe.neuron)
        require_layers_deployable(net, str(path))
        layers = firing_modules(net)
        kinds = list(dict.fromkeys(layer.neuron.name for layer in layers.values()))
        constants = {name: layer.hyperparameters for name, layer in layers.items()}
        others = recipe.neuron
        if others.neuron.name not in kinds:  # then no layer is built by neuron(channels)
            first = next(iter(layers.values()))
            others = replace(others, neuron=first.neuron, hyperparameters=first.hyperparameters)
        return cls(", ".join(kinds), constants, others)

    def put(self, net: SpikingNet, choice: NeuronChoice) -> None:
        """Let every layer be of `choice`, those with constants of their own with them."""
        reset: Any = choice.hyperparameters
        own = {
            name: lif_constants(given, reset=reset.reset, v_reset=reset.v_reset)
            for name, given in self.constants.items()
        }
        put_neuron(net, choice, own)

"""SEW-ResNet-18 and -34 (Fang et al., NeurIPS 2021), as SpikingJelly builds them.

In a block, for spikes x:

    y = neuron2(norm2(conv2(neuron1(norm1(conv1(x))))));  out = connect(shortcut(x), y)

Spikes meet spikes (spike-element-wise): the shortcut is the identity, or where the shape changes a
convolution 1x1 with a norm and neurons of its own. `connect` is ADD (x + y, small whole numbers
that grow along a stage), AND (x * y) or IAND (x * (1 - y)), whose results are spikes. See
`residual` for what is around the blocks.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from clifctl.errors import RecipeError
from clifctl.kernels import is_binary, mark_spikes, spike_value
from clifctl.models.layers import LayerStates, NeuronChoice, masked
from clifctl.models.residual import Block, ResidualOptions, layer_names, synaptic_layer


class SEWResNetOptions(ResidualOptions):
    """Width and stem of the net, and how a block's spikes meet its input's."""

    connect: Literal["add", "and", "iand"] = Field(
        "add", description="how spikes of block and shortcut meet: x + y, x * y or x * (1 - y)"
    )


class SEWBlock(Block):
    """Two layers, and a shortcut that carries spikes."""

    def __init__(
        self,
        channels: int,
        out: int,
        stride: int,
        options: SEWResNetOptions,
        neuron: NeuronChoice,
        timesteps: int,
    ) -> None:
        super().__init__()
        if options.connect != "add" and neuron.neuron.spiking and not _is_binary(neuron):
            raise RecipeError(
                f"model.connect = {options.connect}: takes spikes of 0 and 1, and neuron "
                f"'{neuron.neuron.name}' gives other numbers",
                hint="model.connect=add, or a neuron whose output is a spike",
            )
        self.connect = options.connect
        self.first = synaptic_layer(channels, out, options, neuron, timesteps, stride=stride)
        self.second = synaptic_layer(out, out, options, neuron, timesteps)
        self.names = {**layer_names("first", 1), **layer_names("second", 2)}
        self.shortcut = None
        if stride != 1 or channels != out:
            self.shortcut = synaptic_layer(
                channels, out, options, neuron, timesteps, kernel=1, stride=stride
            )
            self.names |= {
                "shortcut.connection": "downsample.0",
                "shortcut.norm": "downsample.1",
                "shortcut.neuron": "downsample_sn",
            }

    def extra_repr(self) -> str:
        return f"connect={self.connect}"

    def forward(self, x: Tensor, states: LayerStates) -> Tensor:
        y = states.run(self.second, states.run(self.first, x))
        identity = x if self.shortcut is None else states.run(self.shortcut, x)
        if self.connect == "add":
            return identity + y
        return masked(identity, y) if self.connect == "and" else spike_iand(identity, y)


def spike_iand(x: Tensor, y: Tensor) -> Tensor:
    """The spikes `x` where there is no spike of `y`: x * (1 - y)."""
    if has_torch_function((x, y)):
        # Who follows the net's operations sees the one operation that this is.
        traced: Tensor = handle_torch_function(spike_iand, (x, y), x, y)
        return traced
    result = x * (1.0 - y)
    value = spike_value(x)
    if value is not None and spike_value(y) == 1.0:
        mark_spikes(result, value)
    return result


def _is_binary(choice: NeuronChoice) -> bool:
    return is_binary(choice.neuron, choice.hyperparameters)

"""What the residual nets of SpikingJelly share: one of two stems, stages of blocks, a read-out.

A stem, four stages of blocks (64, 128, 256, 512 channels, the last three halve the map), average
pool over the map, dropout, linear. The stem for ImageNet is a convolution 7x7 with stride 2, norm,
neuron, and a maximum of 3x3 with stride 2; the one for CIFAR a convolution 3x3, norm and neuron.
Convolutions have no bias, and start with kaiming_normal(fan_out, relu).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from clifctl.errors import RecipeError
from clifctl.models.convolution import kaiming_convolution
from clifctl.models.layers import (
    LayerStates,
    NetState,
    NeuronChoice,
    Pool,
    SharedDropout,
    SpikingNet,
    SynapticLayer,
    fold_time,
)
from clifctl.models.options import ModelOptions
from clifctl.strict import Width

# Blocks in each stage.
LAYERS_18, LAYERS_34 = (2, 2, 2, 2), (3, 4, 6, 3)
# The last stage has more than a pixel to halve.
SMALLEST = {"imagenet": 17, "cifar": 5}


class ResidualOptions(ModelOptions):
    """Width and stem of the net."""

    width: Width = Field(64, description="output channels of the first convolution")
    stem: Literal["imagenet", "cifar"] = Field(
        "imagenet",
        description="convolution 7x7 and maximum, a quarter of the size; or 3x3, the size as it is",
    )


class Block(nn.Module, ABC):
    """A block of a stage: `[T, N, C, H, W]` in and out. `names` maps its modules to theirs."""

    names: dict[str, str]

    @abstractmethod
    def forward(self, x: Tensor, states: LayerStates) -> Tensor:
        """The block's output; its layers of neurons take and leave their states in `states`."""


class ResidualNet(SpikingNet):
    """The net. Its final state is that of every layer of neurons, in forward order."""

    def __init__(
        self,
        options: ResidualOptions,
        blocks: Sequence[int],
        block: Callable[..., Block],
        channels: int,
        classes: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> None:
        super().__init__()
        self.stem = synaptic_layer(
            channels,
            options.width,
            options,
            neuron,
            timesteps,
            kernel=7 if options.stem == "imagenet" else 3,
            stride=2 if options.stem == "imagenet" else 1,
        )
        maximum = options.stem == "imagenet"
        self.maximum = Pool(nn.MaxPool2d(3, 2, padding=1)) if maximum else nn.Identity()
        self.blocks = nn.ModuleList()
        self.authors_names = {"linear": "fc", **layer_names("stem", 1)}
        channels = options.width
        for stage, count in enumerate(blocks):
            for number in range(count):
                out = options.width * 2**stage
                stride = 2 if stage > 0 and number == 0 else 1
                made = block(channels, out, stride, options, neuron, timesteps)
                for ours, theirs in made.names.items():
                    name = f"layer{stage + 1}.{number}.{theirs}"
                    self.authors_names[f"blocks.{len(self.blocks)}.{ours}"] = name
                self.blocks.append(made)
                channels = out
        self.pool = nn.AdaptiveAvgPool2d(1)  # torch takes the mean: repeatable on a GPU
        self.dropout = SharedDropout(options.dropout)
        self.linear = nn.Linear(channels, classes)

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        """See `SpikingNet.forward`."""
        states = LayerStates(state)
        x = self.maximum(states.run(self.stem, self.frames(x), repeat=repeat))
        for block in self.blocks:
            x = block(x, states)
        pooled = fold_time(self.pool, x).flatten(2)
        return fold_time(self.linear, self.dropout(pooled)), tuple(states.finals)


def synaptic_layer(
    channels: int,
    out: int,
    options: ModelOptions,
    neuron: NeuronChoice,
    timesteps: int,
    *,
    kernel: int = 3,
    stride: int = 1,
) -> SynapticLayer:
    """A convolution without bias, its norm and its neurons."""
    convolution = kaiming_convolution(channels, out, kernel, stride, bias=False)
    return SynapticLayer(convolution, options.norm(out), neuron.layer(out, timesteps))


def layer_names(ours: str, number: int) -> dict[str, str]:
    """The parts of the `SynapticLayer` that is called `ours` -> their names in SpikingJelly."""
    parts = {"connection": "conv", "norm": "bn", "neuron": "sn"}
    return {f"{ours}.{part}": f"{theirs}{number}" for part, theirs in parts.items()}


def residual_builder(
    name: str, blocks: Sequence[int], block: Callable[..., Block]
) -> Callable[..., ResidualNet]:
    """What builds the net `name` of so many blocks a stage."""

    def build(
        options: ResidualOptions,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> ResidualNet:
        smallest = SMALLEST[options.stem]
        if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
            hint = "choose model.name=mlp for vectors, snn5 for tiny images"
            if options.stem == "imagenet":
                hint = f"model.stem=cifar takes smaller images; {hint}"
            raise RecipeError(
                f"model '{name}' with model.stem={options.stem} needs images [C, H, W] of at "
                f"least {smallest} x {smallest} pixels, the data has shape {list(input_shape)}",
                hint=hint,
            )
        return ResidualNet(options, blocks, block, input_shape[0], classes, timesteps, neuron)

    return build

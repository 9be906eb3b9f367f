"""Spiking ResNet-18 with pre-activation, as in the authors' code (`spiking_resnet18`).

A convolution 3x3 without bias; four stages of two blocks (64, 128, 256, 512 channels, the last
three halve the map); norm, neuron, average pool over the map, dropout, linear. In a block

    a = neuron1(norm1(x));  out = conv2(dropout(neuron2(norm2(conv1(a))))) + shortcut(a)

so the shortcut carries the spikes `a`, not the sums x (unlike He et al. 2016); it is a convolution
1x1 where the shape changes. Both convolutions have a bias. Weights start with
kaiming_normal(fan_out, relu), biases of convolutions with PyTorch's default, that of the linear
layer with 0.
"""

from pydantic import Field
from torch import Tensor, nn

from clifctl.errors import RecipeError
from clifctl.models.convolution import kaiming_convolution
from clifctl.models.layers import (
    LayerState,
    NetState,
    NeuronChoice,
    SharedDropout,
    SpikingNet,
    fold_time,
)
from clifctl.models.options import ModelOptions
from clifctl.strict import Width

STAGES, BLOCKS = 4, 2
SMALLEST = 2 ** (STAGES - 1)


class ResNet18Options(ModelOptions):
    """Width of the net; `dropout` stands before the second convolution of a block too."""

    width: Width = Field(64, description="output channels of the first convolution")


class ResidualBlock(nn.Module):
    """Two convolutions of spikes, and a shortcut that carries the first neurons' spikes."""

    def __init__(
        self,
        channels: int,
        out: int,
        stride: int,
        options: ResNet18Options,
        neuron: NeuronChoice,
        timesteps: int,
    ) -> None:
        super().__init__()
        self.norm1 = options.norm(channels)
        self.neuron1 = neuron.layer(channels, timesteps)
        self.conv1 = kaiming_convolution(channels, out, 3, stride)
        self.norm2 = options.norm(out)
        self.neuron2 = neuron.layer(out, timesteps)
        self.dropout = SharedDropout(options.dropout)
        self.conv2 = kaiming_convolution(out, out, 3)
        changes = stride != 1 or channels != out
        self.shortcut = kaiming_convolution(channels, out, 1, stride) if changes else nn.Identity()

    def forward(
        self, x: Tensor, state: NetState | None, repeat: int
    ) -> tuple[Tensor, tuple[LayerState, LayerState]]:
        """Sums `[T, N, C, H, W]`, and the final states of both layers of neurons."""
        first, second = (None, None) if state is None else state
        spikes, first = self.neuron1(x, first, self.norm1, repeat)
        inner, second = self.neuron2(fold_time(self.conv1, spikes), second, self.norm2)
        out = fold_time(self.conv2, self.dropout(inner)) + fold_time(self.shortcut, spikes)
        return out, (first, second)


class ResNet18(SpikingNet):
    """The net. Its final state is that of every layer of neurons, in forward order."""

    def __init__(
        self,
        options: ResNet18Options,
        channels: int,
        classes: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> None:
        super().__init__()
        self.conv1 = kaiming_convolution(channels, options.width, 3, bias=False)
        self.blocks = nn.ModuleList()
        self.authors_names = {"conv1": "conv1", "norm": "bn1", "neuron": "relu1"}
        self.authors_names["linear"] = "linear"
        channels = options.width
        for stage in range(STAGES):
            for number in range(BLOCKS):
                out = options.width * 2**stage
                stride = 2 if stage > 0 and number == 0 else 1
                ours = f"blocks.{len(self.blocks)}"
                for name, theirs in (
                    ("norm1", "bn1"),
                    ("norm2", "bn2"),
                    ("neuron1", "relu1"),
                    ("neuron2", "relu2"),
                    ("conv1", "conv1"),
                    ("conv2", "conv2"),
                    ("shortcut", "shortcut"),
                ):
                    self.authors_names[f"{ours}.{name}"] = f"layer{stage + 1}.{number}.{theirs}"
                self.blocks.append(ResidualBlock(channels, out, stride, options, neuron, timesteps))
                channels = out
        self.norm = options.norm(channels)
        self.neuron = neuron.layer(channels, timesteps)
        self.pool = nn.AdaptiveAvgPool2d(1)  # torch takes the mean: repeatable on a GPU
        self.dropout = SharedDropout(options.dropout)
        self.linear = nn.Linear(channels, classes)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        """See `SpikingNet.forward`."""
        x = fold_time(self.conv1, self.frames(x))
        finals: list[LayerState] = []
        for block in self.blocks:
            given = None if state is None else state[len(finals) : len(finals) + 2]
            x, pair = block(x, given, repeat)
            finals += pair
            repeat = 1
        spikes, final = self.neuron(x, None if state is None else state[-1], self.norm, repeat)
        pooled = fold_time(self.pool, spikes).flatten(2)
        return fold_time(self.linear, self.dropout(pooled)), (*finals, final)


def build_resnet18(
    options: ResNet18Options,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    timesteps: int,
    neuron: NeuronChoice,
) -> ResNet18:
    """The net for images `[C, H, W]` of any size from 8 x 8 pixels."""
    if len(input_shape) != 3 or min(input_shape[1:]) < SMALLEST:
        raise RecipeError(
            f"model 'resnet18' needs images [C, H, W] of at least {SMALLEST} x {SMALLEST} pixels, "
            f"the data has shape {list(input_shape)}",
            hint="choose model.name=mlp for vectors, snn5 for tiny images",
        )
    return ResNet18(options, input_shape[0], classes, timesteps, neuron)

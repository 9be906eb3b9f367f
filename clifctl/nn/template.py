"""A net to begin with: a convolution, a residual block of two, and a read-out.

    model.name=FILE.py:MyNet

Change what you like, then look whether every command can use it: clifctl models check FILE.py:MyNet
"""

from collections.abc import Callable

from torch import Tensor, nn

from clifctl.nn import FoldTime, Spiking


def connection(channels: int, out: int) -> FoldTime:
    """A convolution and its batch norm, on every time step: [T, N, C, H, W] in and out."""
    # What has no time of its own (torch's layers) sees T * N samples. Batch norm of torch then
    # takes its statistics over all steps; clifctl.nn.TemporalBatchNorm can take each step's.
    convolution = nn.Conv2d(channels, out, kernel_size=3, padding=1, bias=False)
    return FoldTime(convolution, nn.BatchNorm2d(out))


class MyNet(nn.Module):
    """A small convolutional net with a residual block."""

    # The first four are given by clifctl: the shape of one time step of one sample, as (1, 8, 8);
    # the number of classes; T; and what builds a layer of the recipe's neuron. Leave out what you
    # do not need. Each keyword behind them is a key of recipes, as in model.width=32, and keeps its
    # type.
    def __init__(
        self,
        input_shape: tuple[int, ...],
        classes: int,
        timesteps: int,
        neuron: Callable[[int], Spiking],
        *,
        width: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, height, width_of_images = input_shape
        self.stem = connection(channels, width)
        # A layer of neurons for so many channels. Each place needs a layer of its own.
        self.stem_neurons = neuron(width)
        self.first = connection(width, width)
        self.first_neurons = neuron(width)
        self.second = connection(width, width)
        self.second_neurons = neuron(width)
        self.pool = FoldTime(nn.AvgPool2d(2))
        self.dropout = nn.Dropout(dropout)
        features = width * (height // 2) * (width_of_images // 2)
        self.read_out = nn.Linear(features, classes)

    # x is [T, N, C, H, W], time first; what comes out are logits of every step, [T, N, classes], or
    # of the whole sequence, [N, classes]. Nothing may be kept from one call to the next, x is not
    # changed in place, and what is computed does not depend on values by `if`.
    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_neurons(self.stem(x))
        branch = self.first_neurons(self.first(x))
        x = x + self.second_neurons(self.second(branch))  # a sum of spikes
        x = self.pool(x).flatten(2)  # [T, N, features]
        return self.read_out(self.dropout(x))

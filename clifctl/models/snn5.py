"""The 5-layer convolutional SNN of Figure 2, of any size: (convolution, norm, neuron) five times.

The defaults are the paper's net (`snn5_noAP` in the authors' code; 1,644,586 parameters for
3x32x32 images and 10 classes). Every convolution is padded by 1 and has a bias, as there; weights
start with kaiming_normal(fan_out, relu), everything else with PyTorch's defaults.
"""

from typing import Annotated

from pydantic import Field
from torch import nn

from clifctl.errors import RecipeError
from clifctl.models.convolution import Convolution
from clifctl.models.layers import NeuronChoice, SynapticLayer
from clifctl.models.options import ModelOptions
from clifctl.models.sequential import SequentialNet
from clifctl.strict import Widths

PADDING = 1


FiveInts = Annotated[Widths, Field(min_length=5, max_length=5)]


class SNN5Options(ModelOptions):
    """Width, kernels and strides of the five convolutions."""

    channels: FiveInts = Field((16, 64, 128, 256, 256), description="output channels a layer")
    kernel_sizes: FiveInts = Field((3, 5, 5, 5, 3), description="kernel sizes a layer")
    strides: FiveInts = Field((1, 2, 2, 4, 2), description="strides a layer")


def build_snn5(
    options: SNN5Options,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    timesteps: int,
    neuron: NeuronChoice,
) -> SequentialNet:
    """The net for images `[C, H, W]`. Raises RecipeError where a map would have no pixel left."""
    if len(input_shape) != 3:
        raise RecipeError(
            f"model 'snn5' needs images [C, H, W], the data has shape {list(input_shape)}",
            hint="choose model.name=mlp for vectors",
        )
    channels, height, width = input_shape
    layers = []
    for index, (out, kernel, stride) in enumerate(
        zip(options.channels, options.kernel_sizes, options.strides, strict=True)
    ):
        height = (height + 2 * PADDING - kernel) // stride + 1
        width = (width + 2 * PADDING - kernel) // stride + 1
        if min(height, width) < 1:
            raise RecipeError(
                f"model 'snn5': layer {index + 1} (kernel {kernel}, stride {stride}) leaves no "
                f"pixel of images {list(input_shape)}",
                hint="choose smaller model.kernel_sizes or model.strides",
            )
        convolution = Convolution(channels, out, kernel, stride, PADDING)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        norm = options.norm(out)
        layers.append(SynapticLayer(convolution, norm, neuron.layer(out, timesteps)))
        channels = out
    net = SequentialNet(
        layers,
        features=channels * height * width,
        classes=classes,
        dropout=options.dropout,
    )
    for index in range(len(layers)):
        for ours, theirs in (("connection", "fwd.0"), ("norm", "fwd.1"), ("neuron", "act")):
            net.authors_names[f"features.{index}.{ours}"] = f"features.{index}.{theirs}"
    return net

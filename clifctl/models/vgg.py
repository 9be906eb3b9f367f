"""The VGG nets of the paper, with average pools: VGG-11, VGG-13 and VGGSNN.

VGG-11 and VGG-13 (`spiking_vgg11_bn`, `spiking_vgg13_bn` in the authors' code): (convolution 3x3
with bias, norm, neuron, dropout) in five groups, each with a pool behind it, then an adaptive pool
to 7x7, which repeats values where maps are smaller, and one linear layer. VGGSNN (after TET, Deng
et al., ICLR 2022): eight convolutions, a pool behind each pair, dropout before the linear layer.

Weights start as the authors': convolutions with kaiming_normal(fan_out, relu); in VGG-11 and VGG-13
biases with 0 and the linear layer with N(0, 0.01), in VGGSNN with PyTorch's defaults.
"""

from collections.abc import Callable, Sequence

from pydantic import Field
from torch import nn

from clifctl.errors import RecipeError
from clifctl.models.convolution import kaiming_convolution
from clifctl.models.layers import NeuronChoice, Pool, SharedDropout, SynapticLayer
from clifctl.models.options import ModelOptions
from clifctl.models.pooling import AdaptiveAvgPool
from clifctl.models.sequential import SequentialNet
from clifctl.strict import Width

POOLED_TO = 7
# Groups of convolutions in multiples of the width; a pool follows each.
VGG11 = ((1,), (2,), (4, 4), (8, 8), (8, 8))
VGG13 = ((1, 1), (2, 2), (4, 4), (8, 8), (8, 8))
VGGSNN = ((1, 2), (4, 4), (8, 8), (8, 8))


class VGGOptions(ModelOptions):
    """Width of the net; `dropout` stands behind every neuron of VGG-11 and VGG-13."""

    width: Width = Field(64, description="output channels of the first convolution")


def vgg_builder(name: str, groups: Sequence[Sequence[int]]) -> Callable[..., SequentialNet]:
    """What builds VGG-11 or VGG-13."""

    def build(
        options: VGGOptions,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> SequentialNet:
        channels = require_image(name, input_shape, pools=len(groups))[0]
        layers: list[SynapticLayer | Pool | SharedDropout] = []
        names = {}
        for number, group in enumerate(groups, 1):
            for place, multiple in enumerate(group):
                out = multiple * options.width
                layer = vgg_layer(channels, out, options, neuron, timesteps)
                nn.init.zeros_(layer.connection.get_parameter("bias"))
                # In the authors' code a unit is convolution, norm, neuron, dropout.
                names[f"features.{len(layers)}.connection"] = f"layer{number}.{4 * place}"
                names[f"features.{len(layers)}.norm"] = f"layer{number}.{4 * place + 1}"
                names[f"features.{len(layers)}.neuron"] = f"layer{number}.{4 * place + 2}"
                layers += [layer, SharedDropout(options.dropout)]
                channels = out
            layers.append(Pool(nn.AvgPool2d(2)))
        layers.append(Pool(AdaptiveAvgPool(POOLED_TO)))
        features = channels * POOLED_TO * POOLED_TO
        net = SequentialNet(layers, features=features, classes=classes, dropout=0.0)
        nn.init.normal_(net.classifier.weight, std=0.01)
        nn.init.zeros_(net.classifier.bias)
        net.authors_names = {**names, "classifier": "classifier.1"}
        return net

    return build


def build_vggsnn(
    options: VGGOptions,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    timesteps: int,
    neuron: NeuronChoice,
) -> SequentialNet:
    """VGGSNN, for maps of any size that its four pools leave a pixel of."""
    channels, height, width = require_image("vggsnn", input_shape, pools=len(VGGSNN))
    layers: list[SynapticLayer | Pool | SharedDropout] = []
    names = {}
    for group in VGGSNN:
        for multiple in group:
            out = multiple * options.width
            # Pools count in the authors' code as they do here.
            for ours, theirs in (("connection", "fwd.0"), ("norm", "fwd.1"), ("neuron", "act")):
                names[f"features.{len(layers)}.{ours}"] = f"features.{len(layers)}.{theirs}"
            layers.append(vgg_layer(channels, out, options, neuron, timesteps))
            channels = out
        layers.append(Pool(nn.AvgPool2d(2)))
        height, width = height // 2, width // 2
    net = SequentialNet(
        layers,
        features=channels * height * width,
        classes=classes,
        dropout=options.dropout,
    )
    net.authors_names = {**names, "classifier": "classifier"}
    return net


def vgg_layer(
    channels: int, out: int, options: VGGOptions, neuron: NeuronChoice, timesteps: int
) -> SynapticLayer:
    """A convolution 3x3 with bias, its norm and its neurons."""
    convolution = kaiming_convolution(channels, out, 3)
    norm = options.norm(out)
    return SynapticLayer(convolution, norm, neuron.layer(out, timesteps))


def require_image(name: str, shape: tuple[int, ...], *, pools: int) -> tuple[int, int, int]:
    """Channels, height and width of images that so many pools leave a pixel of. Raises RecipeError
    for other data."""
    if len(shape) != 3:
        raise RecipeError(
            f"model '{name}' needs images [C, H, W], the data has shape {list(shape)}",
            hint="choose model.name=mlp for vectors",
        )
    channels, height, width = shape
    if min(height, width) < 2**pools:
        raise RecipeError(
            f"model '{name}': its {pools} pools leave no pixel of images {list(shape)}",
            hint=f"it needs at least {2**pools} x {2**pools} pixels",
        )
    return channels, height, width

"""Spiking VGG-11 and -16 as SpikingJelly builds them (`spiking_vgg11_bn`, `spiking_vgg16_bn`).

Simonyan and Zisserman (ICLR 2015) with batch norm and neurons for ReLU: (convolution 3x3 with bias,
norm, neuron) in five groups, a maximum of 2x2 behind each; an adaptive average pool to 7x7, which
repeats values where maps are smaller; two linear layers with neurons and dropout, no norm, and a
linear read-out. Unlike `vgg11`, the paper's, which has average pools and one linear layer.

Convolutions start with kaiming_normal(fan_out, relu), linear layers with N(0, 0.01), biases with 0.
"""

from collections.abc import Callable, Sequence

from pydantic import Field
from torch import Tensor, nn

from clifctl.models.layers import (
    LayerStates,
    NetState,
    NeuronChoice,
    Pool,
    SharedDropout,
    SpikingLayer,
    SpikingNet,
    SynapticLayer,
    flatten_features,
    fold_time,
)
from clifctl.models.pooling import AdaptiveAvgPool
from clifctl.models.vgg import POOLED_TO, VGGOptions, require_image, vgg_layer
from clifctl.strict import Width

VGG16 = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
HIDDEN_LAYERS = 2


class SpikingVGGOptions(VGGOptions):
    """Widths of the net; `dropout` stands behind the neurons of both hidden layers."""

    dropout: float = Field(
        0.5, ge=0.0, lt=1.0, description="dropout behind the neurons of the hidden layers"
    )
    hidden: Width = Field(4096, description="features of each hidden layer")


class SpikingVGG(SpikingNet):
    """The net. Its final state is that of every layer of neurons, in forward order."""

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        options: SpikingVGGOptions,
        channels: int,
        classes: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> None:
        super().__init__()
        self.features = nn.ModuleList()
        place = 0  # in SpikingJelly's list, where a layer is three modules
        for group in groups:
            for multiple in group:
                out = multiple * options.width
                layer = vgg_layer(channels, out, options, neuron, timesteps)
                nn.init.zeros_(layer.connection.get_parameter("bias"))
                for number, part in enumerate(("connection", "norm", "neuron")):
                    ours = f"features.{len(self.features)}.{part}"
                    self.authors_names[ours] = f"features.{place + number}"
                self.features.append(layer)
                channels, place = out, place + 3
            self.features.append(Pool(nn.MaxPool2d(2)))
            place += 1
        self.pool = Pool(AdaptiveAvgPool(POOLED_TO))
        self.linears, self.neurons = nn.ModuleList(), nn.ModuleList()
        self.dropout = SharedDropout(options.dropout)
        features = channels * POOLED_TO * POOLED_TO
        for number in range(HIDDEN_LAYERS):
            self.linears.append(nn.Linear(features, options.hidden))
            self.neurons.append(neuron.layer(options.hidden, timesteps))
            self.authors_names[f"linears.{number}"] = f"classifier.{3 * number}"
            self.authors_names[f"neurons.{number}"] = f"classifier.{3 * number + 1}"
            features = options.hidden
        self.classifier = nn.Linear(features, classes)
        self.authors_names["classifier"] = f"classifier.{3 * HIDDEN_LAYERS}"
        for linear in (*self.linears, self.classifier):
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.zeros_(linear.bias)

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        """See `SpikingNet.forward`."""
        states = LayerStates(state)
        x = self.frames(x)
        for layer in self.features:
            if isinstance(layer, SynapticLayer):
                x = states.run(layer, x, repeat=repeat)
                repeat = 1
            else:
                x = layer(x)
        x = flatten_features(self.pool(x))
        for linear, neuron in zip(self.linears, self.neurons, strict=True):
            assert isinstance(neuron, SpikingLayer)
            x = self.dropout(states.run(neuron, fold_time(linear, x)))
        return fold_time(self.classifier, x), tuple(states.finals)


def spiking_vgg_builder(name: str, groups: Sequence[Sequence[int]]) -> Callable[..., SpikingVGG]:
    """What builds the net `name` of these groups of convolutions."""

    def build(
        options: SpikingVGGOptions,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> SpikingVGG:
        channels = require_image(name, input_shape, pools=len(groups))[0]
        return SpikingVGG(groups, options, channels, classes, timesteps, neuron)

    return build

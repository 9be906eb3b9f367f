"""Spiking ResNet-18 as SpikingJelly builds it (`spiking_resnet18`): ReLU replaced by neurons.

In a block, for spikes x:

    out = neuron2(norm2(conv2(neuron1(norm1(conv1(x))))) + shortcut(x))

The shortcut is the identity, or where the shape changes a convolution 1x1 with a norm, so that a
block gives spikes alone (unlike SEW-ResNet), and sums are taken before neurons fire (unlike
`resnet18`, whose norms and neurons come first). See `residual` for what is around the blocks; the
baseline of Fang et al. (NeurIPS 2021).
"""

from torch import Tensor

from clifctl.models.convolution import kaiming_convolution
from clifctl.models.layers import LayerStates, NeuronChoice, fold_time
from clifctl.models.residual import Block, ResidualOptions, layer_names, synaptic_layer


class SpikingBlock(Block):
    """Two layers; the second one's neurons fire for the sum with the shortcut."""

    def __init__(
        self,
        channels: int,
        out: int,
        stride: int,
        options: ResidualOptions,
        neuron: NeuronChoice,
        timesteps: int,
    ) -> None:
        super().__init__()
        self.first = synaptic_layer(channels, out, options, neuron, timesteps, stride=stride)
        self.conv2 = kaiming_convolution(out, out, 3, bias=False)
        self.norm2 = options.norm(out)
        self.neuron2 = neuron.layer(out, timesteps)
        self.names = {
            **layer_names("first", 1), "conv2": "conv2", "norm2": "bn2", "neuron2": "sn2",
        }  # fmt: skip
        self.shortcut = self.shortcut_norm = None
        if stride != 1 or channels != out:
            self.shortcut = kaiming_convolution(channels, out, 1, stride, bias=False)
            self.shortcut_norm = options.norm(out)
            self.names |= {"shortcut": "downsample.0", "shortcut_norm": "downsample.1"}

    def forward(self, x: Tensor, states: LayerStates) -> Tensor:
        inner = states.run(self.first, x)
        current = self.norm2(fold_time(self.conv2, inner))
        identity = x
        if self.shortcut is not None and self.shortcut_norm is not None:
            identity = self.shortcut_norm(fold_time(self.shortcut, x))
        return states.run(self.neuron2, current + identity)

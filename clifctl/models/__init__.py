"""Networks: the MODELS table and the layers that they are built of."""

from clifctl.kernels import WINDOW_MODES, Spikes
from clifctl.models.exchange import put_neuron
from clifctl.models.firing_rates import FiringRates, firing_modules
from clifctl.models.layers import (
    NeuronChoice,
    SharedDropout,
    SpikingLayer,
    SpikingNet,
    SynapticLayer,
    fold_time,
)
from clifctl.models.mlp import MLPOptions, build_mlp
from clifctl.models.model import Model
from clifctl.models.norm import (
    TemporalBatchNorm,
    batch_statistics,
    folded_norms,
    set_folded,
    unfolded_norms,
)
from clifctl.models.options import ModelOptions, NetOptions
from clifctl.models.resnet18 import ResNet18, ResNet18Options, build_resnet18
from clifctl.models.sequential import SequentialNet
from clifctl.models.snn5 import SNN5Options, build_snn5
from clifctl.models.spike_driven_transformer import (
    OWN_NEURON,
    SpikeDrivenTransformerOptions,
    build_spike_driven_transformer,
)
from clifctl.models.spiking import Spiking
from clifctl.models.vgg import VGG11, VGG13, VGGOptions, build_vggsnn, vgg_builder

# name -> model, in the order of display
MODELS: dict[str, Model] = {
    "snn5": Model("snn5", "5-layer convolutional SNN (Figure 2)", SNN5Options, build_snn5),
    "resnet18": Model("resnet18", "ResNet-18 with pre-activation", ResNet18Options, build_resnet18),
    "vgg11": Model("vgg11", "VGG-11", VGGOptions, vgg_builder("vgg11", VGG11)),
    "vgg13": Model("vgg13", "VGG-13", VGGOptions, vgg_builder("vgg13", VGG13)),
    "vggsnn": Model("vggsnn", "VGGSNN (after TET)", VGGOptions, build_vggsnn),
    "spike_driven_transformer": Model(
        "spike_driven_transformer",
        "Spike-Driven Transformer (Yao et al., NeurIPS 2023)",
        SpikeDrivenTransformerOptions,
        build_spike_driven_transformer,
        OWN_NEURON,
    ),
    "mlp": Model("mlp", "multilayer perceptron", MLPOptions, build_mlp),
}

__all__ = [
    "MODELS",
    "WINDOW_MODES",
    "FiringRates",
    "Model",
    "ModelOptions",
    "NetOptions",
    "NeuronChoice",
    "ResNet18",
    "SequentialNet",
    "SharedDropout",
    "Spikes",
    "Spiking",
    "SpikingLayer",
    "SpikingNet",
    "SynapticLayer",
    "TemporalBatchNorm",
    "batch_statistics",
    "firing_modules",
    "fold_time",
    "folded_norms",
    "put_neuron",
    "set_folded",
    "unfolded_norms",
]

"""Networks: the MODELS table and the layers that they are built of."""

from clifctl.kernels import WINDOW_MODES, Spikes
from clifctl.models.exchange import lif_constants, put_neuron
from clifctl.models.firing_rates import FiringRates, firing_modules
from clifctl.models.layers import (
    NeuronChoice,
    SharedDropout,
    SpikingLayer,
    SpikingNet,
    SynapticLayer,
    fold_time,
    is_recurrent,
)
from clifctl.models.mlp import MLPOptions, build_mlp
from clifctl.models.model import Model
from clifctl.models.norm import (
    TemporalBatchNorm,
    TorchNorm,
    batch_statistics,
    folded_norms,
    is_folded,
    make_identity,
    norms_in,
    set_folded,
    unfolded_norms,
)
from clifctl.models.options import ModelOptions, NetOptions
from clifctl.models.residual import LAYERS_18, LAYERS_34, ResidualOptions, residual_builder
from clifctl.models.resnet18 import ResNet18, ResNet18Options, build_resnet18
from clifctl.models.sequential import SequentialNet
from clifctl.models.sew_resnet import SEWBlock, SEWResNetOptions
from clifctl.models.snn5 import SNN5Options, build_snn5
from clifctl.models.spike_driven_transformer import (
    OWN_NEURON,
    SpikeDrivenTransformerOptions,
    build_spike_driven_transformer,
)
from clifctl.models.spiking import Spiking
from clifctl.models.spiking_resnet import SpikingBlock
from clifctl.models.spiking_vgg import VGG16, SpikingVGGOptions, spiking_vgg_builder
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
    "sew_resnet18": Model(
        "sew_resnet18",
        "SEW-ResNet-18 (Fang et al., NeurIPS 2021)",
        SEWResNetOptions,
        residual_builder("sew_resnet18", LAYERS_18, SEWBlock),
    ),
    "sew_resnet34": Model(
        "sew_resnet34",
        "SEW-ResNet-34 (Fang et al., NeurIPS 2021)",
        SEWResNetOptions,
        residual_builder("sew_resnet34", LAYERS_34, SEWBlock),
    ),
    "spiking_resnet18": Model(
        "spiking_resnet18",
        "Spiking ResNet-18 of SpikingJelly (after He et al., CVPR 2016)",
        ResidualOptions,
        residual_builder("spiking_resnet18", LAYERS_18, SpikingBlock),
    ),
    "spiking_vgg11": Model(
        "spiking_vgg11",
        "Spiking VGG-11 of SpikingJelly (after Simonyan and Zisserman, ICLR 2015)",
        SpikingVGGOptions,
        spiking_vgg_builder("spiking_vgg11", VGG11),
    ),
    "spiking_vgg16": Model(
        "spiking_vgg16",
        "Spiking VGG-16 of SpikingJelly (after Simonyan and Zisserman, ICLR 2015)",
        SpikingVGGOptions,
        spiking_vgg_builder("spiking_vgg16", VGG16),
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
    "TorchNorm",
    "batch_statistics",
    "firing_modules",
    "fold_time",
    "folded_norms",
    "is_folded",
    "is_recurrent",
    "lif_constants",
    "make_identity",
    "norms_in",
    "put_neuron",
    "set_folded",
    "unfolded_norms",
]

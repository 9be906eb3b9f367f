from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.models import MODELS, NeuronChoice, SpikingNet
from clifctl.neurons import NEURONS

# Every net, so narrow that no layer has as many as eight channels, with maps that are not square.
NARROW: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "snn5": (
        (2, 9, 11),
        {"channels": (3, 5, 4, 7, 6), "kernel_sizes": (1, 3, 1, 1, 1), "strides": (2, 1, 2, 1, 2)},
    ),
    "resnet18": ((2, 9, 11), {"width": 1}),
    "vgg11": ((2, 96, 33), {"width": 1}),
    "vgg13": ((2, 33, 64), {"width": 1}),
    "vggsnn": ((2, 17, 16), {"width": 1}),
    "spike_driven_transformer": ((2, 9, 14), {"width": 1, "depth": 1, "mlp_ratio": 2}),
    "sew_resnet18": ((2, 17, 19), {"width": 1}),
    "sew_resnet34": ((2, 9, 11), {"width": 1, "stem": "cifar"}),
    "spiking_resnet18": ((2, 18, 21), {"width": 1}),
    "spiking_vgg11": ((2, 33, 64), {"width": 1, "hidden": 7}),
    "spiking_vgg16": ((2, 32, 35), {"width": 1, "hidden": 5}),
    "mlp": ((2, 3, 5), {"hidden": (7, 5)}),
}


@pytest.fixture
def narrow() -> Mapping[str, tuple[tuple[int, ...], Mapping[str, Any]]]:
    """The shape of an image and the options of every narrow net, by its name."""
    return NARROW


@pytest.fixture
def narrow_net() -> Callable[..., tuple[SpikingNet, Tensor]]:
    """Builds a narrow net of two time steps and three classes, its weights' channels innermost, and
    images `[1, 4, C, H, W]` for it."""

    def build(model: str, neuron: str = "lif", **options: Any) -> tuple[SpikingNet, Tensor]:
        torch.manual_seed(0)
        shape, narrow = NARROW[model]
        chosen = NEURONS[neuron]
        net = MODELS[model].build(
            MODELS[model].options(**narrow, **options),
            input_shape=shape,
            classes=3,
            timesteps=2,
            neuron=NeuronChoice(chosen, chosen.hyperparameters(), target="reference"),
        )
        images = torch.randn(4, *shape)
        if len(shape) == 3:
            images = images.contiguous(memory_format=torch.channels_last)
        return net.to(memory_format=torch.channels_last), images[None]

    return build

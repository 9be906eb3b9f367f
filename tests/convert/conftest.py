"""Small LIF nets of every kind, with statistics and shifts at which their neurons fire."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from clifctl.models import MODELS, NeuronChoice, SpikingNet, TemporalBatchNorm
from clifctl.neurons import NEURONS

# Odd sizes; the VGG's pool to 7x7 repeats values of maps of 1x1.
NETS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "mlp": ((1, 5, 3), {"hidden": (7, 5)}),
    "vgg11": ((2, 33, 32), {"width": 2}),
    "resnet18": ((3, 9, 8), {"width": 2}),
    "sew_resnet18": ((3, 9, 8), {"width": 2, "stem": "cifar"}),
    "spiking_resnet18": ((3, 9, 8), {"width": 2, "stem": "cifar"}),
}
Build = Callable[..., tuple[SpikingNet, tuple[int, ...]]]


@pytest.fixture
def lif_net() -> Build:
    """A net of NETS by its name, in evaluation mode, and the shape of its samples."""

    def build(name: str, dtype: torch.dtype = torch.float64, **values: Any) -> Any:
        lif = NEURONS["lif"]
        choice = NeuronChoice(lif, lif.hyperparameters(**values), target="reference")
        shape, options = NETS[name]
        model = MODELS[name]
        torch.manual_seed(5)
        net = model.build(
            model.options(**options), input_shape=shape, classes=4, timesteps=4, neuron=choice
        )
        for norm in (m for m in net.modules() if isinstance(m, TemporalBatchNorm)):
            assert norm.weight is not None
            assert norm.bias is not None
            torch.nn.init.normal_(norm.running_mean, std=0.1)
            torch.nn.init.uniform_(norm.running_var, 0.05, 0.3)
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias, 0.7, 0.2)
        return net.to(dtype).eval(), shape

    return build

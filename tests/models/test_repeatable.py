"""No operation of a training step is one that torch cannot repeat on a GPU.

The names are those of `torch.use_deterministic_algorithms`, as the operations that autograd calls;
they are the same on every device. What torch repeats in that mode alone is not among them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from clifctl.data.augment.mixing import draw_cutmix, draw_mixup, mixed
from clifctl.data.augment.transforms import (
    changed,
    cutout,
    horizontal_flip,
    random_crop,
    random_erasing,
)
from clifctl.data.events.pipelines import CHANGES, FramePreparation
from clifctl.models import MODELS, SpikingNet
from clifctl.neurons import NEURONS
from clifctl.training.loss import tet_loss

UNREPEATABLE = {
    "avg_pool3d_backward",
    "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward",
    "max_unpool2d",
    "max_unpool3d",
    *(f"upsample_{kind}_backward" for kind in ("linear1d", "bilinear2d", "bicubic2d")),
    *("upsample_trilinear3d_backward", "_upsample_bilinear2d_aa_backward"),
    *(f"reflection_pad{d}d_backward" for d in (1, 2, 3)),
    *("nll_loss2d_forward", "_ctc_loss_backward", "_embedding_bag_backward"),
    *("put", "put_", "histc", "bincount", "kthvalue", "median", "nanmedian", "scatter_reduce"),
    *("grid_sampler_2d_backward", "grid_sampler_3d_backward", "resize_"),
}
STEPS, SAMPLES, CLASSES = 2, 4, 3
Build = Callable[..., tuple[SpikingNet, Tensor]]


class Seen(TorchDispatchMode):
    """The names of the operations that are called within it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def train_one_step(net: SpikingNet, images: Tensor, labels: Tensor, **loss: Any) -> set[str]:
    how = {"tet_lambda": 0.05, "tet_mean": 1.0, **loss}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    with Seen() as seen:
        tet_loss(net(images, repeat=STEPS)[0], labels, **how).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return seen.names


def test_the_list_catches_torchs_own_pool() -> None:
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    with Seen() as seen:
        nn.AdaptiveAvgPool2d(7)(x).sum().backward()
    assert seen.names & UNREPEATABLE == {"_adaptive_avg_pool2d_backward"}


LABELS = torch.arange(SAMPLES) % CLASSES


@pytest.mark.parametrize(
    ("model", "batch_norm"), [*((model, "per_step") for model in MODELS), ("resnet18", "folded")]
)
def test_nets(model: str, batch_norm: str, narrow_net: Build) -> None:
    net, images = narrow_net(model, batch_norm=batch_norm, dropout=0.2)
    names = train_one_step(net, images, LABELS)
    assert names & {"convolution_backward", "addmm"}
    assert not names & UNREPEATABLE


@pytest.mark.parametrize("neuron", [name for name in NEURONS if name != "relu"])
def test_neurons(neuron: str, narrow_net: Build) -> None:
    assert not train_one_step(*narrow_net("mlp", neuron), LABELS) & UNREPEATABLE


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("loss", [{"tet_target": "one_hot"}, {"cross_entropy_of": "mean"}], ids=str)
def test_losses(soft: bool, loss: dict[str, Any], narrow_net: Build) -> None:
    labels = F.one_hot(LABELS, CLASSES) * 0.7 + 0.1 if soft else LABELS
    names = train_one_step(*narrow_net("mlp"), labels, label_smoothing=0.1, **loss)
    assert "mse_loss_backward" in names
    assert not names & UNREPEATABLE


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Any]] = {
    "crop": random_crop(2, 0.0),
    "flip": horizontal_flip,
    "cutout": cutout,
    "erasing": random_erasing(1.0),
    "flip_rotate": lambda x, draw: changed(x, CHANGES["flip_rotate"], draw),
    "flip_roll_affine": lambda x, draw: changed(x, CHANGES["flip_roll_affine"], draw),
    "mixup": lambda x, draw: mixed(x, torch.zeros(SAMPLES).long(), CLASSES, draw_mixup(draw)),
    "cutmix": lambda x, draw: mixed(
        x, torch.zeros(SAMPLES).long(), CLASSES, draw_cutmix(x.shape, draw)
    ),
    **{
        resize: partial(lambda how, x, draw: FramePreparation("counts", 3, how)(x), resize)
        for resize in ("nearest", "area", "antialias", "bilinear")
    },
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations(name: str) -> None:
    x = torch.rand(STEPS, SAMPLES, 3, 8, 8)
    with Seen() as seen:
        AUGMENTATIONS[name](x, torch.Generator().manual_seed(0))
    assert seen.names
    assert not seen.names & UNREPEATABLE

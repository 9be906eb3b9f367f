"""Mixup and CutMix of a batch with itself, rolled by one: torchvision's reference transforms, with
random numbers from the run's generator. Labels become weights of the classes `[N, classes]`."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MIXUP_ALPHA = 0.2
CUTMIX_ALPHA = 1.0


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed with itself: `share` is what is left of a sample's own label, and of its
    own pixels; or the pixels of `rectangle` (rows, columns) are another's."""

    share: float
    rectangle: tuple[slice, slice] | None = None


def draw_mix(shape: torch.Size, generator: torch.Generator) -> Mix:
    """Mixup or CutMix for a batch of `shape` `[T, N, C, H, W]`, each with probability 1/2: the
    authors' RandomChoice of Mixup(alpha=.2) and CutMix(alpha=1)."""
    if float(torch.rand((), generator=generator)) < 0.5:
        return draw_mixup(generator)
    return draw_cutmix(shape, generator)


def draw_mixup(generator: torch.Generator) -> Mix:
    """lambda x + (1 - lambda) x', lambda ~ Beta(.2, .2), one for the batch (Zhang et al., 2018)."""
    return Mix(beta(MIXUP_ALPHA, generator))


def draw_cutmix(shape: torch.Size, generator: torch.Generator) -> Mix:
    """A rectangle of x' in x: its sides are sqrt(1 - lambda) of the image's, lambda ~ U(0, 1), its
    centre lies anywhere, and labels go by the area that is left of it (Yun et al., 2019)."""
    height, width = shape[-2:]
    half = 0.5 * math.sqrt(1 - beta(CUTMIX_ALPHA, generator))
    x = int(torch.randint(width, (), generator=generator))
    y = int(torch.randint(height, (), generator=generator))
    columns = slice(max(x - int(half * width), 0), min(x + int(half * width), width))
    rows = slice(max(y - int(half * height), 0), min(y + int(half * height), height))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mix(1 - area / (height * width), (rows, columns))


def mixed(inputs: Tensor, targets: Tensor, classes: int, mix: Mix) -> tuple[Tensor, Tensor]:
    """`inputs` `[T, N, C, H, W]` float with labels `[N]`, mixed with the batch rolled by one."""
    other, weights = inputs.roll(1, 1), _weights(targets, classes, mix.share)
    if mix.rectangle is None:
        return inputs * mix.share + other * (1 - mix.share), weights
    result = inputs.clone()
    result[..., *mix.rectangle] = other[..., *mix.rectangle]
    return result, weights


def beta(alpha: float, generator: torch.Generator) -> float:
    """A draw from Beta(alpha, alpha) for alpha <= 1, by Joehnk's rejection (Metrika, 1964)."""
    while True:
        u, v = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        x, y = u ** (1 / alpha), v ** (1 / alpha)
        if 0 < x + y <= 1:
            return x / (x + y)


def _weights(targets: Tensor, classes: int, share: float) -> Tensor:
    """`share` of a sample's own label and the rest of its partner's: `[N, classes]` float32."""
    own = F.one_hot(targets, classes).float()
    return own * share + own.roll(1, 0) * (1 - share)

"""Mixup and CutMix of a batch with itself, rolled by one: torchvision's reference transforms, with
random numbers from the run's generator. Labels become weights of the classes `[N, classes]`."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MIXUP_ALPHA = 0.2
CUTMIX_ALPHA = 1.0


def mixup_or_cutmix(
    inputs: Tensor, targets: Tensor, classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One of the two for the whole batch `[T, N, C, H, W]` float, labels `[N]`, each with
    probability 1/2: the authors' RandomChoice of Mixup(alpha=.2) and CutMix(alpha=1)."""
    if float(torch.rand((), generator=generator)) < 0.5:
        return mixup(inputs, targets, classes, generator)
    return cutmix(inputs, targets, classes, generator)


def mixup(
    inputs: Tensor, targets: Tensor, classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """lambda x + (1 - lambda) x', lambda ~ Beta(.2, .2), one for the batch (Zhang et al., 2018)."""
    share = beta(MIXUP_ALPHA, generator)
    mixed = inputs * share + inputs.roll(1, 1) * (1 - share)
    return mixed, _weights(targets, classes, share)


def cutmix(
    inputs: Tensor, targets: Tensor, classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A rectangle of x' in x: its sides are sqrt(1 - lambda) of the image's, lambda ~ U(0, 1), its
    centre lies anywhere, and labels go by the area that is left of it (Yun et al., 2019)."""
    height, width = inputs.shape[3], inputs.shape[4]
    half = 0.5 * math.sqrt(1 - beta(CUTMIX_ALPHA, generator))
    x = int(torch.randint(width, (), generator=generator))
    y = int(torch.randint(height, (), generator=generator))
    columns = slice(max(x - int(half * width), 0), min(x + int(half * width), width))
    rows = slice(max(y - int(half * height), 0), min(y + int(half * height), height))
    mixed = inputs.clone()
    mixed[..., rows, columns] = inputs.roll(1, 1)[..., rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, _weights(targets, classes, 1 - area / (height * width))


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

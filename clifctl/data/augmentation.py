"""Augmentation of whole batches on the device. Random numbers come from the run's generator on the
CPU, so that a run draws the same ones on any device."""

import torch
from torch import Tensor
from torch.nn import functional as F


def random_crop(inputs: Tensor, padding: int, fill: float, generator: torch.Generator) -> Tensor:
    """Shift each sample of `inputs` `[T, N, C, H, W]` by up to `padding` pixels in each direction.

    Each sample gets one shift for all its time steps; what comes in from outside is `fill`.
    """
    samples, height, width = inputs.shape[1], inputs.shape[3], inputs.shape[4]
    padded = F.pad(inputs, (padding, padding, padding, padding), value=fill)
    windows = padded.unfold(3, height, 1).unfold(4, width, 1)
    top, left = torch.randint(0, 2 * padding + 1, (2, samples), generator=generator).to(
        inputs.device
    )
    index = torch.arange(samples, device=inputs.device)
    # Indexing with three separate dimensions moves the sample to the front.
    return windows[:, index, :, top, left].transpose(0, 1)

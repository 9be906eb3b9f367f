"""Policies of torchvision, image by image: TrivialAugmentWide and AutoAugment (IMAGENET).

The operations, their magnitudes and the random choices among them are torchvision's own, on PIL
images, as in the authors' code (on 32x32 pixels PIL is also forty times as fast as tensors). Ours
is the batch around them, and the seed: one number from the run's generator a batch, for torch's
CPU generator, whose state is put back afterwards.
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Policy = Literal["trivial_augment_wide", "auto_augment_imagenet"]
LARGEST_SEED = 2**63 - 1


def draw_seed(generator: torch.Generator) -> int:
    """The seed of a batch."""
    return int(torch.randint(LARGEST_SEED, (), generator=generator))


def apply_policy(inputs: Tensor, policy: Policy, seed: int) -> Tensor:
    """Each image of `inputs` `[1, N, C, H, W]` uint8 on the CPU, C = 1 or 3, transformed by itself,
    the choices drawn under `seed`."""
    from PIL import Image

    transform = _transform(policy)
    pixels = inputs[0].permute(0, 2, 3, 1).numpy()
    images = [Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image) for image in pixels]
    # devices=[] and the CPU's generator alone: the random numbers of a GPU are left as they are.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        changed = np.stack([np.asarray(transform(image)) for image in images])
    result = torch.from_numpy(changed).reshape(pixels.shape)
    return result.permute(0, 3, 1, 2).contiguous().unsqueeze(0)


def _transform(policy: Policy) -> Any:
    from torchvision.transforms import v2

    if policy == "trivial_augment_wide":
        return v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
    return v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)

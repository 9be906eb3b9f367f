"""Device and seeds of a run."""

import torch

from clifctl.errors import UsageError


def resolve_device(requested: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:i`: auto takes a GPU where there is one.

    Raises UsageError for a device that is not there.
    """
    if requested == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(requested)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(
            f"unknown device '{requested}'", hint="--device takes auto, cpu, cuda or cuda:0"
        )
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"device '{requested}' was asked for, and this machine has no usable CUDA GPU",
            hint="use --device cpu, or --device auto to take a GPU where there is one",
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device '{requested}' was asked for, this machine has {torch.cuda.device_count()}",
            hint="devices count from cuda:0",
        )
    return device


def seed_everything(seed: int) -> torch.Generator:
    """Seed torch for the weights and dropout; returns the generator of order and augmentation."""
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return torch.Generator().manual_seed(seed)

"""Whether what is asked for fits into memory: said before it is built."""

import torch

from clifctl.devices import memory_bytes
from clifctl.errors import RecipeError
from clifctl.training.memory import bytes_of

_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def in_words(size_bytes: float) -> str:
    """A size in the largest unit of which it has one at least: `1,730.3 GiB`, `12.5 MiB`."""
    for name, unit in _UNITS:
        if size_bytes >= unit:
            return f"{size_bytes / unit:,.1f} {name}"
    return f"{size_bytes:,.0f} bytes"


def require_memory(device: torch.device, needed: int, what: str = "the run") -> None:
    """Raise RecipeError where `device` cannot hold the `needed` bytes of `what` at all."""
    available = memory_bytes(device)
    if needed > available:
        raise RecipeError(
            f"{what} needs about {in_words(needed)} of memory, '{device}' has "
            f"{in_words(available)}",
            hint="choose a smaller net, fewer timesteps or a smaller batch_size",
        )


def require_net_fits(net: torch.nn.Module, device: torch.device) -> None:
    """Raise RecipeError where the weights of `net`, which may lie on the meta device, cannot be
    held by `device`."""
    require_memory(device, bytes_of(*net.parameters(), *net.buffers()), "the net")

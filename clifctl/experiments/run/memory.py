"""Whether what is asked for fits into memory: said before it is built."""

import torch

from clifctl.amounts import size_in_words
from clifctl.devices import memory_bytes
from clifctl.errors import RecipeError
from clifctl.training.memory import bytes_of


def require_memory(device: torch.device, needed: int, what: str = "the run") -> None:
    """Raise RecipeError where `device` cannot hold the `needed` bytes of `what` at all."""
    available = memory_bytes(device)
    if needed > available:
        raise RecipeError(
            f"{what} needs about {size_in_words(needed)} of memory, '{device}' has "
            f"{size_in_words(available)}",
            hint="choose a smaller net, fewer timesteps or a smaller batch_size",
        )


def require_net_fits(net: torch.nn.Module, device: torch.device) -> None:
    """Raise RecipeError where the weights of `net`, which may lie on the meta device, cannot be
    held by `device`."""
    require_memory(device, bytes_of(*net.parameters(), *net.buffers()), "the net")

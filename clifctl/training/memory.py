"""How much memory a training step needs, found out without doing it."""

from typing import Any

import torch
from torch import Tensor, nn


def bytes_of(*tensors: Tensor) -> int:
    """Size of the tensors' elements in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def saved_for_backward(net: nn.Module, inputs: Tensor, *, repeat: int) -> int:
    """Bytes that autograd keeps between forward and backward of one batch, parameters not counted.

    `net` and `inputs` `[T, N, *]` lie on the meta device: shapes are computed, nothing else. Each
    storage counts once, however often it is kept.
    """
    kept: list[Any] = []
    sizes: dict[int, int] = {}
    own = {parameter.untyped_storage()._cdata for parameter in net.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            sizes[storage._cdata] = storage.nbytes()
            kept.append(storage)  # a storage that is gone could lend its address to another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits, _ = net(inputs, repeat=repeat)
    del logits
    return sum(sizes.values())

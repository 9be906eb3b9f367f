"""How much memory a training step needs, found out without doing it."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.models import Spikes


def bytes_of(*tensors: Tensor) -> int:
    """Size of the tensors' elements in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def held_for_backward(run: Callable[[], object], parameters: Iterable[Tensor]) -> int:
    """Bytes that autograd holds for the backward of what `run` returns: each storage once, however
    often it is kept; `parameters` themselves are not counted."""
    own = {parameter.untyped_storage()._cdata for parameter in parameters}
    kept: dict[int, Any] = {}  # held, so that no address is given out twice

    def pack(tensor: Tensor) -> Tensor:
        for part in tensor.parts if isinstance(tensor, Spikes) else (tensor,):
            storage = part.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    del result
    return sum(storage.nbytes() for storage in kept.values())


def saved_for_backward(net: nn.Module, inputs: Tensor, *, repeat: int) -> int:
    """Bytes that autograd keeps between forward and backward of one batch, parameters not counted.

    `net` and `inputs` `[T, N, *]` lie on the meta device: shapes are computed, nothing else. What
    event-driven connections keep beside the spikes, the surrogates' windows as bits, is not in it.
    """
    return held_for_backward(lambda: net(inputs, repeat=repeat), net.parameters())


def largest_output(net: nn.Module, inputs: Tensor, *, repeat: int) -> int:
    """Bytes of the largest output of a module of `net` in one forward pass; `net` and `inputs`
    `[T, N, *]` lie on the meta device."""
    largest = bytes_of(inputs)

    def look(module: nn.Module, given: Any, output: Any) -> None:
        nonlocal largest
        outputs = output if isinstance(output, tuple) else (output,)
        largest = max([largest, *(bytes_of(one) for one in outputs if isinstance(one, Tensor))])

    with ExitStack() as hooked, torch.no_grad():
        for module in net.modules():
            hooked.callback(module.register_forward_hook(look).remove)
        net(inputs, repeat=repeat)
    return largest

"""What the operators of a neuron have in common on the way back: what torch refuses, in words, and
how they run under `torch.func.vmap`."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch.utils.checkpoint import CheckpointFunction

from clifctl.errors import NeuronError

NO_BACKWARD = -1

_REENTRANT = CheckpointFunction.backward.__code__


def kept(ctx: Any) -> tuple[Tensor, ...]:
    """What an operator has saved for backward.

    Raises NeuronError where it was changed in place since.
    """
    try:
        saved: tuple[Tensor, ...] = ctx.saved_tensors
    except RuntimeError as refused:
        if "modified by an inplace operation" not in str(refused):
            raise
        raise NeuronError(
            "the input, a state or a parameter of a neuron was changed in place between forward "
            "and backward, and the gradient needs it as it was",
            hint="write x = x + 1 for x += 1, or give the neuron x.clone(); target='reference' "
            "needs no input for a gradient",
        ) from refused
    return saved


def first_gradient(operator: Callable[..., list[Tensor]], *inputs: Any) -> Sequence[Tensor]:
    """What a backward operator gives for `inputs`, tensors and lists of them; a gradient of that is
    refused in words."""
    flat, structure = tree_flatten(inputs)
    found: Sequence[Tensor] = _Once.apply(operator, structure, *flat)
    return found


class _Once(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        operator: Callable[..., list[Tensor]], structure: TreeSpec, *flat: Any
    ) -> tuple[Tensor, ...]:
        return tuple(operator(*tree_unflatten(flat, structure)))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept for a backward that refuses."""

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> None:
        raise NeuronError(
            "a fused kernel has no gradient of its gradient (create_graph=True)",
            hint="target='reference' has one",
        )


def refuse_reentrant_checkpoint() -> None:
    """Raise NeuronError in a forward that `torch.utils.checkpoint` runs again, reentrantly.

    It gives gradients to tensors that are arguments or results themselves, and none to those within
    a tuple: a layer's states would silently be constants.
    """
    if torch.compiler.is_compiling() or backward_pass() == NO_BACKWARD:
        return
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is _REENTRANT:
            raise NeuronError(
                "torch.utils.checkpoint(use_reentrant=True) around a neuron would lose the "
                "gradient of its states",
                hint="checkpoint(..., use_reentrant=False)",
            )


def backward_pass() -> int:
    """The number of the backward pass within which this runs, a forward here repeats an earlier
    one; NO_BACKWARD outside of any."""
    number: int = torch._C._current_graph_task_id()
    return number


def by_sample(operator: Callable[..., list[Tensor]]) -> Callable[..., Any]:
    """The rule by which `operator` runs under vmap: once a sample."""

    def rule(info: Any, in_dims: Sequence[Any], *inputs: Any) -> tuple[list[Tensor], list[int]]:
        runs = [
            operator(*(_sample(value, dim, i) for value, dim in zip(inputs, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        results = [torch.stack(result) for result in zip(*runs, strict=True)]
        return results, [0] * len(results)

    return rule


def _sample(value: Any, dim: Any, index: int) -> Any:
    if isinstance(value, list | tuple):
        return [_sample(v, d, index) for v, d in zip(value, dim, strict=True)]
    return value if dim is None else value.select(dim, index)

"""A call of a function of torch, as the rules see it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Value:
    """Where a tensor comes from: its operation, and at how many time steps that is computed."""

    source: int
    steps: int
    tensor: Tensor


@dataclass(frozen=True)
class OperatorCall:
    """A call of a function of torch. `operands` are those arguments that depend on the image;
    `timesteps` are those of the net."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Tensor
    operands: tuple[Value, ...]
    timesteps: int

    @property
    def x(self) -> Tensor:
        """The first operand."""
        return self.operands[0].tensor

    @property
    def steps(self) -> int:
        """At how many time steps the call computes: once, where there are no steps of one size."""
        steps = max(operand.steps for operand in self.operands)
        of_all = [operand.tensor for operand in self.operands if operand.steps == steps]
        whole = all(tensor.numel() % steps == 0 for tensor in (*of_all, self.result))
        return steps if whole else 1

    @property
    def n_out(self) -> int:
        """Values of the result in one time step."""
        return self.result.numel() // self.steps

    @property
    def every(self) -> tuple[Any, ...]:
        """All arguments, those in lists too."""
        return tuple(flat((*self.args, *self.kwargs.values())))

    @property
    def others(self) -> tuple[Tensor, ...]:
        """The tensors among the arguments that do not depend on the image: weights, constants."""
        known = [operand.tensor for operand in self.operands]
        return tuple(
            item
            for item in self.every
            if isinstance(item, Tensor) and not any(item is tensor for tensor in known)
        )

    def bound(self, *names: str) -> dict[str, Any]:
        """The arguments by name, those given by position included."""
        return dict(zip(names, self.args, strict=False)) | self.kwargs


# What a rule says of a call: the operation's fields, None where it is not of that kind after all.
Fields = dict[str, Any] | None
# The fields of a call that only moves values to other places.
MOVED = {"kind": "moved"}


def flat(items: Iterable[Any]) -> Iterator[Any]:
    """Everything in nested lists and tuples."""
    for item in items:
        if isinstance(item, list | tuple):
            yield from flat(item)
        else:
            yield item

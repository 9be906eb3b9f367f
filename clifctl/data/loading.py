"""Batches of a split, on the device."""

from collections.abc import Iterator

import torch
from torch import Tensor

from clifctl.data.contract import Augmentation, Split


def batches(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The split in its own order: inputs `[T, n, *]` and labels `[n]`, n <= `batch_size`."""
    if isinstance(split.inputs, Tensor):  # parts of what is held, not copies
        for start in range(0, len(split), batch_size):
            end = start + batch_size
            yield split.prepared(split.inputs[:, start:end]), split.targets[start:end]
        return
    order = torch.arange(len(split), device=split.targets.device)
    for inputs, targets in split.read(order.split(batch_size)):
        yield split.prepared(inputs), targets


def draw_order(split: Split, generator: torch.Generator) -> Tensor:
    """The sample numbers of `split` `[N]` in an order drawn from `generator`, on the CPU."""
    return torch.randperm(len(split), generator=generator)


def shuffled_batches(
    split: Split,
    batch_size: int,
    generator: torch.Generator,
    augment: Augmentation | None = None,
    *,
    drop_last: bool = False,
    order: Tensor | None = None,
    start: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The split in `order` (None: drawn from `generator`) from batch number `start` on, augmented;
    the last batch may be smaller, or is left out with `drop_last`. Labels are `[n]`, or
    `[n, classes]` where `augment` mixes samples.

    Between two batches `generator` has drawn for those that were given out and no more: with its
    state, `order` and the number of batches an epoch goes on where it was.
    """
    if order is None:
        order = draw_order(split, generator)
    orders = order.to(split.targets.device).split(batch_size)
    if drop_last and len(orders[-1]) < batch_size:
        orders = orders[:-1]
    for inputs, targets in split.read(orders[start:]):
        if augment is None:
            yield split.prepared(inputs), targets
        else:
            yield augment(inputs, targets, generator)

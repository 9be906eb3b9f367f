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


def shuffled_batches(
    split: Split,
    batch_size: int,
    generator: torch.Generator,
    augment: Augmentation | None = None,
    *,
    drop_last: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The split in an order drawn from `generator`, augmented; the last batch may be smaller, or is
    left out with `drop_last`. Labels are `[n]`, or `[n, classes]` where `augment` mixes samples."""
    order = torch.randperm(len(split), generator=generator).to(split.targets.device)
    orders = order.split(batch_size)
    if drop_last and len(orders[-1]) < batch_size:
        orders = orders[:-1]
    for inputs, targets in split.read(orders):
        if augment is None:
            yield split.prepared(inputs), targets
        else:
            yield augment(inputs, targets, generator)

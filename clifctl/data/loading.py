"""Batches from data that is held on the device as tensors."""

from collections.abc import Iterator

import torch
from torch import Tensor

from clifctl.data.contract import Augmentation, Split


def batches(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The split in its own order: inputs `[T, n, *]` and labels `[n]`, n <= `batch_size`."""
    for start in range(0, len(split), batch_size):
        end = start + batch_size
        yield split.prepared(split.inputs[:, start:end]), split.targets[start:end]


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
    for index in order.split(batch_size):
        if drop_last and len(index) < batch_size:
            return
        inputs, targets = split.inputs.index_select(1, index), split.targets[index]
        if augment is None:
            yield split.prepared(inputs), targets
        else:
            yield augment(inputs, targets, generator)

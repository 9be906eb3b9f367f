"""Batches of a split, on the device."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clifctl.data.augment.transforms import Changes
from clifctl.data.contract import Augmentation, Drawn, Part, Split, Staged
from clifctl.transfer import to_device

# Small batches are augmented several in a row: that is calls, not arithmetic, and calls that follow
# each other at once are several times as fast.
BLOCK_BYTES = 1 << 20
BLOCK_BATCHES = 16


def batches(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The split in its own order: inputs `[T, n, *]` and labels `[n]`, n <= `batch_size`."""
    if isinstance(split.inputs, Tensor):  # parts of what is held, not copies
        for start in range(0, len(split), batch_size):
            part = split.inputs[:, start : start + batch_size]
            targets = split.targets[start : start + batch_size]
            if split.on_device is None:
                (part,) = to_device([part], targets.device)
            yield split.prepared(part), targets
        return
    for inputs, targets in split.read(torch.arange(len(split)).split(batch_size)):
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
    part: Part | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The split in `order` (None: drawn from `generator`) from batch number `start` on, augmented;
    the last batch may be smaller, or is left out with `drop_last`. Labels are `[n]`, or
    `[n, classes]` where `augment` mixes samples. With `part` the inputs are those of a part of each
    batch, and the labels those of all of it: the rest is neither read nor augmented where the part
    has the same numbers without it.

    Between two batches `generator` has drawn for those that were given out and no more: with its
    state, `order` and the number of batches an epoch goes on where it was.
    """
    if order is None:
        order = draw_order(split, generator)
    if split.on_device is not None:
        order = order.to(split.targets.device)
    orders = order.split(batch_size)
    if drop_last and len(orders[-1]) < batch_size:
        orders = orders[:-1]
    orders = orders[start:]
    if augment is None:
        for inputs, targets in _read(split, orders, part):
            yield split.prepared(inputs), targets
        return
    if isinstance(augment, Staged):
        yield from _worked_ahead(split, orders, augment, generator, part)
        return
    change = _OfPart(augment, part)
    block = _batches_in_a_row(split, batch_size)
    if block == 1:
        for inputs, targets in _read(split, orders, change.reads):
            yield change(inputs, targets, generator)
        return
    for first in range(0, len(orders), block):
        yield from _block(split, orders[first : first + block], change, generator)


def _read(
    split: Split, orders: Sequence[Tensor], part: Part | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Stored inputs of a part of each batch, labels of all of it."""
    if part is None:
        yield from split.read(orders)
        return
    own = split.read([order[part(len(order))] for order in orders])
    for (inputs, _), targets in zip(own, split.labels(orders), strict=True):
        yield inputs, targets


@dataclass(frozen=True)
class _OfPart:
    """`augment` for a part of each batch, None: for all of it."""

    augment: Augmentation
    part: Part | None

    @property
    def reads(self) -> Part | None:
        """What it takes of the stored inputs."""
        alone = isinstance(self.augment, Changes) and self.augment.of_each
        return self.part if alone else None

    def __call__(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The inputs of the part, and the labels of the whole batch; `generator` draws for that."""
        augment, part = self.augment, self.part
        if part is None:
            return augment(inputs, targets, generator)
        own = part(len(targets))
        if isinstance(augment, Changes) and augment.of_each:
            return augment.of_part(inputs, own, len(targets), generator), targets
        inputs, targets = augment(inputs, targets, generator)
        return inputs[:, own], targets


def _worked_ahead(
    split: Split,
    orders: Sequence[Tensor],
    augment: Staged,
    generator: torch.Generator,
    part: Part | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The augmented batches of `orders`, whose images workers change ahead; `generator` stands
    after each as if it had drawn for it just then."""
    # Of the batches that workers have in hand: what was drawn for all of each, and for its part
    # where that can be made by itself.
    drawn: deque[tuple[Drawn, Drawn | None, Tensor]] = deque()
    upcoming = _copy_of(generator)

    def items() -> Iterator[tuple[list[int], Any]]:
        for order in orders:
            random = augment.draw(len(order), upcoming)
            alone = None if part is None else augment.part(random, part(len(order)))
            drawn.append((random, alone, upcoming.get_state()))
            if part is not None and alone is not None:
                yield order[part(len(order))].tolist(), alone.images
            else:
                yield order.tolist(), random.images

    worked = split.worked(augment.work, items(), len(orders))
    for targets, batch in zip(split.labels(orders), worked, strict=True):
        random, alone, state = drawn.popleft()
        generator.set_state(state)
        own = slice(None) if part is None else part(len(targets))
        if alone is not None:
            yield augment.finished(batch, targets[own], alone)[0], targets
        else:
            inputs, targets = augment.finished(batch, targets, random)
            yield inputs[:, own], targets


def _batches_in_a_row(split: Split, batch_size: int) -> int:
    """How many batches are augmented at once; streamed ones one by one, as they come."""
    if split.on_device is None:
        return 1
    batch_bytes = split.on_device.nbytes * batch_size // max(1, len(split))
    return max(1, min(BLOCK_BATCHES, BLOCK_BYTES // max(1, batch_bytes)))


def _block(
    split: Split, orders: Sequence[Tensor], augment: _OfPart, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The augmented batches of `orders`; `generator` stands after each as if it had drawn for it
    just then."""
    upcoming = _copy_of(generator)
    done = []
    for inputs, targets in _read(split, orders, augment.reads):
        batch = augment(inputs, targets, upcoming)
        done.append((batch, upcoming.get_state()))
    for batch, state in done:
        generator.set_state(state)
        yield batch


def _copy_of(generator: torch.Generator) -> torch.Generator:
    """Another generator that is to draw the same."""
    copy = torch.Generator()
    copy.set_state(generator.get_state())
    return copy

"""What a data set is: shape, options, files, and tensors that are held on the device."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from clifctl.data.ahead import ahead, ahead_in_threads
from clifctl.data.events.recordings import Recording
from clifctl.data.unlabelled import Unlabelled
from clifctl.devices import is_gpu, pins_memory
from clifctl.strict import Strict
from clifctl.transfer import to_device

PARTS = ("train", "test")  # the splits that a data set comes with

# Stored batch `[T, N, *]` -> what the net sees, float `[T, N, *]`.
Preparation = Callable[[Tensor], Tensor]
# Stored batch `[T, N, *]`, labels `[N]` -> what the net trains on: float `[T, N, *]`, and labels
# `[N]` or, where samples are mixed, weights of the classes `[N, classes]`.
Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


# The number of samples of a batch -> which of them one of several processes takes.
Part = Callable[[int], slice]


def as_floats(counts: Tensor) -> Tensor:
    """The Preparation of stored counts that the net sees as they are."""
    if not is_gpu(counts.device):
        # numpy asks the system for large pages: a third of the time, which is that of new memory.
        return torch.from_numpy(counts.numpy().astype(np.float32))
    return counts.to(torch.float32)


# Stored batch `[T, N, *]` on the CPU, and `Drawn.images` -> stored batch on the CPU.
Work = Callable[[Tensor, Any], Tensor]


@dataclass(frozen=True)
class Drawn:
    """What is random about one batch: `images` is what each image is changed by, and holds no
    tensors; `tensors` are needed on the device; `batch` is all else."""

    images: Any
    tensors: tuple[Tensor, ...] = ()
    batch: Any = None


class Taking(ABC):
    """Work that takes streamed samples in a way of its own, and not as they are stored."""

    @abstractmethod
    def take(self, inputs: "Streamed", numbers: Sequence[int], drawn: Any) -> Tensor:
        """The batch of the samples `numbers`. Raises DataError."""

    def __call__(self, stored: Tensor, drawn: Any) -> Tensor:
        raise TypeError("this work takes samples itself, out of where they are streamed from")


class Staged(ABC):
    """An Augmentation that changes each image by itself on the CPU, which workers do ahead, and the
    batch of them on the device.

    `work` draws from no generator of the run's, and can be pickled.
    """

    work: Work

    @abstractmethod
    def draw(self, samples: int, generator: torch.Generator) -> Drawn:
        """All that is random about a batch of so many samples, whatever they are."""

    @abstractmethod
    def finish(self, inputs: Tensor, targets: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """What the net trains on, from what `work` has made, on the device."""

    def part(self, drawn: Drawn, own: slice) -> Drawn | None:
        """What of `drawn` is for a range of the samples alone; None where a sample is changed by
        what was drawn, or stored, for others, or where labels are changed."""
        return None

    def __call__(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw, work and finish at once."""
        drawn = self.draw(inputs.shape[1], generator)
        return self.finished(self.work(inputs.cpu(), drawn.images), targets, drawn)

    def finished(self, worked: Tensor, targets: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """`finish` for what `work` has made, on the device of `targets`."""
        inputs, *tensors = to_device([worked, *drawn.tensors], targets.device)
        return self.finish(inputs, targets, replace(drawn, tensors=tuple(tensors)))


class DataOptions(Strict):
    """Base of a data set's options."""

    if TYPE_CHECKING:  # a row of the table is called with the keys of its own class

        def __init__(self, **values: Any) -> None: ...

    def shown(self, shape: "DataShape") -> "DataShape":
        """What becomes of the data set's `shape` under these options."""
        return shape


class Streamed(Protocol):
    """Samples that are not held in memory. `threads`: whether taking them is done outside of
    Python's lock."""

    @property
    def threads(self) -> bool: ...

    def __len__(self) -> int:
        """The number of samples."""

    def take(self, numbers: Sequence[int]) -> Tensor:
        """A stored batch `[T, n, *]` on the CPU. Raises DataError."""

    def select(self, numbers: Tensor) -> "Streamed":
        """The samples of these numbers."""

    def digest(self) -> bytes:
        """A hash of every sample, in order."""


@dataclass(frozen=True)
class Split:
    """Samples `inputs` `[T, N, *]` (`[1, N, *]` where every time step is equal), labels `[N]`.

    Images are stored as uint8; `prepare` makes a batch of them what the net sees. Without it the
    stored numbers are that already. Inputs are held on the device, which is that of `targets`, or
    on the CPU beside it, or streamed; `workers` (processes, or threads) bring what is not held on
    the device.
    """

    inputs: Tensor | Streamed
    targets: Tensor
    prepare: Preparation | None = None
    workers: int = 0

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, orders: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Stored inputs `[T, n, *]` and labels `[n]` on the device, for each list of n numbers.
        Raises DataError, and WorkerFailed where a worker is lost."""
        held = self.on_device
        if held is not None:
            for order in orders:
                there = order.to(held.device)
                yield held.index_select(1, there), self.targets.index_select(0, there)
            return
        # At once: asking a GPU for them later would wait for its work.
        items = [(order.tolist(), None) for order in orders]
        threads = not isinstance(self.inputs, Tensor) and self.inputs.threads
        stored = self.worked(_as_stored, items, len(items), threads=threads)
        for labels, batch in zip(self.labels(orders), stored, strict=True):
            yield to_device([batch], labels.device)[0], labels

    def worked(
        self,
        work: Work,
        items: Iterable[tuple[list[int], Any]],
        count: int,
        *,
        threads: bool = False,
    ) -> Iterator[Tensor]:
        """What `work` makes of the stored batch of each of `count` items (sample numbers, and what
        else `work` takes), on the CPU: done ahead by this split's workers."""
        # The first batch is waited for in any case.
        workers = min(self.workers, max(0, count - 1))
        pinned = pins_memory(self.targets.device)
        by = ahead_in_threads if threads else ahead
        return by(partial(_worked, self.inputs, work), items, workers, pinned=pinned)

    def labels(self, orders: Sequence[Tensor]) -> Iterator[Tensor]:
        """The labels `[n]` on the device, for each list of n numbers."""
        if orders:
            places = torch.cat(list(orders)).to(self.targets.device)
            yield from self.targets.index_select(0, places).split([len(one) for one in orders])

    def part(self, numbers: slice) -> "Split":
        """A range of the samples, in their order; tensors are not copied."""
        if isinstance(self.inputs, Tensor):
            inputs: Tensor | Streamed = self.inputs[:, numbers]
        else:
            inputs = self.inputs.select(torch.arange(len(self))[numbers])
        return replace(self, inputs=inputs, targets=self.targets[numbers])

    @property
    def held(self) -> Tensor:
        """The inputs as a tensor, of samples that are held in memory."""
        if not isinstance(self.inputs, Tensor):
            raise TypeError("these samples are streamed")
        return self.inputs

    @property
    def on_device(self) -> Tensor | None:
        """The inputs where they are held on the device."""
        inputs = self.inputs
        if isinstance(inputs, Tensor) and inputs.device == self.targets.device:
            return inputs
        return None

    @property
    def held_bytes(self) -> int:
        """Bytes that the split takes on the device."""
        inputs = self.on_device
        return (0 if inputs is None else inputs.nbytes) + self.targets.nbytes

    def prepared(self, inputs: Tensor) -> Tensor:
        """A part of `inputs` (time steps and samples may be chosen) as the net sees it."""
        return inputs if self.prepare is None else self.prepare(inputs)

    def to(self, device: torch.device) -> "Split":
        """The same split on `device`."""
        inputs = self.inputs.to(device) if isinstance(self.inputs, Tensor) else self.inputs
        return replace(self, inputs=inputs, targets=self.targets.to(device))

    def beside(self, device: torch.device) -> "Split":
        """The same split for `device`, with the inputs left where they are."""
        return replace(self, targets=self.targets.to(device))


def _worked(
    inputs: Tensor | Streamed,
    work: Work,
    item: tuple[list[int], Any],
) -> Tensor:
    numbers, drawn = item
    if isinstance(inputs, Tensor):
        return work(inputs.index_select(1, torch.tensor(numbers)), drawn)
    if isinstance(work, Taking):
        return work.take(inputs, numbers, drawn)
    return work(inputs.take(numbers), drawn)


def _as_stored(stored: Tensor, drawn: None) -> Tensor:
    return stored


@dataclass(frozen=True)
class LoadedData:
    """The splits, and the augmentation of training batches.

    `validation` is a share of the training data that is held out of `train`: what the best epoch is
    chosen on. None: there is none, and the official training split is trained on as a whole.
    `class_names` are in the order of the labels, None where classes have none.
    """

    train: Split
    test: Split
    augment: Augmentation | None = None
    validation: Split | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def splits(self) -> tuple[Split, ...]:
        """Training, test, and validation where there is one."""
        held_out = () if self.validation is None else (self.validation,)
        return (self.train, self.test, *held_out)

    def to(self, device: torch.device) -> "LoadedData":
        """The same data on `device`, but for training images that are changed on the CPU."""
        stays = isinstance(self.augment, Staged) and is_gpu(device)
        train = self.train.beside(device) if stays else self.train.to(device)
        held_out = None if self.validation is None else self.validation.to(device)
        return replace(self, train=train, test=self.test.to(device), validation=held_out)

    def sha256(self) -> str:
        """A hash of every sample and label of every split, in order: of the sample list too.

        The 60,000 images of CIFAR (184 MB) take a few tenths of a second.
        """
        digest = hashlib.sha256()
        for split in self.splits:
            if not isinstance(split.inputs, Tensor):
                digest.update(split.inputs.digest())
            for tensor in (split.inputs, split.targets):
                if not isinstance(tensor, Tensor):
                    continue
                digest.update(str(tuple(tensor.shape)).encode())
                digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class DataShape:
    """Number of classes, the shape of one time step of one sample, and what T may be: as in
    Dataset, which says what stands at its default here."""

    classes: int
    input_shape: tuple[int, ...]
    static: bool = True
    timesteps: int | None = None
    max_timesteps: int | None = None


@dataclass(frozen=True)
class FileState:
    """One file or folder that a data set needs: `problem` is None where it is good."""

    path: Path
    what: str
    present: bool
    problem: str | None = None


@dataclass(frozen=True)
class Files:
    """Where a data set's files come from, and a look at those below a root, without loading them
    for use. `obtain` says in one sentence how to get them into a root. `examine` looks at the files
    more closely than `inspect`, where that takes longer; `class_names` are those below a root, in
    the order of their labels, None where they have none."""

    url: str | None
    licence: str
    size_bytes: int | None
    obtain: Callable[[Path], str]
    inspect: Callable[[Path], tuple[FileState, ...]]
    examine: Callable[[Path], tuple[FileState, ...]] | None = None
    class_names: Callable[[Path], tuple[str, ...] | None] = lambda root: None


@dataclass(frozen=True)
class EventCamera:
    """What a set of event recordings is made from, under given options: rows and columns of the
    camera; for "train" and "test" the recordings, none of which is read for that; what makes the
    recordings' labels `[N]` the data set's; how many samples a split has where none is missing
    (None: that is the person's own matter); and whether events are put into the order of their
    times first: those of published sets are taken as their files have them, as others take them.
    `class_names` makes the names of the classes of the options, and of a sample's name for each
    label."""

    sensor: Callable[[Any], tuple[int, int]]
    recordings: Callable[[Any], Mapping[str, Sequence[Recording]]]
    relabel: Callable[[Any, Tensor], Tensor] = lambda options, labels: labels
    complete: Mapping[str, int] | None = None
    by_time: bool = False
    class_names: Callable[[Any, Mapping[int, str]], tuple[str, ...] | None] = lambda *_: None


@dataclass(frozen=True)
class Dataset:
    """One row of the DATASETS table.

    `classes` and `input_shape` (of one time step of one sample) are None where the options decide
    them; `shape` answers for given options, which may change all that is said of time steps too,
    and reads no file. `static`: the same input is shown at
    every time step. `timesteps`: the only T that the data has, None where any T will do. `files`:
    None where the data is embedded. `polarities`: what the two channels of event frames count.
    `camera`: None where no frames are prepared from recordings. `looked_for`: options that `found`
    finds by a look at the names of the files where they are not given. `unlabelled`: how samples
    without labels come out of files, for given options and T. Raises DataError.
    """

    name: str
    title: str
    source: str
    classes: int | None
    input_shape: tuple[int, ...] | None
    static: bool
    timesteps: int | None
    max_timesteps: int | None
    options: type[DataOptions]
    load: Callable[[Any, int], LoadedData]
    unlabelled: Callable[[Any, int], Unlabelled]
    shape_of: Callable[[Any], DataShape] | None = None
    files: Files | None = None
    polarities: tuple[str, str] | None = None
    camera: EventCamera | None = None
    looked_for: tuple[str, ...] = ()
    found: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda given: {}

    def shape(self, options: DataOptions) -> DataShape:
        """The shape that the data has under `options`."""
        if self.shape_of is not None:
            shape = self.shape_of(options)
        elif self.classes is None or self.input_shape is None:
            raise TypeError(f"data set '{self.name}' declares neither its shape nor shape_of")
        else:
            shape = DataShape(self.classes, self.input_shape)
        return options.shown(
            replace(
                shape,
                static=self.static,
                timesteps=self.timesteps,
                max_timesteps=self.max_timesteps,
            )
        )

"""What a data set is: shape, options, files, and tensors that are held on the device."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from clifctl.strict import Strict

if TYPE_CHECKING:
    from clifctl.data.events import Recording

# Stored batch `[T, N, *]` -> what the net sees, float `[T, N, *]`.
Preparation = Callable[[Tensor], Tensor]
# Stored batch `[T, N, *]`, labels `[N]` -> what the net trains on: float `[T, N, *]`, and labels
# `[N]` or, where samples are mixed, weights of the classes `[N, classes]`.
Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


class DataOptions(Strict):
    """Base of a data set's options."""


class Streamed(Protocol):
    """Samples that are not held in memory."""

    def read(self, orders: Sequence[Tensor]) -> Iterator[Tensor]:
        """Stored batches `[T, n, *]` on the CPU, one for each list of n sample numbers."""

    def select(self, numbers: Tensor) -> "Streamed":
        """Some of the samples."""

    def digest(self) -> bytes:
        """A hash of every sample, in order."""


@dataclass(frozen=True)
class Split:
    """Samples `inputs` `[T, N, *]` (`[1, N, *]` where every time step is equal), labels `[N]`.

    Images are stored as uint8; `prepare` makes a batch of them what the net sees. Without it the
    stored numbers are that already. Inputs are held on the device, or streamed to it.
    """

    inputs: Tensor | Streamed
    targets: Tensor
    prepare: Preparation | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, orders: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Stored inputs `[T, n, *]` and labels `[n]` on the device, for each list of n numbers."""
        if isinstance(self.inputs, Tensor):
            for order in orders:
                yield self.inputs.index_select(1, order), self.targets.index_select(0, order)
            return
        for order, inputs in zip(orders, self.inputs.read(orders), strict=True):
            yield inputs.to(self.targets.device), self.targets.index_select(0, order)

    def part(self, numbers: slice) -> "Split":
        """Those of the samples, in their order; tensors are not copied."""
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
    def held_bytes(self) -> int:
        """Bytes that the split takes on the device."""
        inputs = self.inputs.nbytes if isinstance(self.inputs, Tensor) else 0
        return inputs + self.targets.nbytes

    def prepared(self, inputs: Tensor) -> Tensor:
        """A part of `inputs` (time steps and samples may be chosen) as the net sees it."""
        return inputs if self.prepare is None else self.prepare(inputs)

    def to(self, device: torch.device) -> "Split":
        """The same split on `device`."""
        inputs = self.inputs.to(device) if isinstance(self.inputs, Tensor) else self.inputs
        return replace(self, inputs=inputs, targets=self.targets.to(device))


@dataclass(frozen=True)
class LoadedData:
    """The splits, and the augmentation of training batches.

    `validation` is a share of the training data that is held out of `train`: what the best epoch is
    chosen on. None: there is none, and the official training split is trained on as a whole.
    """

    train: Split
    test: Split
    augment: Augmentation | None = None
    validation: Split | None = None

    @property
    def splits(self) -> tuple[Split, ...]:
        """Training, test, and validation where there is one."""
        held_out = () if self.validation is None else (self.validation,)
        return (self.train, self.test, *held_out)

    def to(self, device: torch.device) -> "LoadedData":
        """The same data on `device`."""
        held_out = None if self.validation is None else self.validation.to(device)
        return replace(
            self, train=self.train.to(device), test=self.test.to(device), validation=held_out
        )

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
    """Number of classes, and the shape of one time step of one sample."""

    classes: int
    input_shape: tuple[int, ...]


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
    for use. `obtain` is one sentence on how to get them, `{root}` stands for the root."""

    url: str | None
    licence: str
    size_bytes: int | None
    obtain: str
    inspect: Callable[[Path], tuple[FileState, ...]]


@dataclass(frozen=True)
class EventCamera:
    """What a set of event recordings is made from, under given options: rows and columns of the
    camera; for "train" and "test" the recordings, none of which is read for that; what makes the
    recordings' labels `[N]` the data set's; and how many samples a split has where none is missing
    (None: that is the person's own matter)."""

    sensor: Callable[[Any], tuple[int, int]]
    recordings: Callable[[Any], "Mapping[str, Sequence[Recording]]"]
    relabel: Callable[[Any, Tensor], Tensor] = lambda options, labels: labels
    complete: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Dataset:
    """One row of the DATASETS table.

    `classes` and `input_shape` (of one time step of one sample) are None where the options decide
    them; `shape` answers for given options, and reads no file. `static`: the same input is shown at
    every time step. `timesteps`: the only T that the data has, None where any T will do. `files`:
    None where the data is embedded. `polarities`: what the two channels of event frames count.
    `camera`: None where no frames are prepared from recordings.
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
    shape_of: Callable[[Any], DataShape] | None = None
    files: Files | None = None
    polarities: tuple[str, str] | None = None
    camera: EventCamera | None = None

    def shape(self, options: DataOptions) -> DataShape:
        """The classes and input shape that the data has under `options`."""
        if self.shape_of is not None:
            return self.shape_of(options)
        if self.classes is None or self.input_shape is None:
            raise TypeError(f"data set '{self.name}' declares neither its shape nor shape_of")
        return DataShape(self.classes, self.input_shape)

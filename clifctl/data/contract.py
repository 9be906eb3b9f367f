"""What a data set is: shape, options, files, and tensors that are held on the device."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clifctl.strict import Strict

# Stored batch `[T, N, *]` -> what the net sees, float `[T, N, *]`.
Preparation = Callable[[Tensor], Tensor]
# Stored batch `[T, N, *]`, labels `[N]` -> what the net trains on: float `[T, N, *]`, and labels
# `[N]` or, where samples are mixed, weights of the classes `[N, classes]`.
Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


class DataOptions(Strict):
    """Base of a data set's options."""


@dataclass(frozen=True)
class Split:
    """Samples `inputs` `[T, N, *]` (`[1, N, *]` where every time step is equal), labels `[N]`.

    Images are stored as uint8; `prepare` makes a batch of them what the net sees. Without it the
    stored numbers are that already.
    """

    inputs: Tensor
    targets: Tensor
    prepare: Preparation | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def prepared(self, inputs: Tensor) -> Tensor:
        """A part of `inputs` (time steps and samples may be chosen) as the net sees it."""
        return inputs if self.prepare is None else self.prepare(inputs)

    def to(self, device: torch.device) -> "Split":
        """The same split on `device`."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))


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
            for tensor in (split.inputs, split.targets):
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
class Dataset:
    """One row of the DATASETS table.

    `classes` and `input_shape` (of one time step of one sample) are None where the options decide
    them; `shape` answers for given options, and reads no file. `static`: the same input is shown at
    every time step. `timesteps`: the only T that the data has, None where any T will do. `files`:
    None where the data is embedded.
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

    def shape(self, options: DataOptions) -> DataShape:
        """The classes and input shape that the data has under `options`."""
        if self.shape_of is not None:
            return self.shape_of(options)
        if self.classes is None or self.input_shape is None:
            raise TypeError(f"data set '{self.name}' declares neither its shape nor shape_of")
        return DataShape(self.classes, self.input_shape)

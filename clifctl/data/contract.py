"""What a data set is: its shape, its options, and tensors that are held on the device."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from clifctl.strict import Strict

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


class DataOptions(Strict):
    """Base of a data set's options."""


@dataclass(frozen=True)
class Split:
    """Samples `inputs` `[T, N, *]` (`[1, N, *]` where every time step is equal), labels `[N]`."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> "Split":
        """The same split on `device`."""
        return Split(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class LoadedData:
    """Both splits, and the augmentation of training batches: (`[T, N, *]`, generator) -> same."""

    train: Split
    test: Split
    augment: Augmentation | None = None

    def to(self, device: torch.device) -> "LoadedData":
        """The same data on `device`."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def sha256(self) -> str:
        """A hash of every sample and label of both splits, in order."""
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            for tensor in (split.inputs, split.targets):
                digest.update(str(tuple(tensor.shape)).encode())
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """One row of the DATASETS table.

    `input_shape` is that of one time step of one sample. `static`: the same input is shown at every
    time step. `timesteps`: the only T that the data has, None where any T will do.
    """

    name: str
    title: str
    source: str
    classes: int
    input_shape: tuple[int, ...]
    static: bool
    timesteps: int | None
    max_timesteps: int | None
    options: type[DataOptions]
    load: Callable[[Any, int], LoadedData]

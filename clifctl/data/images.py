"""What the image sets share: options, the place of their files, labels that hold, and splits."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from clifctl.commands import command_line
from clifctl.data.augment.pipelines import AugmentationName
from clifctl.data.contract import (
    Augmentation,
    DataOptions,
    LoadedData,
    Preparation,
    Split,
    Streamed,
)
from clifctl.data.views import ViewOptions, prepared_for, seen, sees_events, show
from clifctl.errors import DataError
from clifctl.files import expanded
from clifctl.strict import PathText, Seed

# Of every recipe that says nothing else: `data` here, or the folder that this variable names.
DEFAULT_ROOT = "data"
ROOT_VARIABLE = "CLIFCTL_DATA"


def data_folder(root: str | Path = DEFAULT_ROOT) -> Path:
    """The folder that `root` stands for, `~` allowed. Raises UsageError where there is no home."""
    elsewhere = os.environ.get(ROOT_VARIABLE)
    return expanded(elsewhere if elsewhere and str(root) == DEFAULT_ROOT else root)


class FileOptions(DataOptions):
    """Options of every data set that is read from files."""

    root: PathText = Field(
        DEFAULT_ROOT,
        min_length=1,
        description=f"folder of the files; 'data' is the one that {ROOT_VARIABLE} names, if any",
    )
    validation_share: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="share of each class of the training data that is held out, and that the best "
        "epoch is chosen on; 0: the official split as it is",
    )
    split_seed: Seed = Field(0, description="seed of what is held out, apart from train.seed")


class WorkerOptions(DataOptions):
    """Options of every data set whose batches may be prepared ahead."""

    workers: int = Field(
        2,
        ge=0,
        le=256,
        description="processes that decode or augment (strong) images, or see them as events, "
        "ahead, or threads that read event frames; 0: none",
    )


class AheadOptions(FileOptions, WorkerOptions):
    """Options of every such data set that is read from files."""


class ShownOptions(AheadOptions, ViewOptions):
    """Options of every data set that is read from files and can be shown in a view."""

    limit: int | None = Field(
        None,
        ge=2,
        description="so many training samples, drawn under split_seed; the test data stay whole; "
        "null: all",
    )


class ImageOptions(ShownOptions):
    """Options of every data set of images with the augmentations of CIFAR."""

    augmentation: AugmentationName = Field("none", description="augmentation of training batches")

    @model_validator(mode="after")
    def _events_are_not_augmented(self) -> Self:
        if self.view == "events" and self.augmentation != "none":
            raise ValueError(
                f"augmentation = '{self.augmentation}' is of images, and view=events shows events: "
                "take augmentation=none"
            )
        return self


class ImageFileOptions(ImageOptions):
    """Options of images that lie in a file each."""

    in_memory: bool = Field(
        True, description="hold all images on the device; false: decode them at every use"
    )


@dataclass(frozen=True)
class Place:
    """Where a data set is looked for: what an error about its files names."""

    name: str
    root: Path

    @classmethod
    def of(cls, name: str, root: str | Path) -> "Place":
        """The place of data set `name` below `root`: see `data_folder`."""
        return cls(name, data_folder(root))

    def error(self, message: str, *, hint: str | None = None) -> DataError:
        """The error `message` about this data set, with the command that helps."""
        elsewhere = () if self.root == data_folder() else ("--root", self.root)
        check = command_line("data", "check", self.name, *elsewhere)
        return DataError(
            f"data set '{self.name}': {message}", hint=f"{hint}; {check}" if hint else check
        )


@dataclass(frozen=True)
class Samples:
    """Inputs `[N, *]` as they are stored, with a time step each where `timed` (`[N, T, *]`), and
    labels `[N]` int64 of one split."""

    inputs: Tensor | Streamed
    targets: Tensor
    timed: bool = False

    @property
    def held(self) -> Tensor:
        """The inputs as a tensor, of samples that are held in memory."""
        if not isinstance(self.inputs, Tensor):
            raise TypeError("these samples are streamed")
        return self.inputs

    def __getitem__(self, index: Tensor) -> "Samples":
        inputs = (
            self.inputs[index] if isinstance(self.inputs, Tensor) else self.inputs.select(index)
        )
        return replace(self, inputs=inputs, targets=self.targets[index])


def require_labels(targets: Tensor, classes: int, file: Path, place: Place) -> None:
    """Raise DataError naming `file` where a label is not one of 0..classes - 1."""
    wrong = ((targets < 0) | (targets >= classes)).nonzero().flatten()
    if len(wrong):
        sample = int(wrong[0])
        raise place.error(
            f"'{file}': label {int(targets[sample])} of sample {sample} is out of range, "
            f"{classes} classes have labels 0 to {classes - 1}"
        )


def assemble(
    parts: Mapping[str, Samples],
    options: ShownOptions,
    place: Place,
    timesteps: int,
    *,
    prepare: Preparation | None,
    augment: Augmentation | None,
    class_names: Sequence[str] | None = None,
) -> LoadedData:
    """Data `[1, N, *]`, or `[T, N, *]` where they are timed, in the view that `options` ask for.
    `parts` are "train", "test" and maybe "validation", of which `options` then hold out none."""
    if sees_events(options):
        prepare = prepared_for(options, prepare)
        inputs = seen({part: one.inputs for part, one in parts.items()}, options, timesteps)
        parts = {part: replace(one, inputs=inputs[part]) for part, one in parts.items()}
    train, held_out = hold_out(parts["train"], options, place)
    train = limited(train, options, place)
    held_out = parts.get("validation", held_out)

    def split(samples: Samples) -> Split:
        held = samples.inputs
        if isinstance(held, Tensor):
            held = held.movedim(1, 0) if samples.timed else held.unsqueeze(0)
        return Split(held, samples.targets, prepare, options.workers)

    data = LoadedData(
        split(train),
        split(parts["test"]),
        augment,
        None if held_out is None else split(held_out),
        None if class_names is None else tuple(class_names),
    )
    return show(data, options)


def hold_out(train: Samples, options: FileOptions, place: Place) -> tuple[Samples, Samples | None]:
    """What is trained on, and the validation share of `options`, None where there is none."""
    if options.validation_share == 0:
        return train, None
    kept, out = held_out_per_class(train.targets, options.validation_share, options.split_seed)
    if not len(kept) or not len(out):
        raise place.error(
            f"data.validation_share = {options.validation_share}: of {len(train.targets)} "
            f"training samples {len(out)} would be held out",
            hint=_share_hint(train.targets),
        )
    return train[kept], train[out]


def limited(train: Samples, options: ShownOptions, place: Place) -> Samples:
    """So many of the samples that are trained on as `options` say, in their order. Raises DataError
    where there are fewer."""
    if options.limit is None:
        return train
    count = len(train.targets)
    if options.limit > count:
        raise place.error(
            f"data.limit = {options.limit}: there are {count} training samples",
            hint=f"data.limit={count} takes all of them, as does null",
        )
    generator = torch.Generator().manual_seed(options.split_seed)
    return train[torch.randperm(count, generator=generator)[: options.limit].sort().values]


def _share_hint(targets: Tensor) -> str:
    """A share with which samples stay and others are held out, where there is one."""
    if int(targets.bincount().max()) < 2:
        return "data.validation_share=0: no class has two samples to divide"
    return "data.validation_share=0.5 divides them"


def held_out_per_class(targets: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Numbers of the samples that stay and of those held out, both ascending: `share` of each
    class, rounded, drawn under `seed`."""
    generator = torch.Generator().manual_seed(seed)
    out = torch.zeros(len(targets), dtype=torch.bool)
    for label in targets.unique().tolist():
        members = (targets == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        out[members[order[: round(share * len(members))]]] = True
    return (~out).nonzero().flatten(), out.nonzero().flatten()

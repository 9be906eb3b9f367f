"""`data ls` and `data show`."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from clifctl.data import DATASETS, Dataset
from clifctl.errors import UsageError, unknown_name
from clifctl.recipe.load import data_section
from clifctl.results import DatasetList, DatasetRow, FrameRow, SampleResult

SplitName = Literal["train", "test"]
DEFAULT_TIMESTEPS = 8


def list_datasets() -> DatasetList:
    """Every data set."""
    return DatasetList(
        data=tuple(
            DatasetRow(
                data=dataset.name,
                title=dataset.title,
                classes=dataset.classes,
                input_shape=dataset.input_shape,
                timesteps=_timesteps(dataset),
                source=dataset.source,
            )
            for dataset in DATASETS.values()
        )
    )


def show_sample(
    name: str, overrides: Sequence[str], *, split: SplitName, sample: int, picture: str | None
) -> tuple[SampleResult, Tensor]:
    """One sample of data set `name`, and its tensor `[T, *]` for a picture.

    `overrides` are `key=value` of the data section, and `timesteps=T`. Raises UsageError for a name
    or sample that does not exist, RecipeError for a bad option.
    """
    if name not in DATASETS:
        raise UsageError(unknown_name("data set", name, DATASETS), hint="clifctl data ls")
    dataset = DATASETS[name]
    options, timesteps = data_section(name, overrides, dataset.timesteps or DEFAULT_TIMESTEPS)
    data = dataset.load(options, timesteps)
    chosen = data.train if split == "train" else data.test
    if not 0 <= sample < len(chosen):
        raise UsageError(
            f"--sample {sample}: the {split} split of '{name}' has {len(chosen)} samples",
            hint=f"samples count from 0 to {len(chosen) - 1}",
        )
    frames = chosen.inputs[:, sample]
    rows = tuple(
        FrameRow(
            step=step,
            minimum=float(frame.min()),
            maximum=float(frame.max()),
            mean=float(frame.mean()),
            sum_per_channel=tuple(frame.reshape(_channels(dataset), -1).sum(1).tolist()),
        )
        for step, frame in enumerate(frames, 1)
    )
    result = SampleResult(
        data=name,
        split=split,
        sample=sample,
        label=int(chosen.targets[sample]),
        samples_in_split=len(chosen),
        shape=tuple(frames.shape),
        sha256=data.sha256(),
        frames=rows,
        picture=picture,
    )
    return result, frames


def _channels(dataset: Dataset) -> int:
    return dataset.input_shape[0] if len(dataset.input_shape) == 3 else 1


def _timesteps(dataset: Dataset) -> str:
    if dataset.timesteps is not None:
        return str(dataset.timesteps)
    return "any" if dataset.max_timesteps is None else f"1 to {dataset.max_timesteps}"

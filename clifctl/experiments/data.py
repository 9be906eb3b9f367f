"""`data ls`, `data check` and `data show`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from clifctl.amounts import counted
from clifctl.data import (
    DATASETS,
    DataOptions,
    Dataset,
    FileState,
    LoadedData,
    Split,
    data_folder,
)
from clifctl.data.events.event_set import (
    CACHES,
    NotPrepared,
    RecordedFrames,
    inspect_caches,
    read_recordings,
)
from clifctl.data.events.frame_cache import CachedFrames
from clifctl.data.events.options import EventOptions
from clifctl.data.events.recordings import POLARITIES
from clifctl.data.views import sees_events
from clifctl.errors import ArgumentError, UsageError, as_listed, unknown_name
from clifctl.files import expanded
from clifctl.recipe.load import data_section
from clifctl.results.data import (
    DataCheckResult,
    DatasetList,
    DatasetRow,
    FileRow,
    FrameRow,
    SampleResult,
)

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
                views=_views(dataset),
            )
            for dataset in DATASETS.values()
        ),
        root=str(data_folder()),
    )


def check_data(name: str, root: Path | None, cache: Path | None = None) -> DataCheckResult:
    """The files of data set `name` below `root` (None: the default of recipes), and the frames that
    were prepared of them in the folder `cache` (None: below the root).

    Raises UsageError for a name that does not exist, or a folder that a data set has not.
    """
    dataset = _named(name)
    name, files = dataset.name, dataset.files
    if files is None:
        if root is not None:
            raise ArgumentError("root", root, f"data set '{name}' is embedded", hint="leave it out")
        return DataCheckResult(
            data=name,
            root=None,
            complete=True,
            url=None,
            licence=None,
            download_bytes=None,
            obtain=None,
            files=(FileRow(file="embedded", state="good", what=dataset.source, problem=None),),
        )
    place = data_folder() if root is None else data_folder(root)
    states = (files.examine or files.inspect)(place)
    if dataset.camera is not None:
        states += inspect_caches(name, place / CACHES if cache is None else expanded(cache))
    elif cache is not None:
        raise UsageError(
            f"cache={cache}: data set '{name}' has no prepared frames", hint="leave it out"
        )
    rows = tuple(_file_row(name, state) for state in states)
    return DataCheckResult(
        data=name,
        root=str(place),
        complete=all(row.state == "good" for row in rows),
        url=files.url,
        licence=files.licence,
        download_bytes=files.size_bytes,
        obtain=files.obtain(place),
        files=rows,
        class_names=files.class_names(place),
    )


def _file_row(name: str, state: FileState) -> FileRow:
    good, problem = "bad" if state.problem else "good", state.problem
    return FileRow(
        file=str(state.path),
        state=good if state.present else "missing",
        what=state.what,
        # Said of this data set, as everything here.
        problem=problem and problem.removeprefix(f"data set '{name}': "),
    )


def show_sample(
    name: str, overrides: Sequence[str], *, split: SplitName, sample: int, picture: str | None
) -> tuple[SampleResult, Tensor]:
    """One sample of data set `name`, and its tensor `[T, *]` for a picture.

    `overrides` are `key=value` of the data section, and `timesteps=T`. Raises UsageError for a name
    or sample that does not exist, RecipeError for a bad option.
    """
    dataset = _named(name)
    name = dataset.name
    options, timesteps = data_section(name, overrides, DEFAULT_TIMESTEPS)
    data, prepared = _loaded(dataset, options, timesteps)
    chosen = data.train if split == "train" else data.test
    if not 0 <= sample < len(chosen):
        raise ArgumentError(
            "sample",
            sample,
            f"the {split} split of '{name}' has {counted(len(chosen), 'sample')}",
            hint=f"samples count from 0 to {len(chosen) - 1}",
        )
    stored, _ = next(chosen.read([torch.tensor([sample])]))
    frames = chosen.prepared(stored)[:, 0]
    polarities = POLARITIES if sees_events(options) else dataset.polarities
    rows = tuple(
        _frame_row(step, frame, _events(stored[step - 1, 0], polarities) if polarities else {})
        for step, frame in enumerate(frames, 1)
    )
    label = int(chosen.targets[sample])
    result = SampleResult(
        data=name,
        split=split,
        sample=sample,
        name=_recording_of(chosen, sample),
        label=label,
        class_name=data.class_names[label] if data.class_names else None,
        samples_in_split=len(chosen),
        shape=tuple(frames.shape),
        sha256=data.sha256() if prepared else None,
        polarities=polarities,
        frames=rows,
        picture=picture,
    )
    return result, frames


def _loaded(dataset: Dataset, options: DataOptions, timesteps: int) -> tuple[LoadedData, bool]:
    """The data, and whether they are prepared: for a look at one sample they need not be."""
    try:
        return dataset.load(options, timesteps), True
    except NotPrepared:
        assert dataset.camera is not None
        assert isinstance(options, EventOptions)
        return read_recordings(dataset.name, dataset.camera, options, timesteps), False


def _recording_of(split: Split, sample: int) -> str | None:
    """The name of the recording of `sample`, where it has one and is not held in memory."""
    held = split.inputs
    return held.name(sample) if isinstance(held, CachedFrames | RecordedFrames) else None


def _events(counts: Tensor, polarities: tuple[str, str]) -> dict[str, int]:
    """How many events of each polarity the stored `counts` `[2, H, W]` of a frame hold."""
    return dict(zip(polarities, map(int, counts.flatten(1).sum(1)), strict=True))


def _frame_row(step: int, frame: Tensor, events: dict[str, int]) -> FrameRow:
    """One frame as the net sees it, and how many `events` of each polarity it was made of."""
    return FrameRow(
        step=step,
        minimum=float(frame.min()),
        maximum=float(frame.max()),
        mean=float(frame.mean()),
        sum_per_channel=tuple(frame.reshape(_channels(frame), -1).sum(1).tolist()),
        on_events=events.get("ON"),
        off_events=events.get("OFF"),
    )


def _named(name: str) -> Dataset:
    name = as_listed(name, DATASETS)
    if name not in DATASETS:
        raise UsageError(unknown_name("data set", name, DATASETS), hint="clifctl data ls")
    return DATASETS[name]


def _channels(frame: Tensor) -> int:
    return frame.shape[0] if frame.dim() == 3 else 1


def _views(dataset: Dataset) -> tuple[str, ...]:
    field = dataset.options.model_fields.get("view")
    return () if field is None else get_args(field.annotation)


def _timesteps(dataset: Dataset) -> str:
    if dataset.timesteps is not None:
        return str(dataset.timesteps)
    return "any" if dataset.max_timesteps is None else f"1 to {dataset.max_timesteps}"

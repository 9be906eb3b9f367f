"""What the sets of event recordings share: from options to settings, cache, splits and errors."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clifctl.commands import command_line, override
from clifctl.data.contract import EventCamera, Files, FileState, LoadedData, Split
from clifctl.data.event_options import DECLARED, PREPARED, EventOptions
from clifctl.data.event_pipelines import augmentation_of, preparation_of
from clifctl.data.events import BadRecording, Recording
from clifctl.data.frame_cache import PARTS, BadCache, Cache, CachedFrames, CacheIndex, Settings
from clifctl.data.images import Place, Samples, at_home, hold_out
from clifctl.errors import DataError

CACHES = "prepared"  # below the root, where the options name no other folder


def settings_of(name: str, camera: EventCamera, options: EventOptions, timesteps: int) -> Settings:
    """What the frames under `options` depend on."""
    fields = type(options).model_fields
    chosen = {key: getattr(options, key) for key in PREPARED if key in fields}
    height, width = camera.sensor(options)
    return Settings(name, timesteps, height, width, chosen)


def caches_of(options: EventOptions) -> Path:
    """The folder that holds the caches."""
    if options.cache is not None:
        return at_home(options.cache)
    return at_home(options.root) / CACHES


def prepare_command(name: str, options: EventOptions, timesteps: int) -> str:
    """The command that prepares the frames of `options`."""
    words = [f"timesteps={timesteps}"]
    for key in ("root", "cache", *PREPARED, *DECLARED):
        field = type(options).model_fields.get(key)
        if field is None or getattr(options, key) == field.default:
            continue
        words.append(override(key, getattr(options, key)))
    return command_line("data", "prepare", name, *words)


def load_events(
    name: str, camera: EventCamera, options: EventOptions, timesteps: int
) -> LoadedData:
    """Both splits from the cache. Raises DataError where it is not prepared: with what is wrong
    about the recordings if they are not there either, else with the command that prepares them."""
    settings = settings_of(name, camera, options, timesteps)
    try:
        cache = Cache.open(caches_of(options) / settings.folder_name, settings)
    except BadCache as unusable:
        camera.recordings(options)
        raise NotPrepared(
            f"data set '{name}': its frames are not prepared: {unusable}",
            hint=prepare_command(name, options, timesteps),
        ) from None
    require_classes(name, options, cache)
    return _assembled(
        name, camera, options, {part: (cache.frames(part), cache.labels(part)) for part in PARTS}
    )


def require_classes(name: str, options: EventOptions, cache: Cache) -> None:
    """Raise DataError where the prepared frames are of more classes than `options` declare: a
    cache does not depend on that number."""
    declared = getattr(options, "classes", None)
    there = 1 + max(int(cache.labels(part).max()) for part in PARTS)
    if declared is not None and there > declared:
        raise DataError(
            f"data set '{name}': the frames in '{cache.folder}' are of {there} classes, "
            f"the recipe says {declared}",
            hint=f"classes={there}",
        )


def inspect_caches(name: str, place: Path) -> tuple[FileState, ...]:
    """Every cache of data set `name` in the folder `place`, each frame compared with its
    checksum."""
    states = []
    for folder in sorted(place.glob(f"{name}-T*")):
        try:
            cache = Cache.open(folder, Settings.of(CacheIndex.read(folder).settings))
        except BadCache as bad:
            states.append(FileState(folder, "prepared frames", True, str(bad)))
            continue
        for part in PARTS:
            frames = cache.frames(part)
            what = f"prepared frames of {len(frames):,} samples, as their checksums say"
            problem = cache.damage(part)
            if problem is not None:
                problem += ": prepare them anew, with --overwrite"
            states.append(FileState(frames.file, what, True, problem))
    return tuple(states)


class NotPrepared(DataError):
    """The recordings are there, their frames are not."""


def read_recordings(
    name: str, camera: EventCamera, options: EventOptions, timesteps: int
) -> LoadedData:
    """Both splits, each sample read from its recording when it is asked for: slow, for a look."""
    settings = settings_of(name, camera, options, timesteps)
    place = Place.of(name, options.root)
    found = {}
    for part, recordings in camera.recordings(options).items():
        labels = [sample.label for one in recordings for sample in one.samples]
        where = tuple((one, number) for one in recordings for number in range(len(one.samples)))
        found[part] = RecordedFrames(where, settings, place), torch.tensor(labels)
    return _assembled(name, camera, options, found)


@dataclass(frozen=True)
class RecordedFrames:
    """Samples in their recordings, see `clifctl.data.contract.Streamed`. `where`: for each sample
    its recording and its number there."""

    where: tuple[tuple[Recording, int], ...]
    settings: Settings
    place: Place

    def __len__(self) -> int:
        return len(self.where)

    def name(self, number: int) -> str:
        """What sample `number` is called."""
        recording, within = self.where[number]
        return recording.samples[within].name

    def read(self, orders: Sequence[Tensor]) -> Iterator[Tensor]:
        """Counts `[T, n, 2, H, W]` for each list of n sample numbers. Raises DataError."""
        for order in orders:
            yield self.take(order)

    def take(self, order: Tensor) -> Tensor:
        """Counts `[T, n, 2, H, W]` of the samples `order` `[n]`. Raises DataError."""
        frames = []
        for number in order.tolist():
            recording, within = self.where[number]
            try:
                counts = self.settings.counts(recording.read()[within])
            except (BadRecording, OSError) as bad:
                raise self.place.error(f"'{recording.path}': {bad}") from bad
            frames.append(torch.from_numpy(counts.astype(np.int64)))
        return torch.stack(frames, 1)

    def select(self, numbers: Tensor) -> "RecordedFrames":
        """Some of the samples."""
        return replace(self, where=tuple(self.where[i] for i in numbers.tolist()))

    def digest(self) -> bytes:
        """There is none: every recording would have to be read."""
        raise NotPrepared(f"data set '{self.place.name}': its frames are not prepared")


def _assembled(
    name: str,
    camera: EventCamera,
    options: EventOptions,
    found: Mapping[str, tuple[CachedFrames | RecordedFrames, Tensor]],
) -> LoadedData:
    samples = {
        part: Samples(frames, camera.relabel(options, labels))
        for part, (frames, labels) in found.items()
    }
    train, held_out = hold_out(samples["train"], options, Place.of(name, options.root))
    prepare = preparation_of(options)

    def split(samples: Samples) -> Split:
        frames = samples.inputs
        assert isinstance(frames, CachedFrames | RecordedFrames)
        hold = options.in_memory and isinstance(frames, CachedFrames)
        inputs = frames.take(torch.arange(len(frames))) if hold else frames
        return Split(inputs, samples.targets, prepare)

    return LoadedData(
        split(train),
        split(samples["test"]),
        augmentation_of(options, prepare),
        None if held_out is None else split(held_out),
    )


def natural(text: str) -> list[Any]:
    """What to sort by so that 'user2' comes before 'user10'."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def folders_of(root: Path, name: str, *inner: str) -> list[Path]:
    """Where files may lie: `inner` in the root, or in the folder of the data set's name in it."""
    return [base / folder for base in (root, root / name) for folder in inner]


def few(there: int, complete: int) -> str | None:
    """The problem of a split that can be used, and is not the whole one; None: it is."""
    return None if there == complete else f"{there:,} of {complete:,}: results do not compare"


def unfinished(folder: Path) -> bool:
    """Whether SpikingJelly was ended before it had written all of `folder`."""
    return folder.with_name(f"{folder.name}.building").exists()


def missing(place: Place, files: Files) -> DataError:
    """The error for a root on which there is nothing: what to put where, and where it is from."""
    obtain = files.obtain.replace("{root}", str(place.root))
    source = f"; from {files.url}" if files.url else ""
    return place.error(
        f"its recordings are missing: there are none below '{place.root}'",
        hint=f"{obtain}{source}; licence: {files.licence}",
    )

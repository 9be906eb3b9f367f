"""What the sets of event recordings share: from options to settings, cache, splits and errors."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from clifctl.commands import command_line, override
from clifctl.data.archives import Array
from clifctl.data.contract import PARTS, EventCamera, Files, FileState, LoadedData, Split
from clifctl.data.events.frame_cache import BadCache, Cache, CachedFrames, CacheIndex, Settings
from clifctl.data.events.frame_preparation import sources_of
from clifctl.data.events.options import DECLARED, PREPARED, EventOptions
from clifctl.data.events.pipelines import augmentation_of, preparation_of
from clifctl.data.events.recordings import BadRecording, Recording
from clifctl.data.given_files import GIVEN, ArrayReader
from clifctl.data.images import Place, Samples, data_folder, hold_out
from clifctl.data.unlabelled import Reader, Unlabelled
from clifctl.errors import DataError
from clifctl.files import expanded

CACHES = "prepared"  # below the root, where the options name no other folder


def settings_of(name: str, camera: EventCamera, options: EventOptions, timesteps: int) -> Settings:
    """What the frames under `options` depend on."""
    fields = type(options).model_fields
    chosen = {key: getattr(options, key) for key in PREPARED if key in fields}
    height, width = camera.sensor(options)
    return Settings(name, timesteps, height, width, chosen, camera.by_time)


def caches_of(options: EventOptions) -> Path:
    """The folder that holds the caches."""
    if options.cache is not None:
        return expanded(options.cache)
    return data_folder(options.root) / CACHES


def prepare_command(name: str, options: EventOptions, timesteps: int, *flags: str) -> str:
    """The command that prepares the frames of `options`."""
    words = [f"timesteps={timesteps}"]
    for key in ("root", "cache", *PREPARED, *DECLARED):
        field = type(options).model_fields.get(key)
        if field is None or getattr(options, key) == field.default:
            continue
        words.append(override(key, getattr(options, key)))
    return command_line("data", "prepare", name, *words, *flags)


def load_events(
    name: str, camera: EventCamera, options: EventOptions, timesteps: int
) -> LoadedData:
    """Both splits from the cache. Raises DataError where it is not prepared, or not with all
    recordings that are there: with what is wrong about the recordings if they are not there either,
    else with the command that prepares them."""
    settings = settings_of(name, camera, options, timesteps)
    try:
        cache = Cache.open(caches_of(options) / settings.folder_name, settings)
    except BadCache as unusable:
        recordings_of(name, camera, options)
        former = caches_of(options) / replace(settings, by_time=False).folder_name
        old = f"those in '{former}' were counted in the order of their files, and not by time"
        is_old = settings.by_time and former.is_dir()
        raise NotPrepared(
            f"data set '{name}': its frames are not prepared: {old if is_old else unusable}",
            hint=prepare_command(name, options, timesteps),
        ) from None
    require_classes(name, options, cache)
    _require_current(name, camera, options, timesteps, cache)
    return _assembled(
        name, camera, options, {part: (cache.frames(part), cache.labels(part)) for part in PARTS}
    )


def _require_current(
    name: str, camera: EventCamera, options: EventOptions, timesteps: int, cache: Cache
) -> None:
    """Raise DataError where recordings were added or have changed since the frames in `cache` were
    made. They may have been deleted."""
    try:
        found = camera.recordings(options)
    except DataError:
        return
    prepared = cache.index.names
    left_out = tuple(f"/{file}" for file in cache.index.skipped)
    there = [
        (one.path, {(part, sample.name) for sample in one.samples})
        for part in PARTS
        for one in found[part]
        if not f"/{one.path.as_posix()}".endswith(left_out)
    ]
    added = [path for path, names in there if names - prepared]
    all_there = prepared == {name for _, names in there for name in names}
    if added:
        more = f", and {len(added) - 1:,} more" if len(added) > 1 else ""
        what = f"'{added[0]}' was added{more}"
    elif all_there and sources_of(found) != cache.index.sources:
        what = "recordings have changed"
    else:
        return
    flags = ["--overwrite", *(["--skip-bad"] if left_out else [])]
    raise NotPrepared(
        f"data set '{name}': {what} since the frames in '{cache.folder}' were prepared",
        hint=prepare_command(name, options, timesteps, *flags),
    )


def require_classes(name: str, options: EventOptions, cache: Cache) -> None:
    """Raise DataError where the prepared frames are of more classes than `options` declare: a
    cache does not depend on that number."""
    declared = getattr(options, "classes", None)
    there = 1 + max(int(cache.labels(part).max()) for part in PARTS)
    if declared is not None and there > declared:
        what = f"the frames in '{cache.folder}'"
        raise _other_classes(name, what, there, declared)


def recordings_of(
    name: str, camera: EventCamera, options: EventOptions
) -> Mapping[str, Sequence[Recording]]:
    """The recordings of both splits. Raises DataError, also where they are not of as many classes
    as `options` declare."""
    found = camera.recordings(options)
    declared = getattr(options, "classes", None)
    labels = {sample.label for part in PARTS for one in found[part] for sample in one.samples}
    if declared is not None and len(labels) != declared:
        what = f"the recordings below '{data_folder(options.root)}'"
        raise _other_classes(name, what, len(labels), declared)
    return found


def _other_classes(name: str, what: str, there: int, declared: int) -> DataError:
    return DataError(
        f"data set '{name}': {what} are of {there} classes, the recipe says {declared}",
        hint=f"data.classes={there}",
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
    for part, recordings in recordings_of(name, camera, options).items():
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

    threads: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.where)

    def name(self, number: int) -> str:
        """What sample `number` is called."""
        recording, within = self.where[number]
        return recording.samples[within].name

    def take(self, numbers: Sequence[int]) -> Tensor:
        """Counts `[T, n, 2, H, W]` of the samples `numbers`. Raises DataError."""
        frames = []
        for number in numbers:
            recording, within = self.where[number]
            try:
                counts = self.settings.counts(recording.read()[within])
            except (BadRecording, OSError) as bad:
                raise self.place.error(f"'{recording.path}': {bad}") from bad
            frames.append(torch.from_numpy(counts.astype(np.int64)))
        return torch.stack(frames, 1)

    def select(self, numbers: Tensor) -> "RecordedFrames":
        """The samples of these numbers."""
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
    named = {
        label: frames.name(number)
        for frames, labels in found.values()
        for number, label in enumerate(labels.tolist())
    }
    train, held_out = hold_out(samples["train"], options, Place.of(name, options.root))
    prepare = preparation_of(options)

    def split(samples: Samples) -> Split:
        frames = samples.inputs
        assert isinstance(frames, CachedFrames | RecordedFrames)
        hold = options.in_memory and isinstance(frames, CachedFrames)
        inputs = frames.take(range(len(frames))) if hold else frames
        return Split(inputs, samples.targets, prepare, options.workers)

    return LoadedData(
        split(train),
        split(samples["test"]),
        augmentation_of(options, prepare),
        None if held_out is None else split(held_out),
        camera.class_names(options, named),
    )


def unlabelled_events(
    name: str,
    camera: EventCamera,
    options: EventOptions,
    timesteps: int,
    *,
    recordings: Mapping[str, Callable[[Path], Recording]],
    class_names: tuple[str, ...] | None,
) -> Unlabelled:
    """Recordings by the ending of their files, and counts `[T, 2, H, W]` in .npy files, as frames
    that are prepared are."""
    settings = settings_of(name, camera, options, timesteps)
    shape = (timesteps, 2, settings.height, settings.width)
    readers = {ending: _recording_reader(one, settings) for ending, one in recordings.items()}
    readers[".npy"] = ArrayReader(shape, _counts, timed=True)
    return Unlabelled(readers, preparation_of(options), class_names)


def _recording_reader(recording: Callable[[Path], Recording], settings: Settings) -> Reader:
    def read(path: Path, most: int) -> Iterator[Tensor]:
        one = recording(path)
        frames = RecordedFrames(((one, 0),), settings, GIVEN)
        yield frames.take([0])

    return read


def _counts(array: Array, path: Path) -> Array:
    if array.dtype.kind not in "iu" or array.min() < 0:
        raise GIVEN.error(
            f"'{path}' holds {array.dtype}, counts of events are whole numbers from 0 on",
        )
    return array.astype(np.int64)


def natural(text: str) -> list[Any]:
    """What to sort by so that 'user2' comes before 'user10'."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def folders_of(root: Path, name: str, *inner: str) -> list[Path]:
    """Where files may lie: `inner` in the root, or in the folder of the data set's name in it."""
    return [base / folder for base in (root, root / name) for folder in inner]


def incomplete(there: int, complete: int) -> str | None:
    """The problem of a split that can be used but is not complete; None for one that is."""
    return None if there == complete else f"{there:,} of {complete:,}: results do not compare"


def unfinished(folder: Path) -> bool:
    """Whether SpikingJelly was stopped before it had written all of `folder`."""
    return folder.with_name(f"{folder.name}.building").exists()


def missing(place: Place, files: Files) -> DataError:
    """The error for a root on which there is nothing: what to put where, and where it is from."""
    source = f"; from {files.url}" if files.url else ""
    return place.error(
        f"its recordings are missing: there are none below '{place.root}'",
        hint=f"{files.obtain(place.root)}{source}; licence: {files.licence}",
    )

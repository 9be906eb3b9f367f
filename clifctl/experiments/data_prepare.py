"""`data prepare`: recordings of an event camera become a cache of frames."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from clifctl.amounts import size_in_words
from clifctl.data import DATASETS, DataOptions, Dataset, data_folder
from clifctl.data.contract import PARTS
from clifctl.data.events.event_set import caches_of, recordings_of, require_classes, settings_of
from clifctl.data.events.frame_cache import BadCache, Cache, Settings
from clifctl.data.events.frame_preparation import (
    BadRecordings,
    Recordings,
    Watcher,
    clear_away,
    parts_folder,
    prepare_frames,
    put_back,
    sources_of,
)
from clifctl.data.events.options import EventOptions
from clifctl.errors import (
    ArgumentError,
    DataError,
    DiskFailed,
    Interrupted,
    RecipeError,
    RunFailed,
    UntrustedFile,
    UsageError,
    as_listed,
    unknown_name,
)
from clifctl.experiments.grid.worker_pool import WorkerLost, WorkerPool
from clifctl.recipe import catalog
from clifctl.recipe.load import data_section, load_recipe
from clifctl.recipe.schema import validate_data
from clifctl.results.data_prepare import PreparedSplit, PrepareResult, SkippedRecording

MOST_WORKERS = 8
MOST_NAMED = 10  # recordings that cannot be read, in one message
AGAIN = "give the same command with --overwrite; is the disk sound?"
GO_ON = "the same command goes on with what is done"


def prepare_data(
    name: str,
    overrides: Sequence[str],
    *,
    workers: int | None,
    skip_bad: bool,
    overwrite: bool,
    watcher: Watcher,
    say: Callable[[str], None] = lambda line: None,
) -> PrepareResult:
    """Prepare the frames of data set `name` (`overrides` set T and its options), or those that the
    recipe `name` needs.

    A finished cache of the same settings is kept unless `overwrite`. Raises UsageError,
    RecipeError, DataError (recordings that are missing, cannot be read, or have changed),
    OutputError, Interrupted; what is done by then is kept.
    """
    started = time.perf_counter()
    dataset, options, timesteps = _chosen(name, overrides, say)
    assert dataset.camera is not None
    settings = settings_of(dataset.name, dataset.camera, options, timesteps)
    place = caches_of(options)
    final = place / settings.folder_name
    existing, recordings = None, None
    put_back(place, settings)
    with suppress(BadCache):
        existing = Cache.open(final, settings)
    elsewhere = f"{'' if name in DATASETS else 'data.'}cache=DIR"
    if existing is not None and not overwrite:
        require_classes(dataset.name, options, existing)
        clear_away(place, settings)
        with suppress(DataError):  # the cache alone is enough
            recordings = dataset.camera.recordings(options)
        if recordings is not None:
            _require_made_of(existing, recordings, options, elsewhere)
        return _result(dataset, settings, existing, started, already=True)
    recordings = recordings_of(dataset.name, dataset.camera, options)
    _require_room(place, settings, recordings, elsewhere)
    count = _workers(workers, sum(len(recordings[part]) for part in PARTS))
    pool = WorkerPool(count) if count > 1 else None
    try:
        cache = prepare_frames(
            recordings,
            settings,
            place,
            replacing=final.exists(),
            executor=pool,
            skip_bad=skip_bad,
            watcher=watcher,
        )
        # Another command may have finished it at the same time, from a folder of its own.
        _require_made_of(cache, recordings, options, elsewhere)
    except BadRecordings as bad:
        raise _unreadable(dataset, bad) from None
    except BadCache as damaged:
        raise RunFailed(f"what was prepared is damaged: {damaged}", hint=AGAIN) from None
    except KeyboardInterrupt as stop:
        raise Interrupted(stop, "stopped before all recordings were read", hint=GO_ON) from None
    except WorkerLost as lost:
        raise RunFailed(
            f"a worker was lost: {lost}", hint=f"{GO_ON}; try fewer --workers"
        ) from None
    finally:
        if pool is not None:
            pool.terminate()
    return _result(dataset, settings, cache, started, already=False)


def _of_recipe(
    name: str, overrides: Sequence[str], say: Callable[[str], None]
) -> tuple[Dataset, DataOptions, int]:
    try:
        loaded = load_recipe(name, overrides)
    except UntrustedFile as refused:  # a neuron, which is not needed for the data
        known = refused.document
        section = {key: known[key] for key in ("data", "timesteps")}
        return DATASETS[known["data"]["name"]], *validate_data(section, name)
    for notice in loaded.notices:
        say(notice)
    recipe = loaded.recipe
    return recipe.data.dataset, recipe.data.options, recipe.timesteps


def _chosen(
    name: str, overrides: Sequence[str], say: Callable[[str], None]
) -> tuple[Dataset, EventOptions, int]:
    """The data set, its options and T."""
    name = as_listed(name, DATASETS)
    if name in DATASETS:
        dataset = DATASETS[name]
        if not any(override.startswith("timesteps=") for override in overrides):
            raise UsageError(
                f"data prepare {name}: how many frames is a recording cut into?",
                hint="timesteps=T, as in the recipe; or name the recipe instead of the data set",
            )
        options, timesteps = data_section(name, overrides, 1)
    else:
        try:
            dataset, options, timesteps = _of_recipe(name, overrides, say)
        except RecipeError as refused:
            if catalog.holds(name) or Path(name).exists():
                raise
            message = unknown_name("data set or recipe", name, [*DATASETS, *catalog.names()])
            raise UsageError(message, hint="clifctl data ls, clifctl recipes ls") from refused
    if dataset.camera is None or not isinstance(options, EventOptions):
        able = ", ".join(row.name for row in DATASETS.values() if row.camera is not None)
        raise UsageError(
            f"data set '{dataset.name}' needs no preparation",
            hint=f"frames are prepared of {able}",
        )
    return dataset, options, timesteps


def _require_made_of(
    cache: Cache, recordings: Recordings, options: EventOptions, elsewhere: str
) -> None:
    """Raise DataError where the cache was made of other recordings than these."""
    if sources_of(recordings) != cache.index.sources:
        raise DataError(
            f"'{cache.folder}' was prepared from other recordings than those below "
            f"'{data_folder(options.root)}' now",
            hint=f"--overwrite prepares them anew, {elsewhere} keeps both",
        )


def _require_room(place: Path, settings: Settings, recordings: Recordings, elsewhere: str) -> None:
    """Raise DiskFailed where the disk cannot hold the cache and the parts that it is made from."""
    samples = sum(len(one.samples) for part in PARTS for one in recordings[part])
    needed = 2 * samples * settings.timesteps * 2 * settings.height * settings.width
    folder = parts_folder(place, settings)
    needed -= sum(file.stat().st_size for file in folder.glob("*.npz"))
    there = place.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if needed > free:
        raise DiskFailed(
            f"the frames need up to {size_in_words(needed)} while they are made, '{there}' has "
            f"{size_in_words(free)} free",
            hint=f"{elsewhere} puts them elsewhere",
        )


def _workers(asked: int | None, recordings: int) -> int:
    if asked is not None and asked < 1:
        raise ArgumentError("workers", asked, "must be 1 or more", hint="1 reads one after another")
    return min(asked or min(os.cpu_count() or 1, MOST_WORKERS), recordings)


def _unreadable(dataset: Dataset, bad: BadRecordings) -> DataError:
    named = [f"'{file}': {why}" for file, why in bad.found.items()]
    more = f", and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    which = "the file" if len(named) == 1 else "these files"
    hint = f"get {which} again, then the same command goes on"
    if bad.emptied is None:
        hint += "; --skip-bad leaves such files out"
    if "sensor" in dataset.options.model_fields:
        hint += "; is sensor=[height,width] that of the camera?"
    all_of = f"no recording of the {bad.emptied} split can be used: " if bad.emptied else ""
    found = f"{all_of}{'; '.join(named[:MOST_NAMED])}{more}"
    return DataError(f"data set '{dataset.name}': {found}", hint=hint)


def _in_both(cache: Cache) -> int:
    """How many samples of the test split have the frames of a training sample."""
    train, test = ([sample.sha256 for sample in cache.index.samples[part]] for part in PARTS)
    trained = set(train)
    return sum(one in trained for one in test)


def _result(
    dataset: Dataset, settings: Settings, cache: Cache, started: float, *, already: bool
) -> PrepareResult:
    splits = []
    complete = (dataset.camera and dataset.camera.complete) or {}
    for part in PARTS:
        samples, frames = cache.index.samples[part], cache.frames(part)
        splits.append(
            PreparedSplit(
                split=part,
                samples=len(samples),
                samples_when_complete=complete.get(part),
                classes=len({sample.label for sample in samples}),
                events=sum(sample.events for sample in samples),
                file=str(frames.file),
                bytes=frames.file.stat().st_size,
                sha256=frames.digest().hex(),
            )
        )
    return PrepareResult(
        data=dataset.name,
        folder=str(cache.folder),
        timesteps=settings.timesteps,
        settings=settings.document,
        already_prepared=already,
        test_samples_in_train=_in_both(cache),
        unsorted_samples=cache.index.unsorted,
        order="time" if settings.counted_by_time else "file",
        splits=tuple(splits),
        skipped=tuple(
            SkippedRecording(file=file, problem=problem)
            for file, problem in cache.index.skipped.items()
        ),
        seconds=time.perf_counter() - started,
    )

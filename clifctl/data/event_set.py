"""What the sets of event recordings share: from options to settings, cache, splits and errors."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clifctl.data.contract import EventCamera, Files, LoadedData, Split
from clifctl.data.event_options import DECLARED, PREPARED, EventOptions
from clifctl.data.event_pipelines import augmentation_of, preparation_of
from clifctl.data.frame_cache import PARTS, BadCache, Cache, CachedFrames, Settings
from clifctl.data.images import Place, Samples, hold_out
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
        return Path(options.cache).expanduser()
    return Path(options.root).expanduser() / CACHES


def prepare_command(name: str, options: EventOptions, timesteps: int) -> str:
    """The command that prepares the frames of `options`."""
    words = [f"timesteps={timesteps}"]
    for key in ("root", "cache", *PREPARED, *DECLARED):
        field = type(options).model_fields.get(key)
        if field is None or getattr(options, key) == field.default:
            continue
        value = getattr(options, key)
        shown = str(list(value)).replace(" ", "") if isinstance(value, tuple) else str(value)
        words.append(shlex.quote(f"{key}={shown}"))
    return f"clifctl data prepare {name} {' '.join(words)}"


def load_events(
    name: str,
    camera: EventCamera,
    options: EventOptions,
    timesteps: int,
    relabel: Callable[[Tensor], Tensor] | None = None,
) -> LoadedData:
    """Both splits from the cache. Raises DataError where it is not prepared: with what is wrong
    about the recordings if they are not there either, else with the command that prepares them."""
    settings = settings_of(name, camera, options, timesteps)
    try:
        cache = Cache.open(caches_of(options) / settings.folder_name, settings)
    except BadCache as unusable:
        camera.recordings(options)
        raise DataError(
            f"data set '{name}': its frames are not prepared: {unusable}",
            hint=prepare_command(name, options, timesteps),
        ) from None
    splits = []
    for part in PARTS:
        labels = cache.labels(part)
        splits.append(Samples(cache.frames(part), relabel(labels) if relabel else labels))
    train, held_out = hold_out(splits[0], options, Place.of(name, options.root))
    prepare = preparation_of(options)

    def split(samples: Samples) -> Split:
        frames = samples.inputs
        assert isinstance(frames, CachedFrames)
        inputs = frames.take(torch.arange(len(frames))) if options.in_memory else frames
        return Split(inputs, samples.targets, prepare)

    return LoadedData(
        split(train),
        split(splits[1]),
        augmentation_of(options, prepare),
        None if held_out is None else split(held_out),
    )


def natural(text: str) -> list[Any]:
    """What to sort by so that 'user2' comes before 'user10'."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def folders_of(root: Path, name: str, *inner: str) -> list[Path]:
    """Where files may lie: `inner` in the root, or in the folder of the data set's name in it."""
    return [base / folder for base in (root, root / name) for folder in inner]


def unfinished(folder: Path) -> bool:
    """Whether SpikingJelly was ended before it had written all of `folder`."""
    return folder.with_name(f"{folder.name}.building").exists()


def missing(place: Place, files: Files) -> DataError:
    """The error for a root on which there is nothing: what to put where, and where it is from."""
    obtain = files.obtain.replace("{root}", str(place.root))
    source = f"; from {files.url}" if files.url else ""
    return place.error(
        f"there are no recordings below '{place.root}'",
        hint=f"{obtain}{source}; licence: {files.licence}",
    )

"""Frames of event recordings that were counted once, in files that are mapped into memory.

A cache is a folder with `train.npy` and `test.npy` (counts `[N, T, 2, H, W]`, the smallest unsigned
type that holds them) and `cache.json`: the settings that it was made with, and the name, label,
number of events and hash of every sample. It has its final name only when it is complete. The name
ends in a hash of the settings, and whoever opens it compares them again.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from clifctl.data.archives import Array, BadArchive, map_array
from clifctl.data.contract import PARTS
from clifctl.data.events.integration import integrate
from clifctl.data.events.recordings import Events
from clifctl.reading import MIB, read_text

FORMAT = "clifctl.frames/1"
INDEX = "cache.json"
MOST_INDEX_BYTES = 256 * MIB  # two million samples
MOST_CLASSES = 2**31
COUNTS = tuple(map(np.dtype, ("<u1", "<u2", "<u4")))
SHA256 = re.compile("[0-9a-f]{64}")


class BadCache(Exception):
    """A folder that is no complete cache of the settings asked for."""


@dataclass(frozen=True)
class Settings:
    """What the frames of a cache depend on. `options`: see `event_options.PREPARED`; `by_time`: see
    `contract.EventCamera`."""

    data: str
    timesteps: int
    height: int
    width: int
    options: dict[str, Any]
    by_time: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """The settings as they stand in `cache.json`."""
        return {
            "format": FORMAT,
            "data": self.data,
            "timesteps": self.timesteps,
            "sensor": [self.height, self.width],
            "options": self.options,
            # Caches that were made before there was a choice are of the other order.
            **({"order": "time"} if self.by_time else {}),
        }

    @property
    def counted_by_time(self) -> bool:
        """Whether events are put into the order of their times before they are counted."""
        return self.by_time or self.options["frames_by"] == "time"

    def counts(self, events: Events) -> Array:
        """The frames `[T, 2, H, W]` of a sample. Raises BadRecording."""
        return integrate(
            events.by_time() if self.counted_by_time else events,
            timesteps=self.timesteps,
            frames_by=self.options["frames_by"],
            height=self.height,
            width=self.width,
        )

    @classmethod
    def of(cls, document: Any) -> "Settings":
        """Settings as they stand in `cache.json`. Raises BadCache for what is none."""
        match document:
            case {
                "format": "clifctl.frames/1",
                "data": str(data),
                "timesteps": int(timesteps),
                "sensor": [int(height), int(width)],
                "options": dict(options),
            }:
                return cls(data, timesteps, height, width, options, "order" in document)
        raise BadCache("its settings are unknown to this clifctl")

    @property
    def folder_name(self) -> str:
        """The name of the cache: its data, T, and a hash of all settings."""
        text = json.dumps(self.document, sort_keys=True)
        return f"{self.data}-T{self.timesteps}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class CachedSample:
    """One line of a cache's list. `sha256` is of the counts as little-endian uint32."""

    name: str
    label: int
    events: int
    sha256: str

    @classmethod
    def of(cls, row: Any) -> "CachedSample":
        """A line as it is written. Raises ValueError for what is none."""
        match row:
            case [str(name), int(label), int(events), str(sha256)] if (
                not isinstance(label, bool)
                and 0 <= label < MOST_CLASSES
                and events >= 0
                and SHA256.fullmatch(sha256)
            ):
                return cls(name, label, events, sha256)
        raise ValueError("a line of its list is not name, label, number of events and checksum")


@dataclass(frozen=True)
class CacheIndex:
    """What `cache.json` holds. `skipped`: file, from the folder of all recordings -> what was wrong
    with it. `unsorted`: how many samples have events that are not in the order of their times."""

    settings: dict[str, Any]
    samples: dict[str, tuple[CachedSample, ...]]
    sources: str
    skipped: dict[str, str]
    unsorted: int = 0

    @cached_property
    def names(self) -> set[tuple[str, str]]:
        """Part and name of every sample."""
        return {(part, sample.name) for part in PARTS for sample in self.samples[part]}

    @property
    def document(self) -> dict[str, Any]:
        """As it is written: the same for the same settings and files, whenever it was made."""
        return {**self._content, "sha256": self.sha256}

    @property
    def sha256(self) -> str:
        """A hash of everything else that is written."""
        text = json.dumps(self._content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def _content(self) -> dict[str, Any]:
        rows = {
            part: [[s.name, s.label, s.events, s.sha256] for s in samples]
            for part, samples in self.samples.items()
        }
        return {
            "settings": self.settings,
            "sources": self.sources,
            "skipped": self.skipped,
            "unsorted": self.unsorted,
            "columns": ["name", "label", "events", "sha256"],
            "samples": rows,
        }

    @classmethod
    def read(cls, folder: Path) -> "CacheIndex":
        """The index of the cache `folder`. Raises BadCache."""
        try:
            text = read_text(folder / INDEX, MOST_INDEX_BYTES)
            _require_few_values(text)
            document = json.loads(text)
            samples = {
                part: tuple(CachedSample.of(row) for row in document["samples"][part])
                for part in PARTS
            }
            index = cls(
                document["settings"],
                samples,
                document["sources"],
                document["skipped"],
                document.get("unsorted", 0),
            )
            if not isinstance(index.settings, dict) or not isinstance(index.skipped, dict):
                raise ValueError("its settings are none")
            if type(index.unsorted) is not int:
                raise ValueError("it counts no samples")
            # An earlier clifctl wrote none.
            if document.get("sha256", index.sha256) != index.sha256:
                raise ValueError("it was changed after the frames were prepared")
            return index
        except RecursionError:
            unusable: Exception = ValueError("it is nested too deeply")
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as bad:
            unusable = bad
        raise BadCache(f"'{folder / INDEX}' cannot be read ({unusable})") from unusable


def _require_few_values(text: str) -> None:
    """Raise ValueError where `text` holds more values than the list of a cache, in which a line of
    four has more than 64 characters: each would take memory by the hundred bytes."""
    if text.count(",") > len(text) // 8 + 64 or text.count("[") + text.count("{") > len(text) // 32:
        raise ValueError("it is no list of samples")


@dataclass(frozen=True)
class CachedFrames:
    """Some samples of a file of frames, read from the map: see `clifctl.data.contract.Streamed`."""

    file: Path
    samples: tuple[CachedSample, ...]
    numbers: tuple[int, ...]

    threads: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, number: int) -> str:
        """What sample `number` is called."""
        return self.samples[self.numbers[number]].name

    @cached_property
    def _map(self) -> Array:
        return map_array(self.file)

    def take(self, numbers: Sequence[int]) -> Tensor:
        """Counts `[T, n, 2, H, W]` of the samples `numbers`."""
        stored = self._map
        rows = [self.numbers[i] for i in numbers]
        out = np.empty((stored.shape[1], len(rows), *stored.shape[2:]), dtype=stored.dtype)
        for place, row in enumerate(rows):
            out[:, place] = stored[row]
        # torch computes with uint8 alone of the unsigned types.
        wide = {"uint8": out.dtype, "uint16": np.dtype("int32"), "uint32": np.dtype("int64")}
        return torch.from_numpy(out.astype(wide[out.dtype.name], copy=False))

    def select(self, numbers: Tensor) -> "CachedFrames":
        """The samples of these numbers."""
        return replace(self, numbers=tuple(self.numbers[i] for i in numbers.tolist()))

    def digest(self) -> bytes:
        """A hash of every sample's name and counts, in order, from the cache's list."""
        digest = hashlib.sha256()
        for number in self.numbers:
            sample = self.samples[number]
            text = f"{sample.name}\n{sample.sha256}\n"
            digest.update(text.encode(errors="surrogatepass"))  # names are what the system takes
        return digest.digest()


@dataclass(frozen=True)
class Cache:
    """A complete cache."""

    folder: Path
    index: CacheIndex

    @classmethod
    def open(cls, folder: Path, settings: Settings) -> "Cache":
        """The cache of `settings` in `folder`. Raises BadCache where it is not one."""
        if not folder.is_dir():
            raise BadCache(f"'{folder}' is missing")
        index = CacheIndex.read(folder)
        if index.settings != settings.document:
            raise BadCache(f"'{folder}' holds frames of other settings")
        for part in PARTS:
            try:
                frames = map_array(folder / f"{part}.npy")
            except (BadArchive, OSError) as unusable:
                raise BadCache(f"'{folder / part}.npy' cannot be read ({unusable})") from unusable
            shape = (len(index.samples[part]), settings.timesteps, 2)
            if frames.shape != (*shape, settings.height, settings.width):
                raise BadCache(f"'{folder / part}.npy' has the shape {list(frames.shape)}")
            if not len(frames):
                raise BadCache(f"'{folder / part}.npy' holds no sample")
            if frames.dtype not in COUNTS:
                raise BadCache(f"'{folder / part}.npy' holds {frames.dtype}, which are not counts")
        return cls(folder, index)

    def damage(self, part: str) -> str | None:
        """What is wrong with the frames of `part`, each of which is compared with its checksum;
        None: nothing is."""
        frames = map_array(self.folder / f"{part}.npy")
        for sample, counts in zip(self.index.samples[part], frames, strict=True):
            if hashlib.sha256(counts.astype("<u4").tobytes()).hexdigest() != sample.sha256:
                return f"the frames of '{sample.name}' are not those that were prepared"
        return None

    def frames(self, part: str) -> CachedFrames:
        """The frames of `part`, "train" or "test"."""
        samples = self.index.samples[part]
        return CachedFrames(self.folder / f"{part}.npy", samples, tuple(range(len(samples))))

    def labels(self, part: str) -> Tensor:
        """The labels `[N]` of `part`."""
        return torch.tensor([s.label for s in self.index.samples[part]], dtype=torch.int64)

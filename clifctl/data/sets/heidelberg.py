"""The Heidelberg spiking data sets (Cramer et al.): spoken words as spikes of 700 channels of a
model of the inner ear, in HDF5 files as they are published.

A file holds, for each recording, a list of times [s] `spikes/times` and one of channels
`spikes/units`, its label in `labels`, and the names of the classes in `extra/keys`; SHD's say in
`extra/speaker` who speaks. A spike at time t is counted at time step floor(t / bin), bin being
1.4 s / T or `data.bin_ms`; what comes after the last time step is left out. `data.pool`
neighbouring channels are counted together.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from clifctl import notices
from clifctl.amounts import counted
from clifctl.data.archives import Array, BadArchive, require_memory
from clifctl.data.contract import (
    Dataset,
    DataShape,
    Files,
    FileState,
    LoadedData,
    Split,
    as_floats,
)
from clifctl.data.given_files import arrays_as_seen
from clifctl.data.hdf5 import open_hdf5
from clifctl.data.images import AheadOptions, Place, Samples, data_folder, require_labels
from clifctl.errors import DataError
from clifctl.hdf5 import Lists
from clifctl.strict import Count

CHANNELS = 700
DURATION_S = 1.4  # no recording is longer
_INFINITE = 0x7C00  # the bits of float16's infinity
SPEAKER, KEYS = "extra/speaker", "extra/keys"
LICENCE = "CC BY 4.0; cite Cramer et al., IEEE TNNLS 33(7), 2022"
URL = "https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/"


class SpikeOptions(AheadOptions):
    """How spikes become the input of each time step."""

    pool: Count = Field(
        1, description="neighbouring channels that are counted together: 5 makes 140 inputs of 700"
    )
    bin_ms: float | None = Field(
        None, gt=0, description="duration of a time step; null: 1,400 ms over timesteps"
    )
    in_memory: bool = Field(
        False, description="hold all counts on the device; false: count spikes at every use"
    )

    @field_validator("pool")
    @classmethod
    def _channels_are_divided(cls, pool: int) -> int:
        if CHANNELS % pool:
            raise ValueError(f"must divide the {CHANNELS} channels, as 5, 7 and 10 do")
        return pool


@dataclass(frozen=True)
class HeidelbergFormat:
    """One set: the published number of recordings of each of its files."""

    name: str
    title: str
    classes: int
    recordings: dict[str, int]
    options: type[SpikeOptions]

    def file_name(self, part: str) -> str:
        """The published name of a file."""
        return f"{self.name}_{part}.h5"


@dataclass(frozen=True)
class SpikeCounts:
    """Recordings of one file, counted when they are taken: see `clifctl.data.contract.Streamed`.
    `numbers`: which of the file's."""

    file: Path
    place: Place
    times: Lists
    units: Lists
    numbers: tuple[int, ...]
    timesteps: int
    bin_s: float
    pool: int

    threads: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, numbers: Sequence[int]) -> Tensor:
        """Counts `[T, n, 700 / pool]` of the recordings `numbers` as the net sees them, float32:
        made so here, ahead of the step that takes them. Raises DataError."""
        return as_floats(self.counted(numbers))

    def counted(self, numbers: Sequence[int]) -> Tensor:
        """The same counts as whole numbers, uint8 where they are small enough."""
        channels = CHANNELS // self.pool
        out = np.zeros((self.timesteps, len(numbers), channels), dtype=np.uint8)
        heard = self.timesteps * channels
        for place, number in enumerate(numbers):
            steps, units = self._steps_and_units(self.numbers[number])
            counts = np.bincount(steps * channels + units // self.pool, minlength=heard)[:heard]
            if counts.max() > np.iinfo(out.dtype).max:
                out = out.astype(np.int32)
            out[:, place] = counts.reshape(self.timesteps, channels)
        return torch.from_numpy(out)

    def _steps_and_units(self, number: int) -> tuple[Array, Array]:
        """Time step, `timesteps` for all that comes after the last one, and channel of each spike
        of the file's recording `number`. Raises DataError."""
        times, units = self.times[number], self.units[number]
        published = times.dtype == np.float16 and units.dtype == np.uint16
        if published and _nothing_wrong(times, units):
            return _steps_of_halves(self.timesteps, self.bin_s).take(times.view(np.uint16)), units
        times, units = self.spikes(number)
        return _steps_of(times, self.timesteps, self.bin_s), units

    def spikes(self, number: int) -> tuple[Array, Array]:
        """Times [s] and channels of the file's recording `number`. Raises DataError."""
        times = self.times[number].astype(np.float64)
        units = self.units[number].astype(np.int64)
        problem = None
        if not np.isfinite(times).all() or (times < 0).any():
            problem = "a time that is no number, or negative"
        elif (np.diff(times) < 0).any():
            problem = "times that run backwards"
        elif len(units) and not 0 <= units.min() <= units.max() < CHANNELS:
            problem = f"a channel beyond 0 to {CHANNELS - 1}"
        if problem:
            raise self.place.error(f"'{self.file}': recording {number} has {problem}")
        return times, units

    def select(self, numbers: Tensor) -> "SpikeCounts":
        """The recordings of these numbers."""
        return replace(self, numbers=tuple(self.numbers[i] for i in numbers.tolist()))

    def digest(self) -> bytes:
        """A hash of every recording's spikes, in order."""
        digest = hashlib.sha256()
        for number in self.numbers:
            for numbers in (self.times[number], self.units[number]):
                digest.update(hashlib.sha256(numbers.tobytes()).digest())
        return digest.digest()


def _nothing_wrong(times: Array, units: Array) -> bool:
    """Whether a quick look shows that `units`, uint16, are channels, and `times`, float16, in order
    and no less than zero: then the bits of a later time are the larger number."""
    bits = times.view(np.uint16)
    if not len(bits):
        return True
    in_order = bits[-1] < _INFINITE and bool((bits[:-1] <= bits[1:]).all())
    return in_order and bool(units.max() < CHANNELS)


@lru_cache(maxsize=4)
def _steps_of_halves(timesteps: int, bin_s: float) -> Array:
    """`_steps_of` every finite number of 16 bits that is not negative, by its bits."""
    times = np.arange(_INFINITE).astype(np.uint16).view(np.float16).astype(np.float64)
    return _steps_of(times, timesteps, bin_s)


def _steps_of(times: Array, timesteps: int, bin_s: float) -> Array:
    """The time step of each of `times` [s], and `timesteps` after the last one."""
    late = 2 * timesteps * bin_s  # and no later: some quotients have no number
    return np.minimum(np.floor(times.clip(max=late) / bin_s), timesteps).astype(np.int64)


@dataclass(frozen=True)
class _Recorded:
    """One file. `speakers` `[N]` and `keys` are None where it has none."""

    file: Path
    times: Lists
    units: Lists
    targets: Tensor
    speakers: Array | None
    keys: tuple[str, ...] | None


def load(form: HeidelbergFormat, options: SpikeOptions, timesteps: int) -> LoadedData:
    """The splits as counts `[T, N, 700 / pool]`. Raises DataError naming what is wrong where."""
    place = Place.of(form.name, options.root)
    files = _files(form, place.root)
    missing = [file for file in files.values() if not os.path.lexists(file)]
    if missing:
        raise place.error(f"'{missing[0]}' is missing", hint=f"from {URL}; licence: {LICENCE}")
    found = {part: _read(form, file, place) for part, file in files.items()}
    bin_s = DURATION_S / timesteps if options.bin_ms is None else options.bin_ms / 1000

    def samples(part: str) -> Samples:
        one = found[part]
        every = tuple(range(len(one.targets)))
        counts = SpikeCounts(
            one.file, place, one.times, one.units, every, timesteps, bin_s, options.pool
        )
        return Samples(counts, one.targets)

    def split(samples: Samples) -> Split:
        inputs = samples.inputs
        assert isinstance(inputs, SpikeCounts)
        if not options.in_memory:
            return Split(inputs, samples.targets, None, options.workers)
        try:
            require_memory(timesteps * len(inputs) * CHANNELS // options.pool)
        except BadArchive as large:
            raise place.error(str(large), hint="data.in_memory=false holds none of them") from None
        return Split(inputs.counted(range(len(inputs))), samples.targets, as_floats)

    train, held_out = samples("train"), samples("valid") if "valid" in files else None
    if options.validation_share:
        kept, out = _by_speaker(found["train"], options, place)
        train, held_out = train[kept], train[out]
    return LoadedData(
        split(train),
        split(samples("test")),
        None,
        None if held_out is None else split(held_out),
        found["train"].keys,
    )


def _by_speaker(found: _Recorded, options: SpikeOptions, place: Place) -> tuple[Tensor, Tensor]:
    """Numbers of the recordings that stay and of those held out, which are of other speakers."""
    if found.speakers is None:
        raise place.error(
            f"'{found.file}' has no '{SPEAKER}', by which recordings are held out",
            hint="data.validation_share=0 holds none out",
        )
    speakers = np.unique(found.speakers)
    count = max(1, round(options.validation_share * len(speakers)))
    if count >= len(speakers):
        raise place.error(
            f"data.validation_share = {options.validation_share}: of {len(speakers)} speakers "
            f"{count} would be held out",
            hint="a smaller data.validation_share leaves some to train on",
        )
    generator = torch.Generator().manual_seed(options.split_seed)
    chosen = np.sort(speakers[torch.randperm(len(speakers), generator=generator)[:count].numpy()])
    out = torch.from_numpy(np.isin(found.speakers, chosen))
    named = ", ".join(map(str, chosen.tolist()))
    notices.tell_once(f"data set '{place.name}': held out for validation is who speaks as {named}")
    return (~out).nonzero().flatten(), out.nonzero().flatten()


def _files(form: HeidelbergFormat, root: Path) -> dict[str, Path]:
    """Part -> its file, packed or not, in the first folder that has any of them."""
    folders = [root / name for name in ("", form.name, form.name.upper(), "extract")]
    places = [
        {part: _packed_or_not(folder / form.file_name(part)) for part in form.recordings}
        for folder in folders
    ]
    return next((files for files in places if any(map(os.path.lexists, files.values()))), places[0])


def _packed_or_not(file: Path) -> Path:
    packed = file.with_name(f"{file.name}.gz")
    return packed if os.path.lexists(packed) and not os.path.lexists(file) else file


def _read(form: HeidelbergFormat, file: Path, place: Place) -> _Recorded:
    """Where the recordings of one file are, and its labels. Raises DataError naming the file."""
    if file.suffix == ".gz":
        notices.tell_once(f"'{file}' is unpacked for this command alone: gunzip saves that")
    try:
        with open_hdf5(file) as opened:
            times = opened.lists("spikes/times", "f")
            units = opened.lists("spikes/units", "iu")
            labels = opened.numbers("labels")
            speakers = opened.numbers(SPEAKER) if opened.holds(SPEAKER) else None
            keys = opened.texts(KEYS) if opened.holds(KEYS) else None
    except BadArchive as bad:
        raise place.error(f"'{file}' is corrupted, or not as published: {bad}") from None
    except OSError as refused:
        raise place.error(f"'{file}' cannot be read: {refused.strerror or refused}") from None
    if not len(labels) or {len(times), len(units)} != {len(labels)}:
        raise place.error(
            f"'{file}' holds {len(times):,} lists of times, {len(units):,} of channels and "
            f"{counted(len(labels), 'label')}; as many of each, and one or more, are needed"
        )
    if (different := np.flatnonzero(times.lengths != units.lengths)).size:
        one = int(different[0])
        raise place.error(
            f"'{file}': recording {one} has {times.lengths[one]:,} times and "
            f"{units.lengths[one]:,} channels"
        )
    if speakers is not None and len(speakers) != len(labels):
        raise place.error(f"'{file}' holds {len(labels):,} labels and {len(speakers):,} speakers")
    targets = torch.from_numpy(labels.astype(np.int64))
    require_labels(targets, form.classes, file, place)
    named = tuple(keys) if keys is not None and len(keys) == form.classes else None
    return _Recorded(file, times, units, targets, speakers, named)


def _states(form: HeidelbergFormat, root: Path, *, closely: bool) -> tuple[FileState, ...]:
    """The files below `root`; `closely` looks at every spike."""
    place, states = Place(form.name, root), []
    for part, file in _files(form, root).items():
        published, present = form.recordings[part], os.path.lexists(file)
        what, problem = f"{published:,} recordings ({part})", None
        if present:
            try:
                found = _read(form, file, place)
                there = len(found.targets)
                what += "" if there == published else f"; not the published ones, {there:,} found"
                if closely:
                    look = SpikeCounts(file, place, found.times, found.units, (), 1, 1.0, 1)
                    for number in range(there):
                        look.spikes(number)
            except DataError as refused:
                problem = refused.message
        states.append(FileState(file, what, present, problem))
    return tuple(states)


def _class_names(form: HeidelbergFormat, root: Path) -> tuple[str, ...] | None:
    try:
        return _read(form, _files(form, root)["train"], Place(form.name, root)).keys
    except DataError:
        return None


def dataset(form: HeidelbergFormat) -> Dataset:
    """The row of the DATASETS table."""
    loader: Callable[[SpikeOptions, int], LoadedData] = lambda options, timesteps: load(  # noqa: E731
        form, options, timesteps
    )
    names = " and ".join(form.file_name(part) for part in form.recordings)
    return Dataset(
        name=form.name,
        title=form.title,
        source="Cramer, Stradmann, Schemmel and Zenke, The Heidelberg Spiking Data Sets, 2022",
        classes=form.classes,
        input_shape=(CHANNELS,),
        static=False,
        timesteps=None,
        max_timesteps=None,
        options=form.options,
        load=loader,
        shape_of=lambda options: DataShape(form.classes, (CHANNELS // options.pool,)),
        files=Files(
            url=URL,
            licence=LICENCE,
            size_bytes=None,
            obtain=lambda root: f"put {names}, packed (.gz) or not, into '{root}'",
            inspect=lambda root: _states(form, root, closely=False),
            examine=lambda root: _states(form, root, closely=True),
            class_names=lambda root: _class_names(form, root),
        ),
        unlabelled=lambda options, timesteps: arrays_as_seen(
            (timesteps, CHANNELS // options.pool),
            _class_names(form, data_folder(options.root)),
        ),
    )

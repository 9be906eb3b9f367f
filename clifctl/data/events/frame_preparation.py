"""Making a frame cache: each recording becomes a part file, the parts become the cache.

A part has its final name only when it is whole, so a preparation that was killed goes on with the
parts that are there. Nothing is locked: two preparations of one cache share its parts, the first
that is done gives the cache its name, and the other takes that one. The bytes of a cache depend on
its settings and recordings alone.
"""

import hashlib
import os
import random
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from clifctl.data.archives import Array, BadArchive, read_arrays
from clifctl.data.contract import PARTS
from clifctl.data.events.frame_cache import (
    INDEX,
    BadCache,
    Cache,
    CachedSample,
    CacheIndex,
    Settings,
)
from clifctl.data.events.recordings import BadRecording, Recording
from clifctl.errors import OutputError
from clifctl.files import cannot_write, to_json, write_atomically, write_text

Recordings = Mapping[str, Sequence[Recording]]
# How many recordings are handed to workers at once: enough to keep them busy, few enough to notice
# soon what somebody else has done.
AHEAD = 64
# What a part holds: it is in the part's name, so that one of another kind is not taken for this.
PART = 2


class Watcher(Protocol):
    """Who is told how far a preparation is."""

    def started(self, recordings: int, kept: int) -> None: ...
    def done(self, path: Path) -> None: ...
    def assembling(self, part: str, samples: int) -> None: ...


class BadRecordings(Exception):
    """Recordings that cannot be read: file -> what is wrong with it. `emptied`: the split of which
    no other is there, None where there are some."""

    def __init__(self, found: dict[str, str], emptied: str | None = None) -> None:
        super().__init__(found, emptied)
        self.found = found
        self.emptied = emptied


@dataclass(frozen=True)
class _Job:
    """One recording to make a part of."""

    recording: Recording
    part: Path
    settings: Settings

    def run(self) -> str | None:
        """Write the part; what is wrong with the recording, if it is."""
        settings = self.settings
        frames: list[Array] = []
        events: list[int] = []
        unsorted = 0
        try:
            for found in self.recording.read():
                frames.append(settings.counts(found))
                events.append(len(found))
                unsorted += not found.in_order
        except BadRecording as bad:
            return str(bad)
        except OSError as refused:
            return refused.strerror or str(refused)
        stacked = np.stack(frames)
        hashes = [hashlib.sha256(one.astype("<u4").tobytes()).digest() for one in frames]
        content = {
            "frames": stacked,
            "itemsize": np.array(stacked.itemsize),
            "events": np.array(events, dtype=np.int64),
            "unsorted": np.array(unsorted),
            "sha256": np.array([list(one) for one in hashes], dtype=np.uint8),
        }

        def write(file: IO[bytes]) -> None:
            np.savez(file, allow_pickle=False, **content)

        # Somebody else may have finished the cache meanwhile, and cleared the parts away.
        self.part.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.part, write)
        return None


def _part_name(recording: Recording) -> str:
    """The part of a recording, of this size and time of change: another file, another part."""
    changed = 0
    with suppress(OSError):  # it is told when it is read
        changed = recording.path.stat().st_mtime_ns
    text = f"{PART} {os.path.realpath(recording.path)} {changed} {_described(recording)}"
    return hashlib.sha256(_encoded(text)).hexdigest()[:24] + ".npz"


def sources_of(recordings: Recordings) -> str:
    """A hash of the samples' list and cut, and of the sizes of their files, wherever those lie."""
    digest = hashlib.sha256()
    for part in PARTS:
        for recording in recordings[part]:
            digest.update(_encoded(f"{part} {_described(recording)}\n"))
    return digest.hexdigest()


def _encoded(text: str) -> bytes:
    """Text with names of files, which need not be UTF-8, as bytes."""
    return text.encode(errors="surrogatepass")


def _described(recording: Recording) -> str:
    samples = " ".join(f"{sample.name}={sample.label}" for sample in recording.samples)
    size = -1
    with suppress(OSError):  # it is told when it is read
        size = recording.path.stat().st_size
    return f"{size} {recording.cut} {samples}"


def prepare_frames(
    recordings: Recordings,
    settings: Settings,
    place: Path,
    *,
    replacing: bool,
    executor: Executor | None,
    skip_bad: bool,
    watcher: Watcher,
) -> Cache:
    """Make the cache of `settings` in the folder `place`, or return the one that is finished there;
    with `replacing` what has its name stays whole until there is a new one, which takes its place.

    Recordings are read by `executor`, in this process without one. Raises BadRecordings when all
    others were read, and OutputError where a file cannot be written; the parts that are done are
    kept for the next time.
    """
    final = place / settings.folder_name
    made = _new_folder(place, settings) if replacing else final
    if replacing:
        shutil.rmtree(made, ignore_errors=True)
    else:
        with suppress(BadCache):
            finished = Cache.open(final, settings)
            clear_away(place, settings)
            return finished
    before = _identity(final)

    def done() -> bool:
        """Whether there is a cache, whoever made it."""
        return made.is_dir() or _identity(final) != before

    folder = parts_folder(place, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as refused:
        raise cannot_write(folder, refused) from None
    jobs = {
        part: [_Job(one, folder / _part_name(one), settings) for one in recordings[part]]
        for part in PARTS
    }
    try:
        bad = _make_parts([job for part in PARTS for job in jobs[part]], done, executor, watcher)
        if bad and not skip_bad:
            raise BadRecordings(bad)
        for part in PARTS:
            jobs[part] = [job for job in jobs[part] if str(job.recording.path) not in bad]
            if not jobs[part]:
                raise BadRecordings(bad, emptied=part)
        if not done():
            left_out = _named_within(recordings, bad)
            _assemble(jobs, settings, folder, made, sources_of(recordings), left_out, watcher)
    except (FileNotFoundError, OutputError):
        # Parts are cleared away when the cache is there: somebody else was first.
        if not done():
            raise
    if replacing:
        _exchange(place, settings)
    clear_away(place, settings)
    return Cache.open(final, settings)


def parts_folder(place: Path, settings: Settings) -> Path:
    """Where the parts of a cache are that is being prepared."""
    return place / f".{settings.folder_name}.parts"


def _new_folder(place: Path, settings: Settings) -> Path:
    """Where a cache is that is to replace another one."""
    return place / f".{settings.folder_name}.new"


def _old_folder(place: Path, settings: Settings) -> Path:
    """Where a cache that is replaced stands for a moment."""
    return place / f".{settings.folder_name}.old"


def _exchange(place: Path, settings: Settings) -> None:
    """Give the new cache its name. Another process may have done so just now."""
    final, old = place / settings.folder_name, _old_folder(place, settings)
    shutil.rmtree(old, ignore_errors=True)
    try:
        with suppress(FileNotFoundError):
            if (new := _new_folder(place, settings)).is_dir():
                os.rename(final, old)
                os.rename(new, final)
    except OSError as refused:
        raise cannot_write(final, refused) from None


def put_back(place: Path, settings: Settings) -> None:
    """Give a whole cache its name that a process has left beside it which was killed while it
    exchanged two."""
    final = place / settings.folder_name
    for left in (_new_folder(place, settings), _old_folder(place, settings)):
        with suppress(BadCache, OSError):
            if not final.exists():
                Cache.open(left, settings)
                os.rename(left, final)


def _identity(path: Path) -> int | None:
    """What tells a folder from another one of its name; None where there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def clear_away(place: Path, settings: Settings) -> None:
    """Remove what nobody needs once the cache is there: whoever made it may have been killed
    between giving it its name and this."""
    kinds = (parts_folder, _new_folder, _old_folder)
    for folder in (kind(place, settings) for kind in kinds):
        shutil.rmtree(folder, ignore_errors=True)


def _named_within(recordings: Recordings, files: Mapping[str, str]) -> dict[str, str]:
    """`files` by their paths from the folder that holds all recordings, wherever that lies."""
    folders = {str(one.path.parent) for part in PARTS for one in recordings[part]}
    top = os.path.commonpath(folders)
    return {Path(os.path.relpath(file, top)).as_posix(): why for file, why in files.items()}


def _make_parts(
    jobs: Sequence[_Job], done: Callable[[], bool], executor: Executor | None, watcher: Watcher
) -> dict[str, str]:
    """Make the parts that are missing; file -> what is wrong with it, in the order of the jobs."""
    missing = [job for job in jobs if not job.part.is_file()]
    watcher.started(len(jobs), len(jobs) - len(missing))
    # In another order in every process, so that two of them do not do the same twice.
    random.Random(os.getpid()).shuffle(missing)
    problems = {}
    for job, problem in _results(missing, done, executor):
        if problem is not None:
            problems[str(job.recording.path)] = problem
        watcher.done(job.recording.path)
    files = [str(job.recording.path) for job in jobs]
    return {file: problems[file] for file in files if file in problems}


def _results(
    jobs: list[_Job], done: Callable[[], bool], executor: Executor | None
) -> Iterator[tuple[_Job, str | None]]:
    """Each job as it is done; none any more where the cache is finished by somebody else."""
    if executor is None:
        for job in jobs:
            if done():
                return
            yield job, None if job.part.is_file() else job.run()
        return
    waiting = iter(jobs)
    running: dict[Future[str | None], _Job] = {}
    while True:
        while len(running) < AHEAD and not done():
            following = next(waiting, None)
            if following is None:
                break
            if following.part.is_file():
                yield following, None
            else:
                running[executor.submit(following.run)] = following
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


def _assemble(
    jobs: Mapping[str, Sequence[_Job]],
    settings: Settings,
    folder: Path,
    final: Path,
    sources: str,
    skipped: dict[str, str],
    watcher: Watcher,
) -> None:
    """Write the cache within `folder`, then give it its name."""
    temporary = folder / f"assembly-{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    samples = {}
    for part in PARTS:
        samples[part] = tuple(sample for job in jobs[part] for sample in _listed(job))
        watcher.assembling(part, len(samples[part]))
        write = partial(
            _write_frames, jobs=jobs[part], samples=len(samples[part]), settings=settings
        )
        write_atomically(temporary / f"{part}.npy", write)
    every = [job for part in PARTS for job in jobs[part]]
    unsorted = sum(int(_stored(job, "unsorted")["unsorted"]) for job in every)
    index = CacheIndex(settings.document, samples, sources, skipped, unsorted)
    write_text(temporary / INDEX, to_json(index.document) + "\n")
    try:
        os.rename(temporary, final)
    except OSError as refused:
        if not final.is_dir():
            raise cannot_write(final, refused) from None


def _write_frames(
    file: IO[bytes], *, jobs: Sequence[_Job], samples: int, settings: Settings
) -> None:
    """The frames of all parts as one array in numpy's format."""
    widest = max([1, *(int(_stored(job, "itemsize")["itemsize"]) for job in jobs)])
    dtype = np.dtype(f"<u{widest}")
    header: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (samples, settings.timesteps, 2, settings.height, settings.width),
    }
    np.lib.format.write_array_header_2_0(file, header)
    for job in jobs:
        file.write(_stored(job, "frames")["frames"].astype(dtype, copy=False).tobytes())


def _stored(job: _Job, *names: str) -> dict[str, Array]:
    try:
        return read_arrays(job.part, names)
    except BadArchive:
        job.part.unlink(missing_ok=True)  # damaged since it was made
        problem = job.run()
        if problem is not None:
            raise BadRecordings({str(job.recording.path): problem}) from None
        return read_arrays(job.part, names)


def _listed(job: _Job) -> Iterator[CachedSample]:
    part = _stored(job, "events", "sha256")
    for sample, events, digest in zip(
        job.recording.samples, part["events"], part["sha256"], strict=True
    ):
        yield CachedSample(sample.name, sample.label, int(events), digest.tobytes().hex())

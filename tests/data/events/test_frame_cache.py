"""The cache of frames: the same bytes however it came about, and never that of other settings."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from clifctl.data import DATASETS, LoadedData, batches, shuffled_batches
from clifctl.data.events.event_set import NotPrepared, load_events, read_recordings, settings_of
from clifctl.data.events.frame_cache import BadCache, Cache, Settings
from clifctl.data.events.frame_preparation import prepare_frames
from clifctl.data.events.options import EventOptions
from clifctl.errors import DataError

T = 3
OWN: dict[str, Any] = {"classes": 3, "sensor": (24, 32)}


def options_of(root: Path, **options: Any) -> EventOptions:
    return DATASETS["event_files"].options(root=str(root), **{**OWN, **options})  # type: ignore[return-value]


def made(
    root: Path, place: Path, watcher: Any, *, timesteps: int = T, skip_bad: bool = False
) -> Cache:
    """The cache in `place` of the event files below `root`, made in this process."""
    camera = DATASETS["event_files"].camera
    assert camera is not None
    options = options_of(root)
    return prepare_frames(
        camera.recordings(options),
        settings_of("event_files", camera, options, timesteps),
        place,
        replacing=False,
        executor=None,
        skip_bad=skip_bad,
        watcher=watcher,
    )


def loaded(root: Path, place: Path, timesteps: int = T, **options: Any) -> LoadedData:
    camera = DATASETS["event_files"].camera
    assert camera is not None
    return load_events(
        "event_files", camera, options_of(root, cache=str(place), **options), timesteps
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def own(tmp_path: Path, recorded: ModuleType) -> Path:
    root: Path = recorded.write_event_files(tmp_path / "own")
    return root


@pytest.fixture
def silent(recorded: ModuleType) -> Any:
    return recorded.Silent()


def test_frames_are_those_of_the_recordings(own: Path, tmp_path: Path, silent: Any) -> None:
    cache = made(own, tmp_path / "cache", silent)
    assert sorted(contents(cache.folder)) == ["cache.json", "test.npy", "train.npy"]
    camera = DATASETS["event_files"].camera
    assert camera is not None
    read = read_recordings("event_files", camera, options_of(own), T)
    data = loaded(own, tmp_path / "cache")
    compared = 0
    for ours, theirs in zip(data.splits, read.splits, strict=True):
        assert torch.equal(ours.targets, theirs.targets)
        for (a, _), (b, _) in zip(batches(ours, 4), batches(theirs, 4), strict=True):
            assert a.dtype == torch.float32
            assert torch.equal(a, b)
            compared += a.shape[1]
    assert compared == 15
    assert np.load(cache.folder / "train.npy").shape == (9, T, 2, 24, 32)
    assert np.load(cache.folder / "train.npy").dtype == np.uint8


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_held_frames_and_mapped_ones_are_the_same(
    own: Path, tmp_path: Path, silent: Any, workers: int
) -> None:
    made(own, tmp_path / "cache", silent)
    share = {"validation_share": 0.34, "augmentation": "crop_flip"}
    mapped = loaded(own, tmp_path / "cache", workers=workers, **share)
    held = loaded(own, tmp_path / "cache", in_memory=True, **share)
    assert mapped.train.held_bytes == mapped.train.targets.nbytes
    assert held.train.held_bytes == 6 * (T * 2 * 24 * 32 + 8)
    for one, other in zip(mapped.splits, held.splits, strict=True):
        assert torch.equal(one.targets, other.targets)
        assert torch.equal(next(batches(one, 9))[0], next(batches(other, 9))[0])
    streams = [
        shuffled_batches(data.train, 2, torch.Generator().manual_seed(3), data.augment)
        for data in (mapped, held)
    ]
    sizes = []
    for (a, labels), (b, expected) in zip(*streams, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(labels, expected)
        sizes.append(len(labels))
    assert sizes == [2, 2, 2]


def test_reading_stops_where_it_is_left(own: Path, tmp_path: Path, silent: Any) -> None:
    made(own, tmp_path / "cache", silent)
    stream = batches(loaded(own, tmp_path / "cache").train, 2)
    first = next(stream)[0].clone()
    stream.close()  # type: ignore[attr-defined]
    assert torch.equal(next(batches(loaded(own, tmp_path / "cache").train, 2))[0], first)


def test_the_hash_follows_samples_labels_and_their_order(
    own: Path, tmp_path: Path, recorded: ModuleType
) -> None:
    made(own, tmp_path / "a", recorded.Silent())
    first = loaded(own, tmp_path / "a").sha256()
    assert first == loaded(own, tmp_path / "a").sha256()
    # The folder that the recordings lie in is no part of it.
    shutil.move(own, tmp_path / "moved")
    assert loaded(tmp_path / "moved", tmp_path / "a").sha256() == first
    (tmp_path / "moved/train/class0/0.npz").rename(tmp_path / "moved/train/class0/7.npz")
    made(tmp_path / "moved", tmp_path / "b", recorded.Silent())
    assert loaded(tmp_path / "moved", tmp_path / "b").sha256() != first
    seen = {loaded(own, tmp_path / "a", validation_share=s).sha256() for s in (0.0, 0.34)}
    assert len(seen) == 2


class Killed:
    """Ends its process, as `kill -9` does, when `recordings` are read, or one split is written."""

    def __init__(self, recordings: int | None) -> None:
        self._left = recordings

    def started(self, recordings: int, kept: int) -> None: ...

    def done(self, path: Path) -> None:
        if self._left is not None:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)

    def assembling(self, part: str, samples: int) -> None:
        if self._left is None and part == "test":
            os.kill(os.getpid(), signal.SIGKILL)


def forked(work: Callable[[], object]) -> int:
    """A process that does `work` and nothing else."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return process


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.parametrize("after", [1, 7, 15, None])
def test_what_was_killed_goes_on_and_ends_in_the_same_bytes(
    own: Path, tmp_path: Path, silent: Any, after: int | None
) -> None:
    whole = contents(made(own, tmp_path / "whole", silent).folder)
    place = tmp_path / "killed"
    assert ended(forked(lambda: made(own, place, Killed(after)))) == -signal.SIGKILL
    with pytest.raises(DataError, match="not prepared"):
        loaded(own, place)
    kept: list[tuple[int, int]] = []
    silent.started = lambda recordings, kept_: kept.append((recordings, kept_))
    cache = made(own, place, silent)
    assert kept == [(15, 15 if after is None else after)]
    assert contents(cache.folder) == whole
    # Nothing else is left behind.
    assert [path.name for path in place.iterdir()] == [cache.folder.name]


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_it_goes_on_and_ends_in_the_same_bytes(
    own: Path, tmp_path: Path, silent: Any, seed: int
) -> None:
    """Within a file too: three kills, each at some moment of what is left to do."""
    whole = contents(made(own, tmp_path / "whole", silent).folder)
    begun = time.monotonic()
    assert ended(forked(lambda: made(own, tmp_path / "timed", silent))) == 0
    lasts = time.monotonic() - begun
    place, drawn = tmp_path / "killed", random.Random(seed)
    kills = 0
    for _ in range(40):
        process = forked(lambda: made(own, place, silent))
        time.sleep(drawn.uniform(0, lasts))
        os.kill(process, signal.SIGKILL)
        kills += ended(process) == -signal.SIGKILL
        if kills == 3:
            break
        if list(place.glob("event_files*")):
            shutil.rmtree(place)
    assert kills == 3
    cache = made(own, place, silent)
    assert contents(cache.folder) == whole
    assert [path.name for path in place.iterdir()] == [cache.folder.name]


def test_what_a_kill_left_beside_a_finished_cache_is_cleared_away(
    own: Path, tmp_path: Path, silent: Any, recorded: ModuleType
) -> None:
    prepare = ("event_files", f"root={own}", "classes=3", "sensor=[24,32]", f"timesteps={T}")
    folder = Path(recorded.prepare(*prepare).folder)
    for ending in ("parts", "old"):
        shutil.copytree(folder, folder.with_name(f".{folder.name}.{ending}"))
    assert recorded.prepare(*prepare).already_prepared
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_files_that_are_left_out_are_told_apart(own: Path, tmp_path: Path, silent: Any) -> None:
    for bad in ("train/class0/0.npz", "train/class2/0.npz", "test/class2/0.npz"):
        (own / bad).write_bytes(b"PK")
    cache = made(own, tmp_path / "cache", silent, skip_bad=True)
    left_out = ["train/class0/0.npz", "train/class2/0.npz", "test/class2/0.npz"]
    assert list(cache.index.skipped) == left_out
    assert [len(cache.index.samples[part]) for part in ("train", "test")] == [7, 5]


def test_what_another_made_of_other_recordings_is_not_taken(
    own: Path, tmp_path: Path, silent: Any, recorded: ModuleType
) -> None:
    """Two commands with one cache folder, of recordings that lie in two places."""
    other = shutil.copytree(own, tmp_path / "other")
    arrays = dict(np.load(other / "test/class0/0.npz"))
    np.savez(other / "test/class0/0.npz", **{key: array[:-5] for key, array in arrays.items()})
    cache = tmp_path / "cache"
    options = ("classes=3", "sensor=[24,32]", f"timesteps={T}", f"cache={cache}")

    def finish(part: str, samples: int) -> None:
        if part == "test":
            recorded.prepare("event_files", f"root={other}", *options)

    silent.assembling = finish
    with pytest.raises(DataError, match="was prepared from other recordings"):
        recorded.prepare("event_files", f"root={own}", *options, watcher=silent)
    assert recorded.prepare("event_files", f"root={other}", *options).already_prepared


def test_recordings_that_were_added_are_not_passed_over(
    own: Path, tmp_path: Path, silent: Any
) -> None:
    place = tmp_path / "cache"
    bad = own / "train/class0/bad.npz"
    bad.write_bytes(b"PK")
    made(own, place, silent, skip_bad=True)
    before = loaded(own, place).sha256()  # what was left out was not added
    added = own / "train/class1/7.npz"
    shutil.copy(own / "train/class0/0.npz", added)
    with pytest.raises(NotPrepared, match=r"class1/7\.npz' was added since") as refused:
        loaded(own, place)
    assert str(refused.value.hint).endswith(" --overwrite --skip-bad")
    added.unlink()
    # Another one under the name of one that is there.
    known = own / "test/class1/0.npz"
    content = known.read_bytes()
    np.savez(known, t=[1, 2], x=[1, 2], y=[1, 2], p=[1, 0])
    with pytest.raises(NotPrepared, match="recordings have changed since"):
        loaded(own, place)
    known.write_bytes(content)
    bad.unlink()
    known.unlink()
    assert loaded(own, place).sha256() == before  # what was prepared may be deleted
    for part in ("train", "test"):
        shutil.copytree(own / part / "class0", own / part / "class3")
    with pytest.raises(NotPrepared, match=r"class3/0\.npz' was added, and 4 more since"):
        loaded(own, place)


def test_a_recording_that_changed_meanwhile_is_read_again(
    own: Path, tmp_path: Path, silent: Any
) -> None:
    place = tmp_path / "killed"
    ended(forked(lambda: made(own, place, Killed(15))))
    changed = own / "test/class0/0.npz"
    arrays = dict(np.load(changed))
    np.savez(changed, **{key: array[:-1] for key, array in arrays.items()})
    cache = made(own, place, silent)
    assert cache.index.samples["test"][0].events == 119
    assert int(np.load(cache.folder / "test.npy")[0].sum()) == 119


def test_two_at_once_do_not_harm_each_other(own: Path, tmp_path: Path, silent: Any) -> None:
    whole = contents(made(own, tmp_path / "whole", silent).folder)
    place = tmp_path / "both"

    class Slow:
        def started(self, recordings: int, kept: int) -> None: ...
        def done(self, path: Path) -> None:
            time.sleep(0.01)

        def assembling(self, part: str, samples: int) -> None: ...

    others = [forked(lambda: made(own, place, Slow())) for _ in range(3)]
    assert [ended(other) for other in others] == [0, 0, 0]
    folders = [path for path in place.iterdir() if not path.name.startswith(".")]
    assert len(folders) == 1
    assert contents(folders[0]) == whole


def test_a_cache_of_other_settings_is_never_taken_for_this_one(
    own: Path, tmp_path: Path, silent: Any
) -> None:
    place = tmp_path / "cache"
    three, four = made(own, place, silent), made(own, place, silent, timesteps=4)
    assert three.folder != four.folder
    assert next(batches(loaded(own, place, 4).test, 2))[0].shape[0] == 4
    for changed in ({"frames_by": "time"}, {"sensor": (24, 33)}):
        with pytest.raises(DataError, match="not prepared"):
            loaded(own, place, **changed)
    # Under a name that is not its own it is refused too.
    shutil.rmtree(three.folder)
    four.folder.rename(three.folder)
    with pytest.raises(DataError, match="holds frames of other settings"):
        loaded(own, place)


def test_every_setting_gives_the_cache_another_name() -> None:
    base = Settings("event_files", 3, 24, 32, {"frames_by": "number"})
    others = [
        Settings("cifar10_dvs", 3, 24, 32, {"frames_by": "number"}),
        Settings("event_files", 4, 24, 32, {"frames_by": "number"}),
        Settings("event_files", 3, 32, 24, {"frames_by": "number"}),
        Settings("event_files", 3, 24, 32, {"frames_by": "time"}),
        Settings("event_files", 3, 24, 32, {"frames_by": "number", "split": "tebn"}),
    ]
    assert len({one.folder_name for one in (base, *others)}) == 6


def test_frames_in_the_order_of_the_file_are_not_taken_for_sorted_ones(
    own: Path, tmp_path: Path, silent: Any
) -> None:
    """As they were counted once; published sets still are, and their caches keep their names."""
    published = Settings("dvs_gesture", 20, 128, 128, {"frames_by": "number", "split": "official"})
    assert published.folder_name == "dvs_gesture-T20-c0f6cb103041"
    place = tmp_path / "cache"
    by_time = made(own, place, silent).folder
    in_file = Settings("event_files", T, 24, 32, {"frames_by": "number"})
    assert in_file.folder_name == "event_files-T3-56d70a69b732"
    document = json.loads((by_time / "cache.json").read_text())
    document["settings"] = in_file.document
    (by_time / "cache.json").write_text(json.dumps(document))
    by_time.rename(place / in_file.folder_name)
    with pytest.raises(DataError, match=r"are not prepared: .* in the order of their files"):
        loaded(own, place)
    by_time = made(own, place, silent).folder
    loaded(own, place)


def test_recordings_that_are_not_sorted_are_counted(own: Path, recorded: ModuleType) -> None:
    prepare = ("event_files", f"root={own}", "classes=3", "sensor=[24,32]", f"timesteps={T}")
    before = recorded.prepare(*prepare)
    assert (before.unsorted_samples, before.order) == (0, "time")
    for file in ("train/class0/0.npz", "test/class1/1.npz"):
        arrays = np.load(own / file)
        np.savez(own / file, **{key: arrays[key][::-1] for key in "txyp"})
    after = recorded.prepare(*prepare, f"cache={own / 'again'}")
    assert after.unsorted_samples == 2
    # Reversed events of one time are few: the frames are the same but for those.
    frames = [np.load(one.splits[0].file).astype(int) for one in (before, after)]
    assert np.abs(frames[0] - frames[1])[1:].sum() == 0
    assert np.abs(frames[0] - frames[1])[0].sum() < 8


@pytest.mark.parametrize("what", ["cache.json", "train.npy", "shorter", "label"])
def test_a_damaged_cache_is_refused(own: Path, tmp_path: Path, silent: Any, what: str) -> None:
    cache = made(own, tmp_path / "cache", silent)
    settings = Settings("event_files", T, 24, 32, {"frames_by": "number"}, by_time=True)
    assert Cache.open(cache.folder, settings).index == cache.index
    if what == "shorter":
        os.truncate(cache.folder / "train.npy", 5000)
    elif what == "label":
        document = json.loads((cache.folder / "cache.json").read_text())
        del document["samples"]["train"][0]
        (cache.folder / "cache.json").write_text(json.dumps(document))
    else:
        (cache.folder / what).unlink()
    with pytest.raises(BadCache, match=r"cannot be read|has the shape"):
        Cache.open(cache.folder, settings)
    with pytest.raises(DataError, match="not prepared"):
        loaded(own, tmp_path / "cache")


def test_counts_above_a_byte_reach_the_net(tmp_path: Path, own: Path, silent: Any) -> None:
    many = np.zeros(70_000 * T, dtype=np.int64)
    np.savez(own / "train/class1/0.npz", t=many, x=many + 5, y=many + 2, p=many)
    cache = made(own, tmp_path / "cache", silent)
    assert np.load(cache.folder / "train.npy").dtype == np.uint32
    assert np.load(cache.folder / "test.npy").dtype == np.uint8
    frames = next(batches(loaded(own, tmp_path / "cache").train, 9))[0]
    assert frames[:, 3, 0, 2, 5].tolist() == [70_000.0] * T

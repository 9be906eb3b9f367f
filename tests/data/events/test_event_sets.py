"""Event recordings in their real formats: what is read, how it is cut, who is tested."""

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clifctl.data import DATASETS, LoadedData
from clifctl.data.events.aedat import read_aedat2, read_aedat3
from clifctl.data.events.event_set import read_recordings
from clifctl.data.events.integration import integrate
from clifctl.data.events.recordings import BadRecording, Events
from clifctl.data.sets.cifar10_dvs import TESTED
from clifctl.errors import DataError

OWN = {"classes": 3, "sensor": (24, 32)}


def load(name: str, root: Path, timesteps: int = 4, **options: Any) -> LoadedData:
    """Every sample read from its recording."""
    dataset = DATASETS[name]
    assert dataset.camera is not None
    return read_recordings(
        name, dataset.camera, dataset.options(root=str(root), **options), timesteps
    )


def every_frame(split: Any) -> torch.Tensor:
    """All stored counts `[N, T, 2, H, W]`."""
    return next(split.read([torch.arange(len(split))]))[0].transpose(0, 1)


def test_gesture_frames_are_the_events_of_the_gesture(
    data_root: Path, recorded: ModuleType
) -> None:
    data = load("dvs_gesture", data_root, timesteps=3)
    assert (len(data.train), len(data.test)) == (22, 11)
    assert data.train.targets.tolist() == [*range(11), *range(11)]
    for split, first in ((data.train, 0), (data.test, 2)):
        frames = every_frame(split)
        for number in (0, 4, 10):
            events = recorded.gesture_events(first, number)
            assert np.array_equal(frames[number], recorded.frames_of(events, 3))
    assert every_frame(data.train).sum().item() == 22 * 400


@pytest.mark.parametrize("orientation", ["authors", "spikingjelly"])
def test_image_frames_have_the_orientation_and_polarity_asked_for(
    data_root: Path, recorded: ModuleType, orientation: str
) -> None:
    data = load("cifar10_dvs", data_root, split="authors", orientation=orientation)
    assert data.train.targets.tolist() == [label for label in range(10) for _ in range(3)]
    frames = every_frame(data.train)
    for sample, (label, number) in {0: (0, 0), 7: (2, 1), 29: (9, 899)}.items():
        events = recorded.image_events(label, number)
        if orientation == "spikingjelly":
            # The authors' column is 127 - x of the address, their row is y.
            events = {**events, "x": 127 - events["y"], "y": events["x"]}
        assert np.array_equal(frames[sample], recorded.frames_of(events, 4))


def test_own_files_need_not_be_sorted_or_square(tmp_path: Path) -> None:
    t = np.array([30, 10, 20, 40, 0, 49])
    x, y, p = np.array([4, 0, 1, 2, 6, 3]), np.array([0, 1, 2, 0, 1, 2]), [1, -1, 0, 1, 1, 0]
    for part in ("train", "test"):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            np.savez(tmp_path / part / name / "1.npz", t=t, x=x, y=y, p=np.array(p))
    own = {"classes": 2, "sensor": (3, 7)}
    by_time = every_frame(load("event_files", tmp_path, 2, frames_by="time", **own).test)
    assert by_time.shape == (2, 2, 2, 3, 7)
    # The cut is at (49 - 0) // 2 = 24: the events at 0, 10 and 20 come first.
    assert by_time[0, 0].nonzero().tolist() == [[0, 1, 0], [0, 2, 1], [1, 1, 6]]
    by_number = every_frame(load("event_files", tmp_path, 2, **own).test)
    # Three and three, in the order of time too.
    assert torch.equal(by_number[0, 0], by_time[0, 0])
    assert by_number[0, 1].nonzero().tolist() == [[0, 2, 3], [1, 0, 2], [1, 0, 4]]


def test_events_of_one_time_keep_their_order(tmp_path: Path, recorded: ModuleType) -> None:
    recorded.write_event_files(tmp_path)
    # Sorted unstably these would be cut in other places.
    t = np.array([7] * 40 + [3] * 40)
    x = np.concatenate([np.arange(40) % 32, np.full(40, 31)])
    np.savez(tmp_path / "test/class0/0.npz", t=t, x=x, y=x * 0, p=t > 0)
    frames = every_frame(load("event_files", tmp_path, 4, **OWN).test)[0]
    assert frames[:2, 1, 0, 31].tolist() == [20, 20]
    assert frames[2, 1, 0].nonzero().flatten().tolist() == list(range(20))
    assert frames[3, 1, 0, :8].tolist() == [1] * 8


def test_polarities_may_be_of_any_type_with_a_sign_or_without(
    tmp_path: Path, recorded: ModuleType
) -> None:
    recorded.write_event_files(tmp_path)
    for p in (
        np.array([True, False]),
        np.array([1, 0], np.uint8),
        np.array([1, -1], np.int8),
        np.array([1, 0]),
    ):
        np.savez(tmp_path / "test/class0/0.npz", t=[1, 2], x=[3, 4], y=[5, 6], p=p)
        frames = every_frame(load("event_files", tmp_path, 1, **OWN).test)[0, 0]
        assert frames.nonzero().tolist() == [[0, 6, 4], [1, 5, 3]]


def test_any_digit_may_be_in_a_name(tmp_path: Path, recorded: ModuleType) -> None:
    folder = recorded.write_event_files(tmp_path) / "test/class0"
    # A superscript and a circled digit are no number, a wide one is.
    ordered = ("rec9", "rec\uff11\uff10", "rec10\u00b2", "rec\u2460")
    for name in ordered:
        shutil.copy(folder / "0.npz", folder / f"{name}.npz")
    names = names_of("event_files", tmp_path, **OWN)["test"]
    assert names[:6] == [f"class0/{one}" for one in ("0", "1", *ordered)]


def bytes_of(split: Any) -> list[bytes]:
    """The stored counts of each sample, to be looked up."""
    return [one.numpy().tobytes() for one in every_frame(split)]


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.integers(0, 200), min_size=1, max_size=40),
    timesteps=st.integers(1, 7),
    by=st.sampled_from(["number", "time"]),
)
def test_no_event_is_lost_or_counted_twice(times: list[int], timesteps: int, by: Any) -> None:
    count = len(times)
    pixel = np.arange(count)
    events = Events(np.array(sorted(times)), pixel, pixel % 5, pixel % 2 == 0)
    frames = integrate(events, timesteps=timesteps, frames_by=by, height=5, width=40)
    assert frames.shape == (timesteps, 2, 5, 40)
    assert frames.dtype == np.uint8
    whole = frames.sum(0, dtype=np.int64)
    assert whole.sum() == count
    assert (whole[(pixel % 2 == 0).astype(int), pixel % 5, pixel] == 1).all()
    if by == "number":
        assert frames.sum((1, 2, 3))[:-1].tolist() == [count // timesteps] * (timesteps - 1)


def test_counts_that_a_byte_cannot_hold_are_kept() -> None:
    many = np.zeros(70_000, dtype=np.int64)
    events = Events(np.arange(70_000), many, many, many > 0)
    for timesteps, dtype in ((1, np.uint32), (2, np.uint16), (700, np.uint8)):
        frames = integrate(events, timesteps=timesteps, frames_by="number", height=1, width=1)
        assert frames.dtype == dtype
        assert int(frames.sum(dtype=np.int64)) == 70_000


@pytest.fixture(scope="module")
def theirs(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What SpikingJelly makes of the same recordings: `gesture` and `images`, each a root."""
    from spikingjelly.datasets import CIFAR10DVS, DVS128Gesture

    root = tmp_path_factory.mktemp("spikingjelly")
    for name, dataset, folder, inner in (
        ("gesture", DVS128Gesture, "DvsGesture", "extract/DvsGesture"),
        ("images", CIFAR10DVS, "cifar10_dvs", "extract"),
    ):
        shutil.copytree(data_root / folder, root / name / inner)
        (root / name / "events_np").mkdir()
        dataset.create_raw_from_extracted(root / name / "extract", root / name / "events_np")
        # Only events_np is left: from here on it is all there is.
        shutil.rmtree(root / name / "extract")
    return root


@pytest.mark.parametrize("by", ["number", "time"])
def test_frames_and_labels_are_those_of_spikingjelly(
    theirs: Path, data_root: Path, by: str
) -> None:
    from spikingjelly.datasets import CIFAR10DVS, DVS128Gesture

    compared = 0
    frames: dict[str, Any] = {"data_type": "frame", "frames_number": 4, "split_by": by}
    gesture = load("dvs_gesture", data_root, frames_by=by, label_order="spikingjelly")
    for train, split in ((True, gesture.train), (False, gesture.test)):
        ours = dict(zip(bytes_of(split), split.targets.tolist(), strict=True))
        for counts, label in DVS128Gesture(theirs / "gesture", train=train, **frames):
            assert ours[counts.astype(np.int64).tobytes()] == label
            compared += 1
    options = {"split": "tebn", "orientation": "spikingjelly"}
    images = load("cifar10_dvs", data_root, frames_by=by, **options)
    for split in images.splits:
        ours |= dict(zip(bytes_of(split), split.targets.tolist(), strict=True))
    for counts, label in CIFAR10DVS(theirs / "images", **frames):
        assert ours[counts.astype(np.int64).tobytes()] == label
        compared += 1
    assert compared == 33 + 40


@pytest.mark.parametrize(
    ("name", "folder", "options"),
    [
        ("dvs_gesture", "gesture", {}),
        ("cifar10_dvs", "images", {"split": "tebn"}),
        ("cifar10_dvs", "images", {"split": "tebn", "orientation": "spikingjelly"}),
    ],
)
def test_spikingjellys_event_files_give_the_same_samples(
    theirs: Path, data_root: Path, name: str, folder: str, options: dict[str, str]
) -> None:
    ours, from_theirs = load(name, data_root, **options), load(name, theirs / folder, **options)
    for one, other in zip(ours.splits, from_theirs.splits, strict=True):
        assert torch.equal(one.targets, other.targets)
        assert torch.equal(every_frame(one), every_frame(other))


def test_a_folder_that_spikingjelly_has_not_finished_is_not_used(
    theirs: Path, tmp_path: Path
) -> None:
    shutil.copytree(theirs / "gesture" / "events_np", tmp_path / "events_np")
    assert len(load("dvs_gesture", tmp_path).test) == 11
    (tmp_path / "events_np.building").touch()
    with pytest.raises(DataError, match="its recordings are missing"):
        load("dvs_gesture", tmp_path)


def names_of(name: str, root: Path, **options: Any) -> dict[str, list[str]]:
    dataset = DATASETS[name]
    assert dataset.camera is not None
    found = dataset.camera.recordings(dataset.options(root=str(root), **options))
    return {part: [s.name for one in found[part] for s in one.samples] for part in found}


@pytest.mark.parametrize(
    ("name", "options", "tested"),
    [
        ("dvs_gesture", {}, 11),
        ("cifar10_dvs", {"split": "authors"}, 10),
        ("cifar10_dvs", {"split": "tebn"}, 20),
        ("event_files", OWN, 6),
    ],
)
def test_no_sample_is_in_two_splits(
    data_root: Path, name: str, options: dict[str, Any], tested: int
) -> None:
    root = data_root / "own" if name == "event_files" else data_root
    parts = names_of(name, root, **options)
    train, test = set(parts["train"]), set(parts["test"])
    assert len(test) == len(parts["test"]) == tested
    assert len(train) == len(parts["train"])
    if name == "event_files":  # named within its split
        train, test = {f"train/{one}" for one in train}, {f"test/{one}" for one in test}
    assert not train & test
    whole = load(name, root, **options).train
    share = load(name, root, validation_share=0.34, **options)
    assert share.validation is not None
    kept, out = (sorted(bytes_of(part)) for part in (share.train, share.validation))
    assert len(out) >= len(set(whole.targets.tolist()))
    assert sorted(kept + out) == sorted(set(bytes_of(whole)))


def test_people_and_numbers_of_the_test_splits(data_root: Path) -> None:
    parts = names_of("dvs_gesture", data_root)
    assert {one.split("/")[1][:6] for one in parts["train"]} == {"user01", "user02"}
    assert {one.split("/")[1][:6] for one in parts["test"]} == {"user24"}
    numbers = {
        split: {
            int(one.rpartition("_")[2])
            for one in names_of("cifar10_dvs", data_root, split=split)["test"]
        }
        for split in TESTED
    }
    assert numbers == {"authors": {900}, "tebn": {0, 1}}
    # Of the 1,000 of a class each split tests on a tenth, and the two have none in common.
    assert [len(one) for one in TESTED.values()] == [100, 100]
    assert not set(TESTED["authors"]) & set(TESTED["tebn"])


def test_label_orders(data_root: Path) -> None:
    by_id = load("dvs_gesture", data_root).test.targets
    as_text = load("dvs_gesture", data_root, label_order="spikingjelly").test.targets
    assert by_id.tolist() == list(range(11))
    assert as_text.tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 2]


def test_a_cut_off_file_is_noticed_wherever_it_is_cut(tmp_path: Path, recorded: ModuleType) -> None:
    events = recorded.draw_events(3, events=23, seed=0)
    third, second = tmp_path / "3.aedat", tmp_path / "2.aedat"
    recorded.write_aedat3(third, events, packet=10)
    recorded.write_aedat2(second, events)
    whole = third.read_bytes()
    assert len(read_aedat3(third)) == 23
    noticed = 0
    for length in range(len(whole) + 1):
        third.write_bytes(whole[:length])
        try:
            found = len(read_aedat3(third))
        except BadRecording:
            noticed += 1
        else:  # cut between two packets
            assert found in (10, 20, 23)
    assert noticed == len(whole) - 5
    content = second.read_bytes()
    assert len(read_aedat2(second)[0]) == 23
    for length in range(len(content) - 23 * 8 + 1, len(content)):
        second.write_bytes(content[:length])
        if (len(content) - length) % 8:
            with pytest.raises(BadRecording, match="cut off"):
                read_aedat2(second)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": np.array([0, 32])}, "an event at x = 32, the sensor has x = 0 to 31"),
        ({"y": np.array([-1, 0])}, "an event at y = -1, the sensor has y = 0 to 23"),
        ({"t": np.array([0.0, 1.5])}, "t is float64, must be whole numbers"),
        ({"p": np.array([1])}, "must be lists of the same length"),
        ({"p": None}, "no array 'p', it has t, x, y"),
        (dict.fromkeys("txyp", np.zeros(0, dtype=int)), "no event"),
        ({"p": np.array([1, 2])}, "an event of polarity 2: 1 is ON, 0 and -1 are OFF"),
        ({"p": np.array([1, 255], np.uint8)}, "an event of polarity 255"),
        ({"p": np.array([-2, 1])}, "an event of polarity -2"),
        ({"t": np.array([5, 2**63], np.uint64)}, f"t holds {2**63}, which is beyond 2**62"),
        ({"t": np.array([-(2**63), 2**63 - 1])}, f"t holds {-(2**63)}, which is beyond 2**62"),
        ({"x": np.array([0, 2**64 - 1], np.uint64)}, f"x holds {2**64 - 1}, which is beyond"),
        (
            {"t": np.array([2**32 - 1, 4], np.uint32)},
            f"t goes back from {2**32 - 1} to 4 at event 1: a counter of 32 bits ran over",
        ),
        ({"t": np.array([2**31 - 1, -(2**31)], np.int32)}, "a counter of 32 bits ran over"),
    ],
)
def test_what_is_wrong_with_an_own_file_is_said(
    tmp_path: Path, recorded: ModuleType, change: dict[str, Any], said: str
) -> None:
    recorded.write_event_files(tmp_path)
    good = {key: np.array([0, 1]) for key in "txyp"}
    arrays = {key: array for key, array in {**good, **change}.items() if array is not None}
    np.savez(tmp_path / "test/class1/1.npz", **arrays)
    data = load("event_files", tmp_path, **OWN)
    with pytest.raises(DataError) as refused:
        every_frame(data.test)
    assert said in refused.value.message
    assert str(tmp_path / "test/class1/1.npz") in refused.value.message


def test_other_times_of_a_gesture_are_other_recordings(
    tmp_path: Path, recorded: ModuleType
) -> None:
    folder = recorded.write_dvs_gesture(tmp_path / "DvsGesture", train=1)
    prepare = ("dvs_gesture", "timesteps=2", f"root={tmp_path}")
    assert recorded.prepare(*prepare).splits[0].events == 11 * 400
    labels = folder / "user01_led_labels.csv"
    lines = labels.read_text().splitlines()
    label, start, end = lines[3].split(",")
    lines[3] = f"{label},{start},{int(start) + (int(end) - int(start)) // 2}"
    labels.write_text("\n".join(lines))
    with pytest.raises(DataError, match="was prepared from other recordings"):
        recorded.prepare(*prepare)
    again = recorded.prepare(*prepare, f"cache={tmp_path / 'other'}").splits[0]
    assert 150 < 11 * 400 - again.events < 250


def test_a_list_without_names_of_columns_keeps_its_first_gesture(
    tmp_path: Path, recorded: ModuleType
) -> None:
    folder = recorded.write_dvs_gesture(tmp_path / "DvsGesture", train=1)
    whole = load("dvs_gesture", tmp_path).train
    labels = folder / "user01_led_labels.csv"
    names, rest = labels.read_text().split("\n", 1)
    for text in (rest, "\ufeff" + rest, f"\ufeff{names}\n\n{rest}"):
        labels.write_text(text)
        found = load("dvs_gesture", tmp_path).train
        assert torch.equal(found.targets, whole.targets)
        assert torch.equal(every_frame(found), every_frame(whole))


def test_lists_that_are_wrong_are_named(tmp_path: Path, recorded: ModuleType) -> None:
    folder = recorded.write_dvs_gesture(tmp_path / "DvsGesture", train=1)
    labels = folder / "user01_led_labels.csv"
    for text, said in (
        ("class,startTime_usec,endTime_usec\n12,1,2\n", "names class 12, known are 1 to 11"),
        ("class,startTime_usec,endTime_usec\n", "names no gesture"),
        ("class\n1,a,2\n", "is not a list of class, start and end"),
        ("1,a,2\n", "is not a list of class, start and end"),
        ("", "names no gesture"),
    ):
        labels.write_text(text)
        with pytest.raises(DataError, match=said):
            load("dvs_gesture", tmp_path)
    labels.write_text("class,startTime_usec,endTime_usec\n1,1,2\n")
    listing = folder / "trials_to_test.txt"
    tested = listing.read_text()
    listing.write_text(tested + "user01_led.aedat\n")
    with pytest.raises(DataError, match=r"user01_led.aedat' is in both lists, trials_to_train"):
        load("dvs_gesture", tmp_path)
    listing.write_text(tested)
    labels.unlink()
    with pytest.raises(DataError, match=r"user01_led_labels.csv' is missing"):
        load("dvs_gesture", tmp_path)
    (folder / "user01_led.aedat").unlink()
    with pytest.raises(DataError, match=r"'trials_to_train\.txt' names it"):
        load("dvs_gesture", tmp_path)

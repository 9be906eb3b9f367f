"""Event recordings at the prompt: check, prepare, show, train, eval, and the errors."""

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]
# A recipe of files that are small: 9 and 6 recordings of a camera of 24x32.
OWN = ["data.name=event_files", "data.root=own", "data.classes=3", "data.sensor=[24,32]"]
SMALL = ["train.epochs=1", "train.batch_size=3", "model.channels=[2,2,2,2,4]", "timesteps=2"]
PREPARE = ["event_files", "root=own", "classes=3", "sensor=[24,32]", "timesteps=2"]


@pytest.fixture
def own(tmp_path: Path, recorded: ModuleType) -> Path:
    root: Path = recorded.write_event_files(tmp_path / "own")
    return root


def errors(text: str) -> list[str]:
    """What is left of stderr without progress."""
    return [line for line in text.splitlines() if line.startswith(("error:", "hint:"))]


@pytest.mark.parametrize(
    ("name", "recipe", "told"),
    [
        (
            "dvs_gesture",
            "dvs_gesture_vgg11",
            ["DvsGesture.tar.gz", "https://research.ibm.com/interactive/dvsgesture/", "CC BY 4.0"],
        ),
        ("cifar10_dvs", "cifar10_dvs_vgg11", ["airplane.zip", "figshare.com", "CC BY 4.0"]),
    ],
)
def test_without_data_train_says_what_to_put_where(
    clifctl: Run, tmp_path: Path, name: str, recipe: str, told: list[str]
) -> None:
    for root, extra in (("data", []), ("else", ["data.root=else"])):
        done = clifctl("train", recipe, "train.precision=float32", *extra)
        assert (done.code, done.out) == (2, "")
        error, hint = errors(done.err)
        assert error.startswith(f"error: data set '{name}': its recordings are missing")
        assert error.endswith(f"none below '{root}'")
        assert all(part in hint for part in told)
        assert f"'{root}" in hint
        assert "licence" in hint
        assert f"clifctl data check {name}" in hint
    own = clifctl("train", "digits_snn5", *OWN)
    assert own.code == 2
    assert "its recordings are missing: there are none below 'own'" in own.err
    assert "write 'own/train/<class>/<name>.npz'" in own.err
    assert list(tmp_path.iterdir()) == []
    # The same files are what prepare, eval's neighbour check and show ask for.
    for command in (["prepare", recipe], ["show", name, *(["split=tebn"] if "10" in name else [])]):
        done = clifctl("data", *command)
        assert done.code == 2
        assert "its recordings are missing: there are none below 'data'" in done.err


def test_check_counts_recordings(clifctl: Run, data_root: Path) -> None:
    few = ": results do not compare"
    for name, rows, what, problem in (
        ("dvs_gesture", 2, "people 1 to 23, 1,176 samples, 22 found", f"22 of 1,176{few}"),
        ("cifar10_dvs", 10, "1,000 recordings, 4 found", f"4 of 1,000{few}"),
        ("event_files", 2, "3 classes, 9 recordings", None),
    ):
        root = data_root / "own" if name == "event_files" else data_root
        done = clifctl("data", "check", name, "--root", root, "--json")
        # Where recordings lack the data can be used, but are not said to be complete.
        assert (done.code, done.json["complete"]) == (2 * (problem is not None), problem is None)
        assert len(done.json["files"]) == rows
        assert (done.json["files"][0]["what"], done.json["files"][0]["problem"]) == (what, problem)


def test_whole_data_are_complete(
    clifctl: Run, recorded: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.write_dvs_gesture(tmp_path / "DvsGesture", train=2, test=1)
    monkeypatch.setattr("clifctl.data.sets.dvs_gesture.SAMPLES", {"train": 22, "test": 11})
    recorded.write_cifar10_dvs(tmp_path / "cifar10_dvs")
    monkeypatch.setattr("clifctl.data.sets.cifar10_dvs.PER_CLASS", 4)
    for name in ("dvs_gesture", "cifar10_dvs"):
        done = clifctl("data", "check", name, "--root", tmp_path, "--json")
        assert (done.code, done.json["complete"]) == (0, True)


def test_test_samples_that_are_trained_on_are_counted(clifctl: Run, own: Path) -> None:
    prepare = ["data", "prepare", *PREPARE, "--workers", "1"]
    assert clifctl(*prepare, "--json").json["test_samples_in_train"] == 0
    shutil.copy(own / "train/class1/0.npz", own / "test/class2/9.npz")
    done = clifctl(*prepare, "--overwrite")
    assert done.code == 0
    assert "test samples with the same frames as a training sample: 1, so" in done.out


def test_train_names_the_command_that_prepares_and_then_goes_on(clifctl: Run, own: Path) -> None:
    train = ["train", "digits_snn5", *OWN, *SMALL, "--out", "run"]
    refused = clifctl(*train)
    assert (refused.code, refused.out) == (2, "")
    error, hint = errors(refused.err)
    assert "its frames are not prepared" in error
    words = shlex.split(hint.removeprefix("hint: "))
    assert words[:4] == ["clifctl", "data", "prepare", "event_files"]
    assert not (own.parent / "run").exists()
    prepared = clifctl(*words[1:], "--workers", "1", "--json")
    assert prepared.code == 0, prepared.err
    assert prepared.json["schema"] == "clifctl.data.prepare/1"
    assert [(s["split"], s["samples"], s["events"]) for s in prepared.json["splits"]] == [
        ("train", 9, 1080),
        ("test", 6, 720),
    ]
    done = clifctl(*train, "--json")
    assert done.code == 0, done.err
    manifest = json.loads((own.parent / "run" / "manifest.json").read_text())
    shown = clifctl("data", "show", *PREPARE, "--json").json
    assert shown["sha256"] == manifest["data_sha256"]
    # Recordings are not needed any more, nor is the folder's old place.
    shutil.rmtree(own / "train")
    shutil.move(own, own.parent / "moved")
    again = clifctl("eval", "run/last.pt", "--root", "moved", "--json")
    assert again.code == 0, again.err
    assert again.json["samples"] == 6
    assert again.json["accuracy_percent"] == done.json["accuracy_percent_last"]


def test_train_names_the_command_that_adds_recordings(clifctl: Run, own: Path) -> None:
    (own / "train/class0/bad.npz").write_bytes(b"PK")
    assert clifctl("data", "prepare", *PREPARE, "--workers", "1", "--skip-bad").code == 0
    shutil.copy(own / "train/class0/0.npz", own / "test/class1/7.npz")
    done = clifctl("train", "digits_snn5", *OWN, *SMALL, "--out", "run")
    error, hint = errors(done.err)
    assert done.code == 2
    assert "'own/test/class1/7.npz' was added since the frames in 'own/prepared/event_fi" in error
    assert hint.endswith(" --overwrite --skip-bad")
    prepared = clifctl(*shlex.split(hint.removeprefix("hint: clifctl ")), "--json")
    assert prepared.code == 0, prepared.err
    assert [split["samples"] for split in prepared.json["splits"]] == [9, 7]
    shown = clifctl("data", "show", *PREPARE, "--json")
    assert shown.json["sha256"] is not None


def test_frames_of_more_classes_than_declared_are_refused(clifctl: Run, own: Path) -> None:
    assert clifctl("data", "prepare", *PREPARE).code == 0
    for command in (
        ["data", "prepare", *PREPARE, "classes=2"],
        ["train", "digits_snn5", *OWN, *SMALL, "data.classes=2", "--out", "run"],
    ):
        command = [word for word in command if word not in ("classes=3", "data.classes=3")]
        done = clifctl(*command)
        assert (done.code, done.out) == (2, "")
        error, hint = errors(done.err)
        assert error.endswith("are of 3 classes, the recipe says 2")
        assert hint == "hint: data.classes=3"
    assert not Path("run").exists()


def test_prepare_says_what_it_does(clifctl: Run, own: Path) -> None:
    done = clifctl("data", "prepare", *PREPARE, "--workers", "1")
    assert done.code == 0
    assert "15 recordings\n" in done.err
    assert "writing the test split: 6 samples\n" in done.err
    assert "event_files, T = 2: prepared" in done.out
    before = {path: path.stat().st_mtime_ns for path in own.rglob("prepared/*/*")}
    assert len(before) == 3
    again = clifctl("data", "prepare", *PREPARE, "-q", "--json")
    assert (again.json["already_prepared"], again.err) == (True, "")
    assert {path: path.stat().st_mtime_ns for path in own.rglob("prepared/*/*")} == before
    # A recipe names the data, the settings and T.
    recipe = ["digits_snn5", *OWN, "timesteps=2"]
    assert clifctl("data", "prepare", *recipe, "--json").json["already_prepared"] is True
    by_time = clifctl("data", "prepare", *PREPARE, "frames_by=time", "--workers", "1", "--json")
    assert by_time.json["folder"] != again.json["folder"]


def test_workers_make_the_same_bytes(clifctl: Run, own: Path) -> None:
    folders = []
    for workers, place in (("1", "one"), ("2", "two")):
        done = clifctl(
            "data", "prepare", *PREPARE, f"cache={place}", "--workers", workers, "--json"
        )
        assert done.code == 0, done.err
        folders.append(own.parent / done.json["folder"])
    for name in ("cache.json", "train.npy", "test.npy"):
        one, two = ((folder / name).read_bytes() for folder in folders)
        assert one == two


def test_a_sensor_that_is_too_small_is_asked_about(clifctl: Run, own: Path) -> None:
    del own  # its recordings are below data
    small = [item if not item.startswith("sensor=") else "sensor=[16,16]" for item in PREPARE]
    done = clifctl("data", "prepare", *small, "--workers", "1")
    error, hint = errors(done.err)
    assert (done.code, "the sensor has" in error) == (2, True)
    assert "is sensor=[height,width] that of the camera?" in hint


def test_a_cut_off_recording_is_named_and_left_out_only_when_asked(
    clifctl: Run, recorded: ModuleType, tmp_path: Path
) -> None:
    folder = recorded.write_cifar10_dvs(tmp_path / "data/cifar10_dvs", numbers=(0, 900))
    bad = folder / "cat/cifar10_cat_0.aedat"
    os.truncate(bad, bad.stat().st_size - 3)
    prepare = ["data", "prepare", "cifar10_dvs", "timesteps=2", "split=authors", "--workers", "1"]
    done = clifctl(*prepare)
    assert (done.code, done.out) == (2, "")
    error, hint = errors(done.err)
    assert "data/cifar10_dvs/cat/cifar10_cat_0.aedat': cut off" in error
    assert "--skip-bad" in hint
    assert not list(tmp_path.glob("data/prepared/c*"))
    # What was read is kept: only the bad one is read again.
    skipped = clifctl(*prepare, "--skip-bad", "--format", "json")
    assert skipped.code == 0
    assert "20 recordings, 19 of them read before" in skipped.err
    assert [one["file"] for one in skipped.json["skipped"]] == ["cat/cifar10_cat_0.aedat"]
    assert [split["samples"] for split in skipped.json["splits"]] == [9, 10]
    shown = clifctl(*prepare).out
    assert "left out: cat/cifar10_cat_0.aedat: cut off" in shown
    assert "test: 10 of 1,000 samples, so results are not comparable" in shown


def test_a_recording_that_is_text_is_named_without_advice_to_unpickle(
    clifctl: Run, own: Path
) -> None:
    file = sorted(own.glob("train/*/*.npz"))[0]
    file.write_text("t x y p")
    done = clifctl("data", "prepare", *PREPARE)
    assert done.code == 2
    assert f"{file.name}': corrupted, cut off, or not an .npz of plain arrays (" in done.err
    assert "pickle.load" not in done.err


def test_recordings_that_changed_are_not_passed_over(clifctl: Run, own: Path) -> None:
    first = clifctl("data", "prepare", *PREPARE, "--workers", "1", "--json").json
    changed = own / "test/class2/1.npz"
    arrays = dict(np.load(changed))
    np.savez(changed, **{key: array[:-20] for key, array in arrays.items()})
    done = clifctl("data", "prepare", *PREPARE)
    assert done.code == 2
    assert "was prepared from other recordings than those below 'own' now" in done.err
    anew = clifctl("data", "prepare", *PREPARE, "--workers", "1", "--overwrite", "--json")
    assert anew.code == 0, anew.err
    assert anew.json["splits"][1]["events"] == 700
    assert anew.json["folder"] == first["folder"]
    # A bad recording must not cost the cache that was to be replaced.
    changed.write_bytes(b"")
    assert clifctl("data", "prepare", *PREPARE, "--workers", "1", "--overwrite").code == 2
    changed.unlink()
    shown = clifctl("data", "show", *PREPARE, "--json").json
    assert shown["sha256"] is not None


def test_a_killed_overwrite_does_not_cost_the_old_frames(
    clifctl: Run, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = ["data", "prepare", *PREPARE, "--workers", "1"]
    folder = Path(clifctl(*prepare, "--json").json["folder"])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    inode = folder.stat().st_ino

    class Killed(BaseException):
        pass

    def die(*arguments: object, **options: object) -> None:
        raise Killed

    for place in ("_listed", "_exchange"):
        with monkeypatch.context() as patched:
            patched.setattr(f"clifctl.data.events.frame_preparation.{place}", die)
            with pytest.raises(Killed):
                clifctl(*prepare, "--overwrite")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    shutil.rmtree(folder.with_name(f".{folder.name}.new"))
    # Between the two renames of the exchange, or by an older version.
    for left in ("new", "old"):
        folder.rename(folder.with_name(f".{folder.name}.{left}"))
        assert clifctl(*prepare, "--json").json["already_prepared"] is True
        assert folder.stat().st_ino == inode
    done = clifctl(*prepare, "--overwrite", "--json").json
    assert (done["already_prepared"], folder.stat().st_ino == inode) == (False, False)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.glob(f".{folder.name}.*")) == []


def test_a_stopped_preparation_says_so_and_goes_on(
    clifctl: Run, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clifctl.report.preparation_progress import PreparationProgress

    def stop(self: PreparationProgress, path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PreparationProgress, "done", stop)
        done = clifctl("data", "prepare", *PREPARE, "--workers", "1")
    assert (done.code, done.out) == (130, "")
    assert errors(done.err)[-1] == "hint: the same command goes on with what is done"
    again = clifctl("data", "prepare", *PREPARE, "--workers", "1")
    assert again.code == 0
    assert "15 recordings, 1 of them read before" in again.err


def test_a_full_disk_is_noticed_before(
    clifctl: Run, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(own)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    done = clifctl("data", "prepare", *PREPARE, "--workers", "1")
    assert done.code == 1
    assert "has 1,000 bytes free" in done.err
    assert not (own / "prepared").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dvs_gesture"], "how many frames is a recording cut into?"),
        (["dvs_gestur"], "did you mean 'dvs_gesture'?"),
        (["digits", "timesteps=4"], "data set 'digits' needs no preparation"),
        (["digits_snn5"], "data set 'digits' needs no preparation"),
        (["cifar10_dvs", "timesteps=4"], "data.split: missing; allowed: authors, tebn"),
        (["cifar10_dvs", "timesteps=4", "split=official"], "must be 'authors' or 'tebn'"),
        (["event_files", "timesteps=4", "sensor=[3]", "classes=2"], "at least 2 entries"),
        (["dvs_gesture_vgg11", "data.frame_by=time"], "did you mean 'data.frames_by=time'?"),
        ([*PREPARE, "--workers", "0"], "--workers 0: must be 1 or more"),
    ],
)
def test_wrong_use(clifctl: Run, own: Path, arguments: list[str], said: str) -> None:
    done = clifctl("data", "prepare", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_show_reads_a_recording_that_is_not_prepared(
    clifctl: Run, recorded: ModuleType, data_root: Path, tmp_path: Path
) -> None:
    arguments = ["dvs_gesture", f"root={data_root}", "timesteps=4", "--sample", "3"]
    done = clifctl("data", "show", *arguments, "--plot", "g.png", "--json")
    assert done.code == 0, done.err
    assert (done.json["label"], done.json["shape"]) == (3, [4, 2, 128, 128])
    assert done.json["name"] == "3/user24_led_0"
    assert done.json["sha256"] is None
    frames = recorded.frames_of(recorded.gesture_events(2, 3), 4)
    found = [(row["off_events"], row["on_events"]) for row in done.json["frames"]]
    assert found == [tuple(frame.sum((1, 2)).tolist()) for frame in frames]
    shown = clifctl("data", "show", *arguments).out
    assert "frames are not prepared" in shown
    assert "recording 3/user24_led_0" in shown

    from matplotlib.image import imread

    red, green, blue = np.moveaxis(imread(tmp_path / "g.png")[..., :3], -1, 0)
    assert ((red > 0.85) & (green > 0.75) & (blue < 0.85)).sum() > 1000  # ON: light
    assert ((red < 0.35) & (green < 0.5) & (blue > red + 0.15)).sum() > 1000  # OFF: dark

"""Folders of images and recordings as people leave them: what counts, what is read, what is not."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clifctl.data import DATASETS, LoadedData
from clifctl.data.events.event_set import read_recordings
from clifctl.errors import DataError

Run = Callable[..., Any]
OPTIONS = {"size": 16, "classes": 3}
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def load(root: Path, **options: Any) -> LoadedData:
    dataset = DATASETS["image_folder"]
    return dataset.load(dataset.options(root=str(root), **{**OPTIONS, **options}), 4)


def refused(root: Path, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        load(root, **options)
    return caught.value


@pytest.fixture
def own(tmp_path: Path, on_disk: ModuleType) -> Path:
    root: Path = on_disk.write_image_folder(tmp_path / "own")
    return root


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_of_16_bits_the_upper_8_are_taken(own: Path, ending: str) -> None:
    # Each grey value with other lower bits: all of them were white but the first.
    sixteen = GREY.astype(np.uint16) * 256 + GREY[::-1]
    Image.fromarray(sixteen).save(own / f"test/class0/0.{ending}")
    (own / "test/class0/0.png").unlink(missing_ok=ending != "png")
    if ending == "png":
        Image.fromarray(sixteen).save(own / "test/class0/0.png")
    for channels in (1, 3):
        read = load(own, channels=channels).test.held[0, 0]
        assert torch.equal(read, torch.from_numpy(GREY).expand(channels, 16, 16))


def test_pixels_without_a_white_are_refused(own: Path, clifctl: Run) -> None:
    (own / "test/class0/0.png").unlink()
    for pixels in (np.full((16, 16), 0.5, np.float32), np.full((16, 16), 70000, np.int32)):
        Image.fromarray(pixels).save(own / "test/class0/0.tif")
        error = refused(own)
        assert "test/class0/0.tif' has pixels of 32 bits" in error.message
        assert "save it with 8 or 16 bits" in str(error.hint)
        check = clifctl("data", "check", "image_folder", "--root", own)
        assert (check.code, "has pixels of 32 bits" in check.out) == (2, True)


def test_images_of_every_kind_are_counted(own: Path, clifctl: Run) -> None:
    kinds = ("tif", "TIFF", "gif", "pgm", "jfif", "jpe", "webp", "bmp", "ppm")
    for kind in kinds:
        Image.fromarray(GREY).save(own / f"train/class1/z.{kind}", quality=95)
    assert load(own).train.targets.bincount().tolist() == [4, 4 + len(kinds), 4]
    lossless = load(own).train.held[0, 8 : 8 + len(kinds)]
    exact = [n for n, kind in enumerate(sorted(kinds)) if kind not in ("jfif", "jpe", "webp")]
    assert len(exact) == 6
    for number in exact:
        assert torch.equal(lossless[number, 2], torch.from_numpy(GREY)), sorted(kinds)[number]
    check = clifctl("data", "check", "image_folder", "--root", own, "--json")
    assert check.code == 0
    assert check.json["files"][0]["what"] == f"3 classes, {12 + len(kinds)} images of 16x16 pixels"


def test_of_a_cameras_views_the_picture_is_taken(own: Path) -> None:
    picture, view = (Image.new("RGB", (16, 16), colour) for colour in ("white", "black"))
    file = own / "test/class0/9.jpg"
    picture.save(file, format="MPO", save_all=True, append_images=[view])
    with Image.open(file) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
    assert load(own).test.held[0, 2].min() > 250


def test_what_systems_and_editors_leave_counts_for_nothing(own: Path, clifctl: Run) -> None:
    before = load(own)
    for part in ("train", "test"):
        for folder in (".ipynb_checkpoints", "__MACOSX", "class0/.ipynb_checkpoints", "class0/.@x"):
            (own / part / folder).mkdir()
            Image.fromarray(GREY).save(own / part / folder / "0.png")
        (own / part / "class0/._0.png").write_bytes(b"\0\5\x16\7")
        (own / part / ".DS_Store").write_bytes(b"x")
        (own / part / "class1/folder.png").mkdir()
        (own / part / "class1/notes.txt").write_text("x")
        (own / part / "class2/Thumbs.db").write_text("x")
    after = load(own)
    assert after.sha256() == before.sha256()
    check = clifctl("data", "check", "image_folder", "--root", own, "--json")
    assert check.code == 0
    assert check.json["files"][1]["what"] == (
        "3 classes, 6 images of 16x16 pixels, 2 other files (.db, .txt) passed over"
    )


@pytest.mark.parametrize(
    ("spoil", "said", "helps"),
    [
        (lambda f: (f / "9.png").symlink_to("away.png"), "9.png' is a link to nothing", ""),
        (lambda f: (f / "z").symlink_to("../class1"), "z' is a link to a folder", "link to the f"),
        (lambda f: (f / "9.heic").touch(), "9.heic' is an image in a format that is not", ".png"),
        (
            lambda f: (f / "9.png").write_bytes(b"x"),
            "9.png' is not an image",
            "replace it, or remove",
        ),
        (
            lambda f: (f / "0.png").write_bytes((f / "0.png").read_bytes()[:-60]),
            "0.png' is not an image, or is cut off",
            "remove it",
        ),
        (
            lambda f: Image.fromarray(GREY).save(
                f / "9.gif", save_all=True, append_images=[Image.fromarray(GREY.T)]
            ),
            "9.gif' holds 2 images",
            "save the one that counts",
        ),
        (lambda f: (f / "0.png").rename(f.parent / "0.png"), "0.png' is in no class's", "<class>"),
    ],
)
def test_check_finds_what_training_refuses(
    own: Path, clifctl: Run, spoil: Callable[[Path], object], said: str, helps: str
) -> None:
    spoil(own / "test/class0")
    error = refused(own)
    assert said in error.message
    assert helps in str(error.hint)
    check = clifctl("data", "check", "image_folder", "--root", own, "--json")
    assert check.code == 2
    assert [row["state"] for row in check.json["files"]] == ["good", "bad"]
    assert said in check.err
    problem = check.json["files"][1]["problem"]
    assert error.message == f"data set 'image_folder': {problem}"


def test_check_says_which_sizes_there_are(own: Path, clifctl: Run) -> None:
    Image.new("RGB", (24, 20)).save(own / "test/class0/9.png")
    rows = clifctl("data", "check", "image_folder", "--root", own, "--json").json["files"]
    assert [row["state"] for row in rows] == ["good", "good"]
    assert rows[0]["what"] == "3 classes, 12 images of 16x16 pixels"
    said = r"3 classes, 7 images of 16x16 pixels \('.*0.png'\) to 24x20 \('.*test/class0/9.png'\)"
    assert re.fullmatch(said + ", for data.resize=imagenet", rows[1]["what"])
    for file in own.rglob("*.png"):
        Image.new("RGB", (24, 16)).save(file)
    rows = clifctl("data", "check", "image_folder", "--root", own, "--json").json["files"]
    assert rows[1]["what"].endswith("7 images of 24x16 pixels, for data.resize=imagenet")


def test_exifs_rotation_is_counted_and_not_applied(own: Path, clifctl: Run) -> None:
    exif = Image.Exif()
    for orientation, file in ((6, "test/class0/0.png"), (1, "test/class0/3.png")):
        exif[0x0112] = orientation
        Image.fromarray(GREY).save(own / file, exif=exif)
    exif[0x0112] = 3
    Image.fromarray(GREY).save(own / "test/class1/9.jpg", exif=exif)
    assert torch.equal(load(own).test.held[0, 0, 0], torch.from_numpy(GREY))
    check = clifctl("data", "check", "image_folder", "--root", own, "--json")
    assert check.code == 0
    assert check.json["files"][1]["what"] == (
        "3 classes, 7 images of 16x16 pixels (EXIF turns 2 of them, which is not applied)"
    )
    assert "EXIF" not in check.json["files"][0]["what"]


def test_names_of_classes_stand_beside_labels(
    own: Path, tmp_path: Path, clifctl: Run, recorded: ModuleType
) -> None:
    for part in ("train", "test"):
        for number, name in enumerate(("1", "2", "10")):
            (own / part / f"class{number}").rename(own / part / name)
    options = ["data.name=image_folder", "data.root=own", "data.size=16", "data.classes=3"]
    shown = ["data", "show", "image_folder", *options[1:], "--sample", "2"]
    assert (clifctl(*shown, "--json").json["label"], clifctl(*shown, "--json").code) == (1, 0)
    assert "label 1 '10', shape" in clifctl(*shown).out
    check = clifctl("data", "check", "image_folder", "--root", "own")
    assert "classes: 0 '1', 1 '10', 2 '2'" in check.out
    small = ["train.epochs=1", "train.batch_size=4", "model.channels=[2,2,2,2,4]", "timesteps=1"]
    trained = clifctl(
        "train", "digits_snn5", *options, *small, "--target", "reference", "--out", "r"
    )
    assert trained.code == 0, trained.err
    per_class = ["eval", "r/last.pt", "--per-class", "--target", "reference"]
    counts = clifctl(*per_class, "--json").json["per_class"]
    names = {count["label"]: count["name"] for count in counts}
    assert names == {0: "1", 1: "10", 2: "2"}
    for count in counts:
        assert count["mistaken_for_name"] == names.get(count["mistaken_for"])
    taken = [c for c in counts if c["mistaken_for"] is not None]
    assert taken
    table = clifctl(*per_class).out
    for count in taken:
        assert f"{count['mistaken_for']} '{count['mistaken_for_name']}' (" in table


def test_every_set_of_classes_with_names_has_them(data_root: Path) -> None:
    images = {
        "cifar10": ("class0", "class9", 10),
        "cifar100": ("class0", "class99", 100),
        "tiny_imagenet": ("n00000000 word n00000000", "n00000199 word n00000199", 200),
    }
    for name, (first, last, classes) in images.items():
        dataset = DATASETS[name]
        names = dataset.load(dataset.options(root=str(data_root)), 1).class_names
        assert names is not None
        assert (names[0], names[-1], len(names)) == (first, last, classes)
        assert dataset.files is not None
        assert dataset.files.class_names(data_root) == names
    for name, options, expected in (
        ("dvs_gesture", {}, ("hand_clapping", "left_hand_wave", "other_gestures")),
        (
            "dvs_gesture",
            {"label_order": "spikingjelly"},
            ("hand_clapping", "other_gestures", "air_guitar"),
        ),
        ("cifar10_dvs", {"split": "tebn"}, ("airplane", "bird", "truck")),
        ("event_files", {"classes": 3, "sensor": (24, 32)}, ("class0", "class2", "class2")),
    ):
        dataset = DATASETS[name]
        assert dataset.camera is not None
        root = data_root / "own" if name == "event_files" else data_root
        chosen: Any = dataset.options(root=str(root), **options)
        names = read_recordings(name, dataset.camera, chosen, 1).class_names
        assert names is not None
        assert (names[0], names[2], names[-1]) == expected


def test_one_class_is_too_few(own: Path) -> None:
    for part in ("train", "test"):
        for name in ("class1", "class2"):
            (own / part / name).rename(own / part / f".{name}")
    error = refused(own, classes=2)
    assert "has 1 folder of a class, two or more are needed" in error.message


def test_recordings_are_found_in_the_same_way(
    tmp_path: Path, recorded: ModuleType, clifctl: Run
) -> None:
    root = recorded.write_event_files(tmp_path / "events")
    prepare = ("event_files", f"root={root}", "classes=3", "sensor=[24,32]", "timesteps=2")
    before = recorded.prepare(*prepare)
    for part in ("train", "test"):
        (root / part / ".ipynb_checkpoints").mkdir()
        (root / part / "class0/._0.npz").write_bytes(b"\0\5\x16\7")
        (root / part / "class1/x.npz").mkdir()
        (root / part / "class1/x.txt").write_text("x")
    after = recorded.prepare(*prepare, f"cache={tmp_path}")
    assert [one.sha256 for one in after.splits] == [one.sha256 for one in before.splits]
    check = clifctl("data", "check", "event_files", "--root", root, "--json")
    assert check.code == 0
    assert check.json["files"][0]["what"] == (
        "3 classes, 9 recordings, 1 other file (.txt) passed over"
    )
    (root / "test/class2/9.npz").symlink_to("away.npz")
    check = clifctl("data", "check", "event_files", "--root", root)
    assert (check.code, "9.npz' is a link to nothing" in check.out) == (2, True)
    with pytest.raises(DataError, match=r"9\.npz' is a link to nothing"):
        recorded.prepare(*prepare, f"cache={tmp_path / 'other'}")

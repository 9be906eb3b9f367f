"""Image sets at the prompt: check, show, train, eval, and the errors."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.trial_names import (
    Numerics,
    named_by_hash,
    named_with_old_names,
    trial_of,
)
from clifctl.recipe.load import load_recipe

Run = Callable[..., Any]
# The authors' net of the digits recipe on images of 32x32, as small as it gets.
SMALL = ["train.epochs=1", "train.batch_size=50", "model.channels=[2,2,2,2,4]", "timesteps=2"]


@pytest.mark.parametrize(
    ("name", "files"),
    [("cifar10", 6), ("cifar100", 2), ("tiny_imagenet", 5), ("image_folder", 2), ("npz", 1)],
)
def test_check(clifctl: Run, data_root: Path, tmp_path: Path, name: str, files: int) -> None:
    done = clifctl("data", "check", name, "--root", data_root, "--json")
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert found["schema"] == "clifctl.data.check/1"
    assert (found["complete"], found["root"]) == (True, str(data_root))
    assert [row["state"] for row in found["files"]] == ["good"] * files
    assert all(row["file"].startswith(str(data_root)) for row in found["files"])
    nothing = clifctl("data", "check", name, "--json")
    assert nothing.code == 2
    assert nothing.json["complete"] is False
    assert [row["state"] for row in nothing.json["files"]] == ["missing"] * files
    assert nothing.err.startswith(f"error: data set '{name}' is incomplete: data")
    assert nothing.err.count("\n") == 2
    assert list(tmp_path.iterdir()) == []


def test_check_says_where_it_comes_from(clifctl: Run) -> None:
    found = clifctl("data", "check", "cifar10", "--json").json
    assert found["url"] == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert found["download_bytes"] == 170_498_071
    assert "cite Krizhevsky" in found["licence"]
    shown = clifctl("data", "check", "tiny_imagenet").out
    assert "download: 237 MiB" in shown
    assert "licence: ImageNet's terms" in shown
    assert "http://cs231n.stanford.edu/tiny-imagenet-200.zip" in shown


def test_check_takes_the_root_as_other_commands_do(clifctl: Run, data_root: Path) -> None:
    named = clifctl("data", "check", "npz", "--root", data_root, "--json")
    for way in ("root", "data.root"):
        done = clifctl("data", "check", "npz", f"{way}={data_root}", "--json")
        assert (done.code, done.json) == (named.code, named.json)
    for wrong in (["classes=3"], ["root="], [f"root={data_root}", "--root", data_root]):
        assert clifctl("data", "check", "npz", *wrong).code == 2


def test_check_of_embedded_data(clifctl: Run) -> None:
    done = clifctl("data", "check", "digits", "--json")
    assert (done.code, done.json["complete"], done.json["root"]) == (0, True, None)
    assert clifctl("data", "check", "digits", "--root", "x").code == 2
    assert clifctl("data", "check", "digits", "root=x").code == 2
    assert "did you mean 'cifar10'" in clifctl("data", "check", "cifar1").err


def test_check_finds_what_is_bad(clifctl: Run, on_disk: ModuleType, tmp_path: Path) -> None:
    on_disk.write_cifar10(tmp_path / "data")
    bad = tmp_path / "data/cifar-10-batches-py/data_batch_2"
    os.truncate(bad, 1000)
    (tmp_path / "data/cifar-10-batches-py/test_batch").unlink()
    done = clifctl("data", "check", "cifar10", "--json")
    assert done.code == 2
    states = {Path(row["file"]).name: row["state"] for row in done.json["files"]}
    assert states["data_batch_2"] == "bad"
    assert states["test_batch"] == "missing"
    assert sorted(states.values()) == ["bad", "good", "good", "good", "good", "missing"]
    assert "corrupted" in done.json["files"][1]["problem"]

    on_disk.write_tiny_imagenet(tmp_path / "tiny", classes=3, test_samples=3)
    (tmp_path / "tiny/val/images/val_2.JPEG").unlink()
    done = clifctl("data", "check", "tiny_imagenet", "--root", "tiny", "--format", "jsonl")
    assert done.code == 2
    assert "val_2.JPEG' is missing" in done.out

    on_disk.write_image_folder(tmp_path / "own")
    (tmp_path / "own/test/class9").mkdir()
    done = clifctl("data", "check", "image_folder", "--root", "own")
    assert done.code == 2
    assert "own/test/class9' holds no image" in done.out


def test_show(clifctl: Run, data_root: Path) -> None:
    root = f"root={data_root}"
    done = clifctl("data", "show", "cifar100", root, "--sample", "7", "--json").json
    assert (done["label"], done["shape"], done["samples_in_split"]) == (7, [1, 3, 32, 32], 100)
    assert -2 < done["frames"][0]["minimum"] < done["frames"][0]["maximum"] < 2.1
    done = clifctl("data", "show", "npz", root, "shape=[3,8,8]", "classes=4", "--json").json
    assert 0 <= done["frames"][0]["minimum"] < done["frames"][0]["maximum"] <= 1


@pytest.mark.parametrize("augmentation", ["plain", "strong"])
def test_train_then_eval(clifctl: Run, data_root: Path, augmentation: str) -> None:
    done = clifctl(
        "train",
        "digits_snn5",
        "data.name=cifar10",
        f"data.root={data_root}",
        f"data.augmentation={augmentation}",
        *SMALL,
        "--json",
        "--out",
        "run",
    )
    assert done.code == 0, done.err
    again = clifctl("eval", "run/last.pt", "--json").json
    assert again["samples"] == 20
    assert again["accuracy_percent"] == done.json["accuracy_percent_last"]
    assert again["loss"] == pytest.approx(done.json["test_loss"], abs=1e-6)


def test_a_net_takes_its_shape_from_the_options(clifctl: Run, data_root: Path) -> None:
    recipe = ["digits_snn5", "data.name=image_folder", f"data.root={data_root}"]
    options = ["data.size=16", "data.classes=3", "train.batch_size=4"]
    plan = clifctl("train", *recipe, *options, "data.channels=1", *SMALL[2:], "--dry-run", "--json")
    assert plan.code == 0, plan.err
    # Weights and biases of conv 1-2, three of 2-2 and one of 2-4, norms of 12 channels, head 4-3.
    colour = clifctl("train", *recipe, *options, *SMALL[2:], "--dry-run", "--json").json
    assert colour["parameters"] - plan.json["parameters"] == 2 * 2 * 3 * 3
    assert plan.json["data_bytes"] == 18 * (16 * 16 + 8)
    assert colour["data_bytes"] == 18 * (3 * 16 * 16 + 8)


def test_the_old_name_of_a_key_is_taken_and_told(
    clifctl: Run, data_root: Path, tmp_path: Path
) -> None:
    told = "note: data.image_size is called data.size now: the old name is taken"
    shown = ("data", "show", "image_folder", "classes=3", f"root={data_root}", "--json")
    done = clifctl(*shown, "image_size=16")
    assert done.err.splitlines() == [told]
    assert done.json["shape"] == clifctl(*shown, "size=16").json["shape"] == [1, 3, 16, 16]
    both = clifctl(*shown, "size=16", "image_size=8")
    assert both.code == 2
    assert "data.image_size: unknown key" in both.err

    recipe = ["digits_snn5", "data.name=image_folder", f"data.root={data_root}", "data.classes=3"]
    plan = clifctl("train", *recipe, "data.image_size=16", *SMALL[2:], "--dry-run", "--json")
    assert plan.err.splitlines().count(told) == 1
    assert plan.json["resolved_recipe"]["data"]["size"] == 16
    document = plan.json["resolved_recipe"]
    document["data"]["image_size"] = document["data"].pop("size")
    (tmp_path / "old.yaml").write_text(json.dumps(document))
    again = clifctl("train", "old.yaml", "--dry-run", "--json")
    assert told in again.err
    assert again.json["resolved_recipe"] == plan.json["resolved_recipe"]


def test_a_trial_of_an_old_name_is_found_and_its_folder_fits(tmp_path: Path) -> None:
    loaded = load_recipe("digits_snn5", ["data={name: image_folder, size: 16, classes: 3}"])
    trial = trial_of(loaded, "", Numerics("cpu", "numba"))
    older = named_with_old_names(trial)
    assert older.name != trial.name
    folder = ResultsFolder(tmp_path / "results")
    folder.open([trial])
    grid = json.loads((folder.path / "grid.json").read_text())
    grid["base"]["data"]["image_size"] = grid["base"]["data"].pop("size")
    grid["schema"] = "clifctl.grid/2"
    (folder.path / "grid.json").write_text(json.dumps(grid))
    folder.check([trial])
    assert folder.named([trial]) == (named_by_hash(trial),)
    folder.run_folder(older.name).mkdir()
    assert folder.named([trial]) == (older,)


def test_data_lie_where_a_variable_says(
    clifctl: Run, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clifctl("data", "ls", "--json").json["root"] == "data"
    assert "Files are looked for in 'data'" in clifctl("data", "ls").out
    check = ("data", "check", "cifar10", "--json")
    assert clifctl(*check).code == 2
    monkeypatch.setenv("CLIFCTL_DATA", str(data_root))
    assert clifctl("data", "ls", "--json").json["root"] == str(data_root)
    assert clifctl(*check).json["root"] == str(data_root)
    assert clifctl("doctor", "--json").json["data_root"] == str(data_root)
    plan = clifctl("train", "digits_snn5", "data.name=cifar10", *SMALL, "--dry-run", "--json")
    assert plan.json["train_samples"] == 200
    # A recipe says the same wherever it is run, and so a trial has the same name.
    assert plan.json["resolved_recipe"]["data"]["root"] == "data"
    assert clifctl(*check, "root=elsewhere").code == 2


def test_training_without_data(clifctl: Run, tmp_path: Path) -> None:
    for extra in ([], ["--dry-run"]):
        done = clifctl("train", "digits_snn5", "data.name=cifar100", *SMALL, *extra)
        assert done.code == 2
        # A dry run says what it could find out without the data.
        assert ("cifar100_snn5: valid but for its data" in done.out) == bool(extra)
        assert bool(done.out) == bool(extra)
        error, hint = [line for line in done.err.splitlines() if not line.startswith("note:")]
        assert error == (
            "error: data set 'cifar100': 'data/cifar-100-python/train' and 1 more are missing"
        )
        assert hint.endswith("clifctl data check cifar100")
    assert list(tmp_path.iterdir()) == []


def test_wrong_options_are_told_together(clifctl: Run) -> None:
    done = clifctl(
        "data", "show", "image_folder", "channels=2", "classes=1", "mean=[1,2]", "augmentation=x"
    )
    assert done.code == 2
    for part in ("data.channels = 2", "data.classes = 1", "data.size", "data.augmentation"):
        assert part in done.err
    done = clifctl("data", "show", "image_folder", "size=8", "classes=2", "mean=[1,2]")
    assert "mean has 2 numbers for 3 channels" in done.err


def test_colour_images_are_drawn_in_colour(clifctl: Run, data_root: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    done = clifctl("data", "show", "cifar10", f"root={data_root}", "--plot", "colour.png")
    assert done.code == 0, done.err
    pixels = imread(tmp_path / "colour.png")[..., :3]
    spread = pixels.max(2) - pixels.min(2)
    assert (spread > 0.3).mean() > 0.05  # grey has none


def test_only_training_downloads(
    clifctl: Run, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint or recipe of somebody else may ask for it: nothing but `train` heeds that."""
    from torchvision.datasets import utils

    asked: list[str] = []

    def offline(url: str, *arguments: object, **options: object) -> None:
        asked.append(url)
        raise OSError("no route to host")

    monkeypatch.setattr(utils, "download_and_extract_archive", offline)
    net = ["digits_snn5", "data.name=cifar10", "data.download=true", *SMALL]
    there = f"data.root={data_root}"
    assert clifctl("train", *net, there, "--target", "reference", "--out", "run").code == 0
    # The sender's files lie nowhere here.
    sent = "run/last.pt"
    empty = ["--root", "nowhere"]
    for command in (
        ["eval", sent, *empty],
        ["energy", sent, *empty],
        ["convert", sent, "--to", "lif", "-o", "lif.pt", *empty],
        ["gradients", sent, *empty],
        ["train", *net, "--dry-run"],
        ["recipes", "check", *net],
        ["compare-neurons", *net, "--neurons", "lif,clif", "--seeds", "1", "--dry-run"],
    ):
        done = clifctl(*command)
        assert (done.code, asked) == (2, []), (command, done.err)
        assert "training with data.download=true gets it" in done.err
    for command in (
        ["train", *net],
        ["compare-neurons", *net, "--neurons", "lif,clif", "--seeds", "1"],
    ):
        done = clifctl(*command)
        assert done.code == 2
        assert "could not be downloaded" in done.err
    assert len(asked) == 2


def test_a_home_that_nobody_has_is_told(clifctl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (
        ["data", "check", "npz", "--root", "~nobody-at-all/x"],
        ["data", "show", "npz", "root=~nobody-at-all/x", "shape=[3]", "classes=2"],
        ["train", "digits_snn5", "data.name=cifar10", "data.root=~nobody-at-all/x"],
        ["doctor", "--root", "~nobody-at-all/x"],
        ["data", "prepare", "dvs_gesture", "timesteps=2", "cache=~nobody-at-all/x"],
    ):
        done = clifctl(*command)
        assert (done.code, done.out) == (2, "")
        assert "'~nobody-at-all/x': no home folder is known for '~nobody-at-all'" in done.err
    # A container's user without a name, in an environment without HOME.
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    done = clifctl("data", "check", "npz", "--root", "~/x")
    assert (done.code, "no home folder is known for '~'" in done.err) == (2, True)


def test_advice_about_a_single_file_names_that_file(clifctl: Run, tmp_path: Path) -> None:
    for root, file in (("mine.npz", "mine.npz"), ("folder", "folder/data.npz")):
        done = clifctl("data", "check", "npz", f"root={root}", "--json")
        assert done.json["obtain"].startswith(f"write '{file}' with numpy.savez(")
    (tmp_path / "arrays.npz").mkdir()
    done = clifctl("data", "check", "npz", "root=arrays.npz", "--json")
    assert done.json["files"][0]["file"] == "arrays.npz/data.npz"

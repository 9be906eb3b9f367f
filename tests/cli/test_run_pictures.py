"""A run draws itself, in its folder and in a terminal, and is exported."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clifctl.cli.app import run
from clifctl.cli.options import Output
from clifctl.cli.run_pictures import RunPictures
from clifctl.errors import Interrupted
from clifctl.results.events import RunStarted

Run = Callable[..., Any]
PICTURES = ["curves.png", "firing-rates.png"]
TINY = ["digits_rows_mlp", "model.hidden=[8]", "train.batch_size=256", "train.log_every=4"]
TINY += ["--target", "reference"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs of six steps, of which one is logged each, that has drawn itself."""
    folder = tmp_path_factory.mktemp("drawn") / "run"
    assert run(["train", *TINY, "train.epochs=3", "--out", str(folder), "-q", "--plots"]) == 0
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, called `run`."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["record"] == kind]


def test_a_run_that_is_finished_or_stopped_is_drawn(
    clifctl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pictures(folder) == PICTURES
    for name in PICTURES:
        content = (folder / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        (folder / name).unlink()
    # A link in the folder is replaced and not followed, as each of a run's own files.
    (folder / "curves.png").symlink_to(folder / "recipe.yaml")
    assert clifctl("train", "--resume", "run", "--plots", "-q").code == 0
    assert pictures(folder) == PICTURES
    assert not (folder / "curves.png").is_symlink()
    # Stopped: the rates are those of the finished net alone.
    plan = type("Plan", (), {"run_folder": str(folder)})
    (folder / "curves.png").unlink()
    drawing = RunPictures(Output("table", None, False, True, False))
    drawing(RunStarted(plan, 3, 6))
    with pytest.raises(Interrupted), drawing:
        raise Interrupted(KeyboardInterrupt(), "stopped")
    assert pictures(folder) == PICTURES[:1]
    # Before its first epoch there is nothing to draw.
    (folder / "metrics.jsonl").unlink()
    (folder / "curves.png").unlink()
    with pytest.raises(Interrupted), drawing:
        raise Interrupted(KeyboardInterrupt(), "stopped")
    assert pictures(folder) == []


def test_a_new_run_leaves_no_picture_of_an_earlier_one(clifctl: Run, folder: Path) -> None:
    assert clifctl("train", *TINY, "train.epochs=1", "--out", "run", "-q", "--overwrite").code == 0
    assert pictures(folder) == []


def test_a_picture_that_fails_loses_no_run(
    clifctl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("no room")

    monkeypatch.setattr("clifctl.report.train_picture.draw_runs", broken)
    done = clifctl("train", "--resume", "run", "--plots", "-q", "--json")
    assert done.code == 1
    assert "the result was written, but not its picture: ValueError: no room" in done.err
    assert done.json["state"] == "done"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_curves_are_shown_in_a_terminal_alone(
    clifctl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = clifctl("runs", "show", "run").out
    assert "test accuracy [%]" in piped
    assert "* training" not in piped
    for columns in ("60", "31"):
        monkeypatch.setenv("COLUMNS", columns)
        terminal = Terminal()
        monkeypatch.setattr("sys.stdout", terminal)
        assert run(["runs", "show", "run"]) == 0
        shown = terminal.getvalue()
        assert ("loss: * training, train mode, o test" in shown) == (columns == "60")
        assert ("accuracy [%]: * test" in shown) == (columns == "60")
        assert max(map(len, shown.splitlines()[-12:])) <= 60
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    assert run(["runs", "show", "run", "--table", "epochs"]) == 0
    assert "* training" not in terminal.getvalue()


def test_metrics_are_exported_as_csv(clifctl: Run, folder: Path, tmp_path: Path) -> None:
    assert clifctl("runs", "export", "run", "--to", "csv", "-o", "e.csv").code == 0
    header, *rows = (tmp_path / "e.csv").read_text().splitlines()
    assert len(rows) == 3
    columns = header.split(",")
    assert columns[:2] == ["epoch", "lr"]
    assert "time.forward_percent" in columns
    for row, record in zip(rows, records(folder, "epoch"), strict=True):
        named = dict(zip(columns, row.split(","), strict=True))
        assert float(named["test_loss"]) == record["test_loss"]
        assert named["validation_accuracy_percent"] == ""
    steps = clifctl("runs", "export", "run", "--to", "csv", "--table", "steps").out.splitlines()
    assert [row.split(",")[:2] for row in steps[1:]] == [["1", "4"], ["2", "4"], ["3", "4"]]
    document = clifctl("runs", "export", "run", "--to", "csv", "--json").json
    assert document["schema"] == "clifctl.runs.export/1"
    assert (len(document["epochs"]), len(document["steps"])) == (3, 3)
    assert document["steps_per_epoch"] == 6


def test_metrics_are_exported_to_tensorboard(clifctl: Run, folder: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = ["runs", "export", "run", "--to", "tensorboard"]
    done = clifctl(*arguments)
    assert done.code == 0, done.err
    assert clifctl(*arguments).code == 2
    assert clifctl(*arguments, "--overwrite").code == 0
    (file,) = (folder / "tensorboard").iterdir()
    events = EventAccumulator(str(file))
    events.Reload()
    for record in records(folder, "epoch"):
        for name in ("test_loss", "test_accuracy_percent"):
            found = {event.step: event.value for event in events.Scalars(f"epoch/{name}")}
            assert found[record["epoch"]] == pytest.approx(record[name], rel=1e-6)
    # Steps stand at their number since the start: 6 an epoch.
    assert [event.step for event in events.Scalars("step/train_loss_train_mode")] == [4, 10, 16]
    assert "epoch/time/forward_percent" in events.Tags()["scalars"]


def test_what_cannot_be_exported(clifctl: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words, said in (
        (["run", "--to", "csv", "--format", "md"], "--to csv and the format md contradict"),
        (["run", "--to", "csv", "-o", "e.txt"], "--to csv and the format table contradict"),
        (["run", "--to", "csv", "--out", "x"], "--out is a folder for tensorboard"),
        (["run", "--to", "tensorboard", "--table", "steps"], "--table is of --to csv"),
        (["empty", "--to", "csv"], "'empty' is not a run folder"),
        (["run", "--to", "xml"], "--to"),
    ):
        refused = clifctl("runs", "export", *words)
        assert (refused.code, refused.out) == (2, ""), words
        assert said in refused.err
    # A run of before, whose manifest does not say how many steps an epoch has.
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest.pop("steps_per_epoch") == 6
    (folder / "manifest.json").write_text(json.dumps(manifest))
    broken = ['{"record": "step", "epoch": true, "step": 9}', '{"record": "step", "epoch"', "[]"]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("\n".join(broken))
    done = clifctl("runs", "export", "run", "--to", "csv", "--json")
    assert done.json["steps_per_epoch"] == 4
    assert "4 are taken, the last that were logged" in done.err
    (folder / "metrics.jsonl").unlink()
    refused = clifctl("runs", "export", "run", "--to", "csv")
    assert refused.code == 2
    assert "'run' has no metrics yet" in refused.err

"""`clifctl predict`: the predictions of eval on the same images in files, and all that is none."""

import io
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from clifctl.cli.app import run
from clifctl.data.sets.digits import digit_images

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, on_disk: ModuleType) -> Path:
    """A folder with a run on the digits, and its test images in `scans`, 20 of which are of other
    kinds in a folder below."""
    place = tmp_path_factory.mktemp("predict")
    tiny = ["train.epochs=4", "train.batch_size=64", "model.channels=[4,4,4,4,8]", "timesteps=3"]
    assert run(["train", "digits_snn5", *tiny, "--out", str(place / "run"), "-q"]) == 0
    for number, image in enumerate((digit_images().test * 255).round().to(torch.uint8)):
        kind = "below/{:03d}.bmp" if number >= 480 else "{:03d}.png"
        on_disk.write_image(place / "scans" / kind.format(number), image.numpy())
    return place


def test_predictions_are_those_of_eval(
    clifctl: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, scans = str(trained / "run/last.pt"), str(trained / "scans")
    counts = clifctl("eval", checkpoint, "--confusion", "--json").json["confusion"]["counts"]
    asked = clifctl("predict", checkpoint, scans, "--top", "2")  # eval's batches: to the bit
    assert (asked.code, asked.err) == (0, "")
    rows = [json.loads(line) for line in asked.out.splitlines()]
    assert [int(Path(row["file"]).stem) for row in rows] == list(range(500))
    labels = digit_images().test_targets.tolist()
    pairs = Counter((label, row["label"]) for label, row in zip(labels, rows, strict=True))
    assert pairs == Counter(
        {(n, m): counts[n][m] for n in range(10) for m in range(10) if counts[n][m]}
    )
    first = rows[0]
    assert list(first) == [
        *("file", "index", "label", "class_name", "probability", "decided_after_step", "top")
    ]
    assert first["top"][0]["probability"] == first["probability"] > first["top"][1]["probability"]
    assert {row["decided_after_step"] for row in rows} == {1, 2, 3}
    # After so many time steps eval knows as much.
    per_step = clifctl("eval", checkpoint, "--json").json["accuracy_percent_per_step"]
    right = [label == row["label"] for label, row in zip(labels, rows, strict=True)]
    assert 100.0 * sum(right) / 500 == per_step[-1]


def test_results_go_where_they_are_asked_for(
    clifctl: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = str(trained / "run/last.pt")
    files = [str(trained / f"scans/{number:03d}.png") for number in range(5)]
    files += ["--batch-size", "1"]  # to the bit, whatever is asked about beside it
    lines = clifctl("predict", checkpoint, *files).out
    assert clifctl("predict", checkpoint, *files, "-o", "p.jsonl").out == ""
    assert (tmp_path / "p.jsonl").read_text() == lines
    small = ("--columns", "label,probability", "--format", "csv")
    csv = clifctl("predict", checkpoint, *files, *small).out.splitlines()
    assert csv[0] == "label,probability"
    assert [int(row.split(",")[0]) for row in csv[1:]] == [
        json.loads(line)["label"] for line in lines.splitlines()
    ]
    document = clifctl("predict", checkpoint, *files, "timesteps=2", "--json")
    assert document.json["schema"] == "clifctl.predict/1"
    assert document.json["timesteps"] == 2
    assert len(document.json["predictions"]) == 5
    assert "the net runs for T = 2 time steps" in document.err
    table = clifctl("predict", checkpoint, *files, "--format", "table").out
    assert table.count("run/last.pt: predictions") == 1
    assert table.count("scans/00") == 5
    reading, writing = os.pipe()
    os.write(writing, "\n".join([*files[:2], "", files[2]]).encode())
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        named = clifctl("predict", checkpoint, "-", "--batch-size", "1").out
        assert named == "".join(lines.splitlines(True)[:3])
        empty = clifctl("predict", checkpoint, "-")
    assert (empty.code, empty.out) == (2, "")
    assert "stdin names no file" in empty.err


def test_one_bad_file_of_many(clifctl: Run, trained: Path, tmp_path: Path) -> None:
    checkpoint, good = str(trained / "run/last.pt"), str(trained / "scans/000.png")
    (tmp_path / "torn.png").write_bytes(Path(good).read_bytes()[:60])
    (tmp_path / "empty").mkdir()
    done = clifctl("predict", checkpoint, "torn.png", "gone.png", good, "empty", "a\nb.png")
    assert done.code == 2
    assert [json.loads(line)["file"] for line in done.out.splitlines()] == [good]
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert [error.partition("'")[2].partition("'")[0] for error in errors[:-1]] == [
        *("torn.png", "gone.png", "empty", "a\\nb.png")
    ]
    assert errors[-1] == "error: 4 of 5 files could not be used"
    assert "Traceback" not in done.err
    whole = clifctl("predict", checkpoint, "torn.png", good, "--json", "-q")
    assert whole.code == 2
    assert [row["file"] for row in whole.json["refused"]] == ["torn.png"]
    assert len(whole.json["predictions"]) == 1
    nothing = clifctl("predict", checkpoint, "torn.png", "-o", "p.csv")
    assert nothing.code == 2
    assert (tmp_path / "p.csv").read_text() == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scans"], "missing argument 'FILE...'"),
        (["run/recipe.yaml", "scans"], "is not a checkpoint"),
        (["run/last.pt", "scans", "neuron.tau=3"], "'neuron.tau=3': a checkpoint of clifctl"),
        (["run/last.pt", "timesteps=3"], "no file was named"),
        (["run/last.pt", "scans", "--top", "11"], "--top 11: the net has 10 classes"),
        (["run/last.pt", "scans", "-o", "run/last.pt"], "'run/last.pt' exists already"),
        (["run/last.pt", "scans", "--root", "."], "data set 'digits' has no files"),
    ],
)
def test_what_cannot_be_asked(
    clifctl: Run, trained: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(trained)
    refused = clifctl("predict", *words)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert "hint: " in refused.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_in_a_terminal(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch at a time, of which the first has the title."""
    monkeypatch.chdir(trained)
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    files = ["scans/000.png", "scans/001.png"]
    assert run(["predict", "run/last.pt", *files, "--batch-size", "1"]) == 0
    text = terminal.getvalue()
    assert text.count("run/last.pt: predictions") == 1
    assert text.count("decided after") == 2
    assert text.index(files[0]) < text.index(files[1])

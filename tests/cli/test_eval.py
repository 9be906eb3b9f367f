"""`clifctl eval`: the per-class table, and the picture as a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def trained(clifctl: Run, tiny: list[str]) -> str:
    done = clifctl("train", "digits_snn5", *tiny, "--out", "run", "-q")
    assert done.code == 0, done.err
    return "run/last.pt"


def test_per_class_adds_up(clifctl: Run, trained: str) -> None:
    plain = clifctl("eval", trained, "--json").json
    assert plain["per_class"] is None
    result = clifctl("eval", trained, "--per-class", "--json").json
    rows = result["per_class"]
    assert [row["label"] for row in rows] == list(range(10))
    assert sum(row["samples"] for row in rows) == result["samples"] == 500
    correct = sum(row["correct"] for row in rows)
    assert 100.0 * correct / 500 == result["accuracy_percent"]
    assert result["accuracy_top5_percent"] == result["accuracy_top5_percent_per_step"][-1]
    assert result["accuracy_top5_percent"] > result["accuracy_percent"]
    shown = clifctl("eval", trained, "--per-class").out
    assert "Decided by the sum of the logits up to that step" in shown
    assert "recall [%]" in shown


def test_the_confusion_matrix_is_of_every_sample(clifctl: Run, trained: str) -> None:
    assert clifctl("eval", trained, "--json").json["confusion"] is None
    result = clifctl("eval", trained, "--per-class", "--confusion", "--json").json
    counts, classes = result["confusion"]["counts"], result["per_class"]
    assert result["confusion"]["class_names"] is None  # digits' are their numbers
    assert [sum(row) for row in counts] == [row["samples"] for row in classes]
    assert [counts[n][n] for n in range(10)] == [row["correct"] for row in classes]
    table = clifctl("eval", trained, "--table", "confusion").out
    lines = [line.split() for line in table.splitlines()]
    shown = [line[1:] for line in lines if len(line) == 11 and line[0] != "class"]
    assert shown == [[str(count or "-") for count in row] for row in counts]
    csv = clifctl("eval", trained, "--table", "confusion", "--format", "csv").out.splitlines()
    assert csv[0] == "label,name,decided,decided_name,samples,share_percent"
    assert sum(int(line.split(",")[4]) for line in csv[1:]) == 500


def test_a_picture_is_drawn_and_nothing_is_overwritten(
    clifctl: Run, trained: str, tmp_path: Path
) -> None:
    starts = {"eval.png": b"\x89PNG", "eval.svg": b"<?xml", "eval.pdf": b"%PDF"}
    for name, start in starts.items():
        result = clifctl("eval", trained, "--plot", name, "--json").json
        assert result["picture"] == name
        assert (tmp_path / name).read_bytes().startswith(start)
    svg = (tmp_path / "eval.svg").read_text()
    assert svg.count("<path") > 20
    assert clifctl("eval", trained, "--plot", "--confusion").code == 0
    assert [path.name for path in tmp_path.glob("eval-*-last.png")] == [
        f"eval-{Path(trained).parent.name}-last.png"
    ]
    before = (tmp_path / "eval.png").read_bytes()
    for arguments in (["--plot", "eval.png"], ["--plot", "eval.gif"], ["--plot", "no/x.png"]):
        refused = clifctl("eval", trained, *arguments)
        assert refused.code == 2
        assert refused.out == ""
        assert "Traceback" not in refused.err
    assert (tmp_path / "eval.png").read_bytes() == before

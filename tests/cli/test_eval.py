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
    assert clifctl("eval", trained, "--plot").code == 0
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

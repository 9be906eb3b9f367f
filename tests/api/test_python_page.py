"""docs/python.md, and README's example, run as they are printed."""

import re
from pathlib import Path
from typing import Any

import pytest

import clifctl

FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[str]:
    return FENCE.findall(page.read_text(encoding="utf-8"))


def test_the_page_runs_from_top_to_bottom(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(root / "docs" / "python.md"):
        exec(compile(block, "docs/python.md", "exec"), scope)
    assert scope["epoch"].epoch == 2
    assert "<table>" in scope["html"]
    printed = capsys.readouterr()
    assert printed.out.startswith("Recipe('digits_snn5': digits, snn5, clif, T = 2) (1, 8, 8) 10\n")
    assert printed.err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_readmes_example_is_one_of_the_public_surface(root: Path) -> None:
    (example,) = blocks(root / "README.md")
    short = example.replace('"neuron.name=lif"', '"neuron.name=lif", "train.epochs=1"')
    exec(short.replace("timesteps=4", "timesteps=1"), {})


def test_the_page_names_every_public_name(root: Path) -> None:
    text = (root / "docs" / "python.md").read_text(encoding="utf-8")
    types = {"Checkpoint", "Recipe", "Training"}
    assert [name for name in set(clifctl.__all__) - types if name not in text] == []

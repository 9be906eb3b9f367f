"""Pictures: the same whatever matplotlib is set to, any name in them, and no result lost by one."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from clifctl.report import data_picture, pictures
from clifctl.report.data_picture import draw_sample
from clifctl.report.pictures import LAYOUTS, Layout, new_figure, write_picture
from clifctl.results.data import SampleResult

Run = Callable[..., Any]

# A half formula, letters that DejaVu lacks, a byte that is no text, and a line's end.
NAMES = ["cost$^", "a$b$", "網路\U0001f9e0", "\udcff", "two\nlines\x00"]


def sample(name: str) -> SampleResult:
    return SampleResult(
        data=name, split="test", sample=0, name=None, label=1, samples_in_split=1,
        shape=(1, 1, 3, 3), sha256=None, polarities=None, frames=(), picture=None, class_name=name,
    )  # fmt: skip


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_drawn(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / f"p.{ending}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_picture(path, draw_sample, sample(name), np.eye(3, dtype=np.float32)[None, None])
    assert path.stat().st_size > 2000
    if ending == "svg":
        ElementTree.parse(path)


def test_a_name_is_shown_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "p.svg"
    layout = replace(LAYOUTS["page"], title=True)
    write_picture(path, draw_sample, sample("a$b$ \udcff\n"), np.eye(3)[None, None], layout=layout)
    drawn = "".join(ElementTree.parse(path).getroot().itertext())
    shown = r"a$b$ \udcff\n"
    assert " ".join(f"{shown}: test sample 0, label 1 '{shown}'".split()) in " ".join(drawn.split())


def test_fonts_are_those_that_journals_take(tmp_path: Path) -> None:
    for ending in ("pdf", "svg"):
        for time in ("first", "second"):
            path = tmp_path / f"{time}.{ending}"
            write_picture(path, draw_sample, sample("digits"), np.eye(3)[None, None])
        assert (tmp_path / f"first.{ending}").read_bytes() == path.read_bytes()
    pdf = (tmp_path / "first.pdf").read_bytes()
    assert b"/CIDFontType2" in pdf  # TrueType
    assert b"/Type3" not in pdf
    texts = ElementTree.parse(tmp_path / "first.svg").iter("{http://www.w3.org/2000/svg}text")
    assert "input value" in {text.text for text in texts}


def test_a_matplotlibrc_changes_nothing(tmp_path: Path) -> None:
    import matplotlib

    def draw(layout: Layout) -> Any:
        figure = new_figure(3.0, 2.0)
        figure.subplots().plot([1, 2, 3], label="one")
        return figure

    write_picture(tmp_path / "plain.png", draw)
    ours = {"text.usetex": True, "savefig.transparent": True, "lines.linewidth": 9.0}
    with matplotlib.rc_context(ours):
        write_picture(tmp_path / "set.png", draw)
        assert matplotlib.rcParams["lines.linewidth"] == 9.0
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "set.png").read_bytes()


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "no-such"])
def test_the_backend_of_the_environment_is_not_asked(tmp_path: Path, backend: str) -> None:
    script = (
        "import os, pwd, sys; from pathlib import Path; from clifctl.report import pictures;"
        "pwd.getpwuid = lambda user: {}[user];"  # nor is there a home directory
        "pictures.require_picture_possible(Path('p.png'));"
        "pictures.write_picture(Path('p.png'), lambda layout: pictures.new_figure(2.0, 2.0));"
        f"assert os.environ['MPLBACKEND'] == {backend!r};"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {"MPLBACKEND": backend, "PYTHONPATH": str(Path(pictures.__file__).parents[2])}
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, timeout=120
    )
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("into", [[], ["-o", "result.json"]])
def test_a_picture_that_fails_loses_no_result(
    clifctl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, into: list[str]
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("no room")

    monkeypatch.setattr(data_picture, "draw_sample", broken)
    done = clifctl("data", "show", "digits", "--plot", "p.png", "--json", *into)
    assert done.code == 1
    assert "the result was written, but not its picture: ValueError: no room" in done.err
    result = (tmp_path / "result.json").read_text() if into else done.out
    assert '"schema": "clifctl.data.show/1"' in result
    assert not (tmp_path / "p.png").exists()

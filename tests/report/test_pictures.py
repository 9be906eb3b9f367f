"""Pictures: the same whatever matplotlib is set to, any name in them, and no result lost by one."""

import base64
import io
import re
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
from fontTools.ttLib import TTFont
from PIL import Image

from clifctl.errors import OutputError
from clifctl.report import data_picture, pictures
from clifctl.report.data_picture import draw_sample
from clifctl.report.pictures import (
    LAYOUTS,
    Layout,
    LineEnd,
    figure_of_panels,
    finish,
    label_ends,
    layout_of,
    new_figure,
    write_picture,
)
from clifctl.report.styles import neuron_style
from clifctl.results.data import SampleResult

Run = Callable[..., Any]
SVG_TEXT = "{http://www.w3.org/2000/svg}text"

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
    layout = replace(LAYOUTS["page"], title="")
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
    texts = {text.text for text in ElementTree.parse(tmp_path / "first.svg").iter(SVG_TEXT)}
    assert "input value" in texts
    svg = (tmp_path / "first.svg").read_text()
    found = re.search(r"font-family:'([^']+)';src:url\(data:font/woff;base64,([^)]+)\)", svg)
    assert found is not None
    assert f"'{found[1]}'" in svg[found.end() :]  # what texts are set in
    font = TTFont(io.BytesIO(base64.b64decode(found[2])))
    assert set(map(chr, font.getBestCmap())) == set("".join(map(str, texts)))
    assert len(svg) < 30_000


def test_a_matplotlibrc_changes_nothing(tmp_path: Path) -> None:
    import matplotlib

    def draw(layout: Layout) -> Any:
        figure = new_figure(layout, 3.0, 2.0)
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
        "draw = lambda layout: pictures.new_figure(layout, 2.0, 2.0);"
        "pictures.write_picture(Path('p.png'), draw);"
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


def two_lines(layout: Layout) -> Any:
    figure, axes = figure_of_panels(layout, 2)
    for axis in axes:
        axis.plot([1, 2], [0.0, 0.1])
    label_ends(figure, {axes[0]: [LineEnd("lif", 0.1, neuron_style("lif"))]})
    return finish(figure, layout, "own title", "A note that says what the lines are. " * 3)


@pytest.mark.parametrize(
    ("size", "inches"),
    [("column", (3.25, None)), ((5.0, None), (5.0, None)), ((5.0, 3.0), (5.0, 3.0)),
     pytest.param((3.25, 2.6), (3.25, 2.6), marks=pytest.mark.exhaustive),
     pytest.param((9.0, 8.0), (9.0, 8.0), marks=pytest.mark.exhaustive)],
)  # fmt: skip
def test_a_picture_has_its_size(tmp_path: Path, size: Any, inches: Any) -> None:
    path = tmp_path / "p.png"
    for title in ("", "a title of its own, which has to be broken into two lines " * 2):
        write_picture(path, two_lines, layout=layout_of(size, title), dpi=100)
        with Image.open(path) as picture:
            assert picture.width == round(100 * inches[0])
            if inches[1] is not None:
                assert picture.height == round(100 * inches[1])
            assert picture.info["Title"] == (title or "own title")


def test_panels_stand_side_by_side_as_the_width_allows() -> None:
    sizes = [layout_of((width, None), None) for width in (1.5, 3.25, 4.5, 6.75, 12.0)]
    assert [one.across for one in sizes] == [1, 1, 2, 3, 5]
    assert [one.width_of(3.25) for one in sizes] == [1.5, 3.25, 4.5, 6.75, 12.0]
    assert layout_of("page", None).width_of(3.25) == 3.25


def test_a_picture_that_is_too_low_is_refused(tmp_path: Path) -> None:
    for height in (0.2, 0.6):
        with pytest.raises(OutputError, match="no room for its panels") as refused:
            write_picture(tmp_path / "p.png", two_lines, layout=layout_of((5.0, height), None))
        assert refused.value.hint is not None
        assert re.match(r"--size 5x2\.\d is as high as it needs", refused.value.hint)
        assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--size", "colum"), ("--size colum: must be page, column, or inches, as in 5 or 5x3",)),
        (("--size", "5x"), ("must be page, column",)),
        (("--size", "0x3"), ("the width must be from 1.5 to 40 inches", "2.54 cm")),
        (("--size", "16x900"), ("the height must be from 1 to 60 inches",)),
        (("--title", "word"), ("word",)),
    ],
)
def test_what_is_no_size_is_refused(
    clifctl: Run, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    done = clifctl("data", "show", "digits", "--plot", "p.png", *arguments)
    assert done.code == 2
    assert all(part in done.err for part in parts), done.err
    assert not Path("p.png").exists()


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (("--title", "LIF, T = 8"), "LIF, T = 8"),
        (("--title=LIF",), "LIF"),
        (("--title",), "digits: test sample 0, label 4"),
        (("--title", "timesteps=3"), "digits: test sample 0, label 4"),
    ],
)
def test_a_title_is_a_text_or_the_own_one(
    clifctl: Run, arguments: tuple[str, ...], title: str
) -> None:
    done = clifctl("data", "show", "digits", "--plot", "p.svg", *arguments)
    assert (done.code, done.err) == (0, "")
    texts = ElementTree.parse("p.svg").iter(SVG_TEXT)
    assert title in " ".join("".join(text.itertext()) for text in texts)

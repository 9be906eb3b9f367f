"""`report`: one page of runs, results and checkpoints, whole and hostile ones."""

import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from clifctl.results.quantities import documents

Run = Callable[..., Any]
VOID = {"meta", "br", "hr", "img"}
HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m"


class Page(HTMLParser):
    """A page as a browser reads it: its elements, texts by the element that they are in."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.styles = 0
        self._open: list[str] = []
        self.content = path.read_text(encoding="utf-8")
        self.feed(self.content)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert not any(name.startswith("on") for name in given)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        if "href" in given:
            (self.links if tag == "a" else self.loaded).append(given["href"])
        self.loaded += [given["src"]] if "src" in given else []
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    def text(self, *tags: str) -> str:
        """All texts in elements of these names."""
        return "\n".join(one for tag in tags for one in self.texts.get(tag, ()))

    def is_self_contained(self) -> bool:
        """Nothing is fetched and nothing is run, and every link leads to a place in the page."""
        assert not {"script", "iframe", "object", "link", "img"} & set(self.tags)
        assert all(one.startswith("data:image/png;base64,") for one in self.loaded)
        assert [one.removeprefix("#") for one in self.links] == list(dict.fromkeys(self.ids))
        style = self.text("style")
        return not any(one in style for one in ("url(", "@import", "http"))


@pytest.fixture
def kept(root: Path, tmp_path: Path) -> Path:
    """The runs, grids and results of an older version, in a folder of their own."""
    path = tmp_path / "kept"
    shutil.copytree(root / "tests" / "data" / "kept" / "numerics-3", path)
    return path


def test_a_run_is_shown_with_what_its_net_does(clifctl: Run, kept: Path, tmp_path: Path) -> None:
    how = ("--json", "--target", "reference")
    made = clifctl("report", "kept/finished", "-o", "r.html", "--samples", "500", *how)
    assert made.code == 0, made.err
    sections = {one["section"]: one for one in made.json["sections"]}
    assert made.json["schema"] == "clifctl.report/1"
    assert list(sections) == [
        *("At a glance", "Curves", "Evaluation", "Firing rates"),
        *("Spikes and membrane potentials", "Energy", "Recipe", "Machine", "Not in this report"),
    ]
    assert not any(one["missing"] for one in sections.values())
    evaluation = "clifctl eval kept/finished/last.pt --per-class --confusion"
    assert sections["Evaluation"]["command"] == evaluation
    assert sections["At a glance"]["command"].startswith("clifctl train digits_rows_mlp ")
    page = Page(tmp_path / "r.html")
    assert page.is_self_contained()
    assert made.json["bytes"] == len(page.content.encode()) < 200_000
    result = json.loads((kept / "finished" / "result.json").read_text())
    assert f"{result['accuracy_percent_last']:.2f} %" in page.text("dd")
    # The accuracy after the last time step, of all test samples.
    evaluated = clifctl("eval", "kept/finished/last.pt", *how).json
    last = f"after step 8: {evaluated['accuracy_percent_per_step'][-1]:.2f} %"
    assert last in page.text("title")
    assert "500 test samples" in page.text("p")
    assert "features.0: 6 of 6 neurons" in page.text("text")
    for shown in ("threshold", "membrane potential u, before reset", "input current x"):
        assert shown in page.text("li")
    assert "clifctl gradients kept/finished/last.pt -o gradients.json" in page.text("code")
    assert page.text("summary").count("every operation") == 4
    refused = clifctl("report", "kept/finished", "-o", "r.html")
    assert (refused.code, refused.out) == (2, "")
    assert "exists already" in refused.err


def test_results_of_every_command_are_shown_without_any_net(
    clifctl: Run, kept: Path, tmp_path: Path
) -> None:
    files = sorted((kept / "documents").glob("*.json"))
    made = clifctl("report", *map(str, files), "-o", "all.html", "--json")
    assert made.code == 0, made.err
    page = Page(tmp_path / "all.html")
    assert page.is_self_contained()
    assert page.text("h2") == "\n".join(file.name for file in files)
    sections = {one["source"].rpartition("/")[2]: one["section"] for one in made.json["sections"]}
    assert sections["gradients.json"] == "Gradients by lag"
    assert sections["truncate-bptt.json"] == "Windows"
    assert sections["convert.json"] == "Deployment on LIF neurons"
    compared = json.loads((kept / "documents" / "compare-neurons.json").read_text())
    assert compared["conclusions"][0] in page.text("li")
    energy = json.loads((kept / "documents" / "energy.json").read_text())
    assert energy["defects"][0]["published"] in page.text("li")
    assert {"svg", "table", "figure"} <= set(page.tags)


def test_every_document_has_a_kind_that_a_page_can_show() -> None:
    from clifctl.report.page.results import DRAWN, TABLES

    shown = {*DRAWN, *TABLES}
    others = {name for name, kind in documents() if kind not in shown}
    # What is shown as keys and values.
    assert others == {"clifctl.bench.engine", "clifctl.report", "clifctl.trial"}


def test_several_runs_stand_side_by_side_and_one_is_shown_as_far_as_it_is(
    clifctl: Run, kept: Path, tmp_path: Path
) -> None:
    (kept / "begun").mkdir()
    shutil.copy(kept / "finished" / "recipe.yaml", kept / "begun")
    manifest = json.loads((kept / "interrupted" / "manifest.json").read_text())
    manifest["command"] = ["/home/me/all.py", "--fast"]  # which trained by `clifctl.train`
    (kept / "interrupted" / "manifest.json").write_text(json.dumps(manifest))
    sources = [f"kept/{name}" for name in ("finished", "interrupted", "begun")]
    made = clifctl("report", *sources, "--samples", "0", "--json")
    assert made.code == 0, made.err
    page = Page(tmp_path / made.json["output"])
    assert page.is_self_contained()
    assert page.text("h2").startswith("Runs side by side\nfinished\ninterrupted\nbegun")
    said = page.text("p")
    assert "This run is interrupted: 2 of 6 epochs are finished" in said
    assert "no net was run (--samples 0)" in said
    missing = {(one["source"], one["section"]): one["missing"] for one in made.json["sections"]}
    assert missing["kept/begun", "Curves"] == "no epoch is finished"
    assert missing["kept/begun", "Net"] == "the run has saved no checkpoint yet"
    assert "manifest.json is lost" in missing["kept/begun", "Machine"]
    assert missing["kept/interrupted", "Curves"] is None
    commands = {(one["source"], one["section"]): one["command"] for one in made.json["sections"]}
    assert commands["kept/interrupted", "At a glance"] == "/home/me/all.py --fast"


def test_a_converted_net_and_a_results_folder(clifctl: Run, kept: Path, tmp_path: Path) -> None:
    sources = ("kept/converted.pt", "kept/comparison")
    made = clifctl("report", *sources, "-o", "c.html", "--json", "--target", "reference")
    assert made.code == 0, made.err
    assert Page(tmp_path / "c.html").is_self_contained()
    # Options without which a net is not found stand in its commands.
    named = ("--recipe", "kept/finished/recipe.yaml", "--samples", "7")
    other = clifctl("report", "kept/converted.pt", "-o", "d.html", "--json", *named)
    evaluation = other.json["sections"][0]
    assert (evaluation["section"], evaluation["command"]) == (
        "Evaluation",
        "clifctl eval kept/converted.pt --recipe kept/finished/recipe.yaml --per-class --confusion",
    )
    assert "500 test samples 7, evenly chosen" in Page(tmp_path / "d.html").text("p")
    found = [(one["source"], one["section"]) for one in made.json["sections"]]
    assert ("kept/converted.pt", "Spikes and membrane potentials") in found
    assert found[-2:] == [
        ("kept/comparison", "Runs"),
        ("kept/comparison", "Comparison of the trials"),
    ]
    # A grid that has kept its result is shown with that.
    result = kept / "documents" / "compare-neurons.json"
    shutil.copy(result, kept / "comparison" / "result.json")
    again = clifctl("report", "kept/comparison", "--json").json
    assert [one["section"] for one in again["sections"]] == ["Comparison"]
    assert again["output"] == "report-comparison.html"


def test_what_is_given_never_becomes_markup(clifctl: Run, kept: Path, tmp_path: Path) -> None:
    folder = kept / HOSTILE.replace("/", "")
    shutil.move(kept / "finished", folder)
    for name in ("manifest.json", "result.json"):
        text = (folder / name).read_text().replace("digits_rows_mlp", json.dumps(HOSTILE)[1:-1])
        (folder / name).write_text(text)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("title: CLIF", f"title: {HOSTILE[:-5]}CLIF"))
    document = json.loads((kept / "documents" / "compare-neurons.json").read_text())
    document["rows"][0]["neuron"] = document["recipe"] = HOSTILE
    document["conclusions"] = [HOSTILE]
    (tmp_path / "hostile.json").write_text(json.dumps(document))
    made = clifctl("report", str(folder), "hostile.json", "-o", "h.html", "--samples", "0")
    assert made.code == 0, made.err
    page = Page(tmp_path / "h.html")
    assert page.is_self_contained()
    assert "\x1b" not in page.content + made.out
    assert "<img src=x onerror=alert(1)>" in page.text("h1", "h2", "li", "code")


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (("nowhere",), ("'nowhere' is not there", "a run folder, a results folder")),
        (("empty",), ("there is no run in 'empty'", "clifctl train makes runs")),
        (("kept/documents",), ("there is no run in 'kept/documents'",)),
        (("list.json",), ("'list.json' is no result of a command", "--json, or -o FILE.json")),
        (("broken.json",), ("'broken.json' is not JSON",)),
        (("other.json",), ("no command gives a result of the schema 'clifctl.nothing/1'",)),
        (("newer.json",), ("this clifctl reads clifctl.eval/1",)),
        (("kept/finished/run.log",), ("'kept/finished/run.log' is no checkpoint",)),
        (("list.txt",), ("list.txt",)),
        (("kept/finished", "-o", "page.pdf"), ("a page is HTML", ".html")),
        (("kept/finished", "--samples", "-1"), ("--samples -1: must be 0 or more",)),
    ],
)
def test_what_is_no_source_is_refused_and_nothing_is_written(
    clifctl: Run, kept: Path, tmp_path: Path, sources: tuple[str, ...], words: tuple[str, ...]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "list.txt").write_text("1")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"schema": "clifctl.nothing/1"}')
    (tmp_path / "newer.json").write_text('{"schema": "clifctl.eval/2"}')
    refused = clifctl("report", *sources)
    assert (refused.code, refused.out) == (2, "")
    assert "Traceback" not in refused.err
    for word in words:
        assert word in refused.err
    assert not list(tmp_path.glob("*.html"))

"""Figures in README, docs and recipes are those of the stored results; no other stands there."""

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import clifctl
from clifctl.paper.tables import TABLES, table

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/figures.py, as a script of that folder sees itself."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import figures as module

    return module


def test_pages_say_what_the_stored_results_say(figures: ModuleType) -> None:
    """Mended by `python benchmarks/figures.py write`."""
    pages = figures.pages_as_stored()
    assert len(pages) > 25
    assert any(path.suffix == ".svg" for path in pages)
    differences = [figures.marks.difference(path, text) for path, text in pages.items()]
    assert "\n".join(filter(None, differences)) == ""


def test_quoted_figures_are_many(figures: ModuleType) -> None:
    """A page that lost its marks would pass every other test."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in figures.marks.pages())
    assert len(figures.marks.FIGURE.findall(text)) > 80
    assert len(figures.marks.TABLE.findall(text)) > 12


def test_stored_results_say_where_they_come_from(figures: ModuleType) -> None:
    places = set()
    for stored in figures.store.read_all():
        document = stored.document
        assert stored.path.name.startswith(document["date"])
        assert {"machine", "commit", "numerics_version", "commands", "versions"} <= set(document)
        numerics = document["numerics_version"]
        assert numerics is None or 1 <= numerics <= clifctl.NUMERICS_VERSION
        measured = stored.transcribed is None
        # What was not noted when it was measured cannot be noted any more, and is told.
        told = "note" in document
        assert told or (measured and document["commit"] and numerics and document["commands"])
        places.add((stored.group, json.dumps(document["machine"]), measured))
    assert len(places) == len(figures.store.read_all())


def test_what_is_measured_here_has_a_group_of_commands(figures: ModuleType) -> None:
    measured = {s.group for s in figures.store.read_all() if s.transcribed is None}
    assert measured <= set(figures.GROUPS)
    assert {"digits", "neurons"} <= measured


PAGE = """Of <!--=digits.images.clif.accuracy-->97.0<!--/--> %.

<!--table small-->
| a |
<!--/table-->
"""
FIGURES = {"digits.images.clif.accuracy": "96.90 ± 0.31"}
TEMPLATES = {"small": "| {digits.images.clif.accuracy} |"}


def test_marked_places_are_filled_in(figures: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    text = figures.marks.rewritten(page, FIGURES, TEMPLATES, {})
    assert text == PAGE.replace("97.0<", "96.90 ± 0.31<").replace("| a |", "| 96.90 ± 0.31 |")
    page.write_text(text, encoding="utf-8")
    assert figures.marks.rewritten(page, FIGURES, TEMPLATES, {}) == text


def test_lines_of_a_recipes_header_are_filled_in(figures: ModuleType, tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text("# Expect:  old\n# Takes:   old\ntitle: x\n", encoding="utf-8")
    headers = {"small": {"Expect": "{digits.images.clif.accuracy} %"}}
    text = figures.marks.rewritten(recipe, FIGURES, {}, headers)
    assert text == "# Expect:  96.90 +- 0.31 %\n# Takes:   old\ntitle: x\n"
    with pytest.raises(figures.marks.PageError, match="0 lines '# Look:'"):
        figures.marks.rewritten(recipe, FIGURES, {}, {"small": {"Look": "x"}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x <!--=digits.images.clf.accuracy-->1<!--/-->", "near: digits.images.clif.accuracy"),
        ("x <!--=digits.images.clif.accuracy-->1", "without its other end"),
        ("x\n<!--=digits.images.clif.accuracy-->1<!--/-->", ":2: .* first of its line"),
        ("- <!--=digits.images.clif.accuracy-->1<!--/-->", ":1: .* first of its line"),
        ("<!--table big-->\n<!--/table-->", "no table 'big'"),
        ("<!--table small-->\n", "without its other end"),
    ],
)
def test_a_wrong_mark_is_told(figures: ModuleType, tmp_path: Path, text: str, message: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(figures.marks.PageError, match=message):
        figures.marks.rewritten(page, FIGURES, TEMPLATES, {})


def document(group: str, date: str, machine: str, **rest: Any) -> dict[str, Any]:
    return {
        "schema": "clifctl.benchmarks.results/1",
        "group": group,
        "date": date,
        "machine": {"name": machine, "cores": 2, "vectors": "AVX2"},
        "commit": "0123456789",
        "numerics_version": clifctl.NUMERICS_VERSION,
        **rest,
    }


def test_a_measurement_takes_the_place_of_an_older_one_of_the_same_machine(
    figures: ModuleType, tmp_path: Path
) -> None:
    def stored(date: str, machine: str) -> None:
        figures.store.write(document("digits", date, machine, results={}), tmp_path)

    stored("2026-01-01", "One(R) Processor")
    stored("2026-01-03", "Other")
    stored("2026-01-02", "One(R) Processor")
    said = document("digits", "2026-01-09", "Third", transcribed={"a": "1"})
    (tmp_path / "2026-01-09-said.json").write_text(json.dumps(said))
    found = figures.store.read_all(tmp_path)
    assert [s.path.name for s in found] == [
        "2026-01-09-said.json",
        "2026-01-02-digits-one-2-cores-avx2.json",
        "2026-01-03-digits-other-2-cores-avx2.json",
    ]
    newest = figures.store.newest_by_group(found)["digits"]
    assert figures.names.machine(newest) == "Other, 2 cores, AVX2"


def test_results_of_another_numerics_version_say_so(figures: ModuleType) -> None:
    now = clifctl.NUMERICS_VERSION
    new = figures.store.Stored(Path("x"), document("digits", "2026-01-01", "One"))
    old = figures.store.Stored(Path("x"), {**new.document, "numerics_version": now - 1})
    assert figures.names.provenance(new).endswith(f"commit 0123456, numerics version {now}")
    assert figures.names.provenance(old).endswith(f"numerics version {now - 1} (now {now})")


def test_what_a_run_takes_is_of_its_command(figures: ModuleType) -> None:
    stored = figures.store.newest_by_group(figures.store.read_all())["digits"]
    assert stored.transcribed is None
    found = figures.names.figures_of(stored)
    seconds = stored.document["cpu_seconds"]["images"]
    assert found["images.takes"] == f"{seconds / 10:.0f}"
    free = figures.store.Stored(stored.path, {**stored.document, "load_before": 0.1})
    busy = figures.store.Stored(stored.path, {**stored.document, "load_before": 3.0})
    assert figures.names.figures_of(free)["state"] == "free"
    assert figures.names.figures_of(busy)["state"] == "busy"


MEASUREMENT = re.compile(
    r"\d ?(?:±|\+-) ?\d|\bp [=<] \d|\d times\b"
    r"|\d ?(?:ms|s|[MG]iB|[um]J|%|core-\w+|hours?|minutes?|seconds?|days?)(?!\w)"
)
# What looks like a measurement and is none: page, words around it, why.
NO_MEASUREMENTS = [
    ("docs/cluster.md", "every 10 seconds", "a setting"),
    ("docs/cluster.md", "compute 100 and 1,000 times as fast", "an assumption"),
    ("docs/command-line.md", "60s, or say 200steps", "a setting"),
    ("docs/comparing.md", "mean, 95 % interval", "a level of confidence"),
    ("docs/convert.md", "500 test images (0.2 % each)", "arithmetic"),
    ("docs/convert.md", "dt = 0.1 ms", "a convention"),
    (
        "docs/data.md",
        "logistic regression 32 %, MLP 68 %, GRU 91 %, CNN 94 %",
        "what its authors published",
    ),
    ("docs/digits.md", "misses the 5 % level", "a level of significance"),
    ("docs/energy.md", "(1 MiB, 100 pJ)", "a price"),
    ("docs/energy.md", "It fires 64 x 0.25 = 16 times", "an example by hand, which a test holds"),
    ("docs/energy.md", "within 1 % (DVS-Gesture: 9 %)", "a bound that a test holds"),
    ("docs/energy.md", "3 times LIF's MACs, 4 times its", "the published accounting"),
    ("docs/event-data.md", "events on 10 % of the pixels", "an input"),
    ("docs/event-data.md", "At most 512 MiB a file", "a bound that a test holds"),
    ("docs/event-data.md", "with events on 40 %", "an input"),
    ("docs/events.md", "less than 30 % is not zero", "a setting"),
    ("docs/experiments.md", "has a 95 % interval", "a level of confidence"),
    ("docs/experiments.md", "finding below 5 %", "a level of significance"),
    ("docs/python.md", "with an interval of 95 %", "a level of confidence"),
    ("docs/training.md", "ended after 30 seconds", "a setting of torchrun"),
    ("docs/transformer.md", "98.26 % of LIF", "the paper's"),
    ("benchmarks/README.md", "of which 5 % are not zero", "an input"),
    ("benchmarks/README.md", "densities from 5 to 100 %", "an input"),
    ("benchmarks/README.md", "fewer than 0.1 % of the spikes", "a tolerance"),
    ("benchmarks/README.md", "at most 1 % may be", "a tolerance"),
    ("benchmarks/README.md", "saving every 60 s", "a setting"),
    ("benchmarks/README.md", "waits for 5 % of its time", "a bar"),
]


def typed_by_hand(figures: ModuleType, path: Path) -> str:
    """What of a page, or of a recipe's header, no mark covers; code is none of it."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        words = "|".join(figures.tables.HEADERS.get(path.stem, {"-": ""}))
        lines = [line for line in text.splitlines() if line.startswith("#")]
        return "\n".join(line for line in lines if not re.match(rf"# (?:{words}):", line))
    text = figures.marks.FIGURE.sub("", figures.marks.TABLE.sub("", text))
    return re.sub(
        r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )


def test_no_measurement_is_typed_into_a_page(figures: ModuleType) -> None:
    typed = []
    for path in figures.marks.pages():
        page = str(path.relative_to(ROOT))
        if page == "docs/reference.md":  # written from the code
            continue
        text = typed_by_hand(figures, path)
        for named, words, _ in NO_MEASUREMENTS:
            if named == page:
                assert words in text, f"{page} no longer says '{words}'"
                text = text.replace(words, "")
        if path.suffix == ".yaml":
            text = without_published(text)
        for found in MEASUREMENT.finditer(text):
            typed.append(f"{page}: ...{text[max(0, found.start() - 40) : found.end() + 20]!r}")
    assert typed == []


def without_published(text: str) -> str:
    """A header without the accuracies that the paper published, which its recipes name."""
    cells = [cell for number in TABLES for row in table(number).rows for cell in row.cells.values()]
    published = {f"{cell:.2f}" for cell in cells if isinstance(cell, float)}
    return re.sub(r"(\d\d\.\d\d) %", lambda found: "" if found[1] in published else found[0], text)


@pytest.mark.parametrize(
    "text",
    [
        *("97.1 ± 0.4", "96.9 +- 0.3 %", "p = 0.02", "p < 0.001", "takes 15 s", "22 s on one core"),
        *("4.5 times", "17 ms", "95.5 MiB", "530 uJ", "5 core-seconds", "about 4 minutes", "1.5 %"),
    ],
)
def test_what_looks_like_a_measurement_is_found(text: str) -> None:
    assert MEASUREMENT.search(text)


@pytest.mark.parametrize("text", ["T = 4", "[%]", "3x3", "seeds 0 to 4", "128x128", "16 steps"])
def test_what_does_not_is_not(text: str) -> None:
    assert not MEASUREMENT.search(text)

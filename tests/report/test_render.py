import csv
import io
import json
from dataclasses import dataclass
from typing import ClassVar

import pytest

from clifctl.report.render import ENDINGS, FORMATS, Column, Report, Table, document_of, render
from clifctl.results.result import Result


@dataclass(frozen=True)
class Small(Result):
    schema: ClassVar[str] = "test/1"
    value: float
    steps: tuple[float, ...]


COLUMNS = (
    Column("name", "name"),
    Column("rate_percent", "rate [%]", 2),
    Column("steps", "steps", 1),
    Column("count", "count", 0),
    Column("done", "done"),
)
ROWS = (
    {"name": "a|b", "rate_percent": 1 / 3, "steps": (0.25, 0.5), "count": 12345, "done": True},
    {"name": "c" * 70, "rate_percent": float("nan"), "steps": (), "count": 1, "done": False},
)
REPORT = Report(
    document_of(Small(float("nan"), (1.0, float("inf")))),
    (Table("a title", COLUMNS, ROWS, notes=("a note",)),),
)


def text(how: str, report: Report = REPORT) -> str:
    stream = io.StringIO()
    render(report, how, stream)
    return stream.getvalue()


def test_json_is_one_document_without_nan() -> None:
    assert json.loads(text("json")) == {"schema": "test/1", "value": None, "steps": [1.0, None]}


def test_jsonl_is_a_document_a_row() -> None:
    rows = [json.loads(line) for line in text("jsonl").splitlines()]
    assert rows[0] == {**ROWS[0], "steps": [0.25, 0.5]}
    assert rows[1]["rate_percent"] is None


def test_csv_keeps_every_digit() -> None:
    rows = list(csv.DictReader(io.StringIO(text("csv"))))
    assert float(rows[0]["rate_percent"]) == 1 / 3
    assert rows[0]["steps"] == "[0.25, 0.5]"
    assert rows[0]["done"] == "true"
    assert rows[1]["rate_percent"] == ""


def test_markdown_escapes_its_own_marks() -> None:
    lines = text("md").splitlines()
    assert "| name | rate [%] | steps | count | done |" in lines
    assert "| a\\|b | 0.33 | 0.2 0.5 | 12,345 | yes |" in lines
    assert lines[-1] == "a note"


@pytest.mark.parametrize("columns", ["40", "10", None])
def test_a_table_that_is_no_terminal_is_never_cut(
    columns: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    table = text("table")
    assert "c" * 70 in table
    assert "…" not in table
    assert "\x1b" not in table
    assert "a title" in table
    assert "a note" in table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", [True, False])
def test_a_narrow_terminal_folds_and_loses_nothing(
    no_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    render(REPORT, "table", stream)
    shown = stream.getvalue()
    assert shown.count("c") >= 70
    assert "…" not in shown
    plain = shown.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert max(map(len, plain.splitlines())) <= 40


def test_text_follows_the_tables_or_replaces_them() -> None:
    both = Report(REPORT.document, REPORT.tables, text="key: 1\n")
    assert text("table", both).endswith("key: 1\n")
    assert "a title" in text("table", both)
    alone = Report(REPORT.document, REPORT.tables, text="key: 1\n", text_only=True)
    assert text("table", alone) == "key: 1\n"
    assert text("md", alone) == "```yaml\nkey: 1\n```\n"


def test_every_format_has_output() -> None:
    assert len(FORMATS) >= 5
    for how, form in FORMATS.items():
        assert text(how)
        assert ENDINGS[form.ending] == how

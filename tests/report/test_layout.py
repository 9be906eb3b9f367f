"""How tables fit a terminal: what is compared stands side by side, and nothing is cut."""

import io
import re

import pytest

from clifctl.report.render import Column, Report, Table, render

NEURONS = ("lif", "clif", "plif", "relu")
QUANTITIES = [f"quantity {number} of some length" for number in range(9)]
COMPARED = Table(
    "four neurons",
    (Column("neuron", "neuron"), *(Column(label, label) for label in QUANTITIES)),
    tuple(
        {"neuron": name, **{label: f"{n}{row}.123 ± 0.456" for n, label in enumerate(QUANTITIES)}}
        for row, name in enumerate(NEURONS)
    ),
)
LIST = Table(
    "a list",
    (
        *(Column("name", "name"), Column("first", "first"), Column("title", "title")),
        *(Column("second", "second"), Column("third", "third")),
    ),
    tuple(
        {
            "name": f"name_{number}",
            "first": "a" * 20,
            "title": "a title of several words, and more of them",
            "second": "b" * 20,
            "third": "ccc",
        }
        for number in range(30)
    ),
    optional=("second", "first", "third"),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(table: Table, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a terminal of `width` characters shows, without colours."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    render(Report({}, (table,)), "table", stream)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("width", [80, 120, 180])
def test_four_neurons_stand_side_by_side(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(COMPARED, width, monkeypatch)
    for n in range(len(QUANTITIES)):
        cells = [f"{n}{row}.123 ± 0.456" for row in range(4)]
        together = [line for line in lines if all(cell in line for cell in cells)]
        alone = [line for line in lines if all(f"{k}0.123" in line for k in (n, (n + 1) % 9))]
        assert together if width < 150 else alone
    if width == 80:
        assert lines[1].split() == ["neuron", *NEURONS]


def test_rows_that_do_not_fit_side_by_side_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(
        {**row, "neuron": f"{row['neuron']}{n}"} for n in range(3) for row in COMPARED.rows
    )
    lines = shown(Table("many", COMPARED.columns, rows), 80, monkeypatch)
    parts = [line for line in lines if re.search(r"\blif1\b", line)]
    assert 2 <= len(parts) < len(QUANTITIES)
    assert re.findall(r"(\d)0\.123", " ".join(parts)) == list("012345678")


def test_a_list_leaves_out_columns_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(LIST, 60, monkeypatch)
    assert "title" in lines[1]
    assert len([line for line in lines if line.strip().startswith("name_")]) == 30
    # The narrow one has room again where the wide ones are gone.
    assert lines[1].split() == ["name", "title", "third"]
    assert any(line.startswith("left out, for want of room: first; second") for line in lines)
    assert not any("left out" in line for line in shown(LIST, 160, monkeypatch))


def test_names_are_not_folded_and_text_is_folded_between_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = (Column("run", "run"), Column("what", "what"))
    row = {"run": "runs/compare-digits_snn5/1294fecdb4", "what": "some words of a sentence " * 4}
    lines = shown(Table("names", columns, (row,)), 60, monkeypatch)
    assert any(row["run"] in line for line in lines)
    words = " ".join(lines[2:]).split()
    assert [word for word in words if word.startswith("sent")] == ["sentence"] * 4


@pytest.mark.parametrize("width", [12, 25])
def test_the_narrowest_terminal_loses_nothing(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for table, mark, count in ((COMPARED, "±", 36), (LIST, "_", 30)):
        text = "".join(shown(table, width, monkeypatch))
        assert text.count(mark) == count
        assert "…" not in text

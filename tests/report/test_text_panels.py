"""Curves of plain characters."""

import math

import pytest

from clifctl.report.text_panels import TextPanel, text_panels

NAN = math.nan


def columns(lines: list[str], mark: str) -> dict[int, int]:
    """Column -> line, of a mark in the lines of a drawing."""
    rows = [line.partition("|")[2] for line in lines if "|" in line]
    return {at: n for n, row in enumerate(rows) for at, one in enumerate(row) if one == mark}


def test_a_straight_line_falls_from_the_highest_value_to_the_lowest() -> None:
    panel = TextPanel("loss", {"training": (8.0, 1.0), "test": (1.0, 1.0)}, 1)
    title, *lines = text_panels([panel], 40)[1:]
    assert title == "loss: * training, o test"
    training, test = columns(lines, "*"), columns(lines, "o")
    assert lines[0].startswith(" 8.0 |*")
    assert lines[7].startswith(" 1.0 |")
    assert training[0] == 0
    assert list(training.values()) == sorted(training.values())  # ever lower
    assert set(test.values()) == {7}
    assert set(training) | set(test) == set(range(33))
    assert lines[-2].split() == ["1", "2"]
    assert lines[-1].strip() == "epoch"


@pytest.mark.parametrize("count", [1, 2, 29, 500])
@pytest.mark.parametrize("width", [32, 57, 300])
def test_every_line_fits_and_every_epoch_counts(count: int, width: int) -> None:
    values = tuple(1 / (1 + epoch) for epoch in range(count))
    lines = text_panels([TextPanel("loss", {"a long name of a curve": values}, 4)], width)
    assert max(map(len, lines)) <= min(width, 80)
    drawn = columns(lines, "*")
    room = min(width, 80) - 10
    assert len(drawn) == (1 if count == 1 else room)
    if count > 1:
        assert sorted(drawn) == list(range(room))
        assert [drawn[at] for at in range(room)] == sorted(drawn.values())  # ever lower
    if 1 < count <= room:  # no means
        assert (drawn[0], drawn[room - 1]) == (0, 7)


def test_what_is_not_known_is_not_drawn() -> None:
    assert text_panels([TextPanel("loss", {"a": (1.0, 2.0)}, 2)], 31) == []
    assert text_panels([TextPanel("loss", {"a": (NAN, math.inf), "b": ()}, 2)], 80) == []
    lines = text_panels([TextPanel("loss", {"a": (4.0, NAN, 2.0)}, 1)], 40)
    drawn = columns(lines, "*")
    assert (min(drawn), max(drawn)) == (0, 32)
    assert len(drawn) == 2  # nothing is made up between them

"""Axes, marks, colours and heat maps of a page."""

import re
from itertools import pairwise

import pytest

from clifctl.report.elements import as_html, element, number
from clifctl.report.page.chart import WIDTH, Chart, names_axis, powers_axis, steps_axis, values_axis
from clifctl.report.page.colours import DARK, contrast, on_dark, themed
from clifctl.report.page.heat import heat_map
from clifctl.report.styles import NEURONS, Style

LOOK = NEURONS["clif"]


def test_an_element_holds_text_and_no_markup() -> None:
    shown = element("p", "a < b & \x1b", element("b", "c"), " d", None, class_="x", title='"&<')
    assert as_html(shown) == (
        '<p class="x" title="&quot;&amp;<">a &lt; b &amp; \\x1b<b>c</b> d</p>'
    )
    assert [number(one) for one in (1.0, 0.125, -0.001, 12.5, 1e6)] == [
        *("1", "0.12", "-0", "12.5"),
        "1000000",
    ]


@pytest.mark.parametrize(
    ("values", "how", "ticks"),
    [
        ((0.0, 1.0), {}, ("0.00", "0.25", "0.50", "0.75", "1.00")),
        ((91.0, 99.8, 98.0), {"least": 2.0, "most": 100.0}, ("92", "94", "96", "98", "100")),
        ((100.0, 100.0), {"least": 2.0, "most": 100.0}, ("96", "98", "100")),
        ((1.0, 40.0), {"whole": True, "room": 0.02}, ("10", "20", "30", "40")),
        ((1.0,), {"whole": True, "room": 0.0, "least": 1.0}, ("1",)),
        ((2.0, 3.1), {"zero": True}, ("0", "1", "2", "3")),
        ((0.0, 0.0), {"zero": True}, ("0.00", "0.25", "0.50", "0.75", "1.00")),
        ((), {}, ("0.00", "0.25", "0.50", "0.75", "1.00")),
        ((None, float("nan"), 5e6, 9e6), {}, ("5,000,000", "6,000,000", "7,000,000")),
    ],
)
def test_ticks_are_round_and_hold_the_values(
    values: tuple[float | None, ...], how: dict[str, float], ticks: tuple[str, ...]
) -> None:
    axis = values_axis("", values, **how)
    assert tuple(text for _, text in axis.ticks)[: len(ticks)] == ticks
    for value in values:
        if value is not None and value == value:
            assert 0.0 <= axis.share(value) <= 1.0


def test_points_lie_where_the_axes_say() -> None:
    chart = Chart("a", powers_axis("k", [1, 2, 4]), values_axis("y", [0.0, 10.0], room=0.0))
    (left, _), (middle, down), (right, _) = (chart.at(k, 10.0) for k in (1, 2, 4))
    assert middle - left == pytest.approx(right - middle)
    assert down == pytest.approx(chart.top)
    rows = Chart("a", steps_axis(4), names_axis(["first", "second"]))
    assert rows.at(1, 0)[1] < rows.at(1, 1)[1]
    chart.curve([(1, 0.0), (2, float("nan")), (4, 10.0)], LOOK, ["one", "none", "four"])
    path, *marks = chart.svg[-3:]
    # What is no number is a gap, and has no mark.
    assert re.fullmatch(r"M[\d. ]+M[\d. ]+", path.get("d") or "")
    assert [mark[0].text for mark in marks] == ["one", "four"]
    assert path.get("style") == themed(LOOK.colour)


def test_labels_below_an_axis_never_meet() -> None:
    chart = Chart("a", powers_axis("k", range(1, 33)), values_axis("y", [0.0, 1.0]))
    texts = [(float(one.get("x") or 0), one.text or "") for one in chart.svg.iter("text")]
    below = [(x, text) for x, text in texts if text.isdigit() and int(text) > 1]
    assert len(below) > 4
    assert below == sorted(below)
    ends = [(x - 3.2 * len(text), x + 3.2 * len(text)) for x, text in below]
    assert all(end < start for (_, end), (start, _) in pairwise(ends))
    assert ends[-1][1] <= WIDTH


def test_every_colour_can_be_seen_on_a_dark_page() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)
    for name, style in NEURONS.items():
        assert contrast(on_dark(style.colour), DARK) >= 4.5, name
    assert on_dark("#FFFFFF") == "#FFFFFF"


def test_a_heat_map_has_a_cell_for_what_is_known() -> None:
    svg = heat_map(
        "map",
        [[0.0, 1.0], [None, 0.3]],
        ["a", "b" * 40],
        ["c", "d"],
        text=lambda row, column: f"{row}{column}",
        said=lambda row, column: f"row {row}",
    )
    assert [one.get("fill-opacity") for one in svg.iter("rect")] == ["0.06", "1.00", "0.34"]
    texts = [(one.text, one.get("class")) for one in svg.iter("text")]
    assert texts[:4] == [("a", None), ("…" + "b" * 23, None), ("c", None), ("d", None)]
    assert texts[4:] == [("00", None), ("01", "on"), ("11", None)]


def test_every_marker_of_a_style_is_drawn() -> None:
    chart = Chart("a", steps_axis(2), values_axis("y", [0.0, 1.0]))
    shapes = set()
    for marker in "osD^vPX<>phd8":
        chart.mark(1, 0.5, Style("#000000", marker, "-"))
        drawn = chart.svg[-1]
        shapes.add((drawn.tag, drawn.get("class"), drawn.get("d")))
    assert len(shapes) == 13

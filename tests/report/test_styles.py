"""Every neuron has one look, which survives grey, colour blindness and white paper."""

from itertools import combinations

import numpy as np
import pytest

from clifctl.neurons import NEURONS as REGISTERED
from clifctl.report.styles import (
    NEURONS,
    Style,
    neuron_style,
    neuron_styles,
    run_styles,
    series_styles,
    short_name,
)

# Linear sRGB to CIE XYZ (D65), IEC 61966-2-1.
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
# What people without one kind of cone see of linear RGB: Machado, Oliveira and Fernandes 2009,
# severity 1.
VISION = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]
    ),
    "deuteranopia": np.array(
        [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]
    ),
    "tritanopia": np.array(
        [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]
    ),
}


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    low = parts / 12.92
    return np.where(parts <= 0.04045, low, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB."""
    x, y, z = TO_XYZ @ rgb / np.array([0.9505, 1.0, 1.089])
    f = [t ** (1 / 3) if t > 216 / 24389 else 841 / 108 * t + 4 / 29 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast_on_white(colour: str) -> float:
    """WCAG 2."""
    return float(1.05 / (TO_XYZ[1] @ linear(colour) + 0.05))


OWN = [f"mine.py:Neuron{number}" for number in range(40)]


def test_every_neuron_of_the_table_is_told_apart() -> None:
    """Those that have no style of their own too: theirs are made up, as a person's own neurons'."""
    assert set(NEURONS) <= set(REGISTERED)
    assert len(set(neuron_styles(REGISTERED).values())) == len(REGISTERED)
    for field in ("colour", "marker", "dashes"):
        assert len({getattr(style, field) for style in NEURONS.values()}) == len(NEURONS)


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(vision: str) -> None:
    seen = {
        name: lab(np.clip(VISION[vision] @ linear(style.colour), 0, 1))
        for name, style in NEURONS.items()
    }
    for one, other in combinations(seen, 2):
        # 2.3 is just noticed side by side.
        assert np.linalg.norm(seen[one] - seen[other]) > 12, (one, other)


def test_lif_and_clif_differ_in_grey() -> None:
    lightness = {name: lab(linear(NEURONS[name].colour))[0] for name in ("lif", "clif", "relu")}
    assert lightness["clif"] - lightness["lif"] > 15
    assert lightness["lif"] - lightness["relu"] > 15


def test_colours_are_seen_on_white() -> None:
    colours = {style.colour for style in NEURONS.values()}
    colours |= {neuron_style(name).colour for name in OWN}
    for colour in colours:
        assert contrast_on_white(colour) >= 3, colour


def test_an_own_neuron_looks_the_same_everywhere() -> None:
    style = neuron_style("mine.py:Foo")
    assert style == neuron_style("/somewhere/else/mine.py:Foo")
    assert style == neuron_styles(["lif", "clif", "mine.py:Foo"])["mine.py:Foo"]
    assert style.marker not in {one.marker for one in NEURONS.values()}
    assert style.colour not in {one.colour for one in NEURONS.values()}


def test_no_two_of_a_picture_look_alike() -> None:
    names = ["clif", "clif(tau=3)", "clif(tau=4)", "lif", *OWN[:8]]
    found = neuron_styles(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    assert found["clif"] == NEURONS["clif"]
    assert neuron_style("clif(tau=3)") == NEURONS["clif"]


def test_runs_of_one_neuron_are_shades_of_its_colour() -> None:
    assert run_styles(["lif", "clif"]) == [NEURONS["lif"], NEURONS["clif"]]
    first, alone, second, third = run_styles(["clif", "lif", "clif", "clif"])
    assert alone == NEURONS["lif"]
    lightness = [lab(linear(style.colour))[0] for style in (first, second, third)]
    assert lightness[0] + 10 < lightness[1] < lightness[2] - 10
    assert len({style.marker for style in (first, second, third)}) == 3
    assert series_styles(NEURONS["clif"], 1) == [NEURONS["clif"]]
    assert len({style.marker for style in series_styles(Style("#00508C", "o", "-"), 6)}) == 6


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("clif", "clif"),
        ("a/b/mine.py:Foo", "mine.py:Foo"),
        ("somewhere/my_long_neurons.py:AdaptiveLeak", "AdaptiveLeak"),
        ("clif(v_threshold=0.5)", "clif(v_\N{HORIZONTAL ELLIPSIS}old=0.5)"),
        ("clif(v_threshold=0.75)", "clif(v_\N{HORIZONTAL ELLIPSIS}ld=0.75)"),
    ],
)
def test_names_are_short(name: str, short: str) -> None:
    assert short_name(name) == short

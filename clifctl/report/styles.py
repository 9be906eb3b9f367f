"""How a neuron, or one of several series, looks in every picture.

Each neuron has one colour, marker and line style. All colours have a contrast of at least 3 to 1 on
white and differ for people who do not see red, green or blue; the marker and the dashes tell lines
apart where there is no colour at all.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

# matplotlib's: "-", or an offset and the lengths of dashes and gaps in widths of the line.
Dashes = str | tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class Style:
    """Colour (#RRGGBB), marker and line style, as matplotlib takes them."""

    colour: str
    marker: str
    dashes: Dashes


NEURONS: dict[str, Style] = {
    "lif": Style("#00508C", "o", (0, (4, 1.5))),
    "plif": Style("#3E9BD0", "^", (0, (1.5, 1))),
    "klif": Style("#00855F", "v", (0, (4, 1.2, 1, 1.2))),
    "glif": Style("#B5579A", "D", (0, (7, 2))),
    "glif_channel": Style("#8200D9", "d", (0, (4, 1, 1, 1, 1, 1))),
    "clif": Style("#D55E00", "s", "-"),
    "alif": Style("#737339", "<", (0, (7, 1.5, 2, 1.5))),
    "cuba": Style("#592D47", ">", (0, (2.5, 2))),
    "tclif": Style("#731700", "p", (0, (1, 2))),
    "relu": Style("#000000", "X", (0, (1, 1))),
}
# Of a person's own neurons: chosen by name, so that a neuron looks the same in every picture.
_OWN_COLOURS = ("#6C6CD9", "#170073", "#BF0000", "#5621A6")
_OWN_MARKERS = ("P", "h", "8")
_OWN_LOOKS = len(_OWN_COLOURS) * len(_OWN_MARKERS)
_OWN_DASHES: tuple[Dashes, ...] = ((0, (6, 1, 1, 1)), (0, (3, 1)), (0, (2, 1, 1, 1)))
# Of several series in one picture: other markers than the first's.
_MARKERS = "osD^vPX<>phd"
_SHADES = (0.45, 0.55)  # how far the first shade is on the way to black, and the last to white
_MOST_NAME = 16


def short_name(neuron: str) -> str:
    """The name of a neuron, as far as there is room for it: of a long FILE.py:NAME the NAME, of a
    long name its begin and its end, where values stand."""
    file = neuron.rpartition("/")[2]
    name = file if len(file) <= _MOST_NAME else file.rpartition(":")[2]
    if len(name) <= _MOST_NAME:
        return name
    kept = (_MOST_NAME - 1) // 2
    return f"{name[:kept]}\N{HORIZONTAL ELLIPSIS}{name[kept + 1 - _MOST_NAME :]}"


def neuron_style(neuron: str) -> Style:
    """The style of one neuron, by its name alone. That of an own neuron (FILE.py:NAME) does not
    depend on the folder of its file."""
    name = _base(neuron)
    return NEURONS[name] if name in NEURONS else _own(name, 0)


def neuron_styles(neurons: Iterable[str]) -> dict[str, Style]:
    """The style of each neuron of one picture. No two look alike: of neurons that would, or that
    differ in hyperparameters alone (NAME(KEY=VALUE)), the later ones get other looks."""
    found: dict[str, Style] = {}
    for neuron in neurons:
        style, turn = neuron_style(neuron), 0
        while style in found.values() and neuron not in found and turn < _OWN_LOOKS:
            turn += 1
            style = _own(_base(neuron), turn)
        found[neuron] = style
    return found


def series_styles(style: Style, count: int) -> list[Style]:
    """Styles of `count` series that belong together (values of tau, runs of one neuron): shades of
    one colour from dark to light, each with a marker of its own; one series is `style` itself."""
    if count == 1:
        return [style]
    markers = [style.marker, *(one for one in _MARKERS if one != style.marker)]
    first, last = -_SHADES[0], _SHADES[1] if count > 2 else 0.3
    return [
        replace(
            style,
            colour=mixed(style.colour, first + (last - first) * number / (count - 1)),
            marker=markers[number % len(markers)],
        )
        for number in range(count)
    ]


def run_styles(neurons: Sequence[str]) -> list[Style]:
    """The styles of runs, given the neuron of each: the neuron's, or a shade of its colour where
    several runs have it."""
    styles = neuron_styles(dict.fromkeys(neurons))
    shades = {name: series_styles(styles[name], neurons.count(name)) for name in styles}
    return [shades[name].pop(0) for name in neurons]


def _base(neuron: str) -> str:
    """The name without folders and hyperparameters."""
    return neuron.partition("(")[0].rpartition("/")[2]


def _own(name: str, turn: int) -> Style:
    number = zlib.crc32(name.encode(errors="backslashreplace")) + turn
    colour, marker = number % len(_OWN_COLOURS), number % len(_OWN_MARKERS)
    return Style(_OWN_COLOURS[colour], _OWN_MARKERS[marker], _OWN_DASHES[number % 3])


def mixed(colour: str, share: float) -> str:
    """`colour` with a share of white, or where it is negative of black."""
    goal = 255 if share > 0 else 0
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(one + (goal - one) * abs(share)):02X}" for one in parts)

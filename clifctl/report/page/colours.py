"""Colours of a page: each on white paper, and as light as it must be on a dark screen."""

from clifctl.report.styles import Style, mixed

DARK = "#14171C"  # the background of a dark page, as in page.css
_READABLE = 4.5  # contrast to it of a line
# Of the parts of a stacked bar, light and dark in turns, so that neighbours are told apart in grey.
PARTS = ("#00508C", "#8FBCE0", "#B87A00", "#E8C98A", "#5A5A5A", "#B5579A")


def themed(colour: str) -> str:
    """The style of an element whose colour is `var(--c)`: on a dark page a lighter one."""
    return f"--l:{colour};--d:{on_dark(colour)}"


def on_dark(colour: str) -> str:
    """`colour` with as much white as it needs on a dark page."""
    share = 0.0
    while contrast(mixed(colour, share), DARK) < _READABLE:
        share += 0.05
    return mixed(colour, share)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def plain_style(number: int) -> Style:
    """The look of series `number` of several that are no neurons."""
    looks = (("#00508C", "o"), ("#D55E00", "s"), ("#00855F", "^"), ("#B5579A", "D"))
    colour, marker = looks[number % len(looks)]
    return Style(colour, marker, ("-", (0, (4, 2)), (0, (1.5, 1.5)))[number % 3])

"""The pictures of figures: bars drawn as SVG, whose text is the same on every machine."""

from collections.abc import Mapping
from pathlib import Path

from quoted.store import ROOT

_AT = "connections-train.trained_1.t6"
# what is compared -> the name of its figures; in the order of display
_CONTESTANTS = {
    "ReLU net on T x N images": f"{_AT}.relu",
    "clifctl": f"{_AT}.ours",
    "clifctl, dense connections": f"{_AT}.ours_dense",
    "SpikingJelly, multi-step": f"{_AT}.sj_multi_step",
    "SpikingJelly, step by step": f"{_AT}.sj_step_by_step",
}
_OURS = "clifctl"
_PANELS = {"time of a training step": "relu", "memory held for backward": "held"}
_ROW, _LEFT, _PANEL, _BAR = 30, 190, 320, 260


def pictures(figures: Mapping[str, str]) -> dict[Path, str]:
    """Every picture by its file."""
    return {ROOT / "docs" / "pictures" / "training-step.svg": _training_step(figures)}


def _training_step(figures: Mapping[str, str]) -> str:
    """Time and memory of a training step as ratios to the ReLU net's: two panels of bars."""
    width, height = _LEFT + _PANEL * len(_PANELS), 64 + _ROW * len(_CONTESTANTS)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13">',
        "  <title>A training step of ResNet-18: time and memory as ratios to the ReLU net</title>",
        f'  <rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for place, text in enumerate(_CONTESTANTS):
        lines.append(_text(_LEFT - 10, _middle(place), text, "end", bold=text == _OURS))
    for panel, (title, quantity) in enumerate(_PANELS.items()):
        x = _LEFT + _PANEL * panel
        values = [figures[f"{name}.{quantity}"] for name in _CONTESTANTS.values()]
        scale = _BAR / max(map(float, values))
        lines.append(_text(x, 30, f"{title} (ReLU net: 1)", "start"))
        for place, (text, value) in enumerate(zip(_CONTESTANTS, values, strict=True)):
            length = float(value) * scale
            colour = "#2563eb" if text == _OURS else "#a1a1aa"
            lines.append(
                f'  <rect x="{x}" y="{_middle(place) - 10}" width="{length:.1f}" height="20" '
                f'fill="{colour}"/>'
            )
            lines.append(_text(x + length + 6, _middle(place), value, "start", bold=text == _OURS))
    return "\n".join([*lines, "</svg>", ""])


def _middle(place: int) -> int:
    return 62 + _ROW * place


def _text(x: float, y: int, text: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'  <text x="{x:.1f}" y="{y + 5}" text-anchor="{anchor}" fill="#222222"{weight}>'
        f"{text}</text>"
    )

"""Spikes of some samples, layer by layer, and the membrane potential of some neurons."""

import base64
import struct
import zlib
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from clifctl.report.elements import element, number
from clifctl.report.page.chart import WIDTH, Chart, steps_axis, values_axis
from clifctl.report.page.colours import themed
from clifctl.report.page.figure import Key, figure, figures
from clifctl.report.page.section import Section, paragraph
from clifctl.report.styles import Style, neuron_style, short_name
from clifctl.results.activity import LayerSpikes, NetActivity, NeuronTrace, ShownSample

_NEURON = 3.2  # height of a neuron's row
_BETWEEN = 17.0  # above each layer, for its name
_THRESHOLD = Style("#5A5A5A", "", (0, (4, 2)))
_CURRENT = Style("#3E7FB5", "^", (0, (1.5, 1.5)))
_PIXEL = 56.0  # height of a picture


def spikes_section(found: NetActivity) -> Section:
    """The rasters of the samples, then the traced neurons of the first."""
    if not found.layers:
        note = f"The neurons of this net ('{short_name(found.neuron)}') do not spike."
        return Section("Spikes", (paragraph(note),))
    rasters = [_raster(found, at) for at in range(len(found.shown))]
    parts = [
        paragraph(
            "Each panel is one test sample; time runs from left to right, and a mark is a spike. "
            f"Of each layer {max(len(one.numbers) for one in found.layers)} neurons at most are "
            "shown, evenly chosen."
        ),
        figures(*rasters),
    ]
    if found.traces:
        first = found.shown[0]
        parts += [
            paragraph(
                f"What single neurons do with sample {first.number}: of the first, the middle and "
                "the last layer the neuron that spikes most, and one that spikes as often as the "
                "median of those that do."
            ),
            figures(*(_trace(found, one) for one in found.traces)),
        ]
    return Section("Spikes and membrane potentials", tuple(parts))


def _class_name(found: NetActivity, label: int) -> str:
    names = found.class_names
    return names[label] if names and label < len(names) else str(label)


def _raster(found: NetActivity, at: int) -> Element:
    sample = found.shown[at]
    height = 8.0 + (_PIXEL + 6.0 if sample.picture else 0.0)
    tops = []
    for layer in found.layers:
        height += _BETWEEN
        tops.append(height)
        height += _NEURON * len(layer.numbers)
    svg = element(
        "svg",
        viewBox=f"0 0 {WIDTH:.0f} {height + 22:.0f}",
        role="img",
        aria_label=f"spikes of test sample {sample.number}",
    )
    if sample.picture:
        svg.append(_picture(sample))
    for layer, top in zip(found.layers, tops, strict=True):
        _draw_layer(svg, layer, at, top, found)
    for place, anchor in ((1, "start"), (found.timesteps, "end")):
        x = 0.0 if place == 1 else WIDTH
        text = f"time step {place}" if place == 1 else str(place)
        svg.append(element("text", text, x=x, y=height + 15, text_anchor=anchor))
    return figure(_title(found, sample), svg, caption=_decisions(found, sample))


def _title(found: NetActivity, sample: ShownSample) -> str:
    return f"Sample {sample.number}: {_class_name(found, sample.label)}"


def _decisions(found: NetActivity, sample: ShownSample) -> str:
    """Which class was decided when."""
    runs: list[tuple[int, int]] = []
    for step, label in enumerate(sample.decided, found.timesteps - len(sample.decided) + 1):
        if not runs or runs[-1][1] != label:
            runs.append((step, label))
    changes = [f"{_class_name(found, label)} from step {step}" for step, label in runs]
    kind = "right" if sample.decided[-1] == sample.label else "wrong"
    return f"Decided ({kind}): {', then '.join(changes[-4:])}."


def _draw_layer(svg: Element, layer: LayerSpikes, at: int, top: float, found: NetActivity) -> None:
    rows = layer.spikes[at]
    steps = len(rows[0])
    across = WIDTH / steps
    rate = sum(map(sum, rows)) / (len(rows) * steps)
    name = layer.layer.removesuffix(".neuron")
    said = f"{name}: {len(rows)} of {layer.neurons:,} neurons"
    svg.append(element("text", said, x=0.0, y=top - 5, class_="label"))
    svg.append(element("text", f"{rate:.3f}", x=WIDTH, y=top - 5, text_anchor="end"))
    frame = {"x": 0.0, "y": top, "width": WIDTH, "height": _NEURON * len(rows)}
    svg.append(element("rect", **frame, class_="field"))
    wide = max(across - 1.0, 0.6 * across)
    path = "".join(
        f"M{number(across * step + (across - wide) / 2)} {number(top + _NEURON * row + 0.3)}"
        f"h{number(wide)}v{number(_NEURON - 0.6)}h-{number(wide)}z"
        for row, counts in enumerate(rows)
        for step, count in enumerate(counts)
        if count
    )
    if path:
        look = themed(neuron_style(found.neuron).colour)
        svg.append(element("path", d=path, class_="fill", style=look))


def _trace(found: NetActivity, one: NeuronTrace) -> Element:
    """Potential and threshold, or the states where no potential is known, with the spikes."""
    style = neuron_style(found.neuron)
    styles = (Style(style.colour, "o", "-"), _CURRENT, Style("#00855F", "D", (0, (4, 1.2, 1, 1.2))))
    series: list[tuple[str, Sequence[float], Style]] = []
    if one.u is not None:
        series.append(("membrane potential u, before reset", one.u, styles[0]))
    else:
        states = zip(one.states.items(), styles, strict=False)
        series += [(f"state {name}", values, look) for (name, values), look in states]
    series.append(("input current x", one.x, _CURRENT if one.u is not None else _THRESHOLD))
    if one.threshold is not None:
        series.append(("threshold", one.threshold, _THRESHOLD))
    every = [value for _, values, _ in series for value in values]
    low, high = min(every), max(every)
    top = high + 0.14 * ((high - low) or 1.0)
    layer = one.layer.removesuffix(".neuron")
    title = f"{layer}, neuron {one.number}"
    chart = Chart(title, steps_axis(len(one.x)), values_axis("", [*every, top]), height=190.0)
    for _, values, look in reversed(series):
        points = list(enumerate(values, 1))
        chart.line(points, look) if not look.marker else chart.curve(
            points, look, [f"step {step}: {value:.3f}" for step, value in points]
        )
    spikes = int(sum(one.spikes))
    for step, count in enumerate(one.spikes, 1):
        if count:
            _spike(chart, step, high, top, style)
    keys = [Key(name, look) for name, _, look in series]
    caption = f"{spikes} spikes" if spikes != 1 else "1 spike"
    return figure(title, chart.svg, keys=keys, caption=f"{caption}; short bars on top.")


def _spike(chart: Chart, step: int, high: float, top: float, style: Style) -> None:
    chart.interval((step, step), (high + 0.35 * (top - high), top), style)
    chart.svg[-1].set("class", "spike")


def _picture(sample: ShownSample) -> Element:
    rows = sample.picture or ()
    wide = min(WIDTH, _PIXEL * len(rows[0]) / len(rows))
    return element(
        "image",
        element("title", f"test sample {sample.number}"),
        x=0.0,
        y=4.0,
        width=wide,
        height=_PIXEL,
        class_="picture",
        preserveAspectRatio="none",
        href=f"data:image/png;base64,{base64.b64encode(_png(rows)).decode()}",
    )


def _png(rows: Sequence[Sequence[int | tuple[int, int, int]]]) -> bytes:
    """A PNG of grey values or colours from 0 to 255, row by row."""
    coloured = isinstance(rows[0][0], tuple)
    lines = []
    for row in rows:
        flat = [part for one in row for part in (one if isinstance(one, tuple) else (one,))]
        lines.append(b"\0" + bytes(flat))
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 2 if coloured else 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(lines), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )

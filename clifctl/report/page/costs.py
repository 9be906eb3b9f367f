"""What an inference takes: the energy as the paper accounts for it and corrected, by layer."""

from collections.abc import Sequence
from dataclasses import replace
from xml.etree.ElementTree import Element

from clifctl.amounts import ENERGIES, energy_unit
from clifctl.report.energy import energy_report
from clifctl.report.page.chart import Chart, names_axis, values_axis
from clifctl.report.page.colours import PARTS
from clifctl.report.page.figure import Key, figure, figures, folded
from clifctl.report.page.section import Section, paragraph, sentences, tables
from clifctl.report.styles import Style, short_name
from clifctl.results.energy import Cost, EnergyResult, EnergyRow

# Part of an energy -> how many mJ its unit is, and what it is.
_MEMORY = {
    "potential_mj": (1.0, "membrane potential"),
    "parameters_mj": (1.0, "parameters"),
    "in_out_mj": (1.0, "inputs and outputs"),
    "operations_mj": (1.0, "operations"),
    "addressing_uj": (1e-3, "addressing"),
}
_SOP = {"sop_energy_uj": (1e-3, "synaptic operations")}
_METHODS = {"memory": ("memory accesses", _MEMORY), "sop": ("synaptic operations", _SOP)}
_PRINTED = Style("#000000", "", "-")
_MOST_LAYERS = 24  # that are drawn; the cheaper ones are in the table
Parts = dict[str, tuple[float, str]]


def energy_section(result: EnergyResult, *, given: str = "") -> Section:
    """Totals of every row in both accountings, and the operations of the nets themselves.
    `given`: where firing rates come from, if not from the result's own evaluation."""
    shown: list[Element] = []
    for method in result.methods:
        title, units = _METHODS[method]
        rows = [row for row in result.rows if _total(row.corrected, units) is not None]
        if rows:
            shown.append(_totals(rows, title, units))
            nets = [row for row in rows if row.layers and row.neuron != "relu"] or rows
            shown += [_layers(row, title, units) for row in nets if row.layers]
    every = energy_report(result, per_layer=any(row.layers for row in result.rows)).tables
    numbers = [
        replace(one, notes=()) for one in every if one.name not in ("layers", "firing-rates")
    ]
    more = [one for one in every if one.name == "layers"]
    said = [
        f"Published: {one['published']}. Corrected: {one['corrected']}." for one in result.defects
    ]
    defects = sentences(said)
    parts = (
        paragraph(given, "note") if given else None,
        figures(*shown),
        *tables(numbers),
        *tables(more, fold=True),
        folded("Assumptions", sentences(result.assumptions)),
        folded("What the corrected accounting mends", defects),
    )
    return Section("Energy", tuple(one for one in parts if one is not None))


def _total(cost: Cost, parts: Parts) -> float | None:
    """All parts in mJ, None where one is not known."""
    known = [getattr(cost, key) for key in parts]
    if any(one is None for one in known):
        return None
    return sum(one * factor for one, (factor, _) in zip(known, parts.values(), strict=True))


def _name(row: EnergyRow, rows: Sequence[EnergyRow]) -> str:
    alike = [one for one in rows if one.neuron == row.neuron]
    return short_name(row.neuron) if len(alike) == 1 else f"{short_name(row.neuron)}, {row.source}"


def _totals(rows: Sequence[EnergyRow], title: str, parts: Parts) -> Element:
    """A stacked bar for each row and accounting; what the paper prints is a line on its bar."""
    totals = [_total(cost, parts) or 0.0 for row in rows for cost in (row.paper, row.corrected)]
    printed = [_printed(row, parts) for row in rows]
    unit = energy_unit(max(totals))
    scale = ENERGIES[unit]
    names = [f"{_name(row, rows)}, {kind}" for row in rows for kind in ("paper", "corrected")]
    known = [scale * one for one in (*totals, *printed) if one is not None]
    x = values_axis(f"energy of an inference [{unit}]", known, zero=True)
    what = f"Energy of an inference, {title}"
    chart = Chart(what, x, names_axis(names), height=52 + 20.0 * len(names))
    for at, row in enumerate(rows):
        for place, cost in ((2 * at, row.paper), (2 * at + 1, row.corrected)):
            start = 0.0
            for (key, (factor, part)), colour in zip(parts.items(), PARTS, strict=False):
                amount = (getattr(cost, key) or 0.0) * factor * scale
                if amount:
                    said = f"{names[place]}: {part} {amount:.4g} {unit}"
                    chart.bar(place, start, start + amount, colour, said)
                start += amount
        mark = printed[at]
        if mark is not None:
            chart.interval((mark * scale,) * 2, (2 * at - 0.5, 2 * at + 0.5), _PRINTED)
    keys = [Key(part, colour=c) for (_, part), c in zip(parts.values(), PARTS, strict=False)]
    note = "“paper” accounts as the paper does, defects included; “corrected” mends them."
    if any(one is not None for one in printed):
        note += " Black line: the total that the paper prints."
    return figure(what, chart.svg, keys=keys, caption=note)


def _printed(row: EnergyRow, parts: Parts) -> float | None:
    """The total that the paper prints, in mJ."""
    if row.published is None:
        return None
    return row.published.total_mj if parts is _MEMORY else 1e-3 * row.published.sop_energy_uj


def _layers(row: EnergyRow, title: str, parts: Parts) -> Element:
    """The operations of a net that cost something: one bar an accounting."""
    costs = [
        (layer.layer, _total(layer.paper, parts) or 0.0, _total(layer.corrected, parts) or 0.0)
        for layer in row.layers or ()
    ]
    costing = [one for one in costs if one[1] or one[2]]
    most = sorted(costing, key=lambda one: max(one[1:]), reverse=True)[:_MOST_LAYERS]
    shown = [one for one in costing if one in most]
    unit = energy_unit(max((max(one[1:]) for one in shown), default=0.0))
    scale = ENERGIES[unit]
    values = [scale * cost for one in shown for cost in one[1:]]
    names = [name.removesuffix(".connection") for name, _, _ in shown]
    what = f"{short_name(row.neuron)}: {title}, by operation"
    x = values_axis(f"energy [{unit}]", values, zero=True)
    chart = Chart(what, x, names_axis(names), height=52 + 18.0 * len(names))
    for at, (name, paper, corrected) in enumerate(shown):
        for shift, cost, kind, colour in (
            (-0.2, paper, "paper", PARTS[1]),
            (0.2, corrected, "corrected", PARTS[0]),
        ):
            if cost:
                said = f"{name}, {kind}: {scale * cost:.4g} {unit}"
                chart.bar(at + shift, 0.0, scale * cost, colour, said, thick=0.36)
    keys = [Key("paper", colour=PARTS[1]), Key("corrected", colour=PARTS[0])]
    left = len(costing) - len(shown)
    caption = f"{left} cheaper operations are in the table." if left else ""
    return figure(what, chart.svg, keys=keys, caption=caption)

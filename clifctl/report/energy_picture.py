"""The picture of `energy`: totals, where they arise, and firing rates as in Figure 11."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from clifctl.amounts import ENERGIES, energy_unit
from clifctl.report.pictures import (
    Layout,
    LineEnd,
    figure_legend,
    finish,
    label_ends,
    line_look,
    new_figure,
)
from clifctl.report.styles import Style, run_styles, short_name
from clifctl.results.energy import Cost, EnergyResult, EnergyRow
from clifctl.results.firing_rates import net_firing_rate

# Component of the memory method -> its factor to mJ, its name, colour and hatch. Light and dark
# take turns, so that neighbours are told apart in grey.
_COMPONENTS = {
    "potential_mj": (1.0, "membrane potential", "#00508C", ""),
    "parameters_mj": (1.0, "parameters", "#A9CBE8", "////"),
    "in_out_mj": (1.0, "inputs and outputs", "#B87A00", ""),
    "operations_mj": (1.0, "operations", "#F3DDA8", "...."),
    "addressing_uj": (1e-3, "addressing", "#4D4D4D", ""),
}
_SOP = {"sop_energy_uj": (1e-3, "synaptic operations", "#A9CBE8", "////")}
_MOST_LAYERS = 16  # that are drawn; the others are summed


@dataclasses.dataclass(frozen=True)
class _Row:
    """A row of the result, what it is called, and how it looks."""

    row: EnergyRow
    name: str
    style: Style


def draw_energy(result: EnergyResult, layout: Layout) -> Any:
    """Draw the total energy of each row in both accountings, stacked by component; the corrected
    energy of the operations that cost most; and the firing rates of every row that has some."""
    components = _COMPONENTS if "memory" in result.methods else _SOP
    rows = _rows(result, components)
    firing = [one for one in rows if one.row.firing_rates]
    shown, others = _costliest(rows, components)
    heights = [max(1.0, 0.8 + 0.34 * len(rows)), 0.8 + 0.14 * (len(shown) + bool(others))]
    panels = [["totals"], ["layers"]] if layout.narrow else [["totals", "layers"]]
    heights = heights if layout.narrow else [max(2.2, *heights)]
    if firing:
        panels.append(["rates"] * len(panels[0]))
        heights.append(2.0)
    figure = new_figure(layout, layout.width, sum(heights))
    axes = figure.subplot_mosaic(panels, height_ratios=heights)
    unit = energy_unit(max(_total(one.row.corrected, components) or 0.0 for one in rows))
    factor = ENERGIES[unit]
    _draw_totals(axes["totals"], rows, components, factor)
    axes["totals"].set_xlabel(f"energy of an inference [{unit}]")
    _draw_layers(axes["layers"], rows, components, shown, others, factor)
    axes["layers"].set_xlabel(f"energy by operation, corrected [{unit}]")
    figure_legend(figure, _handles(rows, components), columns=2 if layout.narrow else 4)
    notes = ["Vertical black line: the total that the paper prints."] * _printed(rows, components)
    if firing:
        notes.append(_draw_rates(figure, axes["rates"], firing))
    title = ", ".join(dict.fromkeys(row.source for row in result.rows))
    return finish(figure, layout, f"{title}: energy of an inference", " ".join(notes))


Components = dict[str, tuple[float, str, str, str]]


def _rows(result: EnergyResult, components: Components) -> list[_Row]:
    """The rows whose energy is known, each once: the ANN of several checkpoints is one net."""
    known: list[EnergyRow] = []
    for row in result.rows:
        same = any((row.neuron, row.corrected) == (one.neuron, one.corrected) for one in known)
        if _total(row.corrected, components) is not None and not same:
            known.append(row)
    neurons = [row.neuron for row in known]
    names = [
        short_name(row.neuron) + (f" ({row.source})" if neurons.count(row.neuron) > 1 else "")
        for row in known
    ]
    return [_Row(*parts) for parts in zip(known, names, run_styles(neurons), strict=True)]


def _total(cost: Cost, components: Components) -> float | None:
    """The energy of all components in mJ, None where it is not known."""
    parts = [(getattr(cost, key), factor) for key, (factor, *_) in components.items()]
    known = [part * factor for part, factor in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _costliest(rows: Sequence[_Row], components: Components) -> tuple[list[str], list[str]]:
    """The operations that cost most in some row, in forward order, and all others that cost
    something."""
    costs: dict[str, float] = {}
    for one in rows:
        for layer in one.row.layers or ():
            cost = _total(layer.corrected, components) or 0.0
            costs[layer.layer] = max(costs.get(layer.layer, 0.0), cost)
    costing = [name for name, cost in costs.items() if cost > 0.0]
    most = set(sorted(costing, key=lambda name: costs[name], reverse=True)[:_MOST_LAYERS])
    return [n for n in costing if n in most], [n for n in costing if n not in most]


def _draw_totals(axis: Any, rows: Sequence[_Row], components: Components, factor: float) -> None:
    """A bar a row and accounting, from 0 on; what the paper prints is a mark on its bar."""
    labels = []
    for number, one in enumerate(rows):
        for place, kind in ((2.5 * number, "paper"), (2.5 * number + 1, "corrected")):
            start, cost = 0.0, getattr(one.row, kind)
            for key, (to_mj, _, colour, hatch) in components.items():
                part = factor * to_mj * (getattr(cost, key) or 0.0)
                axis.barh(
                    place,
                    part,
                    left=start,
                    height=0.85,
                    color=colour,
                    hatch=hatch,
                    edgecolor="white",
                    linewidth=0.3,
                )
                start += part
            labels.append((place, f"{one.name}: paper" if kind == "paper" else kind))
        printed = _published(one.row, components)
        if printed is not None:
            axis.plot([factor * printed] * 2, [2.5 * number - 0.6, 2.5 * number + 0.6], "k-")
    axis.set_yticks(*map(list, zip(*labels, strict=True)))
    axis.set_ylim(labels[-1][0] + 0.8, -0.8)
    axis.tick_params(axis="y", length=0)
    axis.set_xlim(0.0, 1.03 * axis.get_xlim()[1])
    axis.grid(axis="x")


def _published(row: EnergyRow, components: Components) -> float | None:
    """The total that the paper prints, in mJ."""
    if row.published is None:
        return None
    if components is _COMPONENTS:
        return row.published.total_mj
    return 1e-3 * row.published.sop_energy_uj


def _printed(rows: Sequence[_Row], components: Components) -> bool:
    return any(_published(one.row, components) is not None for one in rows)


def _draw_layers(
    axis: Any,
    rows: Sequence[_Row],
    components: Components,
    shown: Sequence[str],
    others: Sequence[str],
    factor: float,
) -> None:
    """A line an operation, the first of the net on top, with a mark for each row."""
    for one in rows:
        costs = {
            layer.layer: factor * (_total(layer.corrected, components) or 0.0)
            for layer in one.row.layers or ()
        }
        values = [costs.get(name, 0.0) for name in shown]
        values += [sum(costs.get(name, 0.0) for name in others)] if others else []
        axis.plot(values, range(len(values)), **(line_look(one.style) | {"linestyle": "none"}))
    names = [name.removesuffix(".connection") for name in shown]
    names += [f"{len(others)} other{'s, together' if len(others) > 1 else ''}"] if others else []
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlim(left=-0.03 * axis.get_xlim()[1])
    axis.grid()


def _draw_rates(figure: Any, axis: Any, rows: Sequence[_Row]) -> str:
    """Firing rates by layer; says what the error bars are, if there are any."""
    ends, spread = [], False
    for one in rows:
        rates = [layer.firing_rate for layer in one.row.firing_rates]
        errors = [layer.firing_rate_sample_std or 0.0 for layer in one.row.firing_rates]
        spread |= any(errors)
        axis.errorbar(
            range(1, len(rates) + 1),
            rates,
            yerr=errors if any(errors) else None,
            capsize=2.0,
            elinewidth=0.8,
            **line_look(one.style),
        )
        mean = net_firing_rate(one.row.firing_rates)
        of = "" if mean is None else f"\nmean {mean:.3f}"
        ends.append(LineEnd(f"{one.name}{of}", rates[-1], one.style))
    axis.set_ylim(bottom=0.0)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.set_xlabel("layer of neurons, in forward order")
    axis.set_ylabel("firing rate\n[spikes/neuron/step]")
    axis.grid(axis="y")
    label_ends(figure, {axis: ends})
    return "Firing rates: mean ± standard deviation over samples." if spread else ""


def _handles(rows: Sequence[_Row], components: Components) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found: list[Any] = [
        Line2D([], [], **(line_look(one.style) | {"linestyle": "none"}), label=one.name)
        for one in rows
    ]
    return found + [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name)
        for _, name, colour, hatch in components.values()
    ]

"""The picture of `energy`: where the energy of each row goes, and firing rates as in Figure 11."""

from typing import Any

from clifctl.report.pictures import new_figure
from clifctl.results.energy import EnergyResult, EnergyRow, LayerCost

# Component of the memory method -> its factor to mJ.
_COMPONENTS = {
    "potential_mj": 1.0,
    "parameters_mj": 1.0,
    "in_out_mj": 1.0,
    "operations_mj": 1.0,
    "addressing_uj": 1e-3,
}
_LABELS = {"potential_mj": "membrane potential", "in_out_mj": "inputs, outputs"}
_WIDEST_INCHES, _INCHES_A_BAR = 18.0, 0.3


def draw_energy(result: EnergyResult) -> Any:
    """Draw the corrected energy of each operation, a panel a row whose energy is known, and below
    them the firing rates of every row that has some."""
    memory = "memory" in result.methods
    shown = _costing(result, memory)
    panels = [
        (row, [row.layers[number] for number in shown[row.source]])
        for row in result.rows
        if row.layers is not None and _total(row, memory) is not None
    ]
    firing = [row for row in result.rows if row.firing_rates]
    bars = max(len(layers) for _, layers in panels)
    width = min(max(7.0, _INCHES_A_BAR * bars + 2.5), _WIDEST_INCHES)
    count = len(panels) + bool(firing)
    figure = new_figure(width, 3.4 * count)
    axes = figure.subplots(count, 1, squeeze=False)[:, 0]
    for axis, (row, layers) in zip(axes, panels, strict=False):
        _bars(axis, row, layers, memory=memory)
    # One scale, so that heights can be compared.
    top = max(axis.get_ylim()[1] for axis in axes[: len(panels)])
    for axis in axes[: len(panels)]:
        axis.set_ylim(0.0, top)
    if firing:
        _rates(axes[-1], firing)
    return figure


def _costing(result: EnergyResult, memory: bool) -> dict[str, list[int]]:
    """Source -> the numbers of the operations that cost something in one of its rows."""
    found: dict[str, set[int]] = {}
    for row in result.rows:
        costs = [_total(layer, memory) for layer in row.layers or ()]
        numbers = {number for number, cost in enumerate(costs) if cost}
        found.setdefault(row.source, set()).update(numbers)
    return {source: sorted(numbers) for source, numbers in found.items()}


def _total(charged: EnergyRow | LayerCost, memory: bool) -> float | None:
    return charged.corrected.total_mj if memory else charged.corrected.sop_energy_uj


def _bars(axis: Any, row: EnergyRow, layers: list[LayerCost], *, memory: bool) -> None:
    places = range(len(layers))
    if memory:
        bottom = [0.0] * len(layers)
        for component, factor in _COMPONENTS.items():
            heights = [factor * getattr(layer.corrected, component) for layer in layers]
            label = _LABELS.get(component, component.rpartition("_")[0])
            axis.bar(places, heights, bottom=bottom, label=label)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
        axis.legend(fontsize=8)
        total = f"{row.corrected.total_mj:.4g} mJ"
    else:
        axis.bar(places, [layer.corrected.sop_energy_uj for layer in layers])
        total = f"{row.corrected.sop_energy_uj:.4g} uJ"
    axis.set_ylabel("energy [mJ]" if memory else "energy [uJ]")
    axis.set_title(f"{row.source}, {row.neuron}, T = {row.timesteps}: {total} an inference")
    names = [f"{layer.layer} (sum)" if layer.kind == "sum" else layer.layer for layer in layers]
    axis.set_xticks(places, names, rotation=90, fontsize=7)


def _rates(axis: Any, rows: list[EnergyRow]) -> None:
    for row in rows:
        rates = [layer.firing_rate for layer in row.firing_rates]
        places = range(1, len(rates) + 1)
        label = f"{row.source}, {row.neuron}: mean {sum(rates) / len(rates):.3f}"
        spread = [layer.firing_rate_sample_std or 0.0 for layer in row.firing_rates]
        if any(spread):
            axis.errorbar(places, rates, yerr=spread, marker="o", capsize=2, label=label)
        else:
            axis.plot(places, rates, marker="o", label=label)
    axis.set_ylim(bottom=0.0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("layer of neurons, in forward order")
    axis.set_ylabel("spikes/neuron/step")
    axis.set_title("firing rates" + (", s.d. over samples" if _measured(rows) else ""))
    axis.legend(fontsize=8)


def _measured(rows: list[EnergyRow]) -> bool:
    return any(row.rates == "measured" for row in rows)

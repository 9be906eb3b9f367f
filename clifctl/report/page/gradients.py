"""How much gradient reaches how far back: shares by lag, reach, windows."""

from xml.etree.ElementTree import Element

from clifctl.amounts import counted
from clifctl.report.gradients import gradients_report
from clifctl.report.page.chart import Chart, powers_axis, values_axis
from clifctl.report.page.figure import Key, figure, figures
from clifctl.report.page.heat import heat_map
from clifctl.report.page.section import Section, paragraph, tables
from clifctl.report.styles import neuron_style, series_styles
from clifctl.results.gradients import GradientsResult

_MOST_LAGS = 20
_MOST_CURVES = 5


def gradients_section(result: GradientsResult) -> Section:
    """The lags of every layer as a map, the reach and the windows as curves."""
    state = f"after epoch {result.epoch}" if result.trained else "with fresh weights"
    whole = "-" if result.temporal_share is None else f"{100 * result.temporal_share:.1f} %"
    said = (
        f"Temporal share of the gradient, mean over layers: {whole} ({result.model}, "
        f"{result.neuron}, T = {result.timesteps}, {state}, {counted(result.samples, 'sample')})."
    )
    shown = [_lags(result), *([_reach(result)] if result.timesteps > 1 else [])]
    if len(result.windows) > 1:
        shown.append(_windows(result))
    parts = (paragraph(said), figures(*shown), *tables(gradients_report(result).tables, fold=True))
    return Section("Gradients by lag", parts)


def _lags(result: GradientsResult) -> Element:
    lags = range(min(result.timesteps, _MOST_LAGS))
    layers = result.layers
    names = [layer.layer.removesuffix(".neuron") for layer in layers]
    shares = [[layer.lags[lag].share for lag in lags] for layer in layers]

    def percent(row: int, lag: int) -> str:
        share = shares[row][lag]
        return "" if share is None else f"{100 * share:.0f}"

    svg = heat_map(
        "share of the gradient by layer and lag",
        shares,
        names,
        [str(lag) for lag in lags],
        text=percent,
        said=lambda row, lag: f"{names[row]}, lag {lag}: {100 * (shares[row][lag] or 0.0):.2f} %",
    )
    note = (
        "Columns: from how many time steps later a layer's gradient comes, in % of the norms of "
        "all lags; 0 is the spatial part."
    )
    if result.timesteps > _MOST_LAGS:
        note += f" The first {_MOST_LAGS} of {result.timesteps} lags."
    return figure("Share by lag [%]", svg, caption=note)


def _reach(result: GradientsResult) -> Element:
    """The reach of the last step's loss, in layers from the first to the last."""
    layers = result.layers
    count = min(len(layers), _MOST_CURVES)
    chosen = [layers[at * (len(layers) - 1) // max(1, count - 1)] for at in range(count)]
    styles = series_styles(neuron_style(result.neuron), count)
    values = [value for layer in chosen for value in layer.reach]
    y = values_axis("norm, relative to that at T", values, zero=True)
    back = values_axis("time steps back from the last", range(result.timesteps), whole=True)
    chart = Chart("reach of the last time step's loss", back, y)
    keys = []
    for layer, style in zip(chosen, styles, strict=True):
        points = [(at, float("nan") if one is None else one) for at, one in enumerate(layer.reach)]
        name = layer.layer.removesuffix(".neuron")
        chart.curve(points, style, [f"{name}, {at} back: {one:.4f}" for at, one in points])
        keys.append(Key(name, style))
    return figure("Reach of the last step's loss", chart.svg, keys=keys)


def _windows(result: GradientsResult) -> Element:
    known = [row for row in result.windows if row.cosine is not None]
    style = neuron_style(result.neuron)
    y = values_axis("cosine to full BPTT", [row.cosine for row in known], least=0.02)
    chart = Chart("truncated BPTT", powers_axis("window k", [row.window for row in known]), y)
    points = [(float(row.window), row.cosine or 0.0) for row in known]
    chart.curve(points, style, [f"k = {k:.0f}: {cosine:.4f}" for k, cosine in points])
    note = "Of the gradient of all weights with window k in every layer."
    return figure("Windows of truncated BPTT", chart.svg, caption=note)

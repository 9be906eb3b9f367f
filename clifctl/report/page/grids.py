"""Trials of a grid: what can be concluded first, then means with every seed, then the tables."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from clifctl.report.compare_neurons import comparison_report
from clifctl.report.page.chart import Chart, names_axis, powers_axis, values_axis
from clifctl.report.page.colours import plain_style
from clifctl.report.page.figure import Key, figure, figures
from clifctl.report.page.section import Section, sentences, tables
from clifctl.report.render import Report
from clifctl.report.styles import Style, neuron_styles, series_styles, short_name
from clifctl.report.sweep import sweep_report
from clifctl.report.truncate_bptt import truncation_report
from clifctl.results.compare_neurons import ComparedNeuron, NeuronComparison
from clifctl.results.quantities import Quantity
from clifctl.results.statistics import Estimate
from clifctl.results.summary import ESTIMATES, Differences, MeanCurve
from clifctl.results.sweep import SweepResult
from clifctl.results.truncate_bptt import TruncationResult

_ACCURACY = "accuracy_percent_last"
_SPREAD = "Mean ± standard error; open circles: single seeds."
_ROW = 24.0
_MOST_ROWS = 40  # of a figure
_LOSSES = (
    ("train_loss_curve", "Training loss, train mode"),
    ("test_loss_curve", "Test loss, evaluation mode"),
)
_FOREST = ("accuracy_percent_last", "test_loss", "train_loss_eval_mode", "firing_rate")


def comparison_sections(result: NeuronComparison) -> list[Section]:
    """Neurons compared seed by seed."""
    styles = neuron_styles(row.neuron for row in result.rows)
    several = len({(row.paired_timesteps, row.batch_norm) for row in result.rows}) > 1
    names = [_name(row, several) for row in result.rows]
    looks = [styles[row.neuron] for row in result.rows]
    places = [
        (name, row.differences, look)
        for row, name, look in zip(result.rows, names, looks, strict=True)
        if row.differences
    ]
    known = [row.summary.accuracy_percent_last for row in result.rows]
    shown = [_means("Test accuracy, last epoch [%]", list(zip(names, known, looks, strict=True)))]
    if several:
        shown.append(_against_timesteps(result, styles))
    shown += _forests(places, result.baseline)
    shown += [_loss_curves(result, styles, *loss) for loss in _LOSSES]
    return _sections("Comparison", result.conclusions, shown, comparison_report(result))


def truncation_sections(result: TruncationResult) -> list[Section]:
    """Windows of truncated BPTT."""
    taus = list(dict.fromkeys(row.tau for row in result.rows))
    looks = dict(
        zip(
            taus,
            series_styles(neuron_styles([result.neuron])[result.neuron], len(taus)),
            strict=True,
        )
    )
    shown = []
    for name in (_ACCURACY, "train_loss_eval_mode", "test_loss"):
        quantity = ESTIMATES[name]
        series = {
            f"tau = {tau:g}": (
                [(row.window, getattr(row.summary, name)) for row in result.rows if row.tau == tau],
                looks[tau],
            )
            for tau in taus
        }
        shown.append(_series(quantity, "window k", series))
    places = [
        (
            f"tau {step.tau:g}: k {step.window_from} to {step.window_to}",
            step.differences,
            looks[step.tau],
        )
        for step in result.steps
    ]
    shown += _forests(places, "the shorter window")
    return _sections("Windows", result.conclusions, shown, truncation_report(result))


def sweep_sections(result: SweepResult) -> list[Section]:
    """Points of a sweep, and the front of two quantities."""
    look = plain_style(0)
    quantity = ESTIMATES.get(result.quantity) or ESTIMATES[_ACCURACY]
    name = result.quantity if result.quantity in ESTIMATES else _ACCURACY
    points = [(row.title, getattr(row.summary, name), look) for row in result.rows]
    shown = [_means(quantity.heading, points)]
    if result.pareto:
        shown.append(_front(result))
    places = [(row.title, row.differences, look) for row in result.rows if row.differences]
    shown += _forests(places, result.baseline)
    return _sections("Sweep", result.conclusions, shown, sweep_report(result))


def _sections(
    title: str, conclusions: Sequence[str], shown: Sequence[Element | None], report: Report
) -> list[Section]:
    first = sentences(conclusions, "conclusions")
    every = [one for one in report.tables if one.name != "conclusions"]
    said = [note for one in report.tables if one.name == "conclusions" for note in one.notes]
    notes = sentences([note for note in said if note not in conclusions], "note")
    parts = (first, figures(*shown), *tables(every, fold=False), notes)
    return [Section(title, tuple(one for one in parts if one is not None))]


def _name(row: ComparedNeuron, several: bool) -> str:
    name = short_name(row.neuron)
    return f"{name}, {row.setting}, {row.batch_norm}" if several else name


def _means(title: str, rows: Sequence[tuple[str, Estimate | None, Style]]) -> Element | None:
    """A row each: mean, interval, and every seed below."""
    known = [(name, one, style) for name, one, style in rows if one is not None]
    cut = _first_rows(len(known))
    known = known[:_MOST_ROWS]
    if not known:
        return None
    every = [v for _, one, _ in known for v in (*_ends(one), *one.values)]
    x = values_axis(title, every, least=abs(max(every)) * 0.01)
    axis = names_axis([name for name, _, _ in known])
    chart = Chart(title, x, axis, height=52 + _ROW * len(known))
    for row, (name, one, style) in enumerate(known):
        for value in one.values if one.n > 1 else ():
            chart.hollow(value, row + 0.3, style, f"{name}, a seed: {value:.6g}")
        chart.interval(_ends(one), (row - 0.1, row - 0.1), style)
        error = "" if one.standard_error is None else f" ± {one.standard_error:.4g}"
        said = f"{name}: {one.mean:.6g}{error}, {one.n} seeds"
        chart.mark(one.mean, row - 0.1, style, said, size=4.2)
    seeds = max(one.n for _, one, _ in known)
    caption = _SPREAD if seeds > 1 else "One seed: nothing is known of the spread."
    return figure(title, chart.svg, caption=caption + cut)


def _first_rows(count: int) -> str:
    """What to say where a figure has no room for so many rows."""
    return f" The first {_MOST_ROWS} of {count:,}." if count > _MOST_ROWS else ""


def _ends(one: Estimate) -> tuple[float, float]:
    error = one.standard_error or 0.0
    return one.mean - error, one.mean + error


def _forests(
    places: Sequence[tuple[str, Differences | None, Style]], baseline: str
) -> list[Element | None]:
    """Paired differences with their intervals, a figure a quantity."""
    return [_forest(places, baseline, name, ESTIMATES[name]) for name in _FOREST]


def _forest(
    places: Sequence[tuple[str, Differences | None, Style]],
    baseline: str,
    key: str,
    quantity: Quantity,
) -> Element | None:
    known = [(name, found[key], look) for name, found, look in places if found and found.get(key)]
    rows = [(name, one, look) for name, one, look in known if one is not None]
    cut = _first_rows(len(rows))
    rows = rows[:_MOST_ROWS]
    if not any(one.interval_95_low is not None for _, one, _ in rows):
        return None
    ends = [(one.interval_95_low, one.interval_95_high) for _, one, _ in rows]
    every = [0.0, *(value for pair in ends for value in pair), *(one.mean for _, one, _ in rows)]
    title = f"{quantity.title[:1].upper()}{quantity.title[1:]}: difference to {baseline}"
    unit = quantity.difference_unit
    label = f"difference [{unit}]" if unit else "difference"
    chart = Chart(
        title,
        values_axis(label, every),
        names_axis([name for name, _, _ in rows]),
        height=52 + _ROW * len(rows),
    )
    chart.upright(0.0, "no difference")
    for row, ((name, one, look), (low, high)) in enumerate(zip(rows, ends, strict=True)):
        said = f"{name}: {quantity.signed(one.mean)}"
        if low is not None and high is not None:
            chart.interval((low, high), (row, row), look)
            said += f", 95 % interval {quantity.signed(low)} to {quantity.signed(high)}"
        if one.p_value_holm is not None:
            said += f", p = {one.p_value_holm:.3g} corrected"
        chart.mark(one.mean, row, look, said, size=4.2)
    caption = f"Paired by seed, with 95 % intervals, uncorrected.{cut}"
    return figure(title, chart.svg, caption=caption)


def _against_timesteps(result: NeuronComparison, styles: dict[str, Style]) -> Element | None:
    steps = {row.timesteps for row in result.rows}
    if len(steps) < 2:
        return None
    norms = list(dict.fromkeys(row.batch_norm for row in result.rows))
    first = [row for row in result.rows if row.batch_norm == norms[0]]
    series = {
        short_name(neuron): (
            [(r.timesteps, r.summary.accuracy_percent_last) for r in first if r.neuron == neuron],
            style,
        )
        for neuron, style in styles.items()
    }
    return _series(ESTIMATES[_ACCURACY], "time steps T", series)


def _series(
    quantity: Quantity,
    across: str,
    series: dict[str, tuple[list[tuple[int, Estimate | None]], Style]],
) -> Element | None:
    """Means with intervals along a whole number, a curve each."""
    found = {
        name: ([(at, one) for at, one in points if one is not None], style)
        for name, (points, style) in series.items()
    }
    every = [(at, one) for points, _ in found.values() for at, one in points]
    if not every:
        return None
    y = values_axis(quantity.heading, [value for _, one in every for value in _ends(one)])
    title = f"{quantity.title[:1].upper()}{quantity.title[1:]}"
    chart = Chart(title, powers_axis(across, [at for at, _ in every]), y)
    for name, (points, style) in found.items():
        for at, one in points:
            chart.interval((at, at), _ends(one), style)
        said = [f"{name}, {across} {at}: {one.mean:.6g}" for at, one in points]
        chart.curve([(at, one.mean) for at, one in points], style, said)
    keys = [Key(name, style) for name, (_, style) in found.items()]
    return figure(title, chart.svg, keys=keys, caption="Mean ± standard error over seeds.")


def _loss_curves(
    result: NeuronComparison, styles: dict[str, Style], name: str, title: str
) -> Element | None:
    """Mean curves in a band of one standard error, of the largest T."""
    most = max(row.paired_timesteps for row in result.rows)
    norms = list(dict.fromkeys(row.batch_norm for row in result.rows))
    known: list[tuple[ComparedNeuron, MeanCurve]] = [
        (row, curve)
        for row in result.rows
        if (curve := getattr(row, name)) is not None and row.paired_timesteps == most
    ]
    if not known or len(known[0][1].mean) < 2:
        return None
    every = [value for _, curve in known for value in curve.mean]
    epochs = range(1, max(len(curve.mean) for _, curve in known) + 1)
    y = values_axis("loss (TET)", every)
    chart = Chart(title, values_axis("epoch", epochs, whole=True, room=0.02), y)
    keys = []
    for row, curve in known:
        style, pale = styles[row.neuron], row.batch_norm != norms[0]
        error = curve.standard_error or ()
        rows = zip(epochs, curve.mean, error, strict=False)
        if error:
            chart.band([(at, mean - one, mean + one) for at, mean, one in rows], style, pale)
        chart.curve(list(zip(epochs, curve.mean, strict=False)), style)
        keys.append(Key(_name(row, len(norms) > 1), style))
    if result.exchange_after_epoch is not None:
        chart.upright(result.exchange_after_epoch + 0.5, f"exchanged for {result.exchange_to}")
    return figure(title, chart.svg, keys=keys, caption="Bands: ± standard error over seeds.")


def _front(result: SweepResult) -> Element:
    """Points by two quantities; those on the front are joined."""
    quantity = ESTIMATES.get(result.quantity) or ESTIMATES[_ACCURACY]
    against = ESTIMATES.get(result.against or "") or Quantity(result.against or "")
    x = values_axis(against.heading, [one.against.mean for one in result.pareto])
    y = values_axis(quantity.heading, [one.quantity.mean for one in result.pareto])
    title = f"{quantity.title} against {against.title}"
    chart = Chart(title, x, y)
    style, other = plain_style(0), plain_style(1)
    front = [(one.against.mean, one.quantity.mean) for one in result.pareto if one.on_front]
    chart.line(sorted(front), style)
    for one in result.pareto:
        said = f"{one.title}: {one.quantity.mean:.6g}, {one.against.mean:.6g}"
        chart.mark(one.against.mean, one.quantity.mean, style if one.on_front else other, said)
    keys = [Key("on the front", style), Key("others", other)]
    return figure(title[:1].upper() + title[1:], chart.svg, keys=keys)

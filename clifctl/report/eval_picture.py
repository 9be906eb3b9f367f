"""An evaluation as a picture: accuracy after each time step, and firing rates."""

from typing import Any

from clifctl.report.pictures import new_figure
from clifctl.results.eval import EvalResult

ACCURACY, TOP5, PAPER, MEAN, STEP = "#0072b2", "#56b4e9", "#d55e00", "#009e73", "#5a5a5a"


def draw_evaluation(result: EvalResult) -> Any:
    """Draw the accuracy after each time step, with the paper's beside it, and the firing rate of
    each layer, its mean as a bar and each time step as a dot."""
    layers = len(result.firing_rates)
    panels = 2 if layers else 1
    height = max(3.6, 1.6 + 0.28 * layers)
    figure = new_figure(5.2 * panels, height)
    figure.suptitle(
        f"{result.recipe}: {result.model}, {result.neuron}, T = {result.timesteps}", fontsize=11
    )
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _draw_accuracy(axes[0], result)
    if layers:
        _draw_rates(axes[1], result)
    for axis in axes:
        # Below the axes, where it hides no data: the same distance in inches at any height.
        below = (0.5, -0.6 / height)
        axis.legend(loc="upper center", bbox_to_anchor=below, ncols=3, fontsize=9, frameon=False)
    return figure


def _draw_accuracy(axis: Any, result: EvalResult) -> None:
    steps = range(1, result.timesteps + 1)
    axis.plot(steps, result.accuracy_percent_per_step, "o-", color=ACCURACY, label="top 1")
    if result.accuracy_top5_percent_per_step is not None:
        axis.plot(steps, result.accuracy_top5_percent_per_step, "s--", color=TOP5, label="top 5")
    for number in result.published.accuracies[:1]:
        label = f"the paper, {number.source}: {number.accuracy_percent:.2f} %"
        axis.axhline(number.accuracy_percent, color=PAPER, linestyle=":", label=label)
    axis.set_xlim(0.7, result.timesteps + 0.3)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.set_xlabel("time step")
    axis.set_ylabel("test accuracy [%]")
    last = result.accuracy_percent
    axis.set_title(f"accuracy after each time step (last: {last:.2f} %)", fontsize=10)
    axis.grid(alpha=0.3)


def _draw_rates(axis: Any, result: EvalResult) -> None:
    layers = result.firing_rates
    places = range(len(layers))
    axis.barh(places, [layer.firing_rate for layer in layers], color=MEAN, alpha=0.55, label="mean")
    dots = [(rate, at) for at in places for rate in layers[at].firing_rate_per_step]
    axis.plot(*zip(*dots, strict=True), "o", color=STEP, markersize=3, label="each time step")
    axis.set_yticks(places, [layer.layer.removesuffix(".neuron") for layer in layers], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.set_xlabel("firing rate [spikes/neuron/step]")
    axis.set_title(f"firing rate of each layer (net: {result.firing_rate:.3f})", fontsize=10)
    axis.grid(axis="x", alpha=0.3)

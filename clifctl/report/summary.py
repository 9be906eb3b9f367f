"""The trials of a grid -> report: mean +- standard error, paired differences."""

from collections.abc import Sequence
from typing import Any

from clifctl.files import plain
from clifctl.report.render import MIB, Column, Table
from clifctl.results.compare_neurons import NeuronComparison
from clifctl.results.statistics import Difference, Estimate
from clifctl.results.summary import Differences, Summary
from clifctl.results.truncate_bptt import TruncationResult

# quantity, label, digits
_ESTIMATES = (
    ("accuracy_percent_last", "accuracy, last [%]", 2),
    ("accuracy_percent_best", "accuracy, best [%]", 2),
    ("train_loss_train_mode", "train loss, train mode", 3),
    ("train_loss_eval_mode", "train loss, eval. mode", 3),
    ("test_loss", "test loss", 3),
    ("firing_rate", "firing rate", 3),
    ("step_ms", "step [ms]", 1),
)

_SHARE = ("temporal_share_percent", "temporal share [%]", 1)

_DIFFERENCES = (
    ("accuracy_percent_last", "test accuracy, last epoch [points]", 2),
    ("train_loss_train_mode", "training loss, train mode", 3),
    ("train_loss_eval_mode", "training loss, evaluation mode", 3),
    ("test_loss", "test loss", 3),
    ("firing_rate", "firing rate [spikes/neuron/step]", 3),
    ("temporal_share_percent", "temporal share of the gradient [points]", 1),
)

_TESTED = ("interval_95_low", "interval_95_high", "p_value", "p_value_holm", "wins")

LAST_AND_BEST = (
    "last: of the last epoch; best: of the best epoch, chosen on the test set as in the paper."
)

MEAN_OVER_SEEDS = "mean ± standard error over seeds; one seed has none."


def _estimates(shared: bool) -> tuple[tuple[str, str, int], ...]:
    return (*_ESTIMATES, _SHARE) if shared else _ESTIMATES


def estimate_columns(shared: bool = False) -> list[Column]:
    return [Column(name, label) for name, label, _ in _estimates(shared)]


def shown_summary(summary: Summary, shared: bool = False) -> dict[str, Any]:
    kept = summary.kept_for_backward_bytes
    return {
        "n": len(summary.seeds),
        **{
            name: _estimate(getattr(summary, name), digits)
            for name, _, digits in _estimates(shared)
        },
        "parameters": summary.parameters,
        "memory": None if kept is None else f"{kept / MIB:.2f}",
    }


def _estimate(estimate: Estimate | None, digits: int) -> str | None:
    if estimate is None:
        return None
    if estimate.standard_error is None:
        return f"{estimate.mean:.{digits}f}"
    return f"{estimate.mean:.{digits}f} ± {estimate.standard_error:.{digits}f}"


def difference_table(
    title: str, what: str, places: Sequence[tuple[str, Differences]], correction: str
) -> Table:
    columns = (
        Column("place", what),
        Column("quantity", "quantity"),
        Column("mean", "difference"),
        Column("interval", "95 % interval"),
        Column("p", "p"),
        Column("p_holm", "p, corrected"),
        Column("wins", "higher in"),
    )
    rows = tuple(
        {"place": place, "quantity": label, **_shown_difference(one, digits)}
        for name, label, digits in _DIFFERENCES
        for place, found in places
        if (one := getattr(found, name)) is not None
    )
    notes = (
        f"p: paired t test, two-sided. Corrected: {correction}.",
        "No p value and no interval where there is one seed, or where every seed gives the same "
        "difference.",
    )
    return Table(title, columns, rows, notes=notes)


def _shown_difference(one: Difference, digits: int) -> dict[str, str | None]:
    def signed(value: float) -> str:
        # What rounds to nothing has a plus.
        return f"{round(value, digits) + 0.0:+.{digits}f}"

    interval = None
    if one.interval_95_low is not None and one.interval_95_high is not None:
        interval = f"{signed(one.interval_95_low)} to {signed(one.interval_95_high)}"
    error = "" if one.standard_error is None else f" ± {one.standard_error:.{digits}f}"
    ties = f", {one.ties} equal" if one.ties else ""
    return {
        "mean": f"{signed(one.mean)}{error}",
        "interval": interval,
        "p": _p(one.p_value),
        "p_holm": _p(one.p_value_holm),
        "wins": f"{one.wins} of {one.n}{ties}",
    }


def _p(p: float | None) -> str | None:
    if p is None:
        return None
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def conclusions_table(result: NeuronComparison | TruncationResult) -> Table:
    """What can be concluded, and what is to be known of the trials."""
    missing = [trial for trial in result.trials if trial.state != "finished"]
    lines = [*result.conclusions, *result.notes]
    if missing:
        lines.append(
            f"{len(missing)} of {len(result.trials)} trials are not finished: "
            + "; ".join(f"{trial.title} ({trial.problem or trial.state})" for trial in missing[:5])
            + (f"; and {len(missing) - 5} more" if len(missing) > 5 else "")
        )
    return Table(
        "what can be concluded", (), (), notes=(*lines, f"results folder: {result.results_folder}")
    )


def flat_summary(summary: Summary, shared: bool = False) -> dict[str, Any]:
    flat: dict[str, Any] = {"n": len(summary.seeds)}
    for name, _, _ in _estimates(shared):
        estimate = getattr(summary, name)
        flat[name] = estimate and estimate.mean
        flat[f"{name}_standard_error"] = estimate and estimate.standard_error
    for name in ("parameters", "kept_for_backward_bytes", "peak_memory_bytes"):
        flat[name] = getattr(summary, name)
    return flat


def flat_differences(found: Differences | None, shared: bool) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, _, _ in _DIFFERENCES:
        if name == _SHARE[0] and not shared:
            continue
        one = getattr(found, name, None)
        for key in ("mean", *_TESTED):
            flat[f"{name}_difference_{key}"] = plain(getattr(one, key, None))
    return flat

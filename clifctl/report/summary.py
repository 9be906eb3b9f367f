"""The trials of a grid -> report: mean +- standard error, paired differences."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from clifctl.amounts import mebibytes
from clifctl.files import plain
from clifctl.report.render import Column, Measured, Table
from clifctl.results.compare_neurons import NeuronComparison
from clifctl.results.quantities import Quantity
from clifctl.results.statistics import Difference, Estimate
from clifctl.results.summary import ESTIMATES, Differences, Summary
from clifctl.results.sweep import SweepResult
from clifctl.results.truncate_bptt import TruncationResult

Estimates = Mapping[str, Quantity]

NOTE = (
    "mean ± standard error over seeds; one seed has none. last: of the last epoch; best: of the "
    "best epoch, chosen on the test set as in the paper."
)
_TESTED = ("interval_95_low", "interval_95_high", "p_value", "p_value_holm", "wins")


def estimates_of(summaries: Iterable[Summary]) -> Estimates:
    """The quantities that have a column: all but those that have to be asked for, and those that
    have a default, because they are not always measured, and that none of `summaries` has."""
    known = list(summaries)
    return {
        name: quantity
        for name, quantity in ESTIMATES.items()
        if not quantity.on_request
        and (not hasattr(Summary, name) or any(getattr(one, name) for one in known))
    }


def estimate_columns(estimates: Estimates) -> list[Column]:
    """The columns of the means over seeds."""
    return [
        Column(name, one.short or one.heading, best=_best(one)) for name, one in estimates.items()
    ]


def _best(quantity: Quantity) -> Literal["highest", "lowest"]:
    return "highest" if quantity.higher_is_better else "lowest"


def shown_summary(summary: Summary, estimates: Estimates) -> dict[str, Any]:
    """The cells of a row for a reader."""
    kept = mebibytes(summary.kept_for_backward_bytes)
    return {
        "n": len(summary.seeds),
        **{name: estimate_cell(getattr(summary, name), one) for name, one in estimates.items()},
        "parameters": summary.parameters,
        "memory": None if kept is None else f"{kept:.2f}",
    }


def estimate_cell(estimate: Estimate | None, quantity: Quantity) -> Measured | None:
    """A mean with its standard error for a reader."""
    if estimate is None:
        return None
    return Measured(estimate.mean, estimate.standard_error, quantity.mean_digits)


def flat_summary(summary: Summary, estimates: Estimates) -> dict[str, Any]:
    """The cells of a row for csv and jsonl."""
    flat: dict[str, Any] = {"n": len(summary.seeds)}
    for name in estimates:
        estimate = getattr(summary, name)
        flat[name] = estimate and estimate.mean
        flat[f"{name}_standard_error"] = estimate and estimate.standard_error
    for name in ("parameters", "kept_for_backward_bytes", "peak_memory_bytes"):
        flat[name] = getattr(summary, name)
    return flat


def flat_differences(found: Differences | None, estimates: Estimates) -> dict[str, Any]:
    """The differences of a row for csv and jsonl."""
    return {
        f"{name}_difference_{key}": plain(getattr((found or {}).get(name), key, None))
        for name, quantity in estimates.items()
        if quantity.compared
        for key in ("mean", *_TESTED)
    }


def difference_table(
    title: str, what: str, places: Sequence[tuple[str, Differences]], correction: str
) -> Table:
    """Paired differences, quantity by quantity."""
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
        {"place": place, "quantity": quantity.difference_heading, **_difference(one, quantity)}
        for name, quantity in ESTIMATES.items()
        for place, found in places
        if (one := found.get(name)) is not None
    )
    notes = (
        f"p: paired t test, two-sided. Corrected: {correction}.",
        "No p value and no interval where there is one seed, or where every seed gives the same "
        "difference.",
    )
    return Table(title, columns, rows, notes=notes, keys=2, name="differences")


def difference_rows(
    what: str, places: Sequence[tuple[str, Differences]]
) -> Iterator[dict[str, Any]]:
    """The same for csv and jsonl, with every digit; `what` is the key of the place."""
    for name in ESTIMATES:
        for place, found in places:
            if (one := found.get(name)) is not None:
                yield {what: place, "quantity": name, **dataclasses.asdict(one)}


def _difference(one: Difference, quantity: Quantity) -> dict[str, Any]:
    low, high = one.interval_95_low, one.interval_95_high
    interval = None
    if low is not None and high is not None:
        interval = f"{quantity.signed(low)} to {quantity.signed(high)}"
    ties = f", {one.ties} equal" if one.ties else ""
    return {
        "mean": Measured(one.mean, one.standard_error, quantity.mean_digits, signed=True),
        "interval": interval,
        "p": _p(one.p_value),
        "p_holm": _p(one.p_value_holm),
        "wins": f"{one.wins} of {one.n}{ties}",
    }


def _p(p: float | None) -> str | None:
    if p is None:
        return None
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def conclusions_table(result: NeuronComparison | TruncationResult | SweepResult) -> Table:
    """The conclusions, the notes, and the trials that are not finished."""
    missing = [trial for trial in result.trials if trial.state != "finished"]
    lines = [*result.conclusions, *result.notes]
    if missing:
        lines.append(
            f"{len(missing)} of {len(result.trials)} trials are not finished: "
            + "; ".join(f"{trial.title} ({trial.problem or trial.state})" for trial in missing[:5])
            + (f"; and {len(missing) - 5} more" if len(missing) > 5 else "")
        )
    if result.results_folder is not None:
        lines.append(f"results folder: {result.results_folder}")
    return Table("what can be concluded", (), (), notes=tuple(lines), name="conclusions")

"""Trials of one cell of a grid together: estimates, paired differences, curves, sentences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from clifctl.amounts import counted
from clifctl.experiments.grid.statistics import (
    SIGNIFICANT,
    estimate,
    paired_difference,
    with_holm,
)
from clifctl.results.quantities import Quantity, quantities_of
from clifctl.results.statistics import Difference
from clifctl.results.summary import ESTIMATES, Differences, MeanCurve, Summary
from clifctl.results.trials import Epochs, Measured, TrialRecord

CORRECTION = (
    "Holm's method over all comparisons of the table, for each quantity by itself; intervals are "
    "those of single comparisons, uncorrected"
)
# Seed -> what the trial with that seed measured.
BySeed = Mapping[int, Measured]
ACCURACY = "accuracy_percent_last"  # which every trial measures
_MEASURED = {field.name for field in fields(Measured)}


def by_seed(records: Sequence[TrialRecord | None]) -> dict[int, Measured]:
    """The finished ones of `records`, by seed."""
    return {
        record.seed: record.measured
        for record in records
        if record is not None and record.measured is not None
    }


def summarise(cell: BySeed) -> Summary:
    """The trials of one cell, over their seeds: means of what Summary estimates, else the largest
    of them."""
    found: dict[str, Any] = {}
    for name, quantity in quantities_of(Summary).items():
        source = quantity.of or name
        if source in _MEASURED:
            values = [getattr(trial, source) for trial in cell.values()]
            known = [value for value in values if value is not None]
            over: Callable[[list[Any]], Any] = estimate if name in ESTIMATES else max
            found[name] = over(known) if known else None
    return Summary(seeds=tuple(sorted(cell)), **found)


def differences(pairs: Sequence[tuple[BySeed, BySeed] | None]) -> list[Differences | None]:
    """Value - baseline for each pair (value, baseline), over their common seeds; None where there
    are none. All pairs are one family for the correction, each quantity by itself."""
    columns = {
        name: with_holm([None if pair is None else _difference(pair, name) for pair in pairs])
        for name, quantity in quantities_of(Measured).items()
        if quantity.compared
    }
    rows = [{name: column[at] for name, column in columns.items()} for at in range(len(pairs))]
    return [row if any(row.values()) else None for row in rows]


def _difference(pair: tuple[BySeed, BySeed], name: str) -> Difference | None:
    cell, baseline = pair
    both = [(getattr(cell[s], name), getattr(baseline[s], name)) for s in cell if s in baseline]
    known = [(value, base) for value, base in both if value is not None and base is not None]
    if not known:
        return None
    values, bases = zip(*known, strict=True)
    return paired_difference(values, bases)


def mean_curve(curves: Sequence[Epochs], of: Callable[[Epochs], Sequence[float]]) -> MeanCurve:
    """Mean over trials of one quantity, epoch by epoch, as far as every trial has it."""
    length = min(len(of(curve)) for curve in curves)
    values = np.array([of(curve)[:length] for curve in curves], dtype=float)
    spread = None
    if len(values) > 1:
        spread = tuple((values.std(0, ddof=1) / np.sqrt(len(values))).tolist())
    return MeanCurve(mean=tuple(values.mean(0).tolist()), standard_error=spread)


def is_significant(difference: Difference) -> bool:
    """Whether a difference can be told from chance, after the correction."""
    p = difference.p_value_holm
    return p is not None and p < SIGNIFICANT


def describe(name: str, difference: Difference, quantity: Quantity) -> str:
    """A difference that holds, in words: size, interval, corrected p value."""
    low, high, p = difference.interval_95_low, difference.interval_95_high, difference.p_value_holm
    size = f"{name} {quantity.signed(difference.mean)}{_unit(quantity)}"
    if low is None or high is None or p is None:
        return size
    interval = f"{quantity.signed(low)} to {quantity.signed(high)}"
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f"{size} (95 % interval {interval}, {shown} corrected)"


def undecided(name: str, difference: Difference, quantity: Quantity) -> str:
    """A difference that cannot be told from chance, in words: how wide its interval is."""
    low, high = difference.interval_95_low, difference.interval_95_high
    if low is None or high is None:
        return name
    half = f"{(high - low) / 2:.{quantity.mean_digits}f}{_unit(quantity)}"
    return f"{name} ({quantity.signed(difference.mean)}, 95 % interval ±{half})"


def conclude(
    compared: Sequence[tuple[str, Differences]],
    baseline: str,
    quantities: Sequence[str],
    most: int | None = None,
) -> tuple[str, ...]:
    """What paired differences to `baseline` bear, in a sentence for each of the `quantities`,
    accuracy deciding how many seeds there are; no more than `most` differences of a kind are
    named."""
    n = min(one.n for _, found in compared for one in [found[ACCURACY]] if one)
    if n == 1:
        return (
            "One seed: there is no error bar and no p value, and nothing can be concluded about "
            "any difference. Give at least 8 with --seeds.",
        )
    sentences = []
    for name in quantities:
        known = [(what, one) for what, found in compared if (one := found.get(name)) is not None]
        if known:
            quantity = ESTIMATES[name]
            title = quantity.title[:1].upper() + quantity.title[1:]
            sentences.append(f"{title} against {baseline}: {_sentence(known, quantity, most)}")
    if n < 8:
        sentences.append(
            f"With {counted(n, 'seed')} only large differences can be told from chance; "
            "8 or more are better."
        )
    return tuple(sentences)


def _sentence(
    compared: Sequence[tuple[str, Difference]], quantity: Quantity, most: int | None
) -> str:
    shown, same, open_ = [], [], []
    for name, one in compared:
        if is_significant(one):
            shown.append(describe(name, one, quantity))
        elif one.ties == one.n:
            same.append(name)
        else:
            open_.append(undecided(name, one, quantity))
    parts = []
    if shown:
        parts.append("; ".join(_first(shown, most)))
    if same:
        parts.append(f"the same in every seed for {', '.join(_first(same, most))}")
    if open_:
        parts.append(f"no difference can be concluded for {', '.join(_first(open_, most))}")
    return "; ".join(parts) + "."


def _first(names: Sequence[str], most: int | None) -> list[str]:
    left = 0 if most is None else len(names) - most
    return [*names] if left <= 0 else [*names[:most], f"and {left:,} more"]


def _unit(quantity: Quantity) -> str:
    return f" {quantity.difference_unit}" if quantity.difference_unit else ""


def machine_notes(cells: Sequence[BySeed]) -> tuple[str, ...]:
    """What to know of times and memory, and of trials that ran under different conditions."""
    trials = [trial for cell in cells for trial in cell.values()]
    notes = []
    beside = max((trial.beside for trial in trials), default=1)
    if beside > 1:
        notes.append(
            f"Up to {beside} trials shared this machine: their times per step are longer and "
            "noisier than alone; --workers 1 measures them."
        )
    names = {"torch_version": "torch"}
    for name in ("torch_version", "device", "target", "connections"):
        # cuda:0 and cuda:1 are two of a kind.
        kinds = sorted({str(getattr(trial, name)).partition(":")[0] for trial in trials})
        if len(kinds) > 1:
            notes.append(f"Trials ran with different {names.get(name, name)}: {', '.join(kinds)}.")
    return tuple(notes)

"""`compare-neurons` and `truncate-bptt` -> report: mean +- standard error, paired differences."""

from collections.abc import Sequence
from typing import Any

from clifctl.files import plain
from clifctl.report.render import MIB, Column, Report, Table, document_of
from clifctl.results import (
    ComparedNeuron,
    Difference,
    Differences,
    Estimate,
    NeuronComparison,
    Summary,
    TrialStatus,
    TruncationResult,
)

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
_LAST = "last: of the last epoch; best: of the best epoch, chosen on the test set as in the paper."
_MEAN = "mean ± standard error over seeds; one seed has none."


def comparison_report(result: NeuronComparison) -> Report:
    """The table of `compare-neurons`: a row a neuron, then the paired differences."""
    several = len({(row.paired_timesteps, row.batch_norm) for row in result.rows}) > 1
    published = any(row.published.accuracies for row in result.rows)
    shared = _has_share(result)
    setting = (
        Column("neuron", "neuron"),
        Column("timesteps", "T"),
        *([Column("batch_norm", "batch norm")] if several else []),
    )
    columns = (
        *setting,
        Column("n", "n"),
        *_estimate_columns(shared),
        Column("parameters", "parameters", 0),
        Column("memory", "kept for backward [MiB]"),
        *([Column("published", "the paper's [%]")] if published else []),
    )
    rows = tuple(
        {
            "neuron": row.neuron,
            "timesteps": row.timesteps,
            "batch_norm": row.batch_norm,
            "published": _published(row),
            **_shown_summary(row.summary, shared),
        }
        for row in result.rows
    )
    exchange = ""
    if result.exchange_to is not None:
        exchange = f", exchanged for {result.exchange_to} after epoch {result.exchange_after_epoch}"
    main = Table(
        f"{result.recipe}: {result.data}, {result.model}, {result.epochs} epochs, "
        f"{result.seeds_asked} seed(s){exchange}",
        columns,
        rows,
        notes=(f"{_MEAN} {_LAST}",),
    )
    compared = [(_setting(row, result), row.differences) for row in result.rows if row.differences]
    tables = [main]
    if compared:
        tables.append(
            _difference_table(
                f"paired differences to {result.baseline}", "neuron", compared, result.correction
            )
        )
    tables.append(_said(result.conclusions, result.notes, result.trials, result.results_folder))
    return Report(document_of(result), tuple(tables), data=_flat_table(result))


def truncation_report(result: TruncationResult) -> Report:
    """The table of `truncate-bptt`: a row for each tau and window."""
    published = any(row.published_percent is not None for row in result.rows)
    columns = (
        Column("tau", "tau"),
        Column("window", "k"),
        Column("n", "n"),
        *_estimate_columns(),
        Column("memory", "kept for backward [MiB]"),
        *([Column("published_percent", "Table 3 [%]", 2)] if published else []),
    )
    rows = tuple(
        {
            "tau": row.tau,
            "window": f"{row.window} (full)" if row.full else str(row.window),
            "published_percent": row.published_percent,
            **_shown_summary(row.summary),
        }
        for row in result.rows
    )
    main = Table(
        f"{result.recipe}: {result.neuron}, T = {result.timesteps}, "
        f"{result.window_reading} window, {result.epochs} epochs, {result.seeds_asked} seed(s)",
        columns,
        rows,
        notes=(f"{_MEAN} {_LAST}",),
    )
    tables = [main]
    if result.steps:
        places = [
            (f"tau = {step.tau:g}: k = {step.window_from} to {step.window_to}", step.differences)
            for step in result.steps
        ]
        title = "paired differences from one window to the next"
        tables.append(_difference_table(title, "from, to", places, result.correction))
    tables.append(_said(result.conclusions, result.notes, result.trials, result.results_folder))
    flat = tuple(
        {
            "tau": row.tau,
            "window": row.window,
            **_flat_summary(row.summary),
            "published_percent": row.published_percent,
        }
        for row in result.rows
    )
    data = Table(main.title, tuple(Column(key, key) for key in flat[0]), flat)
    return Report(document_of(result), tuple(tables), data=data)


def _has_share(result: NeuronComparison) -> bool:
    """Whether the temporal share was asked for, and some neuron has one."""
    return any(row.summary.temporal_share_percent is not None for row in result.rows)


def _estimates(shared: bool) -> tuple[tuple[str, str, int], ...]:
    return (*_ESTIMATES, _SHARE) if shared else _ESTIMATES


def _estimate_columns(shared: bool = False) -> list[Column]:
    return [Column(name, label) for name, label, _ in _estimates(shared)]


def _shown_summary(summary: Summary, shared: bool = False) -> dict[str, Any]:
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


def _published(row: ComparedNeuron) -> str | None:
    known = row.published.accuracies
    return f"{known[0].accuracy_percent:.2f} ({known[0].source})" if known else None


def _setting(row: ComparedNeuron, result: NeuronComparison) -> str:
    parts = []
    if len({one.paired_timesteps for one in result.rows}) > 1:
        parts.append(f"T = {row.timesteps}")
    if len({one.batch_norm for one in result.rows}) > 1:
        parts.append(row.batch_norm)
    return f"{row.neuron} ({', '.join(parts)})" if parts else row.neuron


def _difference_table(
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


def _said(
    conclusions: Sequence[str], notes: Sequence[str], trials: Sequence[TrialStatus], folder: str
) -> Table:
    """What can be concluded, and what is to be known of the trials."""
    missing = [trial for trial in trials if trial.state != "finished"]
    lines = [*conclusions, *notes]
    if missing:
        lines.append(
            f"{len(missing)} of {len(trials)} trials are not finished: "
            + "; ".join(f"{trial.title} ({trial.problem or trial.state})" for trial in missing[:5])
            + (f"; and {len(missing) - 5} more" if len(missing) > 5 else "")
        )
    return Table("what can be concluded", (), (), notes=(*lines, f"results folder: {folder}"))


def _flat_table(result: NeuronComparison) -> Table:
    shared = _has_share(result)
    rows = tuple(
        {
            "neuron": row.neuron,
            "timesteps": row.timesteps,
            "batch_norm": row.batch_norm,
            **_flat_summary(row.summary, shared),
            **_flat_differences(row.differences, shared),
            "published_percent": row.published.accuracies[0].accuracy_percent
            if row.published.accuracies
            else None,
        }
        for row in result.rows
    )
    return Table(result.recipe, tuple(Column(key, key) for key in rows[0]), rows)


def _flat_summary(summary: Summary, shared: bool = False) -> dict[str, Any]:
    flat: dict[str, Any] = {"n": len(summary.seeds)}
    for name, _, _ in _estimates(shared):
        estimate = getattr(summary, name)
        flat[name] = estimate and estimate.mean
        flat[f"{name}_standard_error"] = estimate and estimate.standard_error
    for name in ("parameters", "kept_for_backward_bytes", "peak_memory_bytes"):
        flat[name] = getattr(summary, name)
    return flat


def _flat_differences(found: Differences | None, shared: bool) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, _, _ in _DIFFERENCES:
        if name == _SHARE[0] and not shared:
            continue
        one = getattr(found, name, None)
        for key in ("mean", *_TESTED):
            flat[f"{name}_difference_{key}"] = plain(getattr(one, key, None))
    return flat

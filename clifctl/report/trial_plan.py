"""`--dry-run` of a grid -> report: its trials, and how long they would take."""

from clifctl.report.render import MIB, Column, Report, Table, document_of
from clifctl.results.trials import TimedStep, TrialPlan


def trial_plan_report(plan: TrialPlan) -> Report:
    """What `--dry-run` of a grid says."""
    columns = (
        Column("trial", "trial"),
        Column("title", "what"),
        Column("state", "state"),
        Column("steps", "steps", 0),
        Column("step_ms", "step [ms]", 1),
        Column("kept_for_backward_mib", "kept for backward [MiB]", 2),
        Column("estimate_seconds", "estimate [s]", 0),
        *([Column("timed", "scaled from")] if _is_scaled(plan) else []),
    )
    rows = tuple(
        {
            **vars(trial),
            "kept_for_backward_mib": trial.kept_for_backward_bytes / MIB,
            "estimate_seconds": trial.estimate_seconds and round(trial.estimate_seconds),
            "timed": trial.timed and _timed(trial.timed, trial.trial),
        }
        for trial in plan.trials
    )
    table = Table(
        f"{plan.command} {plan.recipe}: {len(rows)} trials, {plan.finished} finished, "
        "nothing was run",
        columns,
        rows,
        notes=(*_time_left(plan), f"results folder: {plan.results_folder}"),
    )
    return Report(document_of(plan), (table,))


def _is_scaled(plan: TrialPlan) -> bool:
    return any(trial.timed is not None and not trial.timed.is_whole for trial in plan.trials)


def _timed(timed: TimedStep, trial: str) -> str:
    of = "" if timed.trial == trial else f" of {timed.trial}"
    said = f"{timed.samples} samples, T = {timed.timesteps}, {timed.precision}{of}"
    factor = timed.work_factor * timed.precision_factor
    return said if timed.is_whole else f"{said}; x {factor:,.4g}"


def _time_left(plan: TrialPlan) -> tuple[str, ...]:
    if plan.estimate_seconds is None:
        return ("No estimate of the time: the data are missing.",)
    said = (
        f"An estimate: about {_duration(plan.estimate_seconds)} on {plan.workers} worker(s) "
        f"({plan.workers_reason}), {plan.threads_per_trial} CPU thread(s) each; from timed steps "
        "on noise, alone on the machine: workers that share it are slower."
    )
    if not _is_scaled(plan):
        return (said,)
    scaled = (
        "scaled from: what was timed, and how many times as long the trial's own step takes, by "
        "counted multiply-accumulates"
    )
    factors = [one.timed.precision_factor for one in plan.trials if one.timed is not None]
    half = max(factors)
    if half > 1.0:
        scaled += (
            f", in float16 up to {half:.3g} times as long still, by what a convolution takes "
            "longer in it on this CPU"
        )
    return (said, f"{scaled}.")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

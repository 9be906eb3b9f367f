"""`--dry-run` of a grid -> report: its trials, and how long they would take."""

from clifctl.amounts import counted, duration, mebibytes
from clifctl.report.render import Column, Report, Table, columns_of, document_of
from clifctl.results.trials import PlannedTrial, TimedStep, TrialPlan


def trial_plan_report(plan: TrialPlan) -> Report:
    """What `--dry-run` of a grid says."""
    columns = columns_of(
        PlannedTrial,
        *("trial", "title", "state", "steps", "step_ms"),
        Column("kept_for_backward_mib", "kept for backward [MiB]", 2),
        "estimate_seconds",
        *([Column("timed", "scaled from")] if _is_scaled(plan) else []),
    )
    rows = tuple(
        {
            **vars(trial),
            "kept_for_backward_mib": mebibytes(trial.kept_for_backward_bytes),
            "estimate_seconds": trial.estimate_seconds and round(trial.estimate_seconds),
            "timed": trial.timed and _timed(trial.timed, trial.trial),
        }
        for trial in plan.trials
    )
    table = Table(
        f"{plan.command} {plan.recipe}: {counted(len(rows), 'trial')}, {plan.finished} finished, "
        "nothing was run",
        columns,
        rows,
        notes=(*_time_left(plan), f"results folder: {plan.results_folder}"),
    )
    script = plan.batch_script and f"\n{plan.batch_script}"
    return Report(document_of(plan), (table,), text=script)


def _is_scaled(plan: TrialPlan) -> bool:
    return any(trial.timed is not None and not trial.timed.is_whole for trial in plan.trials)


def _timed(timed: TimedStep, trial: str) -> str:
    of = "" if timed.trial == trial else f" of {timed.trial}"
    said = f"{counted(timed.samples, 'sample')}, T = {timed.timesteps}, {timed.precision}{of}"
    factor = timed.work_factor * timed.precision_factor
    return said if timed.is_whole else f"{said}; x {factor:,.4g}"


def _time_left(plan: TrialPlan) -> tuple[str, ...]:
    if plan.batch_script is not None:
        return ("Jobs of Slurm, by the batch script below; nothing was timed here.",)
    if plan.estimate_seconds is None:
        return ("No estimate of the time: the data are missing.",)
    said = (
        f"Estimate: about {duration(plan.estimate_seconds)} on {counted(plan.workers, 'worker')} "
        f"({plan.workers_reason}), {counted(plan.threads_per_trial, 'CPU thread')} each; from "
        "steps timed on noise, with the machine to themselves; workers that share it are slower."
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

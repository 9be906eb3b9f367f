"""The jobs of a grid in a Slurm cluster: submitted by submitit, an array with one job a trial.

Each submission has a folder of its own in `slurm/` of the results folder, made for it and closed to
everybody else: submitit keeps the batch script, the tasks (pickles, which its job reads and nobody
else) and the logs there, and `jobs.json` says which job runs which trial.
"""

import contextlib
import io
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clifctl.amounts import counted
from clifctl.errors import ClifctlError, UsageError
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.slurm_queue import (
    FOLDER,
    JOBS,
    SCHEMA,
    Queue,
    ask,
    in_a_line,
    job_name,
    log_of,
    queue_of,
)
from clifctl.experiments.grid.slurm_request import SlurmRequest
from clifctl.experiments.grid.slurm_trial import TrialInAJob
from clifctl.experiments.grid.trial import TrialTask
from clifctl.experiments.grid.trial_files import CLAIMS
from clifctl.experiments.grid.trial_names import Trial
from clifctl.files import cannot_write
from clifctl.results.events import GridObserver, Notice
from clifctl.training.lock import lock
from clifctl.training.run_folder import write_json

_SUBMITTING = "slurm"
# Slurm's own default of MaxArraySize, where it does not say.
_JOBS_OF_AN_ARRAY = 1001
# How often a job may be requeued: `TrialInAJob` says when it is enough.
_STARTS = 1_000_000
# Until submitit listens, a signal would end the process, and the job with it: Slurm takes a job
# that ends in the grace time of a preemption for done. One that ignores the signal is killed at the
# end of that time, and requeued.
_DEAF = """sh -c 'trap "" TERM USR1 USR2; exec "$0" "$@"'"""


def require_slurm() -> None:
    """Raise UsageError where no job can be submitted from here."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UsageError(
            "--submit slurm needs submitit, which is not installed",
            hint="pip install 'clifctl[slurm]'",
        ) from None
    for program in ("sbatch", "srun", "squeue", "scontrol"):
        if shutil.which(program) is None:
            raise UsageError(
                f"--submit slurm: there is no {program} on PATH",
                hint="run it on a machine of the cluster that submits jobs; without --submit the "
                "trials run on this one",
            )


def checked_script(results: Path, request: SlurmRequest, jobs: int) -> str | None:
    """The batch script of so many jobs, but for the name of their folder; None for no jobs. Submits
    nothing. Raises UsageError where nothing can be submitted, or with what sbatch says against
    it."""
    if not jobs:
        return None
    require_slurm()
    script = _script(_executor(results / FOLDER / "SUBMISSION", request, results), jobs)
    answer = ask(["sbatch", "--test-only"], script)
    if answer.returncode:
        raise _refused(answer.stderr)
    return script


def submit(
    trials: Sequence[Trial],
    folder: ResultsFolder,
    request: SlurmRequest,
    task: Callable[[Trial], TrialTask],
    observe: GridObserver,
) -> None:
    """Submit what is neither finished, nor queued, nor run by anybody. Raises UsageError with what
    sbatch says where it refuses."""
    with lock(folder.path / CLAIMS / _SUBMITTING) as is_mine:
        if not is_mine:
            raise UsageError(
                f"another command submits the trials of '{folder.path}' at this moment",
                hint="the same command shows how they stand when it is done",
            )
        queue = queue_of(folder.path)
        todo = [trial for trial in trials if _is_open(trial.name, folder, queue)]
        _tell_of_lost(todo, folder, queue, observe)
        size = _jobs_of_an_array()
        for first in range(0, len(todo), size):
            part = todo[first : first + size]
            array = _submitted_array(part, folder, request, task)
            observe(Notice(f"submitted {counted(len(part), 'job')} to Slurm: {array}"))
    finished = sum(_is_finished(trial.name, folder) for trial in trials)
    waiting = [*queue.states.values()].count("queued") + len(todo)
    why = f" ({', '.join(queue.reasons)})" if queue.reasons else ""
    running = len(queue.states) - [*queue.states.values()].count("queued")
    observe(
        Notice(
            f"of {counted(len(trials), 'trial')} {finished} finished, {running} running, {waiting} "
            f"queued{why}; the same command shows the table of what is finished"
        )
    )


def _is_open(name: str, folder: ResultsFolder, queue: Queue) -> bool:
    if name in queue.states or _is_finished(name, folder):
        return False
    return not folder.is_claimed(name)


def _is_finished(name: str, folder: ResultsFolder) -> bool:
    record = folder.record(name)
    return record is not None and record.state == "finished"


def _tell_of_lost(
    todo: Sequence[Trial], folder: ResultsFolder, queue: Queue, observe: GridObserver
) -> None:
    """Say which trials had a job before: one that has failed, or one that left no record."""
    failed = [trial for trial in todo if folder.record(trial.name) is not None]
    lost = [trial for trial in todo if trial.name in queue.logs and trial not in failed]
    for found, what in ((failed, "has failed"), (lost, "has ended without a result")):
        if found:
            first = found[0]
            log = f", see '{queue.logs[first.name]}'" if first.name in queue.logs else ""
            more = f" (and {counted(len(found) - 1, 'other')})" if len(found) > 1 else ""
            observe(Notice(f"{first.title}{more} {what}{log}: submitted again"))


def _submitted_array(
    trials: Sequence[Trial],
    folder: ResultsFolder,
    request: SlurmRequest,
    task: Callable[[Trial], TrialTask],
) -> str:
    """Submit a job for each of `trials`; returns what is to be said of them."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    parent = folder.path / FOLDER
    try:
        parent.mkdir(exist_ok=True)
        # A fresh one, mode 700: nobody has put a task there, and nobody can.
        place = Path(tempfile.mkdtemp(dir=parent, prefix=time.strftime("%Y-%m-%d-%H%M%S-")))
    except OSError as refused:
        raise cannot_write(parent, refused) from None
    try:
        # submitit prints what sbatch said, and raises it too.
        with contextlib.redirect_stderr(io.StringIO()):
            jobs = _executor(place, request, folder.path).map_array(
                TrialInAJob(), [task(trial) for trial in trials]
            )
    except (FailedJobError, FailedSubmissionError) as refused:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):
            parent.rmdir()
        raise _refused(str(refused)) from None
    ids = [job.job_id for job in jobs]
    names = dict(zip(ids, (trial.name for trial in trials), strict=True))
    write_json(place / JOBS, {"schema": SCHEMA, "jobs": names})
    array = ids[0].partition("_")[0]
    logs = log_of(place, ids[0] if len(ids) == 1 else f"{array}_*")
    return f"{array}; logs '{logs}'; scancel {array} ends it"


def _executor(place: Path, request: SlurmRequest, results: Path) -> Any:
    import submitit

    executor = submitit.SlurmExecutor(
        place,
        max_num_timeout=_STARTS,
        python=f"{_DEAF} {shlex.quote(sys.executable)}",
    )
    given = {key: value for key, value in request.options.items() if key != "time"}
    cpus = request.options.get("cpus-per-task")
    executor.update_parameters(
        job_name=job_name(results),
        # In minutes; by it submitit tells a time that ends from a preemption.
        time=max(1, request.seconds // 60),
        signal_delay_s=request.signal_seconds,
        array_parallelism=request.at_once or _STARTS,
        stderr_to_stdout=True,
        wckey=None,
        # srun does not take it from sbatch (Slurm from 22.05 on).
        srun_args=[] if cpus is None else [f"--cpus-per-task={cpus}"],
        # Of a job that may not be requeued, a stop would be the end.
        additional_parameters={**given, "time": request.options["time"], "requeue": True},
    )
    return executor


def _script(executor: Any, jobs: int) -> str:
    if jobs > 1:
        executor.parameters["map_count"] = min(jobs, _jobs_of_an_array())
    return str(executor._make_submission_file_text(executor._submitit_command_str, ""))


def _jobs_of_an_array() -> int:
    """How many jobs an array may have in this cluster."""
    for line in ask(["scontrol", "show", "config"]).stdout.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize" and value.strip().isdecimal():
            return max(1, int(value))
    return _JOBS_OF_AN_ARRAY


def _refused(said: str) -> ClifctlError:
    return UsageError(
        f"sbatch refuses these jobs: {in_a_line(said)}",
        hint="sinfo lists the partitions with their limits; --dry-run prints the batch script",
    )

"""The jobs of a grid in a Slurm cluster: submitted by submitit, an array with one job a trial, and
looked up in the queue.

Each submission has a folder of its own in `slurm/` of the results folder, made for it and closed to
everybody else: submitit keeps the batch script, the tasks (pickles, which its job reads and nobody
else) and the logs there, and `jobs.json` says which job runs which trial.
"""

import contextlib
import io
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from clifctl.amounts import counted
from clifctl.errors import ClifctlError, RunFailed, UsageError
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.slurm_request import SlurmRequest
from clifctl.experiments.grid.slurm_trial import TrialInAJob
from clifctl.experiments.grid.trial import TrialTask
from clifctl.experiments.grid.trial_files import CLAIMS
from clifctl.experiments.grid.trial_names import Trial
from clifctl.files import cannot_write
from clifctl.reading import read_json
from clifctl.results.events import GridObserver, Notice
from clifctl.training.lock import lock
from clifctl.training.run_folder import write_json

FOLDER, JOBS = "slurm", "jobs.json"
_SCHEMA = "clifctl.slurm/1"
_SUBMITTING = "slurm"
JobState = Literal["queued", "running"]
# Of what squeue shows all other states are those of a job that has nodes.
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
ANSWER_SECONDS = 60.0
# Slurm's own default of MaxArraySize, where it does not say.
_JOBS_OF_AN_ARRAY = 1001
# How often a job may be requeued: `TrialInAJob` says when it is enough.
_STARTS = 1_000_000
# Until submitit listens, a signal would end the process, and the job with it: Slurm takes a job
# that ends in the grace time of a preemption for done. One that ignores the signal is killed at the
# end of that time, and requeued.
_DEAF = """sh -c 'trap "" TERM USR1 USR2; exec "$0" "$@"'"""


@dataclass(frozen=True)
class Queue:
    """The jobs of a results folder: the state in the queue of each trial that has one there, why
    Slurm lets jobs wait, and the log of each trial that was ever submitted."""

    states: Mapping[str, JobState] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    logs: Mapping[str, Path] = field(default_factory=dict)


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
    answer = _ask(["sbatch", "--test-only"], script)
    if answer.returncode:
        raise _refused(answer.stderr)
    return script


def queue_of(folder: ResultsFolder) -> Queue:
    """The jobs that were submitted for trials of `folder`, as they stand. Raises RunFailed where
    Slurm does not answer."""
    jobs, logs = _submitted(folder)
    if not jobs:
        return Queue()
    user = pwd.getpwuid(os.geteuid()).pw_name
    asked = ["squeue", "--noheader", "--array", "--user", user, "--format", "%i|%T|%r|%j"]
    answer = _ask(asked)
    if answer.returncode:
        raise RunFailed(
            f"squeue: {_in_a_line(answer.stderr)}", hint="the same command goes on when it answers"
        )
    states: dict[str, JobState] = {}
    reasons: dict[str, None] = {}
    for line in answer.stdout.splitlines():
        job, state, reason, name = [*line.strip().split("|", 3), "", "", ""][:4]
        # Slurm counts anew after some millions of jobs, and so does another cluster.
        if job not in jobs or name != job_name(folder.path):
            continue
        waits = state in _WAITING
        states[jobs[job]] = "queued" if waits else "running"
        if waits and reason != "None":
            reasons[reason] = None
    return Queue(states, tuple(reasons), logs)


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
        queue = queue_of(folder)
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


def job_name(results: Path) -> str:
    """What the jobs of a results folder are called in the queue."""
    return results.absolute().name


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
    write_json(place / JOBS, {"schema": _SCHEMA, "jobs": names})
    array = ids[0].partition("_")[0]
    logs = _log(place, ids[0] if len(ids) == 1 else f"{array}_*")
    return f"{array}; logs '{logs}'; scancel {array} ends it"


def _submitted(folder: ResultsFolder) -> tuple[dict[str, str], dict[str, Path]]:
    """Job -> trial, and trial -> the log of its last job, of all submissions."""
    jobs: dict[str, str] = {}
    logs: dict[str, Path] = {}
    found = (folder.path / FOLDER).glob(f"*/{JOBS}")
    for file in sorted(found, key=lambda path: path.stat().st_mtime_ns):
        with suppress(OSError, ValueError, AttributeError, TypeError):
            mine = {str(job): str(trial) for job, trial in read_json(file)["jobs"].items()}
            jobs |= mine
            logs |= {trial: _log(file.parent, job) for job, trial in mine.items()}
    return jobs, logs


def _log(place: Path, job: str) -> Path:
    """Where submitit has a job write."""
    return place / f"{job}_0_log.out"


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
    for line in _ask(["scontrol", "show", "config"]).stdout.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize" and value.strip().isdecimal():
            return max(1, int(value))
    return _JOBS_OF_AN_ARRAY


def _ask(command: list[str], text: str = "") -> "subprocess.CompletedProcess[str]":
    """What a program of Slurm's answers. Raises RunFailed where it does not."""
    try:
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=ANSWER_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise RunFailed(
            f"{command[0]} does not answer: {failed}", hint="sinfo says whether the cluster does"
        ) from None


def _refused(said: str) -> ClifctlError:
    return UsageError(
        f"sbatch refuses these jobs: {_in_a_line(said)}",
        hint="sinfo lists the partitions with their limits; --dry-run prints the batch script",
    )


def _in_a_line(said: str) -> str:
    """What a program of Slurm's has written on stderr, without its own name before each line."""
    lines = [line.partition(": error: ")[2] or line for line in said.strip().splitlines()]
    return "; ".join(line.removeprefix("error: ") for line in lines if line) or "no reason given"

"""The jobs of a results folder in the queue of Slurm: which there are, and how they stand. This
imports no torch."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from clifctl.errors import RunFailed
from clifctl.reading import read_json
from clifctl.results.trials import JobState

# Of a results folder: its submissions, each with a folder that says which job runs which trial.
FOLDER, JOBS = "slurm", "jobs.json"
SCHEMA = "clifctl.slurm/1"
# Of what squeue shows all other states are those of a job that has nodes.
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Queue:
    """The jobs of a results folder: the state in the queue of each trial that has one there, why
    Slurm lets jobs wait, and the log of each trial that was ever submitted."""

    states: Mapping[str, JobState] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    logs: Mapping[str, Path] = field(default_factory=dict)


def queue_of(results: Path) -> Queue:
    """The jobs that were submitted for trials of the folder `results`, as they stand. Raises
    RunFailed where Slurm does not answer."""
    jobs, logs = _submitted(results)
    if not jobs:
        return Queue()
    user = pwd.getpwuid(os.geteuid()).pw_name
    answer = ask(["squeue", "--noheader", "--array", "--user", user, "--format", "%i|%T|%r|%j"])
    if answer.returncode:
        raise RunFailed(
            f"squeue: {in_a_line(answer.stderr)}", hint="the same command goes on when it answers"
        )
    states: dict[str, JobState] = {}
    reasons: dict[str, None] = {}
    for line in answer.stdout.splitlines():
        job, state, reason, name = [*line.strip().split("|", 3), "", "", ""][:4]
        # Slurm counts anew after some millions of jobs, and so does another cluster.
        if job not in jobs or name != job_name(results):
            continue
        waits = state in _WAITING
        states[jobs[job]] = "queued" if waits else "running"
        if waits and reason != "None":
            reasons[reason] = None
    return Queue(states, tuple(reasons), logs)


def states_if_known(results: Path) -> Mapping[str, JobState]:
    """The states of `queue_of` for who only looks on: nothing where there is no Slurm, or where it
    does not answer."""
    if not (results / FOLDER).is_dir() or shutil.which("squeue") is None:
        return {}
    with suppress(RunFailed):
        return queue_of(results).states
    return {}


def job_name(results: Path) -> str:
    """What the jobs of a results folder are called in the queue."""
    return results.absolute().name


def log_of(place: Path, job: str) -> Path:
    """Where submitit has a job of the submission in `place` write."""
    return place / f"{job}_0_log.out"


def ask(command: list[str], text: str = "") -> "subprocess.CompletedProcess[str]":
    """What a program of Slurm's answers. Raises RunFailed where it does not."""
    try:
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=ANSWER_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise RunFailed(
            f"{command[0]} does not answer: {failed}", hint="sinfo says whether the cluster does"
        ) from None


def in_a_line(said: str) -> str:
    """What a program of Slurm's has written on stderr, without its own name before each line."""
    lines = [line.partition(": error: ")[2] or line for line in said.strip().splitlines()]
    return "; ".join(line.removeprefix("error: ") for line in lines if line) or "no reason given"


def _submitted(results: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """Job -> trial, and trial -> the log of its last job, of all submissions."""
    jobs: dict[str, str] = {}
    logs: dict[str, Path] = {}
    found = (results / FOLDER).glob(f"*/{JOBS}")
    for file in sorted(found, key=lambda path: path.stat().st_mtime_ns):
        with suppress(OSError, ValueError, AttributeError, TypeError, KeyError):
            mine = {str(job): str(trial) for job, trial in read_json(file)["jobs"].items()}
            jobs |= mine
            logs |= {trial: log_of(file.parent, job) for job, trial in mine.items()}
    return jobs, logs

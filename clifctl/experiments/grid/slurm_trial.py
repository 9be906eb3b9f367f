"""A trial as a job of Slurm runs it: stopped before its time ends or when it is preempted, and
started again from where it was.

submitit calls `TrialInAJob` in the job. On its signal the run saves at its next step and ends; then
submitit, handed the signal, writes down what is to be called next and requeues the job. A job that
Slurm cancels, or requeues itself, is left to Slurm.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clifctl.errors import RunFailed
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.trial import TrialTask, failed_record, run_trial_remotely
from clifctl.training.run_folder import LAST

# A job whose starts all end before the first step is not requeued for ever.
MOST_IDLE_STARTS = 5
ANSWER_SECONDS = 30.0
# How long a trial may still be held by its last start, which was killed on another machine: a claim
# that is kept by a marker in a file runs out.
BUSY_SECONDS, POLL_SECONDS = 120.0, 5.0


@dataclass(frozen=True)
class TrialInAJob:
    """What submitit calls. The last `idle` starts have brought nothing beyond `reached`."""

    reached: int | None = None
    idle: int = 0

    def __call__(self, task: TrialTask) -> str:
        """Run the trial; ends the process where the job is requeued. Raises RunFailed where the
        trial failed: the job is then a failed one for Slurm too."""
        sys.stdout.write(f"trial {task.trial} ({task.title}) into '{task.results}'\n")
        # A start has an id of its own: none of the earlier ones has to have ended.
        task = replace(task, id=uuid.uuid4().hex)
        deadline = time.monotonic() + BUSY_SECONDS
        while (outcome := run_trial_remotely(task)) == "busy" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if outcome == "stopped" and _is_running():
            signal.raise_signal(signal.SIGUSR2)  # submitit's, which requeues
        record = ResultsFolder(Path(task.results)).record(task.trial)
        if outcome == "ended" and record is not None and record.problem is not None:
            raise RunFailed(record.problem)
        sys.stdout.write(f"{outcome}\n")
        return outcome

    def checkpoint(self, task: TrialTask) -> Any:
        """What the next start is to call; None where there is to be none, which the trial's record
        tells."""
        from submitit.helpers import DelayedSubmission

        folder = ResultsFolder(Path(task.results))
        reached = _reached(folder, task)
        idle = self.idle + 1 if reached == self.reached else 0
        if idle < MOST_IDLE_STARTS:
            return DelayedSubmission(TrialInAJob(reached, idle), task)
        known = folder.record(task.trial)
        if known is None or known.state != "finished":
            problem = f"its job was stopped {idle} times before a step was done; --slurm time=..."
            folder.write(failed_record(task, problem, lost=True))
        return None


def _reached(folder: ResultsFolder, task: TrialTask) -> int | None:
    """What changes with every checkpoint of the trial."""
    with suppress(OSError):
        return (folder.run_folder(task.trial) / LAST).stat().st_mtime_ns
    return None


def _is_running() -> bool:
    """Whether Slurm takes this job for one that goes on: it was told to save, its time is nearly
    over, or it is in the grace time of a preemption, in which a job that ends is done for Slurm."""
    # The number of one job of an array is that of the whole array.
    names = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
    array = [os.environ[name] for name in names if name in os.environ]
    job = "_".join(array) if len(array) == 2 else os.environ["SLURM_JOB_ID"]
    asking = ["squeue", "--noheader", "--jobs", job, "--format", "%T"]
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            asking, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True
        )
        return answer.stdout.strip() == "RUNNING"
    return False

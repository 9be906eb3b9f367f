"""`--submit slurm` without a cluster: programs of Slurm's name stand in for it (tests/slurm has the
real one)."""

import json
import pickle
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clifctl.errors import RunFailed, UsageError
from clifctl.experiments.grid import slurm_trial
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.slurm_request import SlurmRequest
from clifctl.experiments.grid.slurm_trial import MOST_IDLE_STARTS, TrialInAJob
from clifctl.experiments.grid.trial import TrialTask
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.training.run_folder import LAST

SWEEP = ["sweep", "digits_rows_mlp", "model.hidden=[8]", "train.batch_size=256", "train.epochs=1"]
SWEEP += ["--target", "reference", "--threads", "1", "--seeds", "1", "--out", "out", "--json"]
SUBMIT = ["--submit", "slurm", "--slurm", "partition=low,time=10,cpus-per-task=2"]

# The queue is a file; jobs are counted from 7, and each array's script is kept.
PROGRAMS = {
    "sbatch": """\
[ "$1" = --test-only ] && { cat > tested.sh; exit 0; }
grep -q partition=nope "$1" && { echo 'sbatch: error: invalid partition: nope' >&2; exit 1; }
n=$(( $(ls | grep -c '^submitted') + 7 )); cp "$1" "submitted$n.sh"
echo "Submitted batch job $n"
""",
    "squeue": '[ -f down ] && { echo "squeue: error: no contact" >&2; exit 1; }; cat queue',
    "scontrol": 'echo "MaxArraySize            = 2"',
    "srun": "exit 1",
}


@pytest.fixture
def fake(
    clifctl: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> Callable[..., Any]:
    programs = tmp_path_factory.mktemp("programs")
    for name, script in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    Path("queue").touch()
    return clifctl


def states(ran: Any) -> list[str]:
    return [trial["state"] for trial in ran.json["trials"]]


def test_what_is_queued_running_or_finished_is_submitted_once(fake: Callable[..., Any]) -> None:
    """Three trials in arrays of two at most, under one command again and again."""
    command = [*SWEEP, "train.lr=0.1,0.2,0.3"]
    plan = fake(*command, *SUBMIT, "--dry-run").json
    assert not Path("out").exists()
    assert plan["batch_script"] == Path("tested.sh").read_text()
    asked = ["array=0-1%2", "partition=low", "time=10", "requeue", "signal=USR2@90"]
    assert all(f"#SBATCH --{one}\n" in plan["batch_script"] for one in asked)
    assert "--cpus-per-task=2 sh -c 'trap" in plan["batch_script"]
    assert (plan["estimate_seconds"], plan["workers_reason"]) == (None, "a job of Slurm each")

    Path("queue").write_text("7_0|PENDING|Priority|out\n")  # of another cluster, by its number
    first = fake(*command, *SUBMIT)
    assert (first.code, first.json["best"]) == (0, None)
    assert "submitted 2 jobs to Slurm: 7; logs 'out/slurm/" in first.err
    assert "submitted 1 job to Slurm: 8; logs 'out/slurm/" in first.err
    assert "of 3 trials 0 finished, 0 running, 3 queued" in first.err
    folders = sorted(Path("out/slurm").iterdir())
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 2
    jobs: dict[str, str] = {}
    for folder in folders:
        jobs |= json.loads((folder / "jobs.json").read_text())["jobs"]
    names = [trial["trial"] for trial in first.json["trials"]]
    assert jobs == {"7_0": names[0], "7_1": names[1], "8": names[2]}

    # The second runs here, in the place of its job; the third's job is gone.
    (task,) = pickle.loads(next(Path("out/slurm").glob("*/7_1_submitted.pkl")).read_bytes()).args
    assert TrialInAJob()(task) == "ended"
    broken = replace(task, trial=names[2], document=wrong_data(task.document))
    with pytest.raises(RunFailed, match="no such data"):
        TrialInAJob()(broken)
    Path("queue").write_text("7_0|PENDING|Priority|out\n9|PENDING|None|out\n8|RUNNING|None|other\n")
    again = fake(*command, *SUBMIT)
    assert states(again) == ["queued", "finished", "queued"]
    assert again.json["rows"][1]["summary"]["seeds"] == [0]
    assert "lr = 0.3, seed 0 has failed, see 'out/slurm/" in again.err
    assert "submitted 1 job to Slurm: 9; logs" in again.err
    assert "0 running, 2 queued (Priority); the same command" in again.err

    Path("queue").write_text("7_0|RUNNING|None|out\n9|COMPLETING|None|out\n")
    assert states(fake(*command, *SUBMIT)) == ["running", "finished", "running"]
    assert len(list(Path().glob("submitted*"))) == 3
    Path("down").touch()
    silent = fake(*command, *SUBMIT)
    assert silent.code == 1
    assert "error: squeue: no contact\n" in silent.err


def wrong_data(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "data": {"name": "npz", "root": "no such data", "shape": [8], "classes": 2}}


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--slurm", "time=1"], "--slurm is for --submit slurm", "add --submit slurm"),
        (["--submit", "pbs"], "--submit pbs: jobs are submitted to slurm", "--scheduler ADDRESS"),
        ([*SUBMIT, "--workers", "2"], "--submit slurm and --workers contradict", "at-once=N"),
        ([*SUBMIT, "--devices", "0"], "--submit slurm and --devices contradict", "at-once=N"),
        ([*SUBMIT, "--shard", "1/2"], "--submit slurm and --shard contradict", "at-once=N"),
        ([*SUBMIT, "--device", "cuda:x"], "unknown device 'cuda:x'", "cuda"),
    ],
)
def test_what_contradicts_itself_is_refused(
    fake: Callable[..., Any], words: list[str], message: str, hint: str
) -> None:
    ran = fake(*SWEEP, *words)
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {message}" in ran.err
    assert hint in ran.err.partition("hint: ")[2]
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("partitoin=gpu", "unknown key 'partitoin' (did you mean 'partition'?); known: account, "),
        ("ntasks=4", "unknown key 'ntasks'"),
        ("gpus", "'gpus' is not KEY=VALUE"),
        ("gpus=", "'gpus=' is not KEY=VALUE"),
        ("comment=a\nb", "is not KEY=VALUE"),
        ("time=soon", "time=soon is not a time of at least a minute"),
        ("time=0:30", "time=0:30 is not a time of at least a minute"),
        ("at-once=0", "at-once=0 is not a whole number from 1 on"),
        ("time=1,signal=60", "signal=60 seconds before the end is before the beginning"),
    ],
)
def test_a_wrong_request_is_refused(given: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        SlurmRequest.read("--slurm", given.split(","))
    assert refused.value.message.startswith("--slurm: ")
    assert message in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90", 5400), ("1:30", 90), ("4:00:00", 14400), ("2-12", 216000), ("1-0:30", 88200)],
)
def test_times_are_those_of_sbatch(time: str, seconds: int) -> None:
    request = SlurmRequest.read("--slurm", [f"time={time}", "mem_per_cpu=2G"])
    assert (request.seconds, request.signal_seconds) == (seconds, min(90, seconds // 4))
    assert request.options == {"time": time, "mem-per-cpu": "2G"}


def test_trials_are_named_by_what_their_jobs_run_on() -> None:
    def there(*entries: str, device: str = "auto") -> tuple[str, str]:
        request = SlurmRequest.read("--slurm", list(entries))
        found = request.on_a_node(ExecutionOptions(device))
        return found.device, found.target

    assert there() == there("partition=gpu") == ("cpu", "numba")
    assert there("gpus=2") == there("gres=gpu:a100:1") == ("cuda", "triton")
    assert there("gpus=1", device="cpu") == ("cpu", "numba")
    assert there(device="cuda") == ("cuda", "triton")


def test_without_the_extra_or_sbatch_it_says_what_to_do(
    fake: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> str:
        ran = fake(*SWEEP, *SUBMIT)
        assert (ran.code, ran.out, Path("out").exists()) == (2, "", False)
        return ran.err

    monkeypatch.setenv("PATH", "/nowhere")
    assert "--submit slurm: there is no sbatch on PATH" in refused()
    monkeypatch.setitem(sys.modules, "submitit", None)
    said = refused()
    assert "needs submitit, which is not installed" in said
    assert "hint: pip install 'clifctl[slurm]'" in said


def test_what_is_finished_is_shown_without_a_cluster(
    fake: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = fake(*SWEEP)
    monkeypatch.setenv("PATH", "/nowhere")
    again = fake(*SWEEP, *SUBMIT)
    assert (again.code, again.err, again.json["rows"]) == (0, "", here.json["rows"])
    assert not Path("out/slurm").exists()


def test_what_sbatch_refuses_after_all_leaves_no_submission(fake: Callable[..., Any]) -> None:
    ran = fake(*SWEEP, "--submit", "slurm", "--slurm", "partition=nope")
    assert (ran.code, ran.out) == (2, "")
    assert "error: sbatch refuses these jobs: invalid partition: nope\n" in ran.err
    assert not Path("out/slurm").exists()


def test_a_trial_that_its_last_start_still_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes, ids = ["busy", "busy", "stopped"], []

    def run(task: TrialTask) -> str:
        ids.append(task.id)
        return outcomes[len(ids) - 1]

    monkeypatch.setattr(slurm_trial, "run_trial_remotely", run)
    monkeypatch.setattr(slurm_trial, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(slurm_trial, "_is_running", lambda: False)  # cancelled meanwhile
    task = TrialTask("id", "t", "a trial", "r", {}, str(tmp_path), ".", ExecutionOptions(), 1, 0, 1)
    assert TrialInAJob()(task) == "stopped"
    assert len(ids) == 3
    assert ids[0] != "id"  # a start is not the last one over again


def test_a_job_that_never_comes_to_a_step_is_given_up(tmp_path: Path) -> None:
    document = {"train": {"seed": 3}}
    task = TrialTask(
        "id", "t", "a trial", "r", document, str(tmp_path), ".", ExecutionOptions(), 1, 0, 1
    )
    job = TrialInAJob()
    folder = ResultsFolder(tmp_path)
    for start in range(1, MOST_IDLE_STARTS + 3):
        if start == 2:  # one that has saved
            folder.run_folder("t").mkdir()
            (folder.run_folder("t") / LAST).touch()
        following = job.checkpoint(task)
        if following is None:
            break
        job, args = following.function, following.args
        assert (args, folder.record("t")) == ((task,), None)
    assert start == MOST_IDLE_STARTS + 2
    record = folder.record("t")
    assert record is not None
    assert (record.state, record.seed) == ("lost", 3)
    assert "before a step was done" in str(record.problem)

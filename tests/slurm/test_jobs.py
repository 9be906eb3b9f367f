"""Trials and runs in a real Slurm: preempted, out of time, refused; several processes by srun."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slurm

PATIENCE_SECONDS = 300.0
SWEEP = ["sweep", "digits_snn5", "model.name=slow.py:Slow", "train.batch_size=256", "timesteps=2"]
SWEEP += ["train.save_every=10000s", "train.log_every=1"]
SWEEP += ["--seeds", "1", "--target", "reference", "--threads", "1", "--json"]
# Jobs take their time on any machine: six steps an epoch, each of so many seconds.
NET = """
import os
import time

from torch import nn


class Slow(nn.Module):
    def __init__(self, input_shape, classes, timesteps, neuron):
        super().__init__()
        self.first, self.neuron = nn.Linear(64, 8), neuron(8)
        self.last = nn.Linear(8, classes)

    def forward(self, x):
        if self.training:
            time.sleep(float(os.environ.get("PAUSE", "0")))
        return self.last(self.neuron(self.first(x.flatten(2))))
"""
MEASURED = ("accuracy_percent_last", "test_loss", "train_loss_train_mode", "firing_rate")


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def steps(folder: Path) -> list[tuple[int, int]]:
    """Epoch and step of every line of a run's metrics."""
    found = []
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        found.append((entry["epoch"], entry.get("step", 10**9)))
    return found


def measured(result: Any) -> list[Any]:
    return [[row["values"], *(row["summary"][name] for name in MEASURED)] for row in result["rows"]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.pt", weights_only=True)["model"]


class Submitted:
    """A sweep in the cluster, and the same one undisturbed."""

    def __init__(
        self,
        clifctl: Callable[..., Any],
        slurm: ModuleType,
        conf: Path,
        words: list[str],
        ask: str,
        pause: float,
    ) -> None:
        Path("slow.py").write_text(NET)
        self.words, self._slurm, self._conf = [*SWEEP, *words], slurm, conf
        self._clifctl, self._pause = clifctl, str(pause)
        self.jobs = ["--submit", "slurm", "--slurm", ask]

    def command(self, *more: str) -> Any:
        return self._clifctl(*self.words, *more)

    def submit(self) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PAUSE", self._pause)
            ran = self.command("--out", "jobs", *self.jobs)
        assert ran.code == 0, ran.err
        return ran

    def ask(self, *command: str) -> str:
        return self._slurm.ask(self._conf, *command)

    def restarts(self) -> int:
        said = self.ask("scontrol", "show", "jobs", "--oneliner")
        return sum(int(word[9:]) for word in said.split() if word.startswith("Restarts="))


@pytest.fixture
def submitted(
    clifctl: Callable[..., Any],
    slurm: ModuleType,
    cluster: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Submitted]:
    monkeypatch.setenv("SLURM_CONF", str(cluster))
    return lambda words, ask, pause: Submitted(clifctl, slurm, cluster, words, ask, pause)


def test_a_preempted_array_goes_on_bit_for_bit(submitted: Callable[..., Submitted]) -> None:
    """Two trials, preempted in the middle; before that a partition that there is none of."""
    ask = "partition=low,time=5,cpus-per-task=1"
    two = submitted(["neuron.name=lif,clif", "train.epochs=20"], ask, 0.05)

    refused = two.command("--out", "jobs", "--submit", "slurm", "--slurm", "partition=gpu")
    assert (refused.code, refused.out) == (2, "")
    assert "sbatch refuses these jobs: " in refused.err
    assert "nvalid partition" in refused.err
    assert not Path("jobs").exists()

    first = two.submit()
    trials = [trial["trial"] for trial in first.json["trials"]]
    assert len(trials) == 2
    assert {trial["state"] for trial in first.json["trials"]} <= {"queued", "running"}
    assert "submitted 2 jobs to Slurm: " in first.err
    metrics = [Path("jobs", trial, "metrics.jsonl") for trial in trials]
    until(lambda: all(path.exists() and path.read_text() for path in metrics))
    assert {trial["state"] for trial in two.submit().json["trials"]} == {"running"}

    two.ask("sbatch", "--partition=high", "--ntasks=4", "--output=/dev/null", "--wrap=sleep 1")
    until(lambda: two.restarts() > 1)
    until(lambda: not two.ask("squeue", "--noheader"))
    last = two.submit()
    whole = two.command("--out", "whole").json

    titles = [trial["title"] for trial in first.json["trials"]]
    for ours, theirs, title in zip(last.json["trials"], whole["trials"], titles, strict=True):
        assert ours == {**theirs, "title": title}
    assert measured(last.json) == measured(whole)
    assert len(list(Path("jobs/slurm").iterdir())) == 1  # nothing was submitted twice
    for trial in trials:
        log = Path("jobs", trial, "run.log").read_text()
        told = ("started", "training stopped in", "resumed: ", "finished")
        assert [log.count(one) for one in told] == [1] * 4
        assert steps(Path("jobs", trial)) == steps(Path("whole", trial))  # nor run twice
        ours = weights(Path("jobs", trial))
        for key, value in weights(Path("whole", trial)).items():
            assert torch.equal(ours[key], value), key


@pytest.mark.long
def test_jobs_whose_time_ends_go_on_bit_for_bit(submitted: Callable[..., Submitted]) -> None:
    """An array of two trials of a minute and a half, in jobs that are told so before."""
    two = submitted(["neuron.name=lif,clif", "train.epochs=50"], "time=2,cpus-per-task=1", 0.3)
    two.submit()
    until(lambda: two.restarts() > 1)
    again = two.submit()
    assert {trial["state"] for trial in again.json["trials"]} <= {"queued", "running", "finished"}
    deadline = time.monotonic() + 4 * PATIENCE_SECONDS
    while two.ask("squeue", "--noheader"):
        assert time.monotonic() < deadline
        time.sleep(1.0)
    last, whole = two.submit().json, two.command("--out", "whole").json
    assert [trial["state"] for trial in last["trials"]] == ["finished"] * 2
    assert measured(last) == measured(whole)
    assert len(list(Path("jobs/slurm").iterdir())) == 1
    for trial in whole["trials"]:
        ours, theirs = (steps(Path(folder, trial["trial"])) for folder in ("jobs", "whole"))
        assert ours == theirs


@pytest.mark.long
def test_a_job_that_is_cancelled_stays_away_and_is_submitted_again(
    submitted: Callable[..., Submitted],
) -> None:
    one = submitted(["train.epochs=2000"], "partition=low,time=5", 0.1)
    trial = one.submit().json["trials"][0]["trial"]
    metrics = Path("jobs", trial, "metrics.jsonl")
    until(lambda: metrics.exists() and metrics.read_text())
    one.ask("scancel", "--user", str(os.getuid()))
    until(lambda: not one.ask("squeue", "--noheader"))
    time.sleep(5.0)
    assert not one.ask("squeue", "--noheader")
    assert Path("jobs", trial, "last.pt").exists()  # it has saved
    again = one.submit()
    assert "has ended without a result, see 'jobs/slurm/" in again.err
    assert again.json["trials"][0]["state"] in ("queued", "running")
    one.ask("scancel", "--user", str(os.getuid()))
    until(lambda: not one.ask("squeue", "--noheader"))


@pytest.mark.long
def test_processes_of_srun_train_as_those_of_torchrun_do(
    slurm: ModuleType, cluster: Path, tmp_path: Path
) -> None:
    """A run of two processes, without torchrun; and two that were given different recipes."""
    environment = {**os.environ, "SLURM_CONF": str(cluster), "OMP_NUM_THREADS": "1"}
    train = ["train", "digits_rows_mlp", "model.hidden=[8]", "train.batch_size=256"]
    train += ["train.epochs=2", "--target", "reference", "--json", "-q"]

    def start(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)

    python = [sys.executable, "-m"]
    srun = ["srun", "--ntasks=2", "--time=5"]
    ours = start(*srun, *python, "clifctl", *train, "--out", "srun")
    assert ours.returncode == 0, ours.stderr
    torchrun = [*python, "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    theirs = start(*torchrun, "-m", "clifctl", *train, "--out", "torchrun")
    one, other = json.loads(ours.stdout), json.loads(theirs.stdout)
    assert one["processes"] == other["processes"] == 2
    assert all(one[name] == other[name] for name in MEASURED)
    for key, value in weights(tmp_path / "torchrun").items():
        assert torch.equal(weights(tmp_path / "srun")[key], value), key

    script = f"exec {sys.executable} -m clifctl {' '.join(train)} --seed $SLURM_PROCID --out apart"
    apart = start(*srun, "sh", "-c", script)
    assert apart.returncode == 2
    assert "its recipe is not that of process 0" in apart.stderr
    assert "env -u SLURM_STEP_ID" in apart.stderr
    one_process = start(*srun, *python, "clifctl", "doctor")
    assert one_process.returncode == 2
    assert "start it by srun --ntasks=1" in one_process.stderr

"""The workers of a grid on several GPUs, which are fake: devices with a number and a memory."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clifctl.errors import RecipeError, UsageError
from clifctl.experiments.grid import gpus, workers
from clifctl.experiments.grid.gpus import Gpus, gpus_of
from clifctl.experiments.grid.grid import Grid, GridOptions, _task, plan_grid
from clifctl.experiments.grid.trial import TrialTask
from clifctl.experiments.grid.worker_pool import WorkerPool
from clifctl.experiments.run import memory
from clifctl.experiments.run.execution import Execution, ExecutionOptions
from clifctl.recipe.load import open_recipe

GIB = 2**30
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def fake(monkeypatch: pytest.MonkeyPatch, count: int, gib: float = 16) -> None:
    found = [torch.device("cuda", index) for index in range(count)]
    monkeypatch.setattr(gpus, "gpus", lambda: found)
    for module in (gpus, memory):
        monkeypatch.setattr(module, "memory_bytes", lambda device: int(gib * GIB))
    resolve = ExecutionOptions.resolve

    def resolved(options: ExecutionOptions, dtype: torch.dtype | None = None) -> Execution:
        here = resolve(replace(options, device="cpu"), dtype)
        device = GPU if options.device == "auto" and count else torch.device(options.device)
        return replace(here, options=options, device=device)

    monkeypatch.setattr(ExecutionOptions, "resolve", resolved)


def planned(
    tmp_path: Path,
    seeds: int,
    device: str = "auto",
    *,
    workers: int | None = None,
    devices: tuple[int, ...] | None = None,
) -> Grid:
    source = open_recipe("digits_rows_mlp")
    variants = [(source.variant([f"train.seed={seed}"]), f"seed {seed}") for seed in range(seeds)]
    execution = ExecutionOptions(device)
    return plan_grid(variants, GridOptions(tmp_path / "out", execution, workers, devices))


def test_each_gpu_has_a_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(monkeypatch, 4)
    grid = planned(tmp_path, 7)
    assert (grid.workers, grid.workers_reason) == (
        4,
        "auto: one trial at a time on each of 4 GPUs",
    )
    assert grid.gpus.of_workers(4) == ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
    assert planned(tmp_path, 3).workers == 3  # trials
    chosen = planned(tmp_path, 7, devices=(3, 0))
    assert (chosen.workers, chosen.gpus.of_workers(chosen.workers)) == (2, ("cuda:3", "cuda:0"))
    # More workers than GPUs take them in turn.
    shared = planned(tmp_path, 7, workers=5, devices=(3, 0))
    assert shared.gpus.of_workers(5) == ("cuda:3", "cuda:0", "cuda:3", "cuda:0", "cuda:3")
    one = planned(tmp_path, 7, "cuda:2")
    assert (one.workers, one.gpus.names) == (1, ("cuda:2",))
    assert one.workers_reason == "auto: one trial at a time on a GPU"
    on_cpu = planned(tmp_path, 2, "cpu")
    assert (on_cpu.gpus, on_cpu.gpus.of_workers(2)) == (Gpus(), ())
    # The one worker that is this process.
    alone = planned(tmp_path, 7, workers=1, devices=(3,))
    assert _task(alone, alone.trials[0], 1, 1).execution.device == "cuda:3"
    assert _task(one, one.trials[0], 1, 1).execution.device == "cuda:2"


def test_a_worker_runs_its_trials_on_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(workers, "run_trial_remotely", lambda task: ran.append(task))
    task = TrialTask(
        id="", trial="", title="", recipe="", document={}, results="", working_folder="",
        execution=ExecutionOptions(threads=2), beside=2, kept_for_backward_bytes=0, attempt=1,
    )  # fmt: skip
    workers.run_trial_on(task, "cuda:1")
    assert [one.execution for one in ran] == [ExecutionOptions("cuda:1", threads=2)]
    with workers.local_workforce(2, ("cuda:1", "cuda:3")) as workforce:
        assert workforce.run is workers.run_trial_on
    with WorkerPool(1, [(7,)]) as pool:
        assert pool.submit(divmod, 40).result(300) == (5, 5)
        assert pool.submit(divmod, 5).result(300) == (0, 5)


def test_devices_that_will_not_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(monkeypatch, 2)
    with pytest.raises(
        UsageError, match=r"--devices 1,4: there is no GPU 4 here.*GPUs 0 to 1"
    ) as e:
        gpus_of((1, 4), "auto", GPU)
    assert e.value.hint == "--devices 1"
    with pytest.raises(UsageError, match="no GPU -1 here") as e:
        gpus_of((-1,), "cuda", GPU)
    assert e.value.hint == "--devices 0,1"
    for requested, device in (("cpu", CPU), ("cuda:1", torch.device("cuda", 1))):
        with pytest.raises(UsageError, match=f"--device {requested} contradict each other"):
            gpus_of((0,), requested, device)
    with pytest.raises(UsageError, match="--devices and --scheduler contradict each other"):
        GridOptions(tmp_path, devices=(0,), scheduler="tcp://1.2.3.4:5")
    fake(monkeypatch, 0)
    with pytest.raises(UsageError, match="--devices 0: this machine has no usable CUDA GPU: "):
        gpus_of((0,), "auto", CPU)


def test_a_gpu_has_to_hold_the_trials_that_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, 2, gib=10)
    two = gpus_of(None, "auto", GPU)
    two.require(4 * GIB, 4)
    with pytest.raises(UsageError, match="--workers 5: 3 trials at a time on a GPU") as e:
        two.require(4 * GIB, 5)
    assert e.value.hint == "--workers 4 fits"
    with pytest.raises(RecipeError, match=r"a trial needs about 11.0 GiB"):
        two.require(11 * GIB, 1)

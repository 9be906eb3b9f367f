"""How a process finds out that it is one of several, from what srun tells it."""

import pytest

from clifctl.errors import UsageError
from clifctl.launch import Launch, launch

# Process 4 of 5 on the nodes gpu07, gpu08 (two each) and gpu11 (one).
STEP = {
    "SLURM_STEP_ID": "3",
    "SLURM_JOB_ID": "12345",
    "SLURM_PROCID": "4",
    "SLURM_NTASKS": "5",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_STEP_NODELIST": "gpu[07-08,11],login",
}
OTHERS = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"]
OTHERS += ["SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK"]


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of one process of a step."""
    for name in OTHERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_srun_says_who_a_process_is(step: pytest.MonkeyPatch) -> None:
    # 20000 + (64 * 12345 + 3) % 12000
    last = Launch(4, 5, 0, 1, address=("gpu07", 30083))
    assert launch() == last
    assert (last.main, last.started_by, last.name) == (False, "srun", "process 4 of 5")
    for name, value in {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "0"}.items():
        step.setenv(name, value)
    assert launch() == Launch(1, 5, 1, 2, address=("gpu07", 30083))
    step.setenv("SLURM_STEP_NODELIST", "a-3,b[1-2]")
    step.setenv("MASTER_PORT", "4000")
    step.setenv("SLURM_TRES_PER_TASK", "cpu:2,gres/gpu:1")
    assert launch() == Launch(1, 5, 1, 2, address=("a-3", 4000), own_gpu=True)
    step.setenv("MASTER_ADDR", "10.0.0.7")
    assert launch().address == ("10.0.0.7", 4000)


def test_only_a_step_of_several_tasks_is_one_of_several(step: pytest.MonkeyPatch) -> None:
    step.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert launch() == Launch()
    # The script of a job has the numbers of a task, and is none; so has what was told apart.
    step.setenv("SLURM_STEP_NUM_TASKS", "5")
    step.delenv("SLURM_STEP_ID")
    assert launch() == Launch()


def test_torchrun_within_a_step_counts(step: pytest.MonkeyPatch) -> None:
    numbers = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    for name, value in (numbers | {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}).items():
        step.setenv(name, value)
    assert launch() == Launch(0, 2, 0, 2)
    assert launch().started_by == "torchrun"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLURM_PROCID", "5"),
        ("SLURM_PROCID", ""),
        ("SLURM_LOCALID", "1"),
        ("SLURM_NODEID", "3"),
        ("SLURM_STEP_TASKS_PER_NODE", "2(x2"),
        ("SLURM_STEP_NODELIST", ""),
        ("SLURM_JOB_ID", "many"),
    ],
)
def test_half_an_environment_of_srun_is_refused(
    step: pytest.MonkeyPatch, name: str, value: str
) -> None:
    step.setenv(name, value)
    with pytest.raises(UsageError, match="does not describe one of several") as refused:
        launch()
    assert f"{name}={value}" in refused.value.message
    assert "env -u SLURM_STEP_ID" in str(refused.value.hint)


def test_a_wrong_port_is_refused(step: pytest.MonkeyPatch) -> None:
    step.setenv("MASTER_PORT", "0")
    with pytest.raises(UsageError, match="MASTER_PORT=0 is no port"):
        launch()

"""Runs of several processes: the numbers of one, and one end for all."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from clifctl.data.augment.transforms import Changes, cutout, horizontal_flip, random_crop
from clifctl.data.contract import Drawn, Split, Staged, as_floats
from clifctl.data.loading import shuffled_batches
from clifctl.errors import UsageError
from clifctl.launch import Launch, launch
from clifctl.training.checkpoint import load_checkpoint
from clifctl.training.device import resolve_device
from clifctl.training.distributed import ALONE, Processes, joined

CHILD = Path(__file__).with_name("distributed_runs.py")


@pytest.fixture(scope="module")
def runs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("clifctl_distributed_runs", CHILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that two processes did together: see distributed_runs.py."""
    folder = tmp_path_factory.mktemp("processes")
    children = [
        subprocess.Popen(
            [sys.executable, CHILD, str(rank), "2", str(folder)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    ends = [(child.communicate(timeout=300)[1], child.returncode) for child in children]
    assert ends[0][1] == 0, ends[0][0]
    assert ends[1][1] == -signal.SIGKILL, ends[1][0]  # the last scenario
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    """What each process got: scenario -> result, or how it failed."""
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def largest_difference(one: Path, other: Path) -> float:
    first, second = load_checkpoint(one).model, load_checkpoint(other).model
    assert first.keys() == second.keys()
    return max(float((first[k].double() - second[k].double()).abs().max()) for k in first)


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        for name in ("seconds", "samples_per_second", "time"):
            del line[name]
    return lines


@pytest.mark.parametrize(
    ("name", "overrides"),
    [("plain", []), ("parts", ["train.clip_norm=0.1"])],
    ids=["plain", "accumulated-clipped"],
)
def test_two_processes_train_as_one_does(
    name: str,
    overrides: list[str],
    folder: Path,
    found: list[dict[str, Any]],
    runs: ModuleType,
    tmp_path: Path,
) -> None:
    """Six steps in float32, batch norm over both; the sums are rounded otherwise, that is all.
    Accumulated parts have statistics of their own: only the first step's loss is that of one."""
    alone = runs.run(tmp_path / "run", *overrides, *(["train.accumulate=3"] if overrides else []))
    ours, theirs = metrics(folder / name), metrics(tmp_path / "run")
    assert [len(ours), ours[0]["step"], ours[0]["epoch"]] == [len(theirs), 1, 1]
    for mine, other in zip(ours, theirs, strict=True):
        key = "train_loss_train_mode"
        assert mine[key] == pytest.approx(other[key], rel=0.03 if overrides else 1e-6)
    if not overrides:
        assert largest_difference(folder / name / "last.pt", tmp_path / "run" / "last.pt") < 2e-6
    for result in (process[name] for process in found):
        assert (result["processes"], alone["processes"]) == (2, 1)
        assert result["accuracy_percent_last"] == found[0][name]["accuracy_percent_last"]
        if not overrides:
            assert result["accuracy_percent_last"] == alone["accuracy_percent_last"]
            assert result["test_loss"] == pytest.approx(alone["test_loss"], rel=1e-6)
            rates = [layer["firing_rate_per_step"] for layer in result["firing_rates"]]
            expected = [layer["firing_rate_per_step"] for layer in alone["firing_rates"]]
            assert rates == [pytest.approx(rate, abs=1e-4) for rate in expected]


def test_without_common_statistics_the_numbers_are_others(
    folder: Path, found: list[dict[str, Any]]
) -> None:
    assert largest_difference(folder / "apart/last.pt", folder / "plain/last.pt") > 1e-3
    # And yet evaluation is the same in both: with the main process's running averages.
    assert found[0]["apart"]["test_loss"] == found[1]["apart"]["test_loss"]


def test_each_sample_is_evaluated_once(folder: Path, found: list[dict[str, Any]]) -> None:
    from dataclasses import asdict

    from clifctl.experiments.checkpoints import CheckpointOptions
    from clifctl.experiments.eval import evaluate_checkpoint
    from clifctl.experiments.run.execution import ExecutionOptions

    reference = CheckpointOptions(execution=ExecutionOptions(target="reference"))
    alone = asdict(evaluate_checkpoint(folder / "plain/last.pt", reference))
    for process in found:
        ours = process["eval"]
        assert ours["samples"] == alone["samples"] == 500
        for name in ("accuracy_percent_per_step", "accuracy_top5_percent", "per_class"):
            assert ours[name] == alone[name], name
        for name in ("loss", "cross_entropy"):
            assert ours[name] == pytest.approx(alone[name], rel=1e-6)
        for layer, expected in zip(ours["firing_rates"], alone["firing_rates"], strict=True):
            for key in ("firing_rate", "firing_rate_sample_std"):
                assert layer[key] == pytest.approx(expected[key], rel=1e-12)


def test_a_stop_of_one_stops_all_and_all_go_on_bit_for_bit(
    folder: Path, found: list[dict[str, Any]]
) -> None:
    kind, message, hint, code = found[0]["stopped"]
    assert (kind, code) == ("Interrupted", 130)
    assert message.endswith("holds the run after step 1 of epoch 2")
    assert hint.startswith("resume with: clifctl train --resume")
    assert found[1]["stopped"][0] == "ReportedElsewhere"
    assert found[1]["stopped"][3] == 130
    assert largest_difference(folder / "drawn/last.pt", folder / "whole/last.pt") == 0
    assert metrics(folder / "drawn") == metrics(folder / "whole")
    manifest = json.loads((folder / "drawn/manifest.json").read_text())
    assert [manifest["processes"], manifest["continued"][0]["processes"]] == [2, 2]


def test_a_process_that_dies_ends_the_others_and_another_number_goes_on(
    folder: Path, found: list[dict[str, Any]], runs: ModuleType
) -> None:
    kind, message, hint, code = found[0]["dies"]
    assert (kind, code) == ("LostProcess", 1)
    assert message.startswith("another of the 2 processes of this run has ended")
    assert message.endswith("dies/last.pt' holds the run after step 2 of epoch 2")
    assert "--resume" in hint
    assert "dies" not in found[1]
    assert "failed: another of the 2 processes" in (folder / "dies/run.log").read_text()
    result = runs.run(folder / "dies", *runs.DRAWN)  # this one process
    assert (result["epochs"], result["processes"]) == (2, 1)
    steps = [line.get("step") for line in metrics(folder / "dies")]
    assert steps == [1, 2, 3, None] * 2


def test_one_that_is_interrupted_at_once_waits_for_nobody(found: list[dict[str, Any]]) -> None:
    kind, message, _, code = found[0]["at once"]
    assert (kind, code) == ("LostProcess", 1)
    assert message.endswith("holds the run after epoch 1")  # of three steps
    assert found[1]["at once"][::3] == ("ReportedElsewhere", 130)


def test_numbers_that_are_none_in_one_process_end_all(
    folder: Path, found: list[dict[str, Any]]
) -> None:
    kind, message, _, code = found[0]["poisoned"]
    assert (kind, code) == ("RunFailed", 1)
    # The first layer of the other process's net.
    assert message.startswith("the training loss became nan in step 3 of epoch 1: the output of")
    assert found[1]["poisoned"][0] == "ReportedElsewhere"
    assert len(metrics(folder / "poisoned")) == 2


def test_what_one_cannot_do_none_does(found: list[dict[str, Any]], folder: Path) -> None:
    told = [process["agreements"][0] for process in found]
    assert told[0][0] == ("ClifctlError", "process 1 of 2: no file", "get it", 2)
    assert told[1][0][0] == "ReportedElsewhere"
    assert [t[1] for t in told] == [7, 7]  # the main one's
    for process in found:
        _, largest, ranks, (sums, scalar) = process["agreements"]
        assert largest == [1, 0]
        assert ranks == [0, 1]
        assert torch.equal(sums, torch.full((2, 3), 3.0))
        assert scalar.item() == 10.0
    _, message, _, code = found[0]["too few"]
    assert code == 2
    assert "train.batch_size = 1296 over 2 processes in 1 parts each, the last batch has 1" in (
        message
    )
    assert not (folder / "few").exists()


def test_parts_of_a_batch_cover_it_once() -> None:
    for count, samples in [(1, 5), (2, 5), (3, 5), (4, 4), (4, 3), (7, 100)]:
        parts = [
            list(range(samples))[Processes(rank, count).part(samples)] for rank in range(count)
        ]
        assert [number for part in parts for number in part] == list(range(samples))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


class Watched:
    """Streamed images that know which of them were read."""

    threads = False

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.images.shape[1]

    def take(self, numbers: Sequence[int]) -> torch.Tensor:
        self.read += numbers
        return self.images[:, list(numbers)]

    def select(self, numbers: torch.Tensor) -> "Watched":
        raise NotImplementedError

    def digest(self) -> bytes:
        raise NotImplementedError


class Tilt(Staged):
    """Each image plus what is drawn for it."""

    work = staticmethod(lambda inputs, drawn: inputs + torch.tensor(drawn)[:, None, None, None])

    def draw(self, samples: int, generator: torch.Generator) -> Drawn:
        return Drawn(torch.randint(0, 9, (samples,), generator=generator).tolist())

    def part(self, drawn: Drawn, own: slice) -> Drawn | None:
        return replace(drawn, images=drawn.images[own])

    def finish(
        self, inputs: torch.Tensor, targets: torch.Tensor, drawn: Drawn
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return inputs.double(), targets


class Mixed(Tilt):
    """The same, which cannot be cut."""

    def part(self, drawn: Drawn, own: slice) -> None:
        return None


CHANGES = (random_crop(2, 0), cutout, horizontal_flip)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("augment", "alone"),
    [
        (None, True),
        (Changes(CHANGES, after=as_floats), True),
        (Changes((*CHANGES, replace(horizontal_flip, of_each=False))), False),
        (Tilt(), True),
        (Mixed(), False),
        (lambda inputs, targets, generator: (inputs.roll(1, 1), targets.roll(1)), False),
    ],
    ids=["none", "changes", "of_all", "staged", "staged_of_all", "function"],
)
def test_each_process_prepares_its_part_of_the_same_batches(
    augment: Any, alone: bool, streamed: bool
) -> None:
    images = torch.randint(0, 200, (1, 23, 3, 9, 7), generator=torch.Generator().manual_seed(1))
    labels = torch.arange(23)

    def epoch(part: Any = None) -> tuple[list[Any], torch.Tensor, list[int]]:
        inputs: Any = Watched(images) if streamed else images
        generator = torch.Generator().manual_seed(3)
        found = list(shuffled_batches(Split(inputs, labels), 10, generator, augment, part=part))
        return found, generator.get_state(), inputs.read if streamed else []

    whole, state, _ = epoch()
    parts = [epoch(Processes(rank, 3).part) for rank in range(3)]
    assert [len(targets) for _, targets in whole] == [10, 10, 3]
    for number, (inputs, targets) in enumerate(whole):
        made = [found[number] for found, _, _ in parts]
        assert torch.equal(torch.cat([own for own, _ in made], 1), inputs)
        assert all(torch.equal(theirs, targets) for _, theirs in made)
    for _, after, read in parts:
        assert torch.equal(after, state)
        if streamed:
            assert (len(read) < 23) is alone
    if streamed and alone:
        assert sorted(number for _, _, read in parts for number in read) == list(range(23))


def test_one_process_is_as_before() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    ALONE.seed_step(1, 2, 3)
    assert torch.equal(torch.get_rng_state(), state)
    tensor = torch.ones(2)
    ALONE.add_up([tensor])
    assert torch.equal(tensor, torch.ones(2))


TORCHRUN = {
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


def test_what_torchrun_says_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    assert launch() == Launch()
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert launch() == Launch(1, 4, 1, 2)
    assert (launch().main, launch().name) == (False, "process 1 of 4")
    monkeypatch.setenv("RANK", "4")
    with pytest.raises(UsageError, match="RANK=4, WORLD_SIZE=4"):
        launch()


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"MASTER_PORT": None}, "WORLD_SIZE=4, .* and MASTER_PORT is not set"),
        ({"RANK": None, "MASTER_ADDR": ""}, "and RANK, MASTER_ADDR are not set"),
        ({"MASTER_PORT": "abc"}, "MASTER_PORT=abc is no port"),
        ({"MASTER_PORT": "0"}, "MASTER_PORT=0 is no port"),
        ({"MASTER_PORT": "65536"}, "MASTER_PORT=65536 is no port"),
        ({"MASTER_PORT": "-1"}, "MASTER_PORT=-1 is no port"),
        ({"WORLD_SIZE": "four"}, "WORLD_SIZE=four"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE=,"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK=2"),
        ({"RANK": "1.0"}, "RANK=1.0"),
        ({"WORLD_SIZE": None}, "RANK=1, and WORLD_SIZE is not set or 1"),
        ({"WORLD_SIZE": "1", "RANK": "0"}, "LOCAL_RANK=1, and WORLD_SIZE is not set or 1"),
    ],
)
def test_half_an_environment_of_torchrun_is_refused(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str | None], part: str
) -> None:
    for name, value in (TORCHRUN | wrong).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=part):
        launch()


def test_an_unknown_master_address_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # A label of a name has 63 characters at most: no network is asked.
    monkeypatch.setenv("MASTER_ADDR", "x" * 64)
    with (
        pytest.raises(UsageError, match="is not an address that this machine knows"),
        joined(Launch(0, 2, 0, 2), torch.device("cpu")),
    ):
        pass


def test_what_is_left_of_torchrun_harms_no_process_that_is_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "abc")
    assert launch() == Launch()


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from clifctl.training import device

    two = [torch.device("cuda", index) for index in range(2)]
    monkeypatch.setattr(device, "gpu_available", lambda: True)
    monkeypatch.setattr(device, "gpu_missing", lambda: None)
    monkeypatch.setattr(device, "gpus", lambda: two)
    third = Launch(rank=3, count=4, local_rank=1, local_count=2)
    assert resolve_device("auto", third) == two[1]
    assert resolve_device("cuda", third) == two[1]
    assert resolve_device("cpu", third) == torch.device("cpu")
    with pytest.raises(UsageError, match="each of 2 processes takes a GPU of its own"):
        resolve_device("cuda:0", third)
    with pytest.raises(UsageError, match="3 processes on this machine, which has 2 GPUs"):
        resolve_device("auto", Launch(2, 3, 2, 3))


def test_torchrun_trains_and_tells_once(tmp_path: Path) -> None:
    """The real command: one result on stdout, one line an epoch on stderr."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    net = ["model.name=mlp", "model.hidden=[8]", "timesteps=2", "train.epochs=1"]
    done = subprocess.run(
        [
            *(*torchrun, "--standalone", "-m", "clifctl", "train", "digits_snn5", *net),
            *("--target", "reference", "--out", "run", "--json"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["processes"] == 2
    assert done.stderr.count("epoch 1/1") == 1
    assert not (tmp_path / "run/run.lock").exists()


def test_what_runs_in_one_process_is_refused_once(tmp_path: Path) -> None:
    among = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    among |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29501"}
    refused = [
        subprocess.Popen(
            [sys.executable, "-m", "clifctl", "energy", "run/last.pt"],
            cwd=tmp_path,
            env={**os.environ, **among, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    (out, err), others = (process.communicate(timeout=200) for process in refused)
    assert [process.returncode for process in refused] == [2, 2]
    assert (out, *others) == ("", "", "")
    assert err.startswith("error: 'clifctl energy' runs in one process, but 2 were started\nhint:")

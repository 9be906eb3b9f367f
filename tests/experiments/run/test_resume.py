"""A run that was interrupted and goes on is, bit for bit, the run that never was."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
import torch

from clifctl.data import LoadedData
from clifctl.errors import (
    ClifctlError,
    DataError,
    Interrupted,
    NeuronError,
    OutputError,
    RecipeError,
    RunFailed,
    UsageError,
)
from clifctl.experiments.build import load_data
from clifctl.experiments.checkpoints import CheckpointOptions, open_checkpoint
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.experiments.run.plan import RunOptions
from clifctl.experiments.run.resume import recipe_of_run
from clifctl.experiments.run.state import Standing, standing_of
from clifctl.experiments.train import train
from clifctl.recipe.load import LoadedRecipe, load_recipe
from clifctl.results.events import Notice, RunEvent, RunStarted, StepDone
from clifctl.results.train import StepRecord, TrainResult
from clifctl.training import evaluation
from clifctl.training.checkpoint import load_checkpoint, save_checkpoint
from clifctl.training.lock import LOCK, OWNER, locked

# Augmented digits, dropout, bfloat16, per-step batch norm, momentum: all that could be forgotten.
EVERYTHING = [
    "timesteps=2",
    "model.channels=[2,2,2,2,4]",
    "model.dropout=0.2",
    "data.random_crop_padding=1",
    "train.precision=bfloat16",
    "train.epochs=3",
    "train.batch_size=256",
    "train.log_every=2",
    "train.save_every=4steps",
]
REFERENCE = ExecutionOptions(target="reference")
STEPS = 6  # of an epoch: 1,297 samples in batches of 256


class Crash(Exception):
    """Stands for a process that is gone: nothing is saved."""


class Watcher:
    """Does something once a step of the run is taken; records its events."""

    def __init__(
        self, at: int | None = None, do: Callable[[], None] = lambda: None, *, dropped: int = 0
    ) -> None:
        self.dropped = dropped  # steps that an epoch has less
        self.at, self.do, self.steps, self.notices = at, do, 0, list[str]()
        self.continues_after: str | None = None
        self.logged_steps: list[tuple[int, int]] = []

    def __call__(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self.continues_after = event.plan.continues_after
                assert event.steps == STEPS - self.dropped
            case StepDone():
                self.steps += 1
                if self.steps == self.at:
                    self.do()
            case StepRecord():
                self.logged_steps.append((event.epoch, event.step))
            case Notice():
                self.notices.append(event.line)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def crash() -> None:
    raise Crash


def recipe(*overrides: str) -> LoadedRecipe:
    return load_recipe("digits_snn5", [*EVERYTHING, *overrides])


def run(out: Path, *overrides: str, watcher: Watcher | None = None, **options: Any) -> TrainResult:
    options = {"resume": "auto", **options}
    return train(recipe(*overrides), RunOptions(out=out, **options), watcher or Watcher())


def weights(folder: Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / name).model


def metrics(folder: Path) -> list[dict[str, Any]]:
    """What `metrics.jsonl` says, but for times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        for name in ("seconds", "samples_per_second", "time"):
            del line[name]
    return lines


def without_times(result: TrainResult) -> TrainResult:
    zero = {"train_seconds": 0.0, "total_seconds": 0.0, "samples_per_second": 0.0}
    return replace(result, run_folder="", time=None, **zero)


def assert_same_run(folder: Path, other: Path) -> None:
    for name in ("last.pt", "best.pt"):
        one, two = weights(folder, name), weights(other, name)
        assert one.keys() == two.keys()
        for key, tensor in one.items():
            assert torch.equal(tensor, two[key]), (name, key)
    assert metrics(folder) == metrics(other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    """The run that is never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    watcher = Watcher()
    result = run(folder, watcher=watcher)
    assert watcher.steps == 3 * STEPS
    assert watcher.logged_steps == [(epoch, step) for epoch in (1, 2, 3) for step in (2, 4, 6)]
    return folder, result


@pytest.mark.parametrize(
    "moments",
    [
        [(1, interrupt)],  # in the first epoch, before anything was saved
        [(8, terminate), (1, interrupt), (4, interrupt)],  # several times
        [(STEPS, interrupt)],  # at the last step of an epoch
        [(11, crash)],  # one step after a periodic save
        [(3, crash)],  # before the first save: it starts anew
        [(9, crash), (2, terminate), (5, crash)],
        [(3 * STEPS, interrupt)],  # the very last step
    ],
    ids=["first", "thrice", "end-of-epoch", "crash", "crash-at-start", "mixed", "last"],
)
def test_a_run_that_goes_on_is_the_run_that_was_not_interrupted(
    moments: list[tuple[int, Callable[[], None]]],
    whole: tuple[Path, TrainResult],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    for at, how in moments:
        with pytest.raises((Interrupted, Crash)) as caught:
            run(folder, watcher=Watcher(at, how))
        if isinstance(caught.value, Interrupted):
            assert caught.value.exit_code == (143 if how is terminate else 130)
            assert f"'{folder}/last.pt' holds the run after" in caught.value.message
            assert caught.value.hint == f"resume with: clifctl train --resume {folder}"
        assert not (folder / "result.json").exists()
        assert not (folder / LOCK).exists()
    torch.manual_seed(99)  # another process has other random numbers
    result = run(folder)
    assert_same_run(folder, whole[0])
    assert without_times(result) == without_times(whole[1])


@pytest.mark.parametrize(
    "overrides",
    [
        ("train.accumulate=3", "train.clip_norm=0.5", "model.batch_norm=folded"),
        ("train.precision=float16", "train.drop_last=true", "train.tet_target=one_hot"),
        pytest.param(
            ("train.optimizer=lamb", "train.decayed=weights", "train.lr=0.01", "neuron.window=1"),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            (
                *("train.optimizer=adamw", "train.lr=0.01", "train.schedule=timm_cosine"),
                *("train.warmup_epochs=1", "train.warmup_lr=0.001", "train.cooldown_epochs=1"),
            ),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            ("train.warmup_epochs=2", "train.label_smoothing=0.1", "neuron.name=glif_channel"),
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=["accumulated", "float16", "lamb", "adamw", "warm-up"],
)
def test_so_does_every_way_of_training(overrides: tuple[str, ...], tmp_path: Path) -> None:
    dropped = int("train.drop_last=true" in overrides)
    run(tmp_path / "whole", *overrides, watcher=Watcher(dropped=dropped), execution=REFERENCE)
    for at, how in ((2, interrupt), (6, crash), (3, terminate), (2, interrupt)):
        with pytest.raises((Interrupted, Crash)):
            run(
                *(tmp_path / "run", *overrides),
                watcher=Watcher(at, how, dropped=dropped),
                execution=REFERENCE,
            )
        torch.manual_seed(99)
    run(tmp_path / "run", *overrides, watcher=Watcher(dropped=dropped), execution=REFERENCE)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def lose_workers() -> None:
    """As the system does it that runs out of memory."""
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join()


@pytest.mark.parametrize("how", ["augmentation: plain, in_memory: false", "augmentation: strong"])
def test_so_does_one_whose_images_workers_bring(how: str, tmp_path: Path, data_root: Path) -> None:
    """With samples held out, on which the best epoch is chosen, and any number of workers: what
    they have drawn and done ahead is no part of the state."""
    data = f"name: image_folder, size: 16, classes: 3, {how}"
    net = ["timesteps=2", "model.hidden=[8]", "model.dropout=0.2", "train.save_every=2steps"]
    sizes = ["train.batch_size=3", "train.epochs=3", "train.log_every=1"]

    def go(name: str, workers: int, watcher: Watcher | None = None) -> TrainResult:
        more = f"workers: {workers}, validation_share: 0.25, root: {data_root}"
        loaded = load_recipe("digits_rows_mlp", [f"data={{{data}, {more}}}", *net, *sizes])
        options = RunOptions(out=tmp_path / name, resume="auto", execution=REFERENCE)
        watcher = watcher or Watcher()
        watcher.dropped = STEPS - -(-len(load_data(loaded.recipe).train) // 3)
        return train(loaded, options, watcher)

    assert go("whole", 0).best_chosen_on == "validation"
    for workers, at, stop in ((2, 2, interrupt), (1, 3, crash), (3, 1, terminate)):
        with pytest.raises((Interrupted, Crash)):
            go("run", workers, Watcher(at, stop))
    with pytest.raises(
        RunFailed, match=r"ahead ended unexpectedly \(SIGKILL\).*holds the run after"
    ) as lost:
        go("run", 2, Watcher(1, lose_workers))
    again = f"clifctl train --resume {tmp_path}/run data.workers=0"
    assert lost.value.hint == f"data.workers=0 does without: {again}"
    go("run", 2)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert multiprocessing.active_children() == []


def test_what_is_kept_says_where_the_run_stands(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted, match=r"(?m)holds the run after step 2 of epoch 2$"):
        run(folder, watcher=Watcher(STEPS + 2, interrupt))
    checkpoint = load_checkpoint(folder / "last.pt")
    assert (checkpoint.epoch, checkpoint.step) == (1, 2)
    assert standing_of(folder) == Standing("interrupted", epoch=1, step=2)
    seen = []

    def look_and_interrupt() -> None:
        seen.append(standing_of(folder))
        interrupt()

    watcher = Watcher(1, look_and_interrupt)
    with pytest.raises(Interrupted, match=r"(?m)after step 3 of epoch 2$"):
        run(folder, watcher=watcher)
    assert seen == [Standing("running")]
    assert standing_of(folder) == Standing("interrupted", epoch=1, step=3)
    assert watcher.continues_after == "epoch 1 and 2 steps"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [(c["epoch"], c["step"]) for c in manifest["continued"]] == [(1, 2)]
    assert manifest["precision"] == "bfloat16"
    log = (folder / "run.log").read_text()
    for part in ("started\n", "epoch 1: train loss", "resumed: ", "step 3 of epoch 2\n"):
        assert part in log


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    folder = tmp_path / "run"
    with pytest.raises(Interrupted, match="nothing was saved yet"):
        run(folder, watcher=Watcher(2, twice))
    assert not (folder / "last.pt").exists()
    assert standing_of(folder) == Standing("interrupted", epoch=0, step=0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_stop_during_evaluation_is_obeyed(
    whole: tuple[Path, TrainResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clifctl.experiments.run import built as module

    calls: list[int] = []

    def evaluate(net: Any, batches: Any, *args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            interrupt()
        return evaluation.evaluate(net, batches, *args, **options)

    monkeypatch.setattr(module, "evaluate", evaluate)
    with pytest.raises(Interrupted, match=r"(?m)after step 6 of epoch 2$"):
        run(tmp_path / "run")
    monkeypatch.undo()
    run(tmp_path / "run")
    assert_same_run(tmp_path / "run", whole[0])


def test_a_finished_run_is_returned_and_not_touched(
    whole: tuple[Path, TrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, result = whole
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    watcher = Watcher()
    # Not even its data are read.
    monkeypatch.setattr("clifctl.experiments.train.prepare", None)
    assert run(folder, "train.save_every=10s", watcher=watcher) == result
    assert watcher.notices == [f"'{folder}' is already finished"]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_run_killed_after_its_last_epoch_is_evaluated(
    whole: tuple[Path, TrainResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr("clifctl.experiments.train._result", lambda *args: crash())
    with pytest.raises(Crash):
        run(folder)
    monkeypatch.undo()
    watcher = Watcher()
    assert without_times(run(folder, watcher=watcher)) == without_times(whole[1])
    assert watcher.steps == 0


def test_another_recipe_is_refused(whole: tuple[Path, TrainResult]) -> None:
    folder = whole[0]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RecipeError, match=r"train\.lr = 0\.1 there, train\.lr = 0\.2 here"):
        run(folder, "train.lr=0.2")
    with pytest.raises(RecipeError, match="with the schedule 'cosine' over 3 epochs"):
        run(folder, "train.epochs=4")
    with pytest.raises(RecipeError, match=r"train\.epochs = 3 there, train\.epochs = 2 here"):
        run(folder, "train.epochs=2")
    with pytest.raises(OutputError, match="exists already"):
        run(folder, resume="never")
    with pytest.raises(UsageError, match="contradict"):
        run(folder, overwrite=True)
    with pytest.raises(UsageError, match="there is no run in"):
        run(folder / "none", resume="always")
    with pytest.raises(UsageError, match="needs the run's folder"):
        train(recipe(), RunOptions(resume="auto"), Watcher())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_data_may_lie_elsewhere(tmp_path: Path, on_disk: Any) -> None:
    def data_at(root: str) -> LoadedRecipe:
        data = f"data={{name: npz, shape: [3, 8, 8], classes: 4, root: {root}}}"
        small = ["timesteps=2", "model.hidden=[4]", "train.batch_size=4", "train.epochs=1"]
        return load_recipe("digits_rows_mlp", [data, *small])

    (tmp_path / "old").mkdir()
    on_disk.write_npz(tmp_path / "old/data.npz")
    options = RunOptions(out=tmp_path / "run", resume="auto", execution=REFERENCE)
    with pytest.raises(Interrupted):
        train(data_at(f"{tmp_path}/old"), options, Watcher(2, interrupt))
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(DataError, match="is missing"):
        train(data_at(f"{tmp_path}/old"), options, Watcher())
    assert train(data_at(f"{tmp_path}/new"), options, Watcher()).epochs == 1
    assert recipe_of_run(tmp_path / "run").recipe.document["data"]["root"] == f"{tmp_path}/new"


def test_a_run_whose_schedule_is_open_can_be_longer(tmp_path: Path) -> None:
    constant = ("train.schedule=constant", "train.precision=float32")
    run(tmp_path / "three", *constant)
    run(tmp_path / "two", *constant, "train.epochs=2")
    longer = run(tmp_path / "two", *constant)
    assert longer.epochs == 3
    assert_same_run(tmp_path / "two", tmp_path / "three")
    assert recipe_of_run(tmp_path / "two").recipe.train.epochs == 3


def test_the_recipe_comes_from_the_folder(whole: tuple[Path, TrainResult]) -> None:
    loaded = recipe_of_run(whole[0])
    assert loaded.name == "digits_snn5"
    assert loaded.recipe == recipe().recipe


def test_other_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(folder, watcher=Watcher(2, interrupt))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr("clifctl.data.contract.LoadedData.sha256", lambda self: "other")
    with pytest.raises(DataError, match="not those that"):
        run(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_torn_line_and_later_lines_of_metrics_are_dropped(
    whole: tuple[Path, TrainResult], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(folder, watcher=Watcher(3, interrupt))
    file = folder / "metrics.jsonl"
    later = file.read_text().replace('"step": 2', '"step": 4')
    file.write_text(file.read_text() + later + '{"record": "epo')
    run(folder)
    assert_same_run(folder, whole[0])


def test_one_run_at_a_time(whole: tuple[Path, TrainResult], tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def second() -> None:
        with pytest.raises(OutputError, match=r"is in use by process \d+ on "):
            run(folder)
        with pytest.raises(OutputError, match="is in use by"):
            run(folder, resume="never", overwrite=True)

    run(folder, watcher=Watcher(2, second))
    assert_same_run(folder, whole[0])


@pytest.mark.parametrize(
    "options", [{}, {"resume": "never"}, {"resume": "never", "overwrite": True}]
)
def test_a_folder_that_another_process_has_made_meanwhile_is_its_own(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clifctl.experiments.run.built import Run

    folder, assemble = tmp_path / "run", Run.assemble

    def second(*arguments: Any) -> Run:
        monkeypatch.undo()
        with pytest.raises(Interrupted):
            run(folder, watcher=Watcher(1, interrupt))
        content.update({path.name: path.read_bytes() for path in folder.iterdir()})
        return assemble(*arguments)

    content = dict[str, bytes]()
    monkeypatch.setattr(Run, "assemble", second)
    with pytest.raises(OutputError, match="was made by another process just now"):
        run(folder, **options)
    assert len(content) > 3
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == content


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("has_locks", [True, False])
def test_a_lock_without_its_process_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_locks: bool
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    if not has_locks:  # as some network file systems
        monkeypatch.setattr(fcntl, "flock", refuse)
    context = multiprocessing.get_context("fork")
    holding = context.Event()

    def hold() -> None:
        with locked(tmp_path):
            holding.set()
            time.sleep(60)

    holder = context.Process(target=hold, daemon=True)
    holder.start()
    assert holding.wait(20)
    with (
        pytest.raises(OutputError, match=f"is in use by process {holder.pid} on {gethostname()}"),
        locked(tmp_path),
    ):
        pass
    holder.kill()
    holder.join(20)
    assert {path.name for path in tmp_path.iterdir()} == {LOCK, OWNER}
    with locked(tmp_path):
        assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
        with pytest.raises(OutputError, match="is in use by process"), locked(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_an_earlier_version_left_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text('{"pid": 1, "host": "elsewhere"}')
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_once_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("clifctl.files.os.replace", full)
    with pytest.raises(OutputError, match=r"run\.owner': No space left on device"):
        run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_when_the_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(folder, watcher=Watcher(2, interrupt))
    (folder / ".last.pt.a1b2c3d4").write_bytes(b"half a checkpoint")
    (folder / ".mine").write_text("a person's")
    with pytest.raises(Interrupted):
        run(folder, watcher=Watcher(1, interrupt))
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} == {".mine"}


def test_a_run_that_goes_on_elsewhere_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(folder, watcher=Watcher(2, interrupt))
    watcher = Watcher(1, interrupt)
    with pytest.raises(Interrupted):
        run(folder, watcher=watcher)
    assert len(watcher.notices) == 1  # the stop
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["continued"][-1]["versions"]["torch"] = "2.0.0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    watcher = Watcher(1, interrupt)
    with pytest.raises(Interrupted):
        run(folder, watcher=watcher, execution=ExecutionOptions(threads=2))
    (notice,) = watcher.notices[:-1]
    assert f"torch 2.0.0, now {torch.__version__}; threads: 1, now 2;" in notice
    # What it goes on with is compared with what it went on with before.
    watcher = Watcher(1, interrupt)
    with pytest.raises(Interrupted):
        run(folder, watcher=watcher, execution=ExecutionOptions(threads=2))
    assert len(watcher.notices) == 1
    # A manifest that was broken says nothing, and keeps nothing from going on.
    for broken in ({"continued": [7]}, {"versions": "2.0.0", "processes": 2}):
        (folder / "manifest.json").write_text(json.dumps(broken))
        watcher = Watcher(1, interrupt)
        with pytest.raises(Interrupted):
            run(folder, watcher=watcher, execution=ExecutionOptions(threads=2))
        assert ["processes: 2, now 1" in notice for notice in watcher.notices[:-1]] == (
            [True] if "processes" in broken else []
        )


def test_a_neuron_whose_file_has_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text("from clifctl.neurons.lif import NEURON as MINE\n")
    own = ("neuron.name=mine.py:MINE",)
    with pytest.raises(Interrupted):
        run(tmp_path / "run", *own, watcher=Watcher(2, interrupt))
    with pytest.raises(Interrupted):
        run(tmp_path / "run", *own, watcher=Watcher(1, interrupt))
    file.write_text("# Another threshold.\nfrom clifctl.neurons.lif import NEURON as MINE\n")
    with pytest.raises(NeuronError, match=r"neuron 'mine\.py:MINE' was: it has changed"):
        run(tmp_path / "run", *own)


def test_keep_keeps_the_last_epochs(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, keep=2)
    kept = sorted(path.name for path in folder.glob("epoch-*.pt"))
    assert kept == ["epoch-0002.pt", "epoch-0003.pt"]
    last, third = weights(folder), weights(folder, "epoch-0003.pt")
    assert all(torch.equal(tensor, third[name]) for name, tensor in last.items())
    run(folder, resume="never", overwrite=True)
    assert not list(folder.glob("epoch-*.pt"))


@pytest.mark.parametrize(
    "overrides", [("train.save_every=null",), ("train.save_every=3600s",)], ids=["never", "hourly"]
)
def test_epochs_are_saved_in_any_case(overrides: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Crash):
        run(folder, *overrides, watcher=Watcher(STEPS + 5, crash))
    checkpoint = load_checkpoint(folder / "last.pt")
    assert (checkpoint.epoch, checkpoint.step) == (1, 0)


def test_a_step_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(folder, "train.precision=float32", watcher=Watcher(3, interrupt))
    # Weights that overflow in the next step.
    checkpoint = load_checkpoint(folder / "last.pt")
    checkpoint.model["features.2.connection.weight"].fill_(1e38)
    save_checkpoint(checkpoint, folder / "last.pt")
    before = (folder / "last.pt").read_bytes()
    with pytest.raises(RunFailed) as caught:
        run(folder, "train.precision=float32")
    message = caught.value.message
    assert "in step 4 of epoch 1" in message
    assert "'features.2.connection'" in message or "'features.2.norm'" in message
    assert "last.pt' holds the run after step 3 of epoch 1" in message
    assert (folder / "last.pt").read_bytes() == before
    assert caught.value.exit_code == 1
    assert "failed: " in (folder / "run.log").read_text()
    stands = standing_of(folder)
    assert (stands.state, stands.epoch, stands.step) == ("failed", 0, 3)
    assert "in step 4 of epoch 1" in str(stands.problem)


def test_a_changed_checkpoint_is_refused_whatever_was_changed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(folder, watcher=Watcher(3, interrupt))
    good = load_checkpoint(folder / "last.pt")
    assert good.training is not None
    save_checkpoint(replace(good, recipe={**good.recipe, "timesteps": 4}), folder / "last.pt")
    with pytest.raises(ClifctlError, match=r"checkpoint .* has a different recipe: timesteps = 4"):
        run(folder)


def test_a_run_goes_on_with_the_neuron_of_its_epoch(tmp_path: Path) -> None:
    overrides = ["neuron.name=lif", "neuron.exchange={epoch: 1, to: clif}", "train.epochs=2"]
    whole = run(tmp_path / "whole", *overrides, execution=REFERENCE)
    out = tmp_path / "out"
    for moment, neuron in ((2, "lif"), (STEPS, "clif")):
        with pytest.raises(Interrupted):
            run(out, *overrides, watcher=Watcher(moment, interrupt), execution=REFERENCE)
        assert (
            open_checkpoint(out / "last.pt", CheckpointOptions()).recipe.neuron.neuron.name
            == neuron
        )
    result = run(out, *overrides, execution=REFERENCE)
    assert without_times(result) == without_times(whole)
    assert_same_run(out, tmp_path / "whole")


def test_the_data_are_hashed_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    sha256 = LoadedData.sha256

    def counted(data: LoadedData) -> str:
        hashed.append(sha256(data))
        return hashed[-1]

    monkeypatch.setattr(LoadedData, "sha256", counted)
    with pytest.raises(Interrupted):
        run(tmp_path, watcher=Watcher(1, interrupt))
    assert len(hashed) == 1
    run(tmp_path)
    assert len(hashed) == 2
    assert json.loads((tmp_path / "manifest.json").read_text())["data_sha256"] == hashed[1]

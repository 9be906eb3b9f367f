"""Run folders that have lost a file, hold another program's, or links to other places."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.errors import CheckpointError, Interrupted, OutputError, UsageError
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.experiments.run.plan import RunOptions
from clifctl.experiments.run.resume import recipe_of_run
from clifctl.experiments.train import train
from clifctl.recipe.load import load_recipe
from clifctl.results.events import Notice, RunEvent, RunStarted
from clifctl.results.train import EpochRecord, TrainResult
from clifctl.training.checkpoint import load_checkpoint

SMALL = ["model.hidden=[6]", "train.batch_size=512", "train.epochs=3"]


class Watcher:
    """Interrupts after an epoch; records its events."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after, self.notices = stop_after, list[str]()
        self.continues_after: str | None = None

    def __call__(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self.continues_after = event.plan.continues_after
            case EpochRecord():
                if event.epoch == self.stop_after:
                    import signal

                    signal.raise_signal(signal.SIGINT)
            case Notice():
                self.notices.append(event.line)


def run(out: Path, *overrides: str, watcher: Watcher | None = None, **options: Any) -> TrainResult:
    loaded = load_recipe("digits_rows_mlp", [*SMALL, *overrides])
    options = {"resume": "auto", "execution": ExecutionOptions(target="reference"), **options}
    return train(loaded, RunOptions(out=out, **options), watcher or Watcher())


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run after two epochs of three, which has kept both."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    with pytest.raises(Interrupted):
        run(folder, watcher=Watcher(2), keep=2)
    return folder


@pytest.fixture(scope="module")
def whole(begun: Path) -> dict[str, torch.Tensor]:
    """The weights after three epochs."""
    folder = begun.with_name("whole")
    shutil.copytree(begun, folder)
    run(folder)
    return load_checkpoint(folder / "last.pt").model


@pytest.fixture
def copy(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "run"))


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def best_epoch(folder: Path) -> int:
    training = load_checkpoint(folder / "last.pt").training
    assert training is not None
    return int(training["history"]["best"]["epoch"])


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    "names",
    [
        ["best.pt", "last.pt"],
        ["result.json"],
        ["run.log", "metrics.jsonl", "recipe.yaml"],
        ["manifest.json", "recipe.yaml"],
        ["epoch-0001.pt"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("options", [{}, {"resume": "never", "overwrite": True}])
def test_files_of_another_program_are_never_removed(
    names: list[str], options: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in names:
        (folder / name).write_text('{"theirs": 1}')
    before = content_of(folder)
    with pytest.raises(OutputError, match="not a run of clifctl: it is left alone"):
        run(folder, **options)
    assert content_of(folder) == before


def test_a_run_whose_recipe_is_lost_goes_on(copy: Path, whole: dict[str, torch.Tensor]) -> None:
    text = (copy / "recipe.yaml").read_text()
    assert recipe_of_run(copy).name == "digits_rows_mlp"
    for lose in (os.unlink, lambda path: Path(path).write_text("")):
        lose(copy / "recipe.yaml")
        assert recipe_of_run(copy).recipe.document["model"]["hidden"] == [6]
        with pytest.raises(Exception, match="has a different recipe"):
            run(copy, "train.lr=0.2")
    watcher = Watcher()
    run(copy, watcher=watcher)
    assert watcher.continues_after == "epoch 2"
    assert watcher.notices == ["recipe.yaml was lost: rewritten from last.pt"]
    assert (copy / "recipe.yaml").read_text() == text
    assert same(load_checkpoint(copy / "last.pt").model, whole)


def test_a_run_whose_last_checkpoint_is_lost_goes_on_from_another(
    copy: Path, whole: dict[str, torch.Tensor]
) -> None:
    (copy / "last.pt").write_bytes(b"")
    watcher = Watcher()
    run(copy, watcher=watcher)
    assert watcher.continues_after == "epoch 2"
    assert watcher.notices[0].startswith("last.pt was lost: the run resumes from ")
    assert same(load_checkpoint(copy / "last.pt").model, whole)


def test_a_damaged_last_checkpoint_is_named_with_the_one_that_is_whole(copy: Path) -> None:
    content = bytearray((copy / "last.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "last.pt").write_bytes(bytes(content))
    before = content_of(copy)
    with pytest.raises(CheckpointError, match="is damaged") as caught:
        run(copy)
    assert "holds the run after epoch 2: to resume from there" in str(caught.value.hint)
    assert str(caught.value.hint).endswith(f"rm {copy}/last.pt")
    assert content_of(copy) == before


def test_what_cannot_go_on_is_not_begun_anew_without_a_word(copy: Path) -> None:
    for path in copy.glob("*.pt"):
        path.unlink()
    for name in ("run.log", "recipe.yaml"):
        (copy / name).unlink()
        before = content_of(copy)
        with pytest.raises(CheckpointError, match="has lost its checkpoints"):
            run(copy)
        assert content_of(copy) == before
    with pytest.raises(UsageError, match="has no recipe"):
        run(copy, resume="always")
    assert run(copy, resume="never", overwrite=True).epochs == 3


def lose(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("how", [lose, empty, damage])
def test_the_best_checkpoint_is_written_anew(how: Callable[[Path], None], copy: Path) -> None:
    best = load_checkpoint(copy / "best.pt")
    how(copy / "best.pt")
    watcher = Watcher(3)
    # Stopped after the epoch's evaluation: best.pt is what was there, or epoch 3's.
    with pytest.raises(Interrupted):
        run(copy, watcher=watcher)
    assert [n.partition(" from ")[0] for n in watcher.notices if "best.pt" in n] == [
        "best.pt was lost: rewritten"
    ]
    again = load_checkpoint(copy / "best.pt")
    assert again.epoch == best_epoch(copy)
    if again.epoch == best.epoch:
        assert same(again.model, best.model)


def test_a_best_checkpoint_that_nothing_holds_is_said_to_be_unknown(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if epoch 1 had been the best.
    last = load_checkpoint(copy / "last.pt")
    assert last.training is not None
    last.training["history"]["best"] = {**last.training["history"]["best"], "epoch": 1}
    last.training["history"]["best"]["test_accuracy_percent"] = 99.9
    from clifctl.training.checkpoint import save_checkpoint

    save_checkpoint(last, copy / "last.pt")
    for name in ("best.pt", "epoch-0001.pt"):
        (copy / name).unlink()
    watcher = Watcher()
    result = run(copy, watcher=watcher)
    assert watcher.notices == [
        "best.pt was lost, and no file holds the weights of epoch 1, the best so far: there "
        "will be none until a better epoch"
    ]
    assert (result.epoch_best, result.accuracy_percent_best) == (1, 99.9)
    assert not (copy / "best.pt").exists()


def test_lost_metrics_are_named(copy: Path) -> None:
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(lines[1:]))
    watcher = Watcher()
    run(copy, watcher=watcher)
    assert watcher.notices == ["metrics.jsonl lacks the lines of epoch 1"]


def test_how_many_epochs_are_kept_is_remembered(copy: Path) -> None:
    run(copy)
    assert sorted(path.name for path in copy.glob("epoch-*")) == ["epoch-0002.pt", "epoch-0003.pt"]
    assert json.loads((copy / "manifest.json").read_text())["keep"] == 2


def test_links_in_a_shared_run_folder_are_replaced_and_not_followed(
    copy: Path, tmp_path: Path
) -> None:
    names = ["run.lock", "metrics.jsonl", "run.log", "manifest.json", "recipe.yaml", "last.pt"]
    names += ["best.pt", "result.json", "epoch-0003.pt", "run.owner"]
    before = {}
    for name in names:
        victim = tmp_path / f"victim of {name}"
        inside = copy / name
        victim.write_bytes(inside.read_bytes() if inside.exists() else b"")
        inside.unlink(missing_ok=True)
        if name != "result.json":  # that would be the run's own
            inside.symlink_to(victim)
        before[victim] = victim.read_bytes()
    run(copy)
    assert {victim: victim.read_bytes() for victim in before} == before
    assert [path.name for path in copy.iterdir() if path.is_symlink()] == []
    assert json.loads((copy / "result.json").read_text())["epochs"] == 3


def test_a_pipe_in_a_run_folder_is_replaced(copy: Path) -> None:
    for name in ("run.log", "run.lock", "run.owner"):
        (copy / name).unlink(missing_ok=True)
        os.mkfifo(copy / name)
    run(copy)
    assert (copy / "run.log").is_file()


def test_a_finished_run_is_shown_where_nothing_can_be_written(
    clifctl: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = ["digits_rows_mlp", *SMALL, "train.epochs=1"]
    train = ["train", *small, "--out", "run", "--resume", "auto", "--target", "reference", "--json"]
    compare = ["compare-neurons", *small, "--neurons", "lif", "--seeds", "1", "--out", "grid"]
    compare += ["--target", "reference", "--workers", "1", "--json"]
    first = [clifctl(*command) for command in (train, compare)]
    assert [done.code for done in first] == [0, 0], first
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    # A superuser may write anywhere: the system's answers are replaced, not the folder's mode.
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("mkdir", "replace", "unlink"):
        monkeypatch.setattr(f"os.{name}", refuse)
    for command, done in zip((train, compare), first, strict=True):
        again = clifctl(*command)
        assert again.code == 0, again.err
        assert again.json == done.json
    assert clifctl("runs", "show", "run").code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_output_goes_where_a_link_leads(clifctl: Callable[..., Any], tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    target = elsewhere / f"clifctl-test-{os.getpid()}.json"
    target.write_text("old")
    try:
        (tmp_path / "link.json").symlink_to(target)
        done = clifctl("recipes", "ls", "--json", "-o", "link.json", "--overwrite")
        assert done.code == 0, done.err
        assert json.loads(target.read_text())["schema"].startswith("clifctl.")
        assert (tmp_path / "link.json").is_symlink()
    finally:
        target.unlink()

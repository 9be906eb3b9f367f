"""`clifctl.train`: the command's numbers, and the caller's process left alone."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import clifctl as package
from clifctl import trust
from clifctl.errors import CheckpointError, Interrupted, OutputError, RecipeError, UsageError
from clifctl.experiments.run.state import Standing, standing_of
from clifctl.results.train import EpochRecord

OVERRIDES = ["train.epochs=2", "train.batch_size=256", "model.channels=[2,2,2,2,4]", "timesteps=2"]
TIMES = {"seconds", "samples_per_second", "time", "train_seconds", "total_seconds", "run_folder"}


def untimed(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in {*TIMES, "record"}}


@pytest.fixture
def commands(clifctl: Callable[..., Any], tmp_path: Path) -> Path:
    """The folder of the same run, by the command."""
    done = clifctl("train", "digits_snn5", *OVERRIDES, "--out", "command", "--json")
    assert done.code == 0
    return tmp_path / "command"


def test_the_numbers_are_those_of_the_command(commands: Path, recipe: package.Recipe) -> None:
    """Bit for bit, with a run folder and without one, whatever the caller does in between."""
    lines = (commands / "metrics.jsonl").read_text().splitlines()
    epochs = [line for line in map(json.loads, lines) if line["record"] == "epoch"]
    result = json.loads((commands / "result.json").read_text())
    weights = package.load(commands / "last.pt").net.state_dict()
    for out in (None, "mine"):
        run = package.train(recipe, out=out)
        torch.manual_seed(7)
        for number, epoch in enumerate(run):
            torch.rand(3)
            run.net.eval()(torch.rand(1, 2, 1, 8, 8), repeat=2)
            assert untimed(epoch.to_dict()) == untimed(epochs[number])
        assert run.result is not None
        assert untimed(run.result.to_dict()) == untimed(result)
        assert [one.epoch for one in run.epochs] == [1, 2]
        state = run.net.state_dict()
        assert state.keys() == weights.keys()
        assert all(torch.equal(state[name], weights[name]) for name in weights)
    assert run.result.run_folder == "mine"
    assert sorted(path.name for path in commands.iterdir()) == sorted(
        path.name for path in Path("mine").iterdir()
    )


def test_nothing_is_written_without_a_folder(recipe: package.Recipe, tmp_path: Path) -> None:
    result = package.train(recipe).finish()
    assert result.run_folder is None
    assert list(tmp_path.iterdir()) == []


def state_of_torch() -> dict[str, Any]:
    cudnn = torch.backends.cudnn
    return {
        "threads": torch.get_num_threads(),
        "generator": torch.get_rng_state().tolist(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32),
        "grad": torch.is_grad_enabled(),
        "trusted": trust.files(),
    }


def test_torch_is_left_as_it_was_between_epochs_and_after_them(recipe: package.Recipe) -> None:
    """A run in the strangest of surroundings has the numbers of any other."""
    plain = [untimed(epoch.to_dict()) for epoch in package.train(recipe)]
    threads = torch.get_num_threads()
    trust.start()
    torch.set_num_threads(3)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = True
    try:
        with torch.device("meta"), torch.no_grad(), torch.autocast("cpu"):
            before = state_of_torch()
            run = package.train(recipe)
            assert state_of_torch() == before
            found = []
            for epoch in run:
                assert state_of_torch() == before
                found.append(untimed(epoch.to_dict()))
            package.evaluate(run.net, recipe)
            assert state_of_torch() == before
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False
    assert found == plain


def test_two_trainings_can_be_taken_in_turns(recipe: package.Recipe) -> None:
    alone = [untimed(epoch.to_dict()) for epoch in package.train(recipe)]
    other = recipe.with_overrides("train.seed=1")
    pairs = list(zip(package.train(recipe), package.train(other), strict=True))
    assert [untimed(one.to_dict()) for one, _ in pairs] == alone
    assert pairs[0][0].test_loss != pairs[0][1].test_loss


def test_who_leaves_off_can_go_on(recipe: package.Recipe, tmp_path: Path) -> None:
    whole = package.train(recipe).finish()
    with package.train(recipe, out="run") as run:
        first = next(run)
        with pytest.raises(OutputError, match="in use by process"):
            package.train(recipe, out="run", resume="auto")
    assert first.epoch == 1
    assert standing_of(Path("run")) == Standing("interrupted", epoch=1, step=0)
    with pytest.raises(UsageError, match="left off"):
        run.finish()
    assert run.result is None
    again = package.train(recipe, out="run", resume="auto")
    assert [epoch.epoch for epoch in again] == [2]
    assert again.result is not None
    assert untimed(again.result.to_dict()) == untimed(whole.to_dict())
    done = package.train(recipe, out="run", resume="auto")
    assert untimed(done.finish().to_dict()) == untimed(whole.to_dict())
    with pytest.raises(UsageError, match="finished before"):
        _ = done.net
    with pytest.raises(OutputError, match="'run'"):
        package.train(recipe, out="run")


def test_ctrl_c_ends_it_at_once(recipe: package.Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder it says what was kept; without one it is what Python makes of it."""

    def stopped(*given: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("clifctl.experiments.run.built.evaluate", stopped)
    with pytest.raises(KeyboardInterrupt):
        package.train(recipe).finish()
    with pytest.raises(Interrupted, match="training stopped in 'run': nothing was saved yet"):
        package.train(recipe, out="run").finish()


def test_weights_to_begin_with(run: Path, recipe: package.Recipe, tmp_path: Path) -> None:
    training = package.train(recipe, init=run / "last.pt")
    weights = package.load(run / "last.pt").net.state_dict()
    state = training.net.state_dict()
    assert all(torch.equal(state[name], weights[name]) for name in weights)
    (tmp_path / "none.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        package.train(recipe, init="none.pt")


def test_notices_go_to_logging_and_nothing_to_the_streams(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, recipe: package.Recipe
) -> None:
    large = recipe.with_overrides("train.batch_size=5000", "train.epochs=1")
    with caplog.at_level(logging.WARNING, logger="clifctl"):
        (epoch,) = package.train(large)
    assert isinstance(epoch, EpochRecord)
    (record,) = caplog.records
    assert record.name == "clifctl"
    assert record.getMessage().startswith("train.batch_size = 5000 is more than")
    assert capsys.readouterr() == ("", "")


def test_errors_speak_of_arguments(recipe: package.Recipe) -> None:
    with pytest.raises(UsageError, match=r"^resume auto needs the run's folder") as refused:
        package.train(recipe, resume="auto")
    assert refused.value.hint == "name it: out DIR resume auto"
    assert refused.value.__notes__ == ["hint: name it: out DIR resume auto"]
    with pytest.raises(UsageError, match="unknown device 'tpu'"):
        package.train(recipe, device="tpu")
    with pytest.raises(RecipeError, match=r"train.lr"):
        recipe.with_overrides("train.lr=-1")

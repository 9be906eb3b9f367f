"""`train --tensorboard`: read back with TensorBoard's own reader."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clifctl.report import tensorboard
from clifctl.results.events import RunStarted
from clifctl.results.train import TrainPlan

Run = Callable[..., Any]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value), of the one event file of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = folder.iterdir()
    events = EventAccumulator(str(file))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_it_says_what_metrics_jsonl_says(clifctl: Run, tiny: list[str], tmp_path: Path) -> None:
    arguments = ["train", "digits_snn5", *tiny, "--tensorboard", "--out", "run"]
    done = clifctl(*arguments, "-q")
    assert done.code == 0, done.err
    records = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    epochs = [record for record in records if record["record"] == "epoch"]
    found = scalars(tmp_path / "run" / "tensorboard")
    for name in ("test_loss", "test_accuracy_percent", "lr", "train_loss_train_mode"):
        expected = [(record["epoch"], pytest.approx(record[name])) for record in epochs]
        assert found[f"epoch/{name}"] == expected, name
    # What has no number has no scalar.
    assert "epoch/validation_accuracy_percent" not in found
    # A run that replaces another leaves nothing of it.
    assert clifctl(*arguments, "-q", "--overwrite").code == 0
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


def test_steps_stand_at_their_number_and_a_resumed_run_tells_all(tmp_path: Path) -> None:
    plan = TrainPlan(
        recipe="digits", device="cpu", target="numba", target_reason="why", threads=1,
        threads_reason="why", run_folder=str(tmp_path), train_samples=40, test_samples=10,
        parameters=7, data_bytes=0, weights_bytes=0, activations_bytes=0, memory_bytes=0,
        resolved_recipe={},
        precision="float32", precision_reason="why", continues_after=None,
    )  # fmt: skip
    metrics = tmp_path / "metrics.jsonl"
    lines = [
        {"record": "step", "epoch": 1, "step": 3, "loss": 2.0, "time": {"data": 0.25}},
        {"record": "epoch", "epoch": 1, "loss": 1.5, "note": "no number", "flag": True},
    ]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for _ in range(2):  # the second time as a resumed run does
        with tensorboard.TensorBoard("metrics.jsonl") as board:
            board(RunStarted(replace(plan), epochs=2, steps=5))
    with metrics.open("a") as file, tensorboard.TensorBoard("metrics.jsonl") as board:
        board(RunStarted(plan, epochs=2, steps=5))
        file.write(json.dumps({"record": "step", "epoch": 2, "step": 1, "loss": 1.0}) + "\n")
        file.flush()
    assert scalars(tmp_path / "tensorboard") == {
        "step/loss": [(3, 2.0), (6, 1.0)],
        "step/time/data": [(3, 0.25)],
        "epoch/loss": [(1, 1.5)],
    }


def test_without_the_extra_it_asks_for_it_and_nothing_is_made(
    clifctl: Run, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        tensorboard, "find_spec", lambda name: None if name == "tensorboard" else real(name)
    )
    done = clifctl("train", "digits_snn5", *tiny, "--tensorboard", "--out", "run")
    assert done.code == 2
    assert done.err == (
        "error: --tensorboard needs the package tensorboard, which is not installed\n"
        "hint: pip install 'clifctl[tensorboard]'\n"
    )
    assert not (tmp_path / "run").exists()
    assert clifctl("train", "digits_snn5", *tiny, "--out", "run", "-q").code == 0

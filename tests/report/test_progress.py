"""The display of a run: its numbers by a clock of the test's own, on a terminal and elsewhere."""

import io
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from clifctl.report.observers import EpochStream, Tail
from clifctl.report.pace import WINDOW_S, Pace
from clifctl.report.progress import LINE_EVERY_S, READ_EVERY_S, TrainProgress
from clifctl.results.events import RunStarted, StepDone
from clifctl.results.train import EpochRecord, TimeShares, TrainPlan

PLAN = TrainPlan(
    recipe="digits", device="cpu", target="numba", target_reason="why", threads=1,
    threads_reason="why", run_folder="run", train_samples=40, test_samples=10, parameters=7,
    data_bytes=0, weights_bytes=0, activations_bytes=0, memory_bytes=0, resolved_recipe={},
    precision="float32", precision_reason="why", continues_after=None,
)  # fmt: skip


@dataclass
class Sums:
    """The sums of an epoch; counts how often they were read."""

    seen: int = 0
    reads: int = 0

    @property
    def samples(self) -> int:
        self.reads += 1
        return self.seen

    def mean_loss(self) -> float:
        return 0.5

    def accuracy_percent(self) -> float:
        return 87.5


def record(epoch: int, held_out: float | None = None) -> EpochRecord:
    return EpochRecord(
        epoch=epoch, lr=0.1, train_loss_train_mode=0.5, train_accuracy_percent_train_mode=87.5,
        test_loss=0.25, test_accuracy_percent=75.0, validation_accuracy_percent=held_out,
        skipped_steps=0, seconds=2.0, samples_per_second=20.0,
        time=TimeShares(**dict.fromkeys(TimeShares.__dataclass_fields__, 0.0)),
    )  # fmt: skip


def test_the_pace_leaves_out_the_first_step_and_the_evaluation() -> None:
    pace = Pace(epochs=3, steps=4, now=100.0)
    assert (pace.samples_per_second, pace.left_s) == (None, None)
    now = 150.0  # the first step takes 50 s, every later one 2 s for 10 samples
    for step in range(1, 5):
        pace.stepped(now, 1, step)
        pace.mark(10 * step)
        now += 2.0
    assert pace.samples_per_second == 5.0
    # 8 steps of 2 s; what an evaluation takes is not known yet.
    assert pace.left_s == 16.0
    now = pace_after_test = 156.0 + 7.0
    pace.finished_epoch(now, 40)
    assert pace.left_s == 8 * 2.0 + 2 * 7.0
    pace.stepped(pace_after_test + 2.0, 2, 1)
    pace.mark(10)
    assert pace.samples_per_second == 5.0
    assert pace.left_s == 7 * 2.0 + 2 * 7.0


def test_the_pace_forgets_what_is_long_ago() -> None:
    pace = Pace(epochs=1, steps=1000, now=0.0)
    now = 0.0
    for step in range(1, 201):
        now += 1.0 if step <= 100 else 0.5
        pace.stepped(now, 1, step)
        pace.mark(step)
    assert WINDOW_S < 50
    assert pace.samples_per_second == 2.0
    assert pace.left_s == 800 * 0.5


def _run(progress: TrainProgress, clock: list[float], *, step_s: float) -> Sums:
    sums = Sums()
    with progress:
        progress(RunStarted(PLAN, epochs=2, steps=100))
        for epoch in (1, 2):
            sums.seen = 0
            for step in range(1, 101):
                clock[0] += step_s
                sums.seen += 8
                progress(StepDone(epoch, step, sums))
            clock[0] += 1.0
            progress(record(epoch, 50.0))
    return sums


def test_elsewhere_it_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    _run(TrainProgress(quiet=False, verbose=False, clock=lambda: clock[0]), clock, step_s=0.5)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert LINE_EVERY_S == 30.0
    assert captured.err.splitlines() == [
        "training digits into run on cpu",
        "epoch 1/2  step 60/100  loss 0.5000  accuracy 87.50 %  16 images/s  0:01:10 left",
        "epoch 1/2  train loss 0.5000  train accuracy 87.50 %  test loss 0.2500  "
        "test accuracy 75.00 %  validation accuracy 50.00 %  16 images/s  2.0 s  0:00:51 left",
        "epoch 2/2  step 60/100  loss 0.5000  accuracy 87.50 %  16 images/s  0:00:21 left",
        "epoch 2/2  train loss 0.5000  train accuracy 87.50 %  test loss 0.2500  "
        "test accuracy 75.00 %  validation accuracy 50.00 %  16 images/s  2.0 s",
    ]


def test_the_device_is_read_a_few_times_a_second_and_never_when_quiet() -> None:
    clock = [0.0]
    fast = READ_EVERY_S / 50
    sums = _run(
        TrainProgress(quiet=False, verbose=False, clock=lambda: clock[0]), clock, step_s=fast
    )
    # Every 50th of 200 steps, and at the end of each epoch.
    assert sums.reads <= 200 // 50 + 1 + 2
    quiet = TrainProgress(quiet=True, verbose=False, clock=lambda: clock[0])
    assert _run(quiet, clock, step_s=1.0).reads == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [60, 120])
def test_on_a_terminal_two_lines_that_fit(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    clock = [0.0]
    progress = TrainProgress(quiet=False, verbose=False, clock=lambda: clock[0])
    _run(progress, clock, step_s=0.5)
    text = terminal.getvalue()
    # NO_COLOR: no colour. What is left moves the cursor and clears lines.
    assert set(re.findall(r"\x1b\[[0-9;?]*([a-zA-Z])", text)) <= set("lhKA")
    plain = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text))
    assert max(map(len, plain)) <= width
    first = next(line for line in plain if line.startswith("epoch 2/2  step 50/100 "))
    assert "━" in first
    assert first.endswith("0:00:26 left")
    assert "loss 0.5000  accuracy 87.50 %  16 images/s" in plain
    assert any(line.startswith("epoch 1/2  testing") for line in plain)
    # Nothing of it is left standing at the end.
    assert text.endswith("\x1b[2K")


def test_a_tail_gives_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert tail.new() == []
    path.write_text('{"record": "step", "step": 1}\n{"record": "ep')
    assert tail.new() == [{"record": "step", "step": 1}]
    assert tail.new() == []
    with path.open("a") as file:
        file.write('och", "epoch": 1}\n')
    assert tail.new() == [{"record": "epoch", "epoch": 1}]


def test_epochs_before_a_resumed_run_are_not_streamed_again(tmp_path: Path) -> None:
    from dataclasses import replace

    lines = [json.dumps({"record": kind, "epoch": n}) + "\n" for kind, n in
             (("epoch", 1), ("step", 2), ("epoch", 2))]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text(lines[0])
    written: list[str] = []
    stream = EpochStream("metrics.jsonl", written.append)
    stream(RunStarted(replace(PLAN, run_folder=str(tmp_path)), 2, 1))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(lines[1] + lines[2])
    stream(record(2))
    assert written == [lines[2]]

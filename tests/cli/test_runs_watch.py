"""`runs watch`: the state of every run and trial, from the files of a folder."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clifctl.errors import Terminated
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.trial_names import Numerics, trial_of
from clifctl.experiments.runs_watch import RunsWatch
from clifctl.recipe.load import open_recipe
from clifctl.report import runs_watch
from clifctl.results.runs_watch import RunWatch
from clifctl.results.trials import TrialRecord
from clifctl.training.lock import locked

Run = Callable[..., Any]
EPOCHS = 3


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """A finished run, one that was interrupted, and a grid of four trials of which none has run."""
    kept = root / "tests" / "data" / "kept" / "numerics-3"
    for name in ("finished", "interrupted"):
        shutil.copytree(kept / name, tmp_path / "runs" / name)
    source = open_recipe("digits_rows_mlp", [f"train.epochs={EPOCHS}"])
    cpu = Numerics("cpu", "numba")
    trials = [trial_of(source.variant([f"train.seed={n}"]), f"seed {n}", cpu) for n in range(4)]
    ResultsFolder(tmp_path / "runs" / "grid").open(trials)
    return tmp_path / "runs"


def states(watch: RunWatch) -> dict[str, str]:
    return {Path(one.run).name.rpartition("-seed")[2][:1] or Path(one.run).name: one.state
            for one in watch.runs if "seed" in one.run}  # fmt: skip


def test_every_state_is_told_and_changes_are_seen(folder: Path, root: Path) -> None:
    watch = RunsWatch(folder)
    first = watch.look()
    assert first.counts == {
        **{"running": 0, "waiting": 4, "interrupted": 1, "failed": 0, "lost": 0},
        "done": 1,
    }
    assert not first.ended
    by_name = {Path(one.run).name: one for one in first.runs}
    done, stopped = by_name["finished"], by_name["interrupted"]
    assert (done.epochs_done, done.epochs) == (4, 4)
    result = json.loads((folder / "finished" / "result.json").read_text())
    assert done.accuracy_percent_last == result["accuracy_percent_last"]
    assert (stopped.epochs_done, stopped.epochs) == (2, 6)
    waiting = next(one for one in first.runs if one.state == "waiting")
    assert (waiting.epochs_done, waiting.epochs, waiting.since) == (0, EPOCHS, None)
    results = ResultsFolder(folder / "grid")
    names = sorted(results.planned())
    record = TrialRecord(
        trial=names[1], title="", seed=1, state="lost", attempts=2, problem="gone", measured=None
    )
    results.write(record)
    results.write(replace(record, trial=names[2], state="failed", problem="no memory"))
    # One is in hand; another has its run folder and writes its epochs.
    shutil.copytree(folder / "interrupted", results.run_folder(names[3]))
    with results.claim(names[0]), results.claim(names[3]), locked(results.run_folder(names[3])):
        second = watch.look()
        assert states(second) == {"0": "running", "1": "lost", "2": "failed", "3": "running"}
        problems = {one.state: one.problem for one in second.runs if one.problem}
        assert problems == {"lost": "gone", "failed": "no memory"}
        running = next(one for one in second.runs if one.run.endswith(names[3]))
        assert running.epochs_done == 2
        assert running.accuracy_percent_last == stopped.accuracy_percent_last
        assert running.since is not None
        lines = (folder / "finished" / "metrics.jsonl").read_text()
        (results.run_folder(names[3]) / "metrics.jsonl").write_text(lines)
        assert sum(one.epochs_done for one in watch.look().runs if one.state == "running") == 4
    assert states(watch.look()) == {"0": "waiting", "1": "lost", "2": "failed", "3": "interrupted"}
    shutil.copy(folder / "finished" / "result.json", results.run_folder(names[3]))
    shutil.rmtree(results.plans)
    third = watch.look()
    assert states(third) == {"1": "lost", "2": "failed", "3": "done"}
    assert third.ended
    (folder / "interrupted" / "new").write_text("timesteps: [\n")
    (folder / "interrupted" / "new").rename(folder / "interrupted" / "recipe.yaml")
    assert [Path(one.run).name for one in watch.look().damaged] == ["interrupted"]


def test_what_has_ended_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = RunsWatch(folder)
    first = watch.look()
    monkeypatch.setattr("clifctl.experiments.runs_watch.standing_of", lambda path: 1 / 0)
    assert watch.look() == first
    # It goes on: its folder changes.
    (folder / "interrupted" / "run.owner").write_text("{}")
    with pytest.raises(ZeroDivisionError):
        watch.look()


def test_the_command(clifctl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = clifctl("runs", "watch").out
    assert "6 runs below 'runs': 4 waiting, 1 interrupted, 1 done" in shown
    assert "4/4" in shown
    document = clifctl("runs", "watch", "runs/grid", "--format", "json", "--once").json
    assert document["schema"] == "clifctl.runs.watch/1"
    assert document["counts"]["waiting"] == len(document["runs"]) == 4
    refused = clifctl("runs", "watch", "nowhere")
    assert (refused.code, refused.out) == (2, "")
    assert "no folder 'nowhere'" in refused.err
    assert clifctl("runs", "watch", "--interval", "0").code == 2


def test_on_a_terminal_it_looks_until_all_has_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    out = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(
        "rich.console.Console",
        lambda **how: Console(file=out, force_terminal=True, width=60, height=9, **how),
    )
    monkeypatch.chdir(folder.parent)
    folder = Path("runs")
    looked = [RunsWatch(folder).look()]
    slept: list[float] = []
    shutil.rmtree(folder / "grid" / "planned")
    looked.append(RunsWatch(folder).look())
    pending = iter(looked)
    monkeypatch.setattr("clifctl.report.runs_watch.time.sleep", slept.append)
    runs_watch.watch_live(lambda: next(pending), 0.5)
    assert slept == [0.5]
    assert "6 runs below" in out.getvalue()
    assert "and 4 more" in out.getvalue()
    assert out.getvalue().rindex("2 runs below") > out.getvalue().rindex("6 runs below")


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 0), (Terminated, 143)])
def test_ctrl_c_is_how_one_leaves(
    clifctl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, stop: type, code: int
) -> None:
    def live(look: Any, interval: float) -> None:
        raise stop

    monkeypatch.setattr("clifctl.cli.runs._can_be_drawn_over", lambda output: True)
    monkeypatch.setattr("clifctl.report.runs_watch.watch_live", live)
    assert clifctl("runs", "watch").code == code


def test_trials_in_the_queue_of_slurm_wait_or_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a grid was preempted, one begins, and the queue is asked again after a while."""
    grid = folder / "grid"
    shutil.copytree(folder / "interrupted", grid / "a")
    names = {
        "7_0": "a",
        **dict(zip(["7_1", "7_2"], sorted(ResultsFolder(grid).planned()), strict=False)),
    }
    (grid / "slurm" / "one").mkdir(parents=True)
    (grid / "slurm" / "one" / "jobs.json").write_text(json.dumps({"jobs": names}))
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\ncat queue\n")
    squeue.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    Path("queue").write_text("7_0|PENDING|BeginTime|grid\n7_1|RUNNING|None|grid\n")
    clock = [100.0]
    monkeypatch.setattr("clifctl.experiments.runs_watch.time.monotonic", lambda: clock[0])
    watch = RunsWatch(folder)

    def counts() -> list[int]:
        found = watch.look().counts
        return [found[state] for state in ("running", "waiting", "interrupted")]

    assert counts() == [1, 4, 1]
    Path("queue").write_text("")
    assert counts() == [1, 4, 1]
    clock[0] += 11.0
    assert counts() == [0, 4, 2]
    squeue.write_text("#!/bin/sh\nexit 1\n")
    clock[0] += 11.0
    assert counts() == [0, 4, 2]

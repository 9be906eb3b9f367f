"""A sweep whose workers and whose parent are killed, and that is started again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

SWEEP = [sys.executable, "-m", "clifctl", "sweep", "digits_rows_mlp", "model.hidden=[8]"]
SWEEP += ["train.batch_size=256", "--target", "reference", "--threads", "1", "--workers", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def children(pid: int) -> list[int]:
    """The worker processes of a command."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def finished(folder: Path) -> dict[str, tuple[int, int]]:
    """The trials that are finished, and what says whether a record was written again."""
    found = {}
    for path in folder.glob("*-*.json"):
        with suppress(OSError, ValueError):
            if json.loads(path.read_text())["state"] == "finished":
                found[path.stem] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def table(folder: Path, words: list[str]) -> tuple[list[Any], float]:
    """What a sweep measured, but for times and memory; and how long it took [s]."""
    started = time.perf_counter()
    done = subprocess.run(
        [*SWEEP, *words, "--out", str(folder), "--json"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=True,
    )
    seconds = time.perf_counter() - started
    names = ("seeds", "accuracy_percent_last", "test_loss", "train_loss_train_mode", "firing_rate")
    rows = json.loads(done.stdout)["rows"]
    return [(row["values"], [row["summary"][name] for name in names]) for row in rows], seconds


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("points", "seeds", "epochs", "kills"),
    [
        pytest.param(3, 2, 2, 3, id="small", marks=pytest.mark.long),
        pytest.param(50, 4, 12, 5, id="full", marks=pytest.mark.long),
    ],
)
def test_killed_at_random_and_started_again(
    tmp_path: Path, points: int, seeds: int, epochs: int, kills: int
) -> None:
    words = [f"train.lr=1e-2..1e-1:{points}:log", f"train.epochs={epochs}", "--seeds", str(seeds)]
    whole, seconds = table(tmp_path / "whole", words)
    trials = points * seeds
    results = [json.loads(p.read_text()) for p in (tmp_path / "whole").glob("*/result.json")]
    assert len(results) == trials
    run = sum(one["total_seconds"] for one in results)
    overhead = (2 * seconds - run) / trials
    sys.stdout.write(
        f"{trials} trials, {seconds:.1f} s on 2 workers; {run / trials:.2f} s a run, and "
        f"{overhead:.3f} s a trial beside it (the start of the processes included)\n"
    )
    draw = random.Random(5)
    folder, seen = tmp_path / "killed", dict[str, tuple[int, int]]()
    for number in range(kills):
        goal = (number + 1) * trials // (kills + 1)
        process = subprocess.Popen(
            [*SWEEP, *words, "--out", str(folder), "-q"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        while len(finished(folder)) < goal and process.poll() is None:
            time.sleep(0.05)
        time.sleep(draw.random() / 2)
        who = ("parent", "workers", "both")[number % 3]
        workers = children(process.pid)
        for pid in workers if who != "parent" else []:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if who != "workers":
            process.kill()
        else:
            time.sleep(draw.random())
            process.kill()
        process.wait()
        now = finished(folder)
        assert seen.items() <= now.items()  # no record was written twice
        seen = now
    again, _ = table(folder, words)
    assert seen.items() <= finished(folder).items()
    assert again == whole

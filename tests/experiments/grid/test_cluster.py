"""A Dask cluster of processes, of which worker, scheduler and client die in turn."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clifctl.experiments.grid.trial_files import CLAIMS
from clifctl.training import run_folder
from clifctl.training.checkpoint import load_checkpoint

pytest.importorskip("distributed")

Run = Callable[..., Any]
PATIENCE_S = 120.0
GRID = ["compare-neurons", "digits_rows_mlp", "model.hidden=[6]", "--target", "reference"]
GRID += ["--neurons", "lif", "--out", "results", "--threads", "1", "--json"]
# Long enough to be met in the middle of it, on any machine.
LONG = ["train.epochs=400"]


def until(there: Callable[[], Any], what: str) -> Any:
    """What `there` gives, as soon as it is something."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := there()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


class Processes:
    """What a test has started, for whatever it needs to be ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        with (self.folder / f"stderr{len(self.started)}").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self.started.append(process)
        return process

    def scheduler(self) -> tuple["subprocess.Popen[str]", str]:
        """A scheduler at a free port, and its address."""
        file = self.folder / f"scheduler{len(self.started)}.json"
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
        process = self.start(
            "distributed.cli.dask_scheduler", *options, "--scheduler-file", str(file)
        )
        text = until(lambda: file.exists() and file.read_text(), "a scheduler")
        return process, json.loads(text)["address"]

    def worker(self, address: str) -> "subprocess.Popen[str]":
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        return self.start(
            "distributed.cli.dask_worker", address, *options, "--local-directory", str(self.folder)
        )

    def client(self, *arguments: str) -> "subprocess.Popen[str]":
        return self.start("clifctl", *arguments)

    def stderr(self, process: "subprocess.Popen[str]") -> str:
        return (self.folder / f"stderr{self.started.index(process)}").read_text()

    def end(self, process: "subprocess.Popen[str]") -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a process that ends by itself."""
        out, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, self.stderr(process)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path)
    yield started
    for process in started.started:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def wait_for_workers(address: str, count: int) -> None:
    from distributed import Client

    with Client(address, timeout=PATIENCE_S, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=PATIENCE_S)


def begun(folder: Path, epochs: int = 2) -> list[Path]:
    """The metrics of trials that have come so far."""
    return [
        path
        for path in (folder / "results").glob(f"*/{run_folder.METRICS}")
        if path.read_text().count('"epoch"') >= epochs
    ]


def tasks(folder: Path) -> set[str]:
    """What is being carried out, or was when its worker died."""
    found = set()
    for path in (folder / "results" / CLAIMS).glob("*.task"):
        with suppress(FileNotFoundError):  # of a task that has just ended
            found.add(path.read_text())
    return found


def records(folder: Path) -> dict[str, bytes]:
    results = (folder / "results").glob("*.json")
    return {path.stem: path.read_bytes() for path in results if path.name != "grid.json"}


def logs(folder: Path) -> dict[str, str]:
    """The log of each trial, by its name."""
    results = folder / "results"
    return {path.parent.name: path.read_text() for path in results.glob(f"*/{run_folder.LOG}")}


@contextmanager
def signalled_when(there: Callable[[], Any]) -> Iterator[None]:
    """This process gets SIGTERM as soon as `there` gives something."""

    def watch() -> None:
        until(there, "the moment of the signal")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()


def test_what_a_command_has_begun_on_a_cluster_stops_with_it(
    clifctl: Run, processes: Processes, tmp_path: Path
) -> None:
    _, address = processes.scheduler()
    processes.worker(address)
    wait_for_workers(address, 1)
    with signalled_when(lambda: begun(tmp_path)):
        stopped = clifctl(*GRID, *LONG, "--seeds", "3", "--scheduler", address)
    assert stopped.code == 143
    assert stopped.err.splitlines()[-2:] == [
        "stopped: 0 of 3 trials are finished in 'results'; nothing of it runs in the "
        f"cluster at {address} any more",
        "hint: the same command resumes from there",
    ]
    (last,) = (tmp_path / "results").glob(f"*/{run_folder.LAST}")
    saved = load_checkpoint(last)
    assert (saved.epoch, saved.step) >= (1, 0)
    assert "stopped" in logs(tmp_path)[last.parent.name]
    assert records(tmp_path) == {}


def states(done: Any) -> list[tuple[str, int]]:
    return [(trial["state"], trial["attempts"]) for trial in done.json["trials"]]


@pytest.mark.long
def test_worker_client_and_scheduler_die_in_turn(
    clifctl: Run, processes: Processes, tmp_path: Path
) -> None:
    scheduler, address = processes.scheduler()
    workers = [processes.worker(address) for _ in range(2)]
    wait_for_workers(address, 2)
    grid = [*GRID, "train.epochs=30", "--seeds", "4"]
    # A worker, in the middle of a trial that then goes on elsewhere.
    client = processes.client(*grid, "--scheduler", address)
    until(lambda: len(begun(tmp_path)) >= 2, "two trials that run")
    workers[0].kill()
    until(lambda: "its worker is gone; it is tried once more" in processes.stderr(client), "that")
    # The command itself: what runs on the worker stops, and what is finished stays.
    until(lambda: records(tmp_path), "a trial that is finished")
    until(lambda: len(begun(tmp_path)) > len(records(tmp_path)), "a trial that runs")
    client.kill()
    workers.append(processes.worker(address))
    before = records(tmp_path)
    # The scheduler, while the same command goes on.
    client = processes.client(*grid, "--scheduler", address)
    until(lambda: " began " in processes.stderr(client), "a trial that is handed out")
    until(lambda: len(begun(tmp_path)) > len(records(tmp_path)), "a trial that runs")
    scheduler.kill()
    code, out, err = processes.end(client)
    assert (code, out) == (1, ""), err
    error, hint = err.splitlines()[-2:]
    assert error.startswith(f"error: the scheduler at {address} has ended or cannot be reached: ")
    assert error.endswith(" of 4 trials are finished in 'results'")
    assert "the same command resumes" in hint
    assert "Traceback" not in err
    for worker in workers[1:]:
        processes.end(worker)
    # Without a cluster at the end: nothing was lost, nothing was run twice.
    done = clifctl(*grid, "--workers", "1")
    assert done.code == 0, done.err
    assert {state for state, _ in states(done)} == {"finished"}
    after = records(tmp_path)
    assert before
    assert {name: after[name] for name in before} == before
    told = logs(tmp_path)
    assert len(told) == 4
    assert [log.count("finished") for log in told.values()] == [1] * 4
    assert [log.count("started") for log in told.values()] == [1] * 4
    assert any("resumed: " in log for log in told.values())
    # And the numbers are those of a run that nothing happened to.
    grid[grid.index("results")] = "whole"
    whole = clifctl(*grid, "--workers", "1")
    name = "accuracy_percent_last"
    for trial in whole.json["trials"]:
        one, other = (
            json.loads((tmp_path / folder / f"{trial['trial']}.json").read_text())["measured"]
            for folder in ("whole", "results")
        )
        assert (one[name], one["test_loss"]) == (other[name], other["test_loss"])


@pytest.mark.long
def test_workers_that_are_all_gone_are_waited_for_and_a_trial_is_lost_but_twice(
    processes: Processes, tmp_path: Path
) -> None:
    _, address = processes.scheduler()
    worker = processes.worker(address)
    wait_for_workers(address, 1)
    client = processes.client(*GRID, *LONG, "--seeds", "2", "--fail-fast", "--scheduler", address)

    def told(line: str, times: int = 1) -> bool:
        return processes.stderr(client).count(line) >= times

    seen = set[str]()

    def new_tasks() -> set[str]:
        return tasks(tmp_path) - seen

    none = "has no workers: waiting for it; a worker is started with: dask worker tcp://"
    goes_on = f"the scheduler at {address} has 1 worker(s): resuming"
    for number, began in enumerate(("began lif, seed 0\n", "began lif, seed 0 (attempt 2)\n"), 1):
        until(partial(told, began), began)
        seen |= until(new_tasks, "a trial that runs")
        worker.kill()
        until(partial(told, none, number), "a word about workers")
        worker = processes.worker(address)
        until(partial(told, goes_on, number), goes_on)
    code, _, err = processes.end(client)
    assert code == 1, err
    (record,) = (json.loads(text) for text in records(tmp_path).values())
    assert (record["state"], record["attempts"]) == ("lost", 2)
    assert record["problem"] == "its worker is gone, 2 times"
    assert "--fail-fast: no further trial is started; nothing of it runs in the cluster at" in err

"""Trials: their names, their folder, who runs them, and what happens when that goes wrong."""

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clifctl.devices import available_memory_bytes
from clifctl.errors import Interrupted, OutputError, RunFailed, Terminated, UsageError
from clifctl.experiments.grid.dispatch import Dispatch, Shard
from clifctl.experiments.grid.grid import GridOptions
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.seeds import seeds_of
from clifctl.experiments.grid.trial import TrialTask, failed_record
from clifctl.experiments.grid.trial_names import Numerics, Trial, trial_of, without_repetition
from clifctl.experiments.grid.worker_pool import WorkerLost, WorkerPool
from clifctl.experiments.grid.workers import Workforce
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.recipe.load import load_recipe, open_recipe
from clifctl.results.events import (
    GridEvent,
    GridStarted,
    Notice,
    TrialElsewhere,
    TrialLost,
    TrialStarted,
)
from clifctl.results.trials import TrialRecord

CPU = Numerics("cpu", "numba")


def named(*overrides: str, numerics: Numerics = CPU) -> str:
    return trial_of(load_recipe("digits_snn5", overrides), "title", numerics).name


def trials_of(count: int) -> list[Trial]:
    source = open_recipe("digits_rows_mlp")
    variants = [source.variant([f"train.seed={seed}"]) for seed in range(count)]
    return [trial_of(one, f"seed {n}", CPU) for n, one in enumerate(variants)]


def test_a_trial_is_named_by_what_decides_its_result() -> None:
    same = named()
    assert re.fullmatch("clif-T4-seed0-[0-9a-f]{8}", same)
    assert named("title=another") == same
    assert named("neuron.surrogate=rectangle") == same  # a default, written out
    different = [
        named("train.seed=1"),
        named("neuron.window=2"),
        named("neuron.name=lif"),
        named("train.lr=0.05"),
        named(numerics=Numerics("cpu", "reference")),
        named(numerics=Numerics("cuda", "triton")),
        named(numerics=Numerics("cpu", "numba", "auto")),
    ]
    assert len({same, *different}) == 8


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["neuron.tau=1.5", "neuron.window=2", "train.seed=3"], "clif-tau1.5-T4-k2-seed3"),
        (["neuron.name=lif", "neuron.reset=hard"], "lif-reset-hard-T4-seed0"),
        (
            ["neuron.name=lif", "neuron.exchange={epoch: 2, to: clif}", "timesteps=6"],
            "lif-to-clif-T6-seed0",
        ),
        (["model.batch_norm=folded"], "clif-T4-folded-seed0"),
        (["neuron.name=mine.py:NEURON"], "NEURON-T4-seed0"),
    ],
)
def test_a_trials_name_can_be_read(
    overrides: list[str],
    words: str,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(root / "clifctl" / "neurons" / "lif.py", "mine.py")
    assert named(*overrides).rpartition("-")[0] == words


def test_a_folder_of_hashes_keeps_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clifctl.NUMERICS_VERSION", 5)
    recipe = load_recipe("digits_rows_mlp", ["model.hidden=[6]", "neuron.name=lif"])
    trial = trial_of(recipe, "", Numerics("cpu", "reference"))
    folder = ResultsFolder(tmp_path)
    folder.open([trial])
    assert folder.named([trial]) == (trial,)
    document = json.loads((tmp_path / "grid.json").read_text())
    (tmp_path / "grid.json").write_text(json.dumps({**document, "schema": "clifctl.grid/2"}))
    (kept,) = folder.named([trial])
    # The name that a clifctl of that schema gave it.
    assert kept.name == "2d7d5efbf08dbd29"


def test_how_data_are_read_is_no_part_of_a_trials_name(tmp_path: Path) -> None:
    def trial(*overrides: str) -> Trial:
        return trial_of(load_recipe("cifar10_resnet18", overrides), "", CPU)

    assert trial("data.workers=5").name == trial().name
    assert trial("data.root=elsewhere").name != trial().name
    folder = ResultsFolder(tmp_path)
    folder.open([trial()])
    folder.check([trial("data.workers=5")])
    # In a folder of the first rule they are, with the value that all its trials have.
    document = json.loads((tmp_path / "grid.json").read_text())
    document["schema"] = "clifctl.grid/1"
    document["base"]["data"]["workers"] = 2
    (tmp_path / "grid.json").write_text(json.dumps(document))
    (two,), (five,) = (folder.named([trial(f"data.workers={n}")]) for n in (2, 5))
    assert two.name == five.name != trial().name


def test_a_change_of_numerics_renames_every_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    before = named()
    monkeypatch.setattr("clifctl.NUMERICS_VERSION", 10_000)
    assert named() != before


def test_the_changelog_names_the_numerics_version(root: Path) -> None:
    import clifctl

    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"`NUMERICS_VERSION` is {clifctl.NUMERICS_VERSION}" in text


def test_the_source_of_a_persons_own_neuron_counts(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (root / "clifctl" / "neurons" / "lif.py").read_text(encoding="utf-8")
    names = []
    for comment in ("", "# another rule\n"):
        Path("mine.py").write_text(text + comment, encoding="utf-8")
        names.append(named("neuron.name=mine.py:NEURON"))
    assert names[0] != names[1]


def test_a_results_folder_is_for_variants_of_one_recipe(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path / "results")
    folder.open(trials_of(2))
    folder.check(trials_of(5))
    other_neuron = load_recipe("digits_rows_mlp", ["neuron.name=lif", "neuron.window=2"])
    folder.check([trial_of(other_neuron, "", CPU)])
    changed = load_recipe("digits_rows_mlp", ["train.lr=0.3"])
    with pytest.raises(OutputError, match=r"train.lr is 0.1 there and 0.3 here"):
        folder.check([trial_of(changed, "", CPU)])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="left alone"):
        ResultsFolder(tmp_path / "mine").check(trials_of(1))
    with pytest.raises(OutputError, match="is a file"):
        ResultsFolder(tmp_path / "mine" / "letter.txt").check(trials_of(1))


def test_a_record_that_is_not_whole_counts_as_none(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    record = failed_record(task_of(trials_of(1)[0], 1), "why")
    folder.write(record)
    assert folder.record(record.trial) == record
    path = tmp_path / f"{record.trial}.json"
    for text in ("", "{", "[]", '{"schema": "x"}', path.read_text()[:-20]):
        path.write_text(text)
        assert folder.record(record.trial) is None


def test_axes_are_checked() -> None:
    assert seeds_of(2022, 3) == (2022, 2023, 2024)
    with pytest.raises(UsageError, match="seeds = 0"):
        seeds_of(0, 0)
    with pytest.raises(UsageError, match="the grid is empty"):
        without_repetition([])
    assert len(without_repetition(trials_of(2) * 2)) == 2
    with pytest.raises(UsageError, match="contradict"):
        GridOptions(Path("x"), workers=2, scheduler="tcp://1.2.3.4:5")


def test_shards_are_a_partition() -> None:
    trials = trials_of(7)
    parts = [Shard(i, 3).part(trials) for i in (1, 2, 3)]
    assert sorted(trial.name for part in parts for trial in part) == sorted(
        trial.name for trial in trials
    )
    assert [len(part) for part in parts] == [3, 2, 2]


def race(folder: ResultsFolder, names: Sequence[str], log: Path, seed: int) -> None:
    """Do what run_trial does, with a wait in place of a training."""
    chance = random.Random(seed)
    for name in names:
        with folder.claim(name) as mine:
            if not mine or (folder.path / f"{name}.json").exists():
                continue
            with log.open("a") as file:
                file.write(f"{name}\n")
            time.sleep(chance.uniform(0, 0.004))
            (folder.path / f"{name}.json").write_text("{}")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_that_race_never_run_a_trial_twice(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    folder.open(trials_of(1))
    names = [f"trial{n}" for n in range(60)]
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    racers = [
        context.Process(target=race, args=(folder, names, log, seed), daemon=True)
        for seed in range(4)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(600)
        assert racer.exitcode == 0
    assert sorted(log.read_text().split()) == sorted(names)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_process_holds_no_claim(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    folder.open(trials_of(1))
    holding = multiprocessing.get_context("fork").Event()

    def hold() -> None:
        with folder.claim("one") as mine:
            assert mine
            holding.set()
            time.sleep(60)

    process = multiprocessing.get_context("fork").Process(target=hold, daemon=True)
    process.start()
    assert holding.wait(20)
    assert folder.is_claimed("one")
    assert not folder.is_claimed("two")
    process.kill()
    process.join(20)
    assert not folder.is_claimed("one")


def test_an_order_that_was_begun_and_not_ended_is_known_by_its_claim(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    folder.open(trials_of(1))
    for task, known in (("first", False), ("first", True), ("second", False), ("second", True)):
        with folder.claim("one") as mine:
            assert mine is not None
            # A block that is left without `end` is one whose process has died.
            assert mine.begin(task) is not known
        assert not folder.is_claimed("one")  # and looking at it changes nothing
    with folder.claim("one") as mine:
        assert mine is not None
        mine.end()
        assert mine.begin("second")


class Remembers:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.titles: Mapping[str, str] = {}

    def __call__(self, event: GridEvent) -> None:
        match event:
            case GridStarted():
                self.titles = event.titles
                said = f"opened {len(event.titles)}, {event.finished} finished"
            case TrialStarted(trial, attempt):
                said = f"began {self.titles[trial]}, {attempt}"
            case TrialElsewhere(trial):
                said = f"elsewhere {self.titles[trial]}"
            case TrialLost(trial):
                said = f"lost {self.titles[trial]}"
            case TrialRecord():
                said = f"{event.state} {event.title}"
            case Notice(line):
                said = line
        self.seen.append(said)


class AtOnce(Executor):
    """Runs a call when it is submitted; what it raises is the future's."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as raised:
            future.set_exception(raised)
        return future


def task_of(trial: Trial, attempt: int) -> TrialTask:
    return TrialTask(
        id=f"{trial.name} {attempt}",
        trial=trial.name,
        title=trial.title,
        recipe=trial.loaded.name,
        document=trial.loaded.recipe.document,
        results="",
        working_folder="",
        execution=ExecutionOptions("cpu"),
        beside=1,
        kept_for_backward_bytes=0,
        attempt=attempt,
    )


class Office:
    """A results folder with a workforce that writes records, as it is told to."""

    def __init__(self, path: Path, count: int = 4) -> None:
        self.trials = trials_of(count)
        self.folder = ResultsFolder(path)
        self.folder.open(self.trials)
        self.observer = Remembers()
        self.stopped = 0
        self.ran: list[str] = []
        self.behaviour: dict[str, Any] = {}

    def work(self, task: TrialTask) -> Any:
        self.ran.append(task.title)
        todo = self.behaviour.get(task.title, "finished")
        if callable(todo):
            todo = todo(task)
        if todo in ("busy", "stopped", "lost"):
            return todo
        self.folder.write(replace(failed_record(task, "told to"), state=todo))
        return "ended"

    def run(self, **options: Any) -> None:
        def stop() -> None:
            self.stopped += 1

        Dispatch(self.trials, self.folder, task_of, self.observer, **options).run(
            Workforce(AtOnce(), self.work, 1, stop)
        )

    def states(self) -> list[str]:
        records = [self.folder.record(trial.name) for trial in self.trials]
        return [record.state if record else "missing" for record in records]


def test_finished_trials_are_never_run_again_and_failed_ones_are(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.behaviour["seed 1"] = "failed"
    office.run()
    assert office.states() == ["finished", "failed", "finished", "finished"]
    assert office.ran == ["seed 0", "seed 1", "seed 2", "seed 3"]
    office.behaviour.clear()
    office.run()
    assert office.ran[4:] == ["seed 1"]
    assert office.states() == ["finished"] * 4
    office.run()
    assert len(office.ran) == 5
    assert office.observer.seen[-1] == "opened 4, 4 finished"


def test_trials_whose_short_hashes_are_the_same_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clifctl.experiments.grid import trial_names

    monkeypatch.setattr(trial_names, "_SHORT", 0)
    source = open_recipe("digits_rows_mlp")
    rates = ["0.1", "0.2", "1e-1"]
    trials = [trial_of(source.variant([f"train.lr={one}"]), one, CPU) for one in rates]
    assert len({trial.name for trial in trials}) == 1
    names = [trial.name for trial in ResultsFolder(tmp_path).named(trials)]
    assert names[0] == names[2] == trials[0].long_name
    assert names[1] == trials[1].long_name != names[0]
    alone = ResultsFolder(tmp_path).named([trials[0], trials[2]])
    assert [trial.name for trial in alone] == [trials[0].name] * 2


def test_fail_fast_stops_at_the_first(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.behaviour["seed 1"] = "failed"
    office.run(fail_fast=True)
    assert office.states() == ["finished", "failed", "missing", "missing"]
    assert office.stopped == 1


def test_a_lost_worker_is_replaced_once_and_then_reported(tmp_path: Path) -> None:
    def lost(task: TrialTask) -> str:
        raise WorkerLost("its process was ended by SIGKILL")

    def lost_once(task: TrialTask) -> str:
        return lost(task) if task.attempt == 1 else "finished"

    office = Office(tmp_path)
    office.behaviour = {"seed 1": lost_once, "seed 2": lost, "seed 3": "stopped"}
    office.run()
    assert office.states() == ["finished", "finished", "lost", "lost"]
    for title in ("seed 1", "seed 2", "seed 3"):
        assert office.ran.count(title) == 2
    record = office.folder.record(office.trials[2].name)
    assert record is not None
    assert record.attempts == 2
    assert record.problem == "its process was ended by SIGKILL, 2 times"


def test_a_lost_trial_that_another_command_has_is_left_to_it(tmp_path: Path) -> None:
    office, claims = Office(tmp_path), ExitStack()

    def run_elsewhere(task: TrialTask) -> str:
        if task.attempt == 2:
            office.folder.write(replace(failed_record(task, "elsewhere"), state="finished"))
        return "lost"

    def claimed_elsewhere(task: TrialTask) -> str:
        if office.ran.count("seed 2") == 3:
            return "finished"
        if task.attempt == 2:
            claims.enter_context(office.folder.claim(task.trial))
            threading.Timer(0.1, claims.close).start()
        return "lost"

    office.behaviour = {"seed 1": run_elsewhere, "seed 2": claimed_elsewhere}
    office.run()
    assert office.states() == ["finished"] * 4
    record = office.folder.record(office.trials[1].name)
    assert record is not None
    assert record.problem == "elsewhere"
    assert office.observer.seen.count("elsewhere seed 2") == 1


def test_an_order_whose_worker_died_is_given_anew_once(tmp_path: Path) -> None:
    def forgotten(task: TrialTask) -> str:
        if task.attempt == 1:
            raise CancelledError
        return "finished"

    office = Office(tmp_path)
    office.behaviour = {"seed 1": forgotten, "seed 2": "lost"}
    office.run()
    assert office.states() == ["finished", "finished", "lost", "finished"]
    record = office.folder.record(office.trials[2].name)
    assert record is not None
    assert (record.attempts, record.problem) == (2, "its worker is gone, 2 times")
    assert office.observer.seen.count("lost seed 1") == 1


def test_a_cluster_that_is_gone_ends_the_command_with_what_is_finished(tmp_path: Path) -> None:
    office = Office(tmp_path)
    looks = iter(range(3))

    class Gone(Workforce):
        def look(self, notice: Callable[[str], None]) -> None:
            if next(looks) == 2:
                raise RunFailed("the scheduler is gone", hint="start it")

    dispatch = Dispatch(office.trials, office.folder, task_of, office.observer)
    told = "^the scheduler is gone: 2 of 4 trials are finished in "
    with pytest.raises(RunFailed, match=told) as gone:
        dispatch.run(Gone(AtOnce(), office.work, 1, lambda: None))
    assert (gone.value.exit_code, gone.value.hint) == (1, "start it")


def test_what_a_cluster_raises_is_that_trials_failure(tmp_path: Path) -> None:
    def broken(task: TrialTask) -> str:
        raise OSError("no space left")

    office = Office(tmp_path)
    office.behaviour["seed 0"] = broken
    office.run()
    record = office.folder.record(office.trials[0].name)
    assert record is not None
    assert (record.state, record.problem) == ("failed", "OSError: no space left")
    assert office.states()[1:] == ["finished"] * 3


def test_a_trial_that_another_process_runs_is_waited_for(tmp_path: Path) -> None:
    office = Office(tmp_path)
    answers = iter(["busy"])

    def elsewhere(task: TrialTask) -> str:
        # The other process has finished it by the time that it is asked for again.
        office.folder.write(replace(failed_record(task, ""), state="finished", attempts=7))
        return next(answers)

    office.behaviour["seed 1"] = elsewhere
    office.run()
    assert office.states() == ["finished"] * 4
    assert office.ran.count("seed 1") == 1
    record = office.folder.record(office.trials[1].name)
    assert record is not None
    assert record.attempts == 7
    assert "elsewhere seed 1" in office.observer.seen


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_an_interruption_says_what_is_kept(tmp_path: Path, stop: Any, code: int) -> None:
    def interrupted(task: TrialTask) -> str:
        raise Interrupted(stop(), "training stopped")

    class Raising(AtOnce):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            future: Future[Any] = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    office = Office(tmp_path)
    office.behaviour["seed 2"] = interrupted
    dispatch = Dispatch(office.trials, office.folder, task_of, office.observer)
    with pytest.raises(Interrupted, match="2 of 4 trials are finished") as told:
        dispatch.run(Workforce(Raising(), office.work, 1, lambda: None))
    assert told.value.exit_code == code


def test_memory_that_can_be_had_is_known_here() -> None:
    free = available_memory_bytes()
    assert free is None or 2**20 < free < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_the_pool_outlives_its_processes() -> None:
    others = {child.pid for child in multiprocessing.active_children()}
    with WorkerPool(2) as pool:
        squares = [pool.submit(pow, n, 2) for n in range(6)]
        assert [future.result(300) for future in squares] == [0, 1, 4, 9, 16, 25]
        with pytest.raises(WorkerLost, match="code 9"):
            pool.submit(os._exit, 9).result(300)
        waiting = pool.submit(time.sleep, 60)
        running = pool.submit(os.getpid).result(300)
        assert running != os.getpid()
        victims = [child.pid for child in multiprocessing.active_children()]
        busy = [pid for pid in victims if pid not in (running, None, *others)]
        os.kill(busy[0] or 0, signal.SIGKILL)
        with pytest.raises(WorkerLost, match="SIGKILL"):
            waiting.result(300)
        assert pool.submit(pow, 2, 10).result(300) == 1024
        with pytest.raises(ValueError, match="invalid literal"):
            pool.submit(int, "x").result(300)
        lambdas = pool.submit(lambda: 1)
        with pytest.raises(Exception, match="pickle"):
            lambdas.result(300)


PARENT = """
import multiprocessing, time
from clifctl.experiments.grid.worker_pool import WorkerPool
if __name__ == "__main__":
    pool = WorkerPool(2)
    tasks = [pool.submit(time.sleep, 60) for _ in range(2)]
    while len(children := multiprocessing.active_children()) < 2:
        time.sleep(0.01)
    print(*(child.pid for child in children), flush=True)
    tasks[0].result()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_processes_of_a_pool_end_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert parent.stdout is not None
    workers = [Path("/proc", number) for number in parent.stdout.readline().decode().split()]
    assert len(workers) == 2
    assert all(worker.exists() for worker in workers)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 50  # and not the 60 of the jobs
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(process: Path) -> bool:
    """Whether it runs: one that has ended may wait for a new parent to take note."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_pool_that_is_ended_ends_its_processes() -> None:
    others = {child.pid for child in multiprocessing.active_children()}
    pool = WorkerPool(1)
    assert pool.submit(pow, 2, 2).result(300) == 4
    children = [c for c in multiprocessing.active_children() if c.pid not in others]
    assert children
    waiting = pool.submit(time.sleep, 60)
    threading.Event().wait(0.1)
    started = time.monotonic()
    pool.terminate()
    with pytest.raises(WorkerLost):
        waiting.result(300)
    assert time.monotonic() - started < 50  # and not the 60 of the job
    assert not any(child.is_alive() for child in children)
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(pow, 2, 2)

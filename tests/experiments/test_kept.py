"""What an older clifctl wrote is listed, shown, compared, resumed and finished by this one.

`tests/data/kept` holds real folders, one for each numerics version that wrote them (`keep.py` there
made them). Each test works on a copy, once as this clifctl is, and once as if it had got a key of
the recipe and a field of its results more.
"""

import dataclasses
import importlib
import json
import pkgutil
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from clifctl import results
from clifctl.errors import CheckpointError, OutputError, RecipeError
from clifctl.experiments.grid import results_folder
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.run import resume
from clifctl.recipe import schema
from clifctl.recipe.train_section import TrainSection
from clifctl.results.decoding import decode, encode
from clifctl.results.train import TrainResult
from clifctl.results.trials import TrialRecord
from clifctl.training.checkpoint import load_checkpoint

KEPT = Path(__file__).resolve().parent.parent / "data" / "kept"
GENERATIONS = sorted(path.name for path in KEPT.iterdir())
RUN = ["digits_rows_mlp", "model.hidden=[6]", "train.epochs=4", "train.log_every=10"]
GRID = ["train.batch_size=17", "train.epochs=6", "train.log_every=40"]


class LaterSection(TrainSection):
    later: int = Field(7, description="a key that came later")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaterResult(TrainResult):
    later: str = "a field that came later"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaterRecord(TrialRecord):
    later: str | None = None


def become_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "TrainSection", LaterSection)
    monkeypatch.setattr(resume, "TrainResult", LaterResult)
    monkeypatch.setattr(results_folder, "TrialRecord", LaterRecord)


@pytest.fixture(params=GENERATIONS)
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one generation's folders, in the working folder, with its numerics version."""
    monkeypatch.setattr("clifctl.NUMERICS_VERSION", int(request.param.rpartition("-")[2]))
    shutil.copytree(KEPT / request.param, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(params=["as it is", "later"])
def whenever(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "later":
        become_later(monkeypatch)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def epochs_of(folder: Path) -> list[str]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [line for line in lines if json.loads(line)["record"] == "epoch"]


def test_there_are_generations() -> None:
    assert "numerics-3" in GENERATIONS


@pytest.mark.usefixtures("whenever")
def test_a_finished_run_is_not_run_again(kept: Path, clifctl: Callable[..., Any]) -> None:
    before = content(kept / "finished")
    stored = json.loads(before["result.json"])
    for arguments in (["--resume", "finished"], [*RUN, "--out", "finished", "--resume", "auto"]):
        ran = clifctl("train", *arguments, "--target", "reference", "--json")
        assert ran.code == 0, ran.err
        shown = ran.json
        shown.pop("later", None)
        assert {key: shown[key] for key in stored} == stored
    assert content(kept / "finished") == before


def test_an_interrupted_run_is_finished(
    kept: Path, clifctl: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    become_later(monkeypatch)
    folder = kept / "interrupted"
    reached = load_checkpoint(folder / "last.pt")
    done = epochs_of(folder)
    assert len(done) == reached.epoch == 2
    ran = clifctl("train", "--resume", "interrupted", "--target", "reference", "--json")
    assert ran.code == 0, ran.err
    assert epochs_of(folder)[: reached.epoch] == done
    assert [json.loads(line)["epoch"] for line in epochs_of(folder)] == [1, 2, 3, 4, 5, 6]
    assert ran.json["epochs"] == 6
    assert 30 < ran.json["accuracy_percent_last"] < 75


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("comparison", ["compare-neurons", *RUN, *GRID, "--neurons", "lif,clif"]),
        ("truncated-bptt", ["truncate-bptt", *RUN, *GRID, "--k", "1,8", "--tau", "2.0"]),
    ],
)
def test_a_grid_is_finished_and_no_trial_run_twice(
    name: str,
    command: list[str],
    kept: Path,
    clifctl: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    become_later(monkeypatch)
    folder = kept / name
    finished = [path.stem for path in folder.glob("????????????????.json")]
    begun = [path.name for path in folder.iterdir() if (path / "recipe.yaml").is_file()]
    assert (len(finished), len(begun)) == (1, 2)
    before, epochs = content(folder), {one: epochs_of(folder / one) for one in begun}
    out = ["--target", "reference", "--out", name]
    planned = clifctl(*command, *out, "--seeds", "2", "--dry-run", "--json")
    assert planned.code == 0, planned.err
    states = {one["trial"]: one["state"] for one in planned.json["trials"]}
    assert planned.json["finished"] == 1
    assert states[finished[0]] == "finished"
    assert set(begun) <= set(states)
    # The first seed's: one that is finished, and one that was interrupted.
    ran = clifctl(*command, *out, "--seeds", "1", "--workers", "1", "--json")
    assert ran.code == 0, ran.err
    assert {(one["trial"], one["state"]) for one in ran.json["trials"]} == {
        (one, "finished") for one in begun
    }
    after = content(folder)
    untouched = [file for file in before if file.startswith(finished[0])]
    assert len(untouched) >= 7
    for file in untouched:
        assert after[file] == before[file], file
    for one in begun:
        assert epochs_of(folder / one)[: len(epochs[one])] == epochs[one]
        assert len(epochs_of(folder / one)) == 6
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        *begun,
        "claims",
        "planned",
    }
    assert ResultsFolder(folder).record(finished[0]) is not None


def test_another_recipe_is_still_refused(
    kept: Path, clifctl: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    become_later(monkeypatch)
    ran = clifctl("train", "--resume", "interrupted", "train.later=8", "--target", "reference")
    assert ran.code == 2
    assert "train.later = 7 there, train.later = 8 here" in ran.err
    grid = ["compare-neurons", *RUN, *GRID, "--neurons", "lif,clif", "--target", "reference"]
    ran = clifctl(*grid, "train.later=8", "--out", "comparison", "--dry-run")
    assert ran.code == 2
    assert "train.later is 7 there and 8 here" in ran.err


@pytest.mark.usefixtures("whenever")
def test_runs_are_listed_shown_and_compared(kept: Path, clifctl: Callable[..., Any]) -> None:
    listed = clifctl("runs", "ls", ".", "--json").json
    assert listed["skipped"] == []
    assert {row["run"].split("/")[0] for row in listed["runs"]} == {
        *("comparison", "finished", "interrupted", "truncated-bptt")
    }
    assert len(listed["runs"]) == 6
    shown = clifctl("runs", "show", "finished", "--json").json
    assert shown["row"]["epochs_done"] == 4
    assert shown["row"]["neuron"] == "clif"
    compared = clifctl("runs", "compare", "finished", "interrupted", "--json").json
    assert compared["same_data"] is True
    assert [one["key"] for one in compared["differences"]] == [
        *("train.epochs", "train.batch_size", "train.log_every")
    ]


def test_a_key_that_came_later_is_no_difference(
    kept: Path, clifctl: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    become_later(monkeypatch)
    train = ["train", *RUN, "train.epochs=1", "--target", "reference", "--out"]
    assert clifctl(*train, "now").code == 0
    assert clifctl(*train, "other", "train.later=8").code == 0
    differences = clifctl("runs", "compare", "finished", "now", "other", "--json").json
    values = {one["key"]: one["values"] for one in differences["differences"]}
    assert values == {"train.epochs": [4, 1, 1], "train.later": [7, 7, 8]}


@pytest.mark.usefixtures("whenever")
def test_checkpoints_are_evaluated(kept: Path, clifctl: Callable[..., Any]) -> None:
    for checkpoint, neuron in (("finished/last.pt", "clif"), ("converted.pt", "lif")):
        ran = clifctl("eval", checkpoint, "--target", "reference", "--json")
        assert ran.code == 0, ran.err
        assert ran.json["neuron"] == neuron
    stored = json.loads((kept / "finished" / "result.json").read_text())
    ran = clifctl("eval", "finished/last.pt", "--target", "reference", "--json")
    # Another CPU rounds otherwise, and a spike more or less may decide for another class.
    assert ran.json["accuracy_percent"] == pytest.approx(stored["accuracy_percent_last"], abs=2)


def kinds() -> dict[str, Any]:
    """Every kind of result by the name of its schema."""
    found = {}
    for module in pkgutil.iter_modules(results.__path__, "clifctl.results."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and hasattr(kind, "schema"):
                found[kind.schema.partition("/")[0]] = kind
    return found


def test_documents_are_read(kept: Path) -> None:
    read = 0
    for path in sorted((kept / "documents").iterdir()):
        document = json.loads(path.read_text())
        kind = kinds()[document["schema"].partition("/")[0]]
        again = json.loads(json.dumps(encode(decode(kind, document)), allow_nan=False))
        assert document.keys() <= again.keys(), path
        for key in document.keys() - {"schema"}:
            assert contains(again[key], document[key]), (path, key)
        read += 1
    assert read >= 16


def contains(now: Any, then: Any) -> bool:
    """Whether `now` is `then`, but for fields that came later."""
    if isinstance(then, dict):
        return all(key in now and contains(now[key], then[key]) for key in then)
    if isinstance(then, list):
        return len(now) == len(then) and all(map(contains, now, then))
    return bool(now == then)


def test_what_a_newer_clifctl_wrote_is_refused_by_name(
    kept: Path, clifctl: Callable[..., Any]
) -> None:
    result = kept / "finished" / "result.json"
    document = json.loads(result.read_text())
    for newer, named in (
        ({**document, "schema": "clifctl.train/99"}, "clifctl.train/99"),
        ({**document, "spikes_per_joule": 1.0}, "spikes_per_joule"),
        ({**document, "time": {**document["time"], "sleep_percent": 1.0}}, "time.sleep_percent"),
    ):
        result.write_text(json.dumps(newer))
        ran = clifctl("train", "--resume", "finished", "--target", "reference")
        assert ran.code == CheckpointError.exit_code
        assert "newer clifctl" in ran.err
        assert named in ran.err
    (record,) = (kept / "comparison").glob("????????????????.json")
    document = json.loads(record.read_text())
    record.write_text(json.dumps({**document, "schema": "clifctl.trial/7"}))
    grid = ["compare-neurons", *RUN, *GRID, "--neurons", "lif,clif", "--target", "reference"]
    for arguments in (["--dry-run"], ["--workers", "1"]):
        ran = clifctl(*grid, "--out", "comparison", "--seeds", "2", *arguments)
        assert ran.code == OutputError.exit_code
        assert "clifctl.trial/7" in ran.err
    grid_file = kept / "comparison" / "grid.json"
    grid_file.write_text(grid_file.read_text().replace("clifctl.grid/1", "clifctl.grid/77"))
    ran = clifctl(*grid, "--out", "comparison", "--seeds", "2", "--dry-run")
    assert ran.code == OutputError.exit_code
    assert "clifctl.grid/77" in ran.err
    recipe = kept / "interrupted" / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "later: 1\n")
    ran = clifctl("train", "--resume", "interrupted", "--target", "reference")
    assert ran.code == RecipeError.exit_code
    assert "later: unknown key" in ran.err

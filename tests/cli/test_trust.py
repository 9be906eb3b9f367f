"""A recipe, a checkpoint or a run folder of somebody else runs no file unasked."""

import importlib.util
import os
import py_compile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clifctl import trust
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.trial import TrialTask, run_trial_remotely
from clifctl.experiments.grid.trial_names import Numerics, trial_of
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.recipe.load import load_recipe

Run = Callable[..., Any]
NEURON = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
from clifctl.neurons.lif import NEURON
"""


@pytest.fixture
def write(tmp_path: Path, root: Path) -> Callable[..., Path]:
    """Write a recipe that names a neuron, and that neuron: where it is named, or beside it."""
    shipped = (root / "recipes" / "digits_snn5.yaml").read_text()

    def written(path: str, neuron: str, *, beside: bool = False) -> Path:
        recipe = tmp_path / path
        recipe.parent.mkdir(parents=True, exist_ok=True)
        recipe.write_text(shipped.replace("name: clif", f"name: {neuron}"))
        place = recipe.parent if beside else tmp_path
        file = place / neuron.rpartition(":")[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(NEURON)
        return recipe

    return written


@pytest.mark.parametrize(
    "command",
    [
        ["recipes", "check"],
        ["recipes", "show", "--resolved"],
        ["train", "--dry-run"],
        ["energy"],
        ["gradients"],
        ["compare-neurons", "--neurons", "lif,clif", "--dry-run"],
        ["truncate-bptt", "--k", "1", "--dry-run"],
    ],
)
def test_no_command_runs_what_a_recipe_names_elsewhere(
    clifctl: Run, write: Callable[..., Path], tmp_path: Path, command: list[str]
) -> None:
    write("theirs/recipe.yaml", "scripts/some.py:NEURON")
    done = clifctl(*command, "theirs/recipe.yaml")
    assert done.code == 2
    assert "is not run unasked" in done.err
    assert "add --trust scripts/some.py:NEURON" in done.err
    assert not (tmp_path / "scripts" / "ran").exists()
    if "--resolved" in command or command[0] == "train":
        assert "momentum: 0.9" in done.out
        assert "name: scripts/some.py:NEURON" in done.out


@pytest.mark.parametrize("option", [["--trust", "{}"], ["neuron.name={}"]])
def test_what_is_named_at_the_prompt_is_run(
    clifctl: Run, write: Callable[..., Path], tmp_path: Path, option: list[str]
) -> None:
    write("theirs/recipe.yaml", "scripts/some.py:NEURON")
    named = [word.format("scripts/some.py:NEURON") for word in option]
    done = clifctl("recipes", "show", "theirs/recipe.yaml", "--resolved", *named)
    assert done.code == 0, done.err
    assert (tmp_path / "scripts" / "ran").exists()
    # The next command trusts nothing that this one did.
    assert clifctl("recipes", "show", "theirs/recipe.yaml", "--resolved").code == 2


def test_a_file_beside_the_recipe_is_run_if_it_is_this_users(
    clifctl: Run, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write("mine/recipe.yaml", "own.py:NEURON", beside=True)
    done = clifctl("recipes", "show", "mine/recipe.yaml", "--resolved")
    assert done.code == 0, done.err
    assert f"name: mine{os.sep}own.py:NEURON" in done.out
    assert (tmp_path / "mine" / "ran").exists()
    trust.start()
    assert load_recipe(str(recipe)).recipe.document["neuron"]["name"] == "mine/own.py:NEURON"

    (tmp_path / "mine" / "ran").unlink()
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    done = clifctl("recipes", "show", "mine/recipe.yaml", "--resolved")
    assert done.code == 2
    assert "add --trust mine/own.py:NEURON" in done.err


def test_bytecode_beside_a_file_is_never_run(
    clifctl: Run, write: Callable[..., Path], tmp_path: Path
) -> None:
    """A person who looks at a file before it is run looks at what is run."""
    write("mine/recipe.yaml", "own.py:NEURON", beside=True)
    place = tmp_path / "mine" / "__pycache__"
    place.mkdir()
    evil = tmp_path / "evil.py"
    evil.write_text(NEURON.replace('"ran"', '"bytecode"'))
    compiled = importlib.util.cache_from_source(str(tmp_path / "mine" / "own.py"))
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(evil), compiled, dfile="own.py", invalidation_mode=mode, doraise=True)
    done = clifctl("recipes", "show", "mine/recipe.yaml", "--resolved")
    assert done.code == 0, done.err
    assert (tmp_path / "mine" / "ran").exists()
    assert not list(tmp_path.rglob("bytecode"))


def test_a_file_that_everybody_may_write_to_is_nobodys(
    clifctl: Run, write: Callable[..., Path], tmp_path: Path
) -> None:
    write("mine/recipe.yaml", "own.py:NEURON", beside=True)
    (tmp_path / "mine" / "own.py").chmod(0o646)
    done = clifctl("recipes", "show", "mine/recipe.yaml", "--resolved")
    assert done.code == 2
    assert not (tmp_path / "mine" / "ran").exists()


def test_a_link_beside_the_recipe_belongs_where_it_leads_to(
    clifctl: Run, write: Callable[..., Path], tmp_path: Path
) -> None:
    write("theirs/recipe.yaml", "own.py:NEURON", beside=True)
    (tmp_path / "theirs" / "own.py").rename(tmp_path / "private.py")
    (tmp_path / "theirs" / "own.py").symlink_to(tmp_path / "private.py")
    assert clifctl("recipes", "check", "theirs/recipe.yaml").code == 2
    assert not (tmp_path / "ran").exists()


def test_the_recipes_folder_comes_before_the_working_folder(
    clifctl: Run, write: Callable[..., Path], tmp_path: Path
) -> None:
    write("mine/recipe.yaml", "own.py:NEURON", beside=True)
    (tmp_path / "own.py").write_text(NEURON)
    done = clifctl("recipes", "show", "mine/recipe.yaml", "--resolved")
    assert "the neuron 'own.py:NEURON' is that of the recipe's folder: mine/own.py" in done.err
    assert not (tmp_path / "ran").exists()


def test_a_run_folder_does_not_decide_what_is_run(
    clifctl: Run, write: Callable[..., Path], tmp_path: Path
) -> None:
    write("run/recipe.yaml", "run/own.py:NEURON")
    for name in ("recipe.yaml", "own.py"):
        assert (tmp_path / "run" / name).is_file()
    done = clifctl("train", "--resume", "run", "--dry-run")
    assert done.code == 2
    assert "add --trust run/own.py:NEURON" in done.err
    assert clifctl("runs", "show", "run").code in (0, 2)
    assert not (tmp_path / "run" / "ran").exists()


def test_a_person_is_asked_once(write: Callable[..., Path], tmp_path: Path) -> None:
    write("theirs/recipe.yaml", "some.py:NEURON")
    reference = str(tmp_path / "some.py:NEURON")
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return len(asked) > 1

    trust.start(ask)
    assert not trust.allows(reference)
    assert not trust.allows(reference)
    assert str(tmp_path / "some.py") in asked[0]
    trust.start(ask)
    assert trust.allows(reference)
    assert trust.allows(reference)
    assert len(asked) == 2
    assert trust.files() == (str(tmp_path / "some.py"),)
    trust.start()


def test_other_problems_are_told_first(clifctl: Run, write: Callable[..., Path]) -> None:
    write("theirs/recipe.yaml", "scripts/some.py:NEURON")
    done = clifctl("recipes", "check", "theirs/recipe.yaml", "train.epochs=0")
    assert "train.epochs" in done.err
    assert clifctl("recipes", "ls", "--trust", "lif").code == 2


@pytest.mark.parametrize("trusted", [True, False])
def test_a_worker_runs_what_its_order_trusts(
    tmp_path: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.py").write_text(NEURON)
    changes = [*tiny, "train.epochs=1", "neuron.name=some.py:NEURON"]
    loaded = load_recipe("digits_snn5", changes)
    order = TrialTask(
        id="one of it",
        trial="one",
        title="",
        recipe="digits_snn5",
        document=loaded.recipe.document,
        results=str(tmp_path / "results"),
        working_folder=str(tmp_path),
        execution=ExecutionOptions("cpu", "reference", threads=1),
        beside=1,
        kept_for_backward_bytes=0,
        attempt=1,
        trusted=(str(tmp_path / "some.py"),) if trusted else (),
    )
    folder = ResultsFolder(tmp_path / "results")
    folder.open([trial_of(loaded, "", Numerics("cpu", "reference"))])
    assert run_trial_remotely(order) == "ended"
    record = folder.record("one")
    assert record is not None
    assert record.state == ("finished" if trusted else "failed")
    assert trusted or "is not run unasked" in str(record.problem)

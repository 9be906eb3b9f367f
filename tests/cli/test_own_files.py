"""A neuron's own file is known again by its content, wherever it lies and however it is named."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.cli.app import run as run_clifctl
from clifctl.errors import CheckpointError
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.trial_names import (
    Numerics,
    named_by_hash,
    named_with_old_names,
    trial_of,
)
from clifctl.recipe.load import load_recipe
from clifctl.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

Run = Callable[..., Any]
LEAK = """
from clifctl.neurons import LeakyHyperparameters, Neuron, State, spike

def step(x, state, p):
    (v,) = state
    u = (1 - 1 / p.tau) * v + x
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    return s, (u - s * p.v_threshold,)

Leak = Neuron("lif", "a copy", "own", step, (State("v", "potential"),), LeakyHyperparameters)
"""
REFERENCE = ("--target", "reference", "--json")
TRUST = ("--trust", "elsewhere/leak.py:Leak")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of `leak.py:Leak`, of one epoch of two, and the file elsewhere."""
    folder = tmp_path_factory.mktemp("own")
    narrow = ["model.channels=[2,2,2,2,4]", "timesteps=2", "train.batch_size=256"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "leak.py").write_text(LEAK)
        given = [*narrow, "train.epochs=1", "neuron.name=leak.py:Leak", "train.schedule=constant"]
        code = run_clifctl(["train", "digits_snn5", *given, "--out", "run", *REFERENCE, "-q"])
    assert code == 0
    (folder / "elsewhere").mkdir()
    (folder / "leak.py").rename(folder / "elsewhere" / "leak.py")
    return folder


@pytest.fixture
def own(trained: Path, clifctl: Run, tmp_path: Path) -> Path:
    """A copy of it that is the working folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_checkpoint_carries_the_hash_of_its_neurons_file(own: Path) -> None:
    digest = hashlib.sha256(LEAK.encode()).hexdigest()
    assert load_checkpoint(own / "run" / "last.pt").neuron_sources == {"leak.py:Leak": digest}


@pytest.mark.parametrize(
    "command",
    [["eval"], ["energy"], ["gradients", "--samples", "4"], ["convert", "--to", "lif"]],
)
def test_a_file_is_taken_from_wherever_it_is_named(
    clifctl: Run, own: Path, command: list[str]
) -> None:
    source = [command[0], "run/last.pt", *command[1:]]
    missing = clifctl(*source, *REFERENCE)
    assert (missing.code, missing.out) == (2, "")
    assert "'leak.py:Leak' of a file, and there is no file 'leak.py'" in missing.err
    assert "hint: name it where it lies now: --trust DIR/leak.py:Leak" in missing.err
    for option in ("--trust", "--neuron"):
        found = clifctl(*source, option, "elsewhere/leak.py:Leak", "--overwrite", *REFERENCE)
        assert found.code == 0, found.err
        assert "note: checkpoint" not in found.err


def test_a_changed_file_is_told_and_needs_a_word(clifctl: Run, own: Path) -> None:
    (own / "leak.py").write_text(LEAK.replace("(1 - 1 / p.tau)", "0.1"))
    told = "'leak.py' is not what the file of its neuron 'leak.py:Leak' was: it has changed"
    evaluate = ("eval", "run/last.pt", *REFERENCE)
    before = clifctl(*evaluate, *TRUST).json["loss"]
    for option in ([], ["--trust", "leak.py:Leak"]):
        refused = clifctl(*evaluate, *option)
        assert (refused.code, refused.out) == (2, "")
        assert told in refused.err
        assert "add --changed-file" in refused.err
    taken = clifctl(*evaluate, "--trust", "leak.py:Leak", "--changed-file")
    assert taken.err.count(told) == 1
    assert taken.json["loss"] != before
    # Of several that are named the one that it was is taken, and nothing is to be told.
    again = clifctl(*evaluate, "--trust", "leak.py:Leak", *TRUST)
    assert again.json["loss"] == before
    assert told not in again.err


def test_the_manifest_tells_of_an_older_checkpoint_else_the_name(clifctl: Run, own: Path) -> None:
    checkpoint = load_checkpoint(own / "run" / "last.pt")
    older = Checkpoint(**{**vars(checkpoint), "neuron_sources": None})
    save_checkpoint(older, own / "run" / "last.pt")
    (own / "changed.py").write_text(LEAK + "# changed\n")
    changed = ("--trust", "changed.py:Leak", *REFERENCE)
    assert clifctl("eval", "run/last.pt", *TRUST, *REFERENCE).code == 0
    assert "it has changed" in clifctl("eval", "run/last.pt", *changed).err
    (own / "run" / "manifest.json").unlink()
    by_name = clifctl("eval", "run/last.pt", *changed)
    assert by_name.code == 0
    assert "'changed.py:Leak' is taken for its neuron by the name alone" in by_name.err


@pytest.mark.parametrize("named", [TRUST, ("neuron.name=elsewhere/leak.py:Leak",)])
def test_a_run_goes_on_with_the_file_from_elsewhere(
    clifctl: Run, own: Path, named: tuple[str, ...]
) -> None:
    longer = ("train", "--resume", "run", "train.epochs=2", *REFERENCE)
    missing = clifctl(*longer)
    assert missing.code == 2
    assert "there is no file 'leak.py'" in missing.err
    before = (own / "run" / "last.pt").read_bytes()
    (own / "changed.py").write_text(LEAK + "# changed\n")
    refused = clifctl(*longer, "--trust", "changed.py:Leak")
    assert "it has changed" in refused.err
    assert (own / "run" / "last.pt").read_bytes() == before
    done = clifctl(*longer, *named)
    assert done.code == 0, done.err
    assert done.json["epochs"] == 2
    # From now on it is called by where it was found.
    manifest = json.loads((own / "run" / "manifest.json").read_text())
    digest = hashlib.sha256(LEAK.encode()).hexdigest()
    assert manifest["continued"][0]["neuron_sources"] == {"elsewhere/leak.py:Leak": digest}
    assert clifctl("eval", "run/last.pt", *TRUST, *REFERENCE).code == 0
    assert clifctl("train", "--resume", "run", "--changed-file", *TRUST, *REFERENCE).code == 0


def test_a_run_goes_on_with_a_changed_file_where_that_is_asked_for(clifctl: Run, own: Path) -> None:
    (own / "leak.py").write_text(LEAK + "# changed\n")
    longer = ("train", "--resume", "run", "train.epochs=2", "--trust", "leak.py:Leak", *REFERENCE)
    assert clifctl(*longer).code == 2
    assert clifctl(*longer, "--changed-file").code == 0
    # The file that it went on with is its own from then on.
    assert clifctl("eval", "run/last.pt", "--trust", "leak.py:Leak", *REFERENCE).code == 0


def test_an_own_neuron_goes_by_its_file_and_name(clifctl: Run, own: Path) -> None:
    """Not by the name in its declaration, which may be that of another neuron."""
    done = clifctl("eval", "run/last.pt", *TRUST, *REFERENCE)
    assert done.json["neuron"] == "leak.py:Leak"
    assert done.json["published"]["accuracies"] == []


def test_a_trial_is_named_by_what_the_file_holds(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numerics = Numerics("cpu", "reference")

    def trial(reference: str) -> Any:
        return trial_of(load_recipe("digits_snn5", [f"neuron.name={reference}"]), "", numerics)

    (own / "copy.py").write_text(LEAK)
    here = trial("copy.py:Leak")
    assert trial("elsewhere/leak.py:Leak").name == trial(f"{own}/copy.py:Leak").name == here.name
    (own / "other.py").write_text(LEAK + "# changed\n")
    assert trial("other.py:Leak").name != here.name
    # One that was begun when names held the path is found under that name.
    folder = ResultsFolder(own / "results")
    folder.open([here])
    grid = own / "results" / "grid.json"
    grid.write_text(grid.read_text().replace("clifctl.grid/3", "clifctl.grid/2"))
    older = named_with_old_names(here)
    assert older.name not in (here.name, named_with_old_names(trial("elsewhere/leak.py:Leak")).name)
    assert folder.named([here]) == (named_by_hash(here),)
    folder.run_folder(older.name).mkdir()
    assert folder.named([here]) == (older,)


def test_a_checkpoint_whose_hashes_are_no_text_is_refused(own: Path) -> None:
    checkpoint = load_checkpoint(own / "run" / "last.pt")
    wrong: Any = {"leak.py:Leak": torch.zeros(1)}
    save_checkpoint(Checkpoint(**{**vars(checkpoint), "neuron_sources": wrong}), own / "x.pt")
    with pytest.raises(CheckpointError, match="neuron_sources is not"):
        load_checkpoint(own / "x.pt")

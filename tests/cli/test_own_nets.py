"""A net of a person's own file through the commands: trust, its hash, runs and trials."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.cli.app import run as run_clifctl
from clifctl.experiments.grid.trial_names import Numerics, trial_of
from clifctl.recipe.load import load_recipe
from clifctl.training.checkpoint import load_checkpoint

Run = Callable[..., Any]
NET = """
from pathlib import Path
import torch
from torch import nn

Path(__file__).with_name("ran").touch()


class Net(nn.Module):
    def __init__(self, input_shape, classes, timesteps, neuron, *, width: int = 8):
        super().__init__()
        print("built")
        self.first, self.sn = nn.Linear(64, width), neuron(width)
        self.last = nn.Linear(width, classes)
        self.register_buffer("scale", torch.full((64,), 1.5), persistent=False)

    def forward(self, x):
        return self.last(self.sn(self.first(x.flatten(2) * self.scale)))
"""
REFERENCE = ("--target", "reference", "--json", "-q")
TRUST = ("--trust", "elsewhere/net.py:Net")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of `net.py:Net`, and the file elsewhere."""
    folder = tmp_path_factory.mktemp("own")
    given = ["timesteps=2", "train.batch_size=256", "train.epochs=1", "train.schedule=constant"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "net.py").write_text(NET)
        named = ["model.name=net.py:Net", "model.width=9"]
        code = run_clifctl(["train", "digits_snn5", *named, *given, "--out", "run", *REFERENCE])
    assert code == 0
    (folder / "elsewhere").mkdir()
    (folder / "net.py").rename(folder / "elsewhere" / "net.py")
    return folder


@pytest.fixture
def own(trained: Path, clifctl: Run, tmp_path: Path) -> Path:
    """A copy of it that is the working folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_checkpoint_knows_the_file_of_its_net(clifctl: Run, own: Path) -> None:
    checkpoint = load_checkpoint(own / "run" / "last.pt")
    digest = hashlib.sha256(NET.encode()).hexdigest()
    assert checkpoint.neuron_sources == {"net.py:Net": digest}
    assert checkpoint.recipe["model"] == {"name": "net.py:Net", "nodes": "recipe", "width": 9}
    missing = clifctl("eval", "run/last.pt", *REFERENCE)
    assert (missing.code, missing.out) == (2, "")
    assert "it uses the model 'net.py:Net' of a file, and there is no file" in missing.err
    assert "hint: name it where it lies now: --trust DIR/net.py:Net" in missing.err
    found = clifctl("eval", "run/last.pt", *TRUST, *REFERENCE)
    assert found.code == 0, found.err
    assert found.json["model"] == "net.py:Net"
    trained = clifctl("runs", "show", "run", "--json").json
    # The buffer that no checkpoint holds is there too.
    last = trained["row"]["accuracy_percent_last"]
    assert found.json["accuracy_percent"] == last
    assert trained["row"]["batch_norm"] == "own"


def test_weights_of_the_module_itself_are_taken(clifctl: Run, own: Path) -> None:
    weights = load_checkpoint(own / "run" / "last.pt").model
    plain = {name.removeprefix("net."): tensor for name, tensor in weights.items()}
    assert set(plain) == {"first.weight", "first.bias", "last.weight", "last.bias"}
    torch.save(plain, own / "plain.pt")
    named = ("--model", "elsewhere/net.py:Net", "--data", "digits", "model.width=9")
    given = ("neuron.name=clif", "timesteps=2", *REFERENCE)
    found = clifctl("eval", "plain.pt", *named, *given)
    assert found.code == 0, found.err
    expected = clifctl("eval", "run/last.pt", *TRUST, *REFERENCE).json
    assert found.json["accuracy_percent"] == expected["accuracy_percent"]


def test_a_changed_file_needs_a_word(clifctl: Run, own: Path) -> None:
    (own / "net.py").write_text(NET.replace("1.5", "0.1"))
    for command in (["eval", "run/last.pt"], ["train", "--resume", "run", "train.epochs=2"]):
        refused = clifctl(*command, "--trust", "net.py:Net", *REFERENCE)
        assert (refused.code, refused.out) == (2, "")
        assert "'net.py' is not what the file of its model 'net.py:Net' was" in refused.err
        assert "add --changed-file" in refused.err
    taken = clifctl("eval", "run/last.pt", "--trust", "net.py:Net", "--changed-file", *REFERENCE)
    assert taken.code == 0


def test_a_run_of_an_own_net_goes_on(clifctl: Run, own: Path) -> None:
    done = clifctl("train", "--resume", "run", "train.epochs=2", *TRUST, *REFERENCE)
    assert done.code == 0, done.err
    assert done.json["epochs"] == 2
    assert "built" not in done.out


def test_a_recipe_alone_does_not_run_a_net(clifctl: Run, own: Path, root: Path) -> None:
    theirs = own / "theirs" / "recipe.yaml"
    theirs.parent.mkdir()
    shipped = (root / "recipes" / "digits_snn5.yaml").read_text()
    whole, _, rest = shipped.partition("  name: snn5")
    rest = rest[rest.index("neuron:") :]
    assert not (own / "elsewhere" / "ran").exists()
    theirs.write_text(f"{whole}  name: elsewhere/net.py:Net\n{rest}")
    for command in (["recipes", "check"], ["train", "--dry-run"], ["energy"]):
        done = clifctl(*command, "theirs/recipe.yaml")
        assert done.code == 2
        assert "it uses the model 'elsewhere/net.py:Net' of a file, which is not run" in done.err
        assert not (own / "elsewhere" / "ran").exists()
    assert clifctl("recipes", "check", "theirs/recipe.yaml", *TRUST).code == 0
    # Beside the recipe it is trusted.
    shutil.copy(own / "elsewhere" / "net.py", theirs.with_name("net.py"))
    theirs.write_text(theirs.read_text().replace("elsewhere/net.py", "net.py"))
    assert clifctl("recipes", "check", "theirs/recipe.yaml").code == 0


def test_a_trial_is_named_by_what_the_file_of_its_net_holds(own: Path) -> None:
    def trial(reference: str, *more: str) -> str:
        named = [f"model.name={reference}", *more]
        return trial_of(load_recipe("digits_snn5", named), "", Numerics("cpu", "reference")).name

    (own / "copy.py").write_text(NET)
    assert trial("copy.py:Net") == trial("elsewhere/net.py:Net") == trial(f"{own}/copy.py:Net")
    assert trial("copy.py:Net", "model.width=8") == trial("copy.py:Net")
    assert trial("copy.py:Net", "model.width=7") != trial("copy.py:Net")
    (own / "other.py").write_text(NET + "# changed\n")
    assert trial("other.py:Net") != trial("copy.py:Net")


def test_a_comparison_exchanges_the_neurons_of_an_own_net(clifctl: Run, own: Path) -> None:
    given = ["model.name=elsewhere/net.py:Net", "timesteps=2", "train.epochs=1"]
    few = ["train.batch_size=700", "--seeds", "1", "--workers", "2", "--target", "reference"]
    neurons = ["--neurons", "lif,clif,relu"]
    done = clifctl("compare-neurons", "digits_snn5", *given, *neurons, *few, "--json")
    assert done.code == 0, done.err
    rows = done.json["rows"]
    assert [row["neuron"] for row in rows] == ["lif", "clif", "relu"]
    assert len({row["summary"]["test_loss"]["mean"] for row in rows}) == 3
    refused = clifctl(
        "compare-neurons", "digits_snn5", *given, *neurons, *few, "--batch-norm", "folded"
    )
    assert refused.code == 2
    assert "decides itself what its batch norm does" in refused.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise RuntimeError('no')", "'bad.py' cannot be loaded: RuntimeError: no"),
        ("import sys; sys.exit(3)", "'bad.py' cannot be loaded: SystemExit: 3"),
        (NET.replace("self.last(", "("), "returns [2, 3, 8] for T = 2, N = 3 and 10 classes"),
        (NET.replace("x.flatten(2)", "x"), "fails for an input [2, 3, 1, 8, 8]"),
    ],
)
def test_a_bad_net_is_one_message_and_nothing_written(
    clifctl: Run, tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "bad.py").write_text(text)
    given = ["model.name=bad.py:Net", "timesteps=2"]
    for command in (["train", "--out", "run"], ["train", "--dry-run"], ["recipes", "check"]):
        done = clifctl(*command, "digits_snn5", *given)
        assert (done.code, done.out) == (2, "")
        assert told in done.err
        assert done.err.count("error:") == 1
    assert not (tmp_path / "run").exists()


def test_a_net_of_logits_of_the_whole_sequence_does_without_those_of_steps(
    clifctl: Run, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(NET.replace("* self.scale)))", "* self.scale))).mean(0)"))
    named = ["model.name=net.py:Net", "timesteps=3", "train.epochs=1", "train.batch_size=256"]
    reference = ("--target", "reference")
    done = clifctl("train", "digits_snn5", *named, "--out", "run", *reference)
    assert done.code == 0, done.err
    assert "gives logits of the whole sequence: the loss has no others" in done.err
    trust = ("--trust", "net.py:Net", *reference)
    found = clifctl("eval", "run/last.pt", *trust, "--plot", "eval.svg", "--json").json
    assert found["accuracy_percent_per_step"] == [found["accuracy_percent"]]
    assert len(found["firing_rates"][0]["firing_rate_per_step"]) == 3
    shown = clifctl("eval", "run/last.pt", *trust).out
    assert "after the last time step" in shown
    assert "logits of the whole sequence alone" in shown
    reach = clifctl("gradients", "run/last.pt", "--samples", "4", *trust, "--json").json
    assert [row["window"] for row in reach["windows"]] == [1, 2, 3]
    assert any("logits of the whole sequence alone" in note for note in reach["notes"])

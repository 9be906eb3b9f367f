"""`load_recipe`, `build_net`, `load`, `evaluate`, `compare`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import clifctl as package
from clifctl import trust
from clifctl.errors import (
    ArgumentError,
    CheckpointError,
    ModelError,
    NeuronError,
    RecipeError,
    UntrustedFile,
    UsageError,
)
from clifctl.models import SpikingNet

MINE = """
from dataclasses import replace
from clifctl.neurons import NEURONS
Mine = replace(NEURONS["lif"], name="mine")
"""


def test_overrides_are_texts_or_keywords() -> None:
    texts = package.load_recipe("digits_snn5", "neuron.name=lif", "train.lr=0.00001", "timesteps=3")
    keys = {"neuron.name": "lif", "train.lr": 1e-5, "neuron.window": None}
    assert package.load_recipe("digits_snn5", timesteps=3, **keys) == texts
    channels = {"model.channels": (2, 3, 2, 2, 4), "title": "1e3: 'a' #b"}
    changed = texts.with_overrides(**channels)
    assert changed.to_dict()["model"]["channels"] == [2, 3, 2, 2, 4]
    assert changed.title == "1e3: 'a' #b"
    assert texts.to_dict()["model"]["channels"] != [2, 3, 2, 2, 4]
    assert changed != texts
    assert package.load_recipe(Path("recipes/digits_snn5.yaml").name.removesuffix(".yaml")).static


def test_a_recipe_in_a_notebook_is_its_yaml() -> None:
    html = package.load_recipe("digits_snn5", title="<b>&")._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<b>&" not in html
    assert "\n  lr: 0.1" in html


def test_what_is_wrong_with_a_recipe_is_told() -> None:
    with pytest.raises(RecipeError, match="digits_snn6"):
        package.load_recipe("digits_snn6")
    with pytest.raises(RecipeError, match=r"timesteps[\s\S]*neuron.tau"):
        package.load_recipe("digits_snn5", timesteps=0, **{"neuron.tau": -1})
    with pytest.raises(UsageError, match="'lif' is not an override"):
        package.load_recipe("digits_snn5", "lif")


def test_a_net_of_a_recipe_begins_as_its_training_does(recipe: package.Recipe) -> None:
    state = torch.get_rng_state()
    net = package.build_net(recipe, seed=0).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    start = package.train(recipe).net.state_dict()
    assert all(torch.equal(net[name], start[name]) for name in start)
    one, two = (package.build_net(recipe).state_dict() for _ in range(2))
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_a_net_of_a_models_name() -> None:
    shapes: dict[str, Any] = {"input_shape": [1, 8, 8], "classes": 5, "timesteps": 3}
    net = package.build_net("mlp", **shapes, neuron="lif(tau=4)", hidden=[7])
    assert isinstance(net, SpikingNet)
    assert "tau=4.0, reset=soft" in str(net)
    logits, states = net(torch.rand(3, 2, 1, 8, 8))
    assert logits.shape == (3, 2, 5)
    assert len(states) == 1
    with pytest.raises(UsageError, match=r"unknown option 'hiden'.*did you mean 'hidden'"):
        package.build_net("mlp", **shapes, hiden=[7])
    with pytest.raises(UsageError, match="hidden = 7"):
        package.build_net("mlp", **shapes, hidden=7)
    with pytest.raises(ArgumentError, match=r"^classes: model 'mlp' needs it"):
        package.build_net("mlp", input_shape=(1, 8, 8))
    with pytest.raises(NeuronError, match="lof"):
        package.build_net("mlp", **shapes, neuron="lof")
    with pytest.raises(ArgumentError, match=r"^timesteps = 3: the recipe says what it is"):
        package.build_net("digits_snn5", timesteps=3)


def test_a_checkpoint_is_loaded_and_evaluated_as_by_the_command(
    clifctl: Callable[..., Any], run: Path
) -> None:
    command = clifctl("eval", "run/last.pt", "--per-class", "--json").json
    state = torch.get_rng_state()
    loaded = package.load("run/last.pt")
    assert not loaded.net.training
    net = package.build_net(loaded.recipe)
    net.load_state_dict(loaded.net.state_dict())
    results = [
        package.evaluate("run/last.pt", per_class=True),
        package.evaluate(loaded, per_class=True),
        package.evaluate(net, loaded.recipe, per_class=True),
    ]
    for result, checkpoint, epoch in zip(
        results, ["run/last.pt", None, None], [1, 1, None], strict=True
    ):
        document = json.loads(json.dumps(result.to_dict()))
        expected = {**command, "checkpoint": checkpoint, "epoch": epoch}
        assert {**document, "seconds": 0} == {**expected, "seconds": 0}
    assert "<td" in (results[0]._repr_html_() or "")
    assert net.training
    torch.manual_seed(0)
    assert not torch.equal(torch.get_rng_state(), state)


def test_another_t_than_that_of_training(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = package.load(run / "last.pt", timesteps=3)
    assert loaded.recipe.timesteps == 3
    assert package.evaluate(loaded).timesteps == 3
    assert package.evaluate(run / "last.pt", timesteps=3).timesteps == 3
    said = [record.getMessage() for record in caplog.records]
    assert set(said) == {"the net runs for T = 3 time steps; it was trained with T = 2"}


def test_a_state_dict_of_other_code_takes_its_recipe(run: Path, recipe: package.Recipe) -> None:
    torch.save(package.load(run / "last.pt").net.state_dict(), "weights.pt")
    with pytest.raises(CheckpointError) as refused:
        package.load("weights.pt")
    assert refused.value.hint == "weights of other code load with recipe, or with model and data"
    loaded = package.load("weights.pt", recipe=recipe)
    whole = package.evaluate(run / "last.pt")
    assert package.evaluate(loaded).loss == whole.loss
    assert package.evaluate("weights.pt", recipe).loss == whole.loss


def test_a_net_needs_its_recipe(recipe: package.Recipe) -> None:
    with pytest.raises(ArgumentError, match=r"^recipe: a net needs the one"):
        package.evaluate(package.build_net(recipe))
    with pytest.raises(ModelError, match="Linear fails for an input"):
        package.evaluate(torch.nn.Linear(2, 2), recipe)


def test_a_file_is_run_by_who_names_it(tmp_path: Path, recipe: package.Recipe) -> None:
    """Trust is that of a call: what one has named is not trusted by another."""
    trust.start()
    (tmp_path / "mine.py").write_text(MINE)
    own = recipe.with_overrides("neuron.name=mine.py:Mine", "train.epochs=1")
    assert trust.files() == ()
    package.train(own, out="run").finish()
    with pytest.raises(UntrustedFile) as refused:
        package.load("run/last.pt")
    assert refused.value.hint == "if you trust that file: trust=['mine.py:Mine']"
    with pytest.raises(UntrustedFile):
        package.evaluate("run/last.pt")
    loaded = package.load("run/last.pt", trust=["mine.py:Mine"])
    assert package.evaluate(loaded).neuron == "mine.py:Mine"
    assert package.evaluate("run/last.pt", trust=["mine.py:Mine"]).neuron == "mine.py:Mine"
    with pytest.raises(UsageError, match=r"trust = mine: must be FILE.py:NAME"):
        package.load("run/last.pt", trust=["mine"])
    (tmp_path / "mine.py").write_text(f"{MINE}\n")
    with pytest.raises(NeuronError, match="changed"):
        package.load("run/last.pt", trust=["mine.py:Mine"])
    package.load("run/last.pt", trust=["mine.py:Mine"], changed_file=True)
    assert trust.files() == ()


def test_neurons_are_compared_as_by_the_command(
    clifctl: Callable[..., Any], recipe: package.Recipe, tmp_path: Path
) -> None:
    one = recipe.with_overrides("train.epochs=1")
    result = package.compare(one, ["lif", "clif"], seeds=2, out="mine")
    kept = sorted(path.name for path in (tmp_path / "mine").iterdir())
    tiny = ["train.batch_size=256", "model.channels=[2,2,2,2,4]", "timesteps=2", "train.epochs=1"]
    arguments = ["digits_snn5", *tiny, "--neurons", "lif,clif", "--seeds", "2", "--out", "mine"]
    command = clifctl("compare-neurons", *arguments, "--json").json  # finished: nothing is trained
    assert json.loads(json.dumps(result.to_dict())) == command
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == kept
    thrown_away = package.compare(one, ["lif", "clif"], seeds=2)
    assert thrown_away.results_folder is None
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for mine, theirs in zip(result.rows, thrown_away.rows, strict=True):
        assert mine.summary.test_loss == theirs.summary.test_loss
    assert "paired differences to lif" in (thrown_away._repr_html_() or "")

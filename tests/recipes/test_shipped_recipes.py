"""Every recipe that clifctl ships: header, schema, shapes, and two optimizer steps that learn."""

import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from clifctl.data import LoadedData, Split, batches, shuffled_batches
from clifctl.experiments.build import build_net, load_data, loss_of, optimizer_of, repeat_of
from clifctl.experiments.published import published_for
from clifctl.models.spike_driven_transformer import OWN_NEURON
from clifctl.recipe.load import load_recipe
from clifctl.training.evaluation import evaluate
from clifctl.training.precision import Precision, resolve_precision

ROOT = Path(__file__).resolve().parent.parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def test_there_are_recipes_and_all_lie_flat() -> None:
    assert len(RECIPES) >= 3
    assert all(path.parent == ROOT / "recipes" for path in RECIPES)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_header_says_what_it_is_and_how_to_run_it(path: Path) -> None:
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    text = "\n".join(header)
    assert f"clifctl train recipes/{path.name}" in text
    assert "Reproduces" in text
    assert "Takes" in text
    assert "Expect" in text


# recipe -> parameters, at the size that the recipe gives
PARAMETERS = {
    "cifar10_resnet18": 11_176_906,
    "cifar10_resnet18_strong": 11_176_906,
    "cifar100_resnet18": 11_223_076,
    "cifar100_resnet18_strong": 11_223_076,
    "cifar10_snn5": 1_644_586,
    "tiny_imagenet_vgg13": 14_428_680,
    "tiny_imagenet_vgg13_strong": 14_428_680,
    "digits_snn5": 9_906,
    "fashion_mnist_snn5": 107_882,
    "fashion_mnist_rows_mlp": 22_026,
    "fashion_mnist_pixels": 51_338,
    "digits_events_snn5": 11_542,
    "digits_rows_mlp": 19_466,
    "dvs_gesture_vgg11": 9_501_387,
    "cifar10_dvs_vgg11": 9_476_298,
    "dvs_gesture_sdt": 2_566_923,
    "cifar10_dvs_vggsnn": 9_271_498,
    "shd_mlp": 108_052,
    "mnist1d_mlp": 51_338,
    "n_mnist_vgg": 147_746,
}
# What makes a recipe of a large net and large data small enough for two steps on a CPU.
FEW = ["train.batch_size=3", "timesteps=2", "eval.batch_size=3"]


def test_every_recipe_is_counted() -> None:
    assert set(PARAMETERS) == {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_size(path: Path) -> None:
    recipe = load_recipe(str(path)).recipe
    with torch.device("meta"):
        net = build_net(recipe)
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[path.stem]


# Frames are prepared from recordings for these.
RECORDED = {path.stem for path in RECIPES if load_recipe(str(path)).recipe.data.dataset.camera}


def test_event_recipes_are_found() -> None:
    assert len(RECORDED) == 5
    assert {"dvs_gesture_vgg11", "cifar10_dvs_vggsnn"} <= RECORDED


def overrides_for(path: Path, data_root: Path, cache: Path) -> list[str]:
    if path.stem.startswith(("digits", "mnist1d")):
        return []
    classes = ["data.classes=200"] if "tiny" in path.stem else []
    # float16 convolutions are slow on a CPU: the smallest net keeps them.
    precision = [] if "snn5" in path.stem else ["train.precision=float32"]
    events = [f"data.cache={cache}", "train.batch_size=2"] if path.stem in RECORDED else []
    small = ["data.size=32"] if path.stem.endswith("sdt") else []
    views = {
        "fashion_mnist_rows_mlp": ["timesteps=28"],
        "fashion_mnist_pixels": ["timesteps=784", "model.hidden=[8,8]"],
    }
    view = views.get(path.stem, [])
    return [f"data.root={data_root}", *FEW, *classes, *precision, *events, *small, *view]


@pytest.mark.parametrize(
    "path",
    [
        # With more augmentation the net of another recipe takes the same two steps.
        pytest.param(
            path,
            id=path.stem,
            marks=[pytest.mark.exhaustive] if path.stem.endswith("_strong") else [],
        )
        for path in RECIPES
    ],
)
def test_two_steps_and_an_evaluation(
    path: Path, data_root: Path, recorded: ModuleType, tmp_path: Path
) -> None:
    overrides = overrides_for(path, data_root, tmp_path)
    recipe = load_recipe(str(path), overrides).recipe
    if path.stem in RECORDED:
        assert recorded.prepare(str(path), *overrides).splits[0].samples >= 20
    data = load_data(recipe)
    torch.manual_seed(recipe.train.seed)
    net = build_net(recipe)
    optimizer, _ = optimizer_of(recipe, net)
    cpu = torch.device("cpu")
    precision = Precision(resolve_precision(recipe.train.precision, cpu).name, cpu)
    loss = loss_of(recipe)
    generator = torch.Generator().manual_seed(recipe.train.seed)
    losses = []
    stream = shuffled_batches(data.train, recipe.train.batch_size, generator, data.augment)
    for (inputs, targets), _ in zip(stream, range(2), strict=False):
        assert inputs.shape[1] == len(targets) == recipe.train.batch_size
        optimizer.zero_grad()
        with precision.forward():
            logits = net(inputs, repeat=repeat_of(recipe))[0]
        value = loss(logits.float(), targets)
        precision.backward(value)
        precision.step(optimizer)
        losses.append(value.item())
    assert len(losses) == 2
    # A net that knows nothing guesses one of its classes.
    assert losses[0] == pytest.approx(math.log(recipe.data.classes), rel=0.4)
    assert losses[1] != losses[0]
    assert all(p.isfinite().all() for p in net.parameters())
    first = torch.arange(6)
    held = data.test.inputs
    held = held[:, first] if isinstance(held, torch.Tensor) else held.select(first)
    few = Split(held, data.test.targets[:6], data.test.prepare)
    stream = batches(few, recipe.eval.batch_size)
    result = evaluate(net, stream, loss, repeat=repeat_of(recipe))
    assert result.samples == 6
    assert math.isfinite(result.loss)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_what_the_header_claims_of_the_paper_is_what_the_tables_say(path: Path) -> None:
    header = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    recipe = load_recipe(str(path)).recipe
    found = published_for(recipe).accuracies
    if "Reproduces no table" in header or "snn5" in path.stem:
        assert found == ()
        return
    assert f"Expect:    the paper's {found[0].accuracy_percent:.2f} %" in header
    for steps in (4, 8):
        for number in published_for(replace(recipe, timesteps=steps)).accuracies:
            assert f"{number.accuracy_percent:.2f}" in header


def test_where_samples_lack_the_paper_is_not_compared_with() -> None:
    recipe = load_recipe("dvs_gesture_vgg11").recipe

    def data(train: int, test: int, held_out: int = 0) -> LoadedData:
        parts = [Split(torch.empty(1, n), torch.zeros(n)) for n in (train, test, held_out)]
        return LoadedData(parts[0], parts[1], None, parts[2] if held_out else None)

    for whole in (data(1176, 288), data(1000, 288, 176)):
        assert published_for(recipe, whole).note is None
    found = published_for(recipe, data(1166, 288))
    assert len(found.accuracies) == 1
    assert found.note == "there are 1,166 of 1,176 train samples: results do not compare"
    both = published_for(recipe, data(1000, 287, 176 - 1)).note
    assert both is not None
    assert "1,175 of 1,176 train samples and 287 of 288 test samples" in both


def test_a_number_of_another_split_is_not_shown() -> None:
    for name, other in (("cifar10_dvs_vgg11", "tebn"), ("cifar10_dvs_vggsnn", "authors")):
        assert len(published_for(load_recipe(name).recipe).accuracies) == 1
        moved = published_for(load_recipe(name, [f"data.split={other}"]).recipe)
        assert moved.accuracies == ()
        assert moved.note is not None
        assert f"those of {other} do not compare" in moved.note
        # Where the paper has none, there is none to warn of.
        none = published_for(load_recipe(name, [f"data.split={other}", "timesteps=3"]).recipe)
        assert (none.accuracies, none.note) == ((), None)


def test_the_transformers_lif_is_that_of_its_own_code() -> None:
    """The header's line is the net's own LIF; the paper's row stands beside both readings."""
    path = next(path for path in RECIPES if path.stem == "dvs_gesture_sdt")
    header = " ".join(
        line[1:].strip() for line in path.read_text().splitlines() if line[0:1] == "#"
    )
    line = header.partition("the net's own: ... ")[2].partition(". Without")[0]
    own = load_recipe(str(path), line.split()).recipe
    assert dict(own.neuron.hyperparameters) == OWN_NEURON
    for overrides in (line.split(), ["neuron.name=lif"]):
        (number,) = published_for(load_recipe(str(path), overrides).recipe).accuracies
        assert (number.source, number.accuracy_percent) == ("Table 2", 98.26)
    other = load_recipe(str(path), ["neuron.name=lif", "neuron.reset=hard"]).recipe
    assert published_for(other).accuracies == ()

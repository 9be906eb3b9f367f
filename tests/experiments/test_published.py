"""The paper's number beside a run, and what keeps the run from being the paper's."""

from pathlib import Path

import pytest

from clifctl.experiments.published import published_deployment, published_for, published_truncation
from clifctl.paper import paper_recipe, paper_recipes, table
from clifctl.recipe import catalog
from clifctl.recipe.load import load_recipe
from clifctl.results.published import Published

OF_PLAIN = "not the protocol of the paper's number, which is that of the recipe cifar10_resnet18: "


def found(name: str, *overrides: str) -> Published:
    return published_for(load_recipe(name, list(overrides)).recipe)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.batch_norm=folded", "model.batch_norm = folded (per_step there)"),
        ("model.dropout=0.2", "model.dropout = 0.2 (0.0 there)"),
        ("data.augmentation=none", "data.augmentation = none (plain there)"),
        ("data.validation_share=0.1", "data.validation_share = 0.1 (0.0 there)"),
        ("train.lr=0.2", "train.lr = 0.2 (0.1 there)"),
        ("train.batch_size=64", "train.batch_size = 64 (128 there)"),
        ("train.epochs=2", "train.epochs = 2 (200 there)"),
        ("train.tet_lambda=0", "train.tet_lambda = 0.0 (0.05 there)"),
        ("train.precision=float32", "train.precision = float32 (float16 there)"),
        ("train.accumulate=2", "train.accumulate = 2 (1 there)"),
        ("train.clip_norm=1", "train.clip_norm = 1.0 (null there)"),
        ("train.drop_last=true", "train.drop_last = true (false there)"),
    ],
)
def test_the_number_stands_beside_another_protocol_with_a_note(override: str, said: str) -> None:
    here = found("cifar10_resnet18", override)
    assert [number.accuracy_percent for number in here.accuracies] == [95.41]
    assert here.note == OF_PLAIN + said


@pytest.mark.parametrize(
    "override",
    [
        "title=mine",
        "train.save_every=null",
        "train.log_every=7",
        "train.seed=1",
        "train.deterministic=false",
        "model.fuse_norm=false",
        "eval.batch_size=9",
        "data.root=/elsewhere",
        "data.split_seed=3",
        "neuron.window=6",
        "neuron.window_reading=prefix",
    ],
)
def test_what_changes_no_protocol_is_no_difference(override: str) -> None:
    assert found("cifar10_resnet18", override) == found("cifar10_resnet18")
    assert found("cifar10_resnet18").note is None


def test_several_keys_stand_in_one_note() -> None:
    here = found("tiny_imagenet_vgg13_strong", "train.epochs=3", "timesteps=4", "train.lr=0.05")
    assert [number.accuracy_percent for number in here.accuracies] == [63.16]
    assert here.note is not None
    assert here.note.endswith(
        "recipe tiny_imagenet_vgg13_strong: "
        "train.epochs = 3 (300 there), train.lr = 0.05 (0.1 there)"
    )


@pytest.mark.parametrize("name", ["tiny_imagenet_vgg13", "tiny_imagenet_vgg13_strong"])
def test_the_conflict_on_autoaugment_is_said(name: str) -> None:
    (number,) = found(name).accuracies
    assert number.accuracy_percent == 64.13
    assert number.note is not None
    assert "contradict each other on AutoAugment: the text says that it was used" in number.note


def test_a_truncated_lif_has_the_number_of_its_window_and_tau() -> None:
    def of(*overrides: str) -> list[tuple[float, str, str]]:
        here = found("cifar10_resnet18", "neuron.name=lif", *overrides)
        return [(n.accuracy_percent, n.source, n.column) for n in here.accuracies]

    assert of("neuron.window=2") == [(89.07, "Table 3", "tau_2.0")]
    assert of("neuron.window=2", "neuron.tau=1.1") == [(93.86, "Table 3", "tau_1.1")]
    assert of("neuron.tau=1.5") == [(94.94, "Table 3", "tau_1.5")]
    assert [number[0] for number in of("neuron.window=6")] == [94.51, 93.73]
    assert of("neuron.window=2", "neuron.window_reading=prefix") == []
    prefix = of("neuron.window=6", "neuron.window_reading=prefix", "neuron.tau=1.5")
    assert prefix == [(94.94, "Table 3", "tau_1.5")]
    assert of("neuron.window=2", "data.augmentation=strong") == []
    assert found("cifar10_resnet18", "neuron.window=2").accuracies == ()  # no such CLIF


def test_windows_of_t_keep_what_full_bptt_has() -> None:
    lif = load_recipe("cifar10_resnet18", ["neuron.name=lif", "neuron.window=6"]).recipe
    assert published_truncation(lif) is not None
    assert published_deployment(lif) is not None
    truncated = load_recipe("cifar10_resnet18", ["neuron.window=5"]).recipe
    assert published_deployment(truncated) is None


def test_the_only_number_of_figure_3_and_the_notes_of_figures() -> None:
    for neuron in ("lif", "clif"):
        (number,) = found("cifar10_resnet18", "timesteps=1", f"neuron.name={neuron}").accuracies
        assert (number.accuracy_percent, number.source) == (92.7, "Section 5.1")
        assert number.column == "text on Figure 3"
    for overrides, figure in (
        (["timesteps=2"], 3),
        (["neuron.exchange={to: lif, epoch: 3}"], 3),
        (["neuron.name=plif"], 4),
        (["neuron.name=glif"], 4),
    ):
        here = found("cifar10_resnet18", *overrides)
        assert here.accuracies == ()
        assert here.note is not None
        assert here.note.startswith(f"The paper's Figure {figure} has no published numbers")
    assert found("cifar100_resnet18", "timesteps=2").note is None
    assert found("cifar10_resnet18", "model.width=32", "timesteps=2").note is None


def test_the_home_of_recipes_and_rows_agrees_with_headers_and_tables(root: Path) -> None:
    names = [one.recipe for one in paper_recipes()]
    assert len(set(names)) == len(names)
    headers = {name: (root / "recipes" / f"{name}.yaml").read_text() for name in catalog.names()}
    of_no_row = {name for name in headers if "# Reproduces no table" in headers[name]}
    of_no_row |= {"cifar10_snn5"}
    assert set(names) == set(catalog.names()) - of_no_row
    for one in paper_recipes():
        recipe = load_recipe(str(root / "recipes" / f"{one.recipe}.yaml")).recipe
        assert (recipe.data.dataset.name, recipe.model.model.name) == (one.data, one.model)
        strong = getattr(recipe.data.options, "augmentation", None) == "strong"
        assert (one.augmentation == "strong") == strong
        assert paper_recipe(one.data, one.model, strong=strong) == one
        header = (root / "recipes" / f"{one.recipe}.yaml").read_text().partition("\ntitle")[0]
        (reproduces,) = [line for line in header.splitlines() if line.startswith("# Reproduces")]
        assert reproduces.startswith(f"# Reproduces Table {one.tables[0]},")
        assert ("starred" in reproduces) == one.starred
        assert published_for(recipe).note is None
        # Table 7 names no net, it is that of Table 6.
        for number in set(one.tables) - {7}:
            rows = table(number).rows
            assert any((row["data"], row["model"]) == (one.data, one.model) for row in rows)
    for number in (1, 2, 3, 6, 8):
        for row in table(number).rows:
            if row["model"] is not None:
                of_row = [one for one in paper_recipes() if one.model == row["model"]]
                assert any(one.data == row["data"] and number in one.tables for one in of_row)

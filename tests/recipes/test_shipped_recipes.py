"""Every recipe that clifctl ships: header, schema, shapes, and two optimizer steps that learn."""

import math
from pathlib import Path

import pytest
import torch

from clifctl.data import shuffled_batches
from clifctl.experiments.assembly import build_net, load_data, loss_of, optimizer_of, repeat_of
from clifctl.recipe.load import load_recipe

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


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_two_steps(path: Path) -> None:
    recipe = load_recipe(str(path)).recipe
    data = load_data(recipe)
    torch.manual_seed(recipe.train.seed)
    net = build_net(recipe)
    optimizer, _ = optimizer_of(recipe, net)
    loss = loss_of(recipe)
    generator = torch.Generator().manual_seed(recipe.train.seed)
    losses = []
    stream = shuffled_batches(data.train, recipe.train.batch_size, generator, data.augment)
    for (inputs, targets), _ in zip(stream, range(2), strict=False):
        optimizer.zero_grad()
        value = loss(net(inputs, repeat=repeat_of(recipe))[0], targets)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    # A net that knows nothing guesses one of ten classes.
    assert losses[0] == pytest.approx(math.log(10), abs=0.6)
    assert losses[1] != losses[0]
    assert all(p.isfinite().all() for p in net.parameters())

"""The nets of event data learn: the loss of one batch of simulated events falls."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from clifctl.data import batches
from clifctl.experiments.build import load_data, optimizer_of, training_step_of
from clifctl.recipe.load import load_recipe
from clifctl.training.precision import Precision
from clifctl.training.step import Sums

SGD = ["train.lr=0.05"]
# As the transformer's recipe trains, with a larger step.
LAMB = [
    *("train.optimizer=lamb", "train.lr=0.02", "train.weight_decay=0.06", "train.decayed=weights"),
    *("train.label_smoothing=0.1", "train.cross_entropy_of=mean", "train.tet_lambda=0.0"),
    *("train.clip_norm=1.0", "model.batch_norm=folded", "model.depth=1", "model.pools=1"),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the work is small
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("model", "side", "options"),
    [("spike_driven_transformer", 8, LAMB), ("vggsnn", 16, SGD), ("vgg11", 32, SGD)],
    ids=["transformer", "vggsnn", "vgg11"],
)
def test_a_batch_is_learned(model: str, side: int, options: list[str]) -> None:
    given = [f"model.name={model}", "model.width=4", "timesteps=3", *options]
    recipe = load_recipe("digits_events_snn5", given).recipe
    torch.manual_seed(0)
    net = recipe.model.model.build(
        recipe.model.options, input_shape=(2, side, side), classes=10, timesteps=3,
        neuron=replace(recipe.neuron, target="reference"),
    )  # fmt: skip
    optimizer, _ = optimizer_of(recipe, net)
    step = training_step_of(recipe, net, optimizer, Precision("float32", torch.device("cpu")))
    inputs, targets = next(batches(load_data(recipe).train, 12))
    frames = F.interpolate(inputs.flatten(0, 1), (side, side)).unflatten(0, inputs.shape[:2])
    net.train()
    losses = []
    for number in range(8):
        sums = Sums()
        step(1, number + 1, frames, targets, sums)
        losses.append(sums.mean_loss())
    assert losses[-1] < losses[0] - 0.1, losses

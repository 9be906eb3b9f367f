"""Whole training steps on an NVIDIA GPU: none waits for it, and each goes into a CUDA graph."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clifctl.data import LoadedData, shuffled_batches
from clifctl.experiments.build import build_net, load_data, optimizer_of, training_step_of
from clifctl.models import MODELS
from clifctl.recipe.load import load_recipe
from clifctl.recipe.schema import Recipe, validate
from clifctl.training.device import determinism, seed_everything
from clifctl.training.precision import ArithmeticName, Precision
from clifctl.training.step import Sums, TrainingStep
from clifctl.training.timing import PhaseClock
from clifctl.transfer import to_device

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use"),
]
BATCH = 4
OPTIMIZERS = ["sgd", "adamw", "lamb"]


def _recipe(root: Path, model: str, optimizer: str = "sgd") -> Recipe:
    document = load_recipe("cifar10_resnet18", [f"data.root={root}"]).recipe.document
    narrow = {"width": 16} if "width" in MODELS[model].options.model_fields else {}
    document = {**document, "timesteps": 2, "model": {"name": model, **narrow}}
    keys = {"batch_size": BATCH, "optimizer": optimizer, "lr": 0.01, "clip_norm": 1.0}
    document["train"] = {**document["train"], **keys}
    return validate(document, model)


def _ready(recipe: Recipe, arithmetic: ArithmeticName) -> tuple[TrainingStep, LoadedData]:
    device = torch.device("cuda")
    seed_everything(0)
    net, data = build_net(recipe).to(device).train(), load_data(recipe).to(device)
    optimizer, _ = optimizer_of(recipe, net)
    return training_step_of(recipe, net, optimizer, Precision(arithmetic, device)), data


def _waits_for_nothing(recipe: Recipe, arithmetic: ArithmeticName) -> None:
    """Five batches with their augmentation and their steps; the first two may compile and wait."""
    step, data = _ready(recipe, arithmetic)
    assert data.augment is not None
    stored, labels = data.train.held[:, :BATCH], data.train.targets[:BATCH]
    generator = torch.Generator().manual_seed(0)
    sums = Sums()
    step.clock.start()
    try:
        for number in range(1, 6):
            if number == 3:
                torch.cuda.set_sync_debug_mode("error")
            inputs, targets = data.augment(stored, labels, generator)
            step.clock.mark("data")
            step(1, number, inputs, targets, sums)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    step.health.check()
    assert int(sums.samples) == 5 * BATCH


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("model", MODELS)
def test_every_nets_step_waits_for_nothing(model: str, data_root: Path) -> None:
    _waits_for_nothing(_recipe(data_root, model), "float32")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizers_step_waits_for_nothing(
    optimizer: str, arithmetic: ArithmeticName, data_root: Path
) -> None:
    _waits_for_nothing(_recipe(data_root, "snn5", optimizer), arithmetic)


def _after(recipe: Recipe, *, captured: bool) -> list[Tensor]:
    """Weights and running averages after four steps, of which a graph may do the last two."""
    step, data = _ready(recipe, "float32")
    step.clock = PhaseClock(torch.device("cpu"))  # a graph's own events cannot be asked for times
    generator = torch.Generator().manual_seed(0)
    stream = shuffled_batches(data.train, BATCH, generator, data.augment)
    batches = list(islice(stream, 4))
    inputs, targets = (tensor.clone() for tensor in batches[0])  # the memory that a graph reads

    def take(number: int) -> None:
        step(1, number, inputs, targets, Sums())

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for number in (1, 2):
            inputs.copy_(batches[number - 1][0])
            targets.copy_(batches[number - 1][1])
            take(number)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    if captured:
        with torch.cuda.graph(graph):
            take(3)
    for number in (3, 4):
        inputs.copy_(batches[number - 1][0])
        targets.copy_(batches[number - 1][1])
        if captured:
            graph.replay()
        else:
            take(number)
    assert step.health.frozen.item() == 0.0
    return [tensor.detach().clone() for tensor in step.net.state_dict().values()]


@pytest.mark.parametrize(
    ("model", "optimizer"), [*((model, "sgd") for model in MODELS), ("snn5", "lamb")]
)
def test_a_step_goes_into_a_cuda_graph(model: str, optimizer: str, data_root: Path) -> None:
    """Nothing that waits can; and what the graph does again is that step. (torch wants AdamW made
    for it.)"""
    recipe = _recipe(data_root, model, optimizer)
    with determinism(True):
        expected = _after(recipe, captured=False)
        found = _after(recipe, captured=True)
    for own, other in zip(found, expected, strict=True):
        assert torch.equal(own, other)


def test_what_is_brought_is_what_was_given() -> None:
    given = [torch.randn(3, 2, dtype=torch.float64), torch.rand(7) < 0.5, torch.arange(5)]
    there = to_device(given, torch.device("cuda"))
    for own, other in zip(there, given, strict=True):
        assert own.is_cuda
        assert torch.equal(own.cpu(), other)

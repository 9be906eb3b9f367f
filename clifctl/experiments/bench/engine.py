"""What the training engine adds to the step that `bench train` times: on the digits their own
recipe, on CIFAR's nets the recipe of ResNet-18 on noise in CIFAR-10's format."""

import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from clifctl.experiments.bench.engine_cost import WARM_UP, measure_engine
from clifctl.experiments.bench.task import Task
from clifctl.experiments.run.plan import RunOptions
from clifctl.recipe.load import load_recipe
from clifctl.results.bench_train import EngineCost
from clifctl.results.events import Observer

CIFAR_RECIPE = "cifar10_resnet18"
TEST_IMAGES = 10
DIGITS_EPOCHS = 5  # of 40 short steps


def bench_engine(task: Task, recipe: str | None, *, repeats: int, observe: Observer) -> EngineCost:
    """The engine around the step of `task`: of `recipe`, whose data are embedded, or (None) of
    CIFAR-10's on at least `repeats` batches of noise. Raises what `train` raises."""
    settings = [
        f"timesteps={task.timesteps}",
        f"neuron.name={task.neuron}",
        *([] if task.row.own else [f"model.batch_norm={task.batch_norm}"]),
        f"train.batch_size={task.batch_size}",
        f"train.precision={task.precision}",
        f"train.epochs={1 if recipe is None else DIGITS_EPOCHS}",
        "train.drop_last=true",
    ]
    execution = task.execution
    options = RunOptions(replace(execution.options, threads=execution.threads.count))
    if recipe is not None:
        return measure_engine(load_recipe(recipe, settings), options, observe)
    with tempfile.TemporaryDirectory() as root:
        write_noise(Path(root), (WARM_UP + repeats + 1) * task.batch_size)
        settings += [f"data.root={root}", f"model.name={task.model}"]
        return measure_engine(load_recipe(CIFAR_RECIPE, settings), options, observe)


def write_noise(root: Path, images: int) -> None:
    """So many training images, and a few for test, in CIFAR-10's files below `root`."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    parts = [len(part) for part in np.array_split(np.arange(images), 5)]
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name, count in zip(names, [*parts, TEST_IMAGES], strict=True):
        pixels = random.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
        labels = [number % 10 for number in range(count)]
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels}, protocol=2))

"""How long a training step waits for its input: ResNet-18 on images in CIFAR's format.

    python benchmarks/input_pipeline.py [--device cuda] [--batch 32] [--out FILE.json]

Images of noise are written as CIFAR-10's pickled batches, loaded and augmented as the recipe
cifar10_resnet18 does (plain, on the device), and as its strong variant does, with 0, 1, 2, ...
workers (`data.workers`). Gate: the loaded bytes are the written ones, and every number of workers
gives the same bits. Then whole training steps; the first epoch of each, which compiles, does not
count.
"""

import argparse
import hashlib
import pickle
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from documents import emit

from clifctl.data import LoadedData, shuffled_batches
from clifctl.devices import device_name, wait_for
from clifctl.experiments.build import build_net, load_data, loss_of, optimizer_of, repeat_of
from clifctl.recipe.load import load_recipe
from clifctl.recipe.schema import Recipe
from clifctl.training.precision import Precision, resolve_precision

PLAIN, STRONG = "cifar10_resnet18", "cifar10_resnet18_strong"
FILES = 5  # of training images


def write_cifar10(root: Path, images: int) -> np.ndarray:
    """So many training images below `root`, and as many for test; the training bytes."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    written = []
    counts = [len(part) for part in np.array_split(np.arange(images), FILES)]
    names = [*(f"data_batch_{number}" for number in range(1, FILES + 1)), "test_batch"]
    for name, count in zip(names, [*counts, images], strict=True):
        rows = random.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
        labels = [i % 10 for i in range(count)]
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": labels}, protocol=2))
        written.append(rows)
    return np.concatenate(written[:-1])


def digest(data: LoadedData, batch: int) -> str:
    """A hash of an epoch's batches and labels."""
    found = hashlib.sha256()
    generator = torch.Generator().manual_seed(0)
    for tensors in shuffled_batches(data.train, batch, generator, data.augment):
        for tensor in tensors:
            found.update(tensor.numpy().tobytes())
    return found.hexdigest()


def measure(recipe: Recipe, data: LoadedData, device: torch.device) -> dict[str, object]:
    """Median and mean seconds of a training step and of its wait for its input, over an epoch."""
    torch.manual_seed(0)
    net = build_net(recipe).to(device).train()
    optimizer, _ = optimizer_of(recipe, net)
    precision = Precision(resolve_precision(recipe.train.precision, device).name, device)
    loss, data = loss_of(recipe), data.to(device)
    generator = torch.Generator().manual_seed(0)
    steps, waits = [], []
    for turn in range(2):
        stream = iter(
            shuffled_batches(data.train, recipe.train.batch_size, generator, data.augment)
        )
        while True:
            started = time.perf_counter()
            batch = next(stream, None)
            wait_for(device)
            got = time.perf_counter()
            if batch is None:
                break
            optimizer.zero_grad()
            with precision.forward():
                logits = net(batch[0], repeat=repeat_of(recipe))[0]
            precision.backward(loss(logits.float(), batch[1]))
            precision.step(optimizer)
            wait_for(device)
            if turn:
                waits.append(got - started)
                steps.append(time.perf_counter() - started)
    return {
        "steps": len(steps),
        "step_s": statistics.median(steps),
        "input_wait_s": statistics.median(waits),
        "input_wait_first_s": waits[0],  # workers are started for it
        "input_wait_mean_s": statistics.mean(waits),
        "input_share_percent": 100 * sum(waits) / sum(steps),
    }


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--steps", type=int, default=8, help="steps of the epoch that counts")
    parser.add_argument("--workers", default="0,1,2", help="of the strong variant")
    parser.add_argument("--override", action="append", default=[], help="key=value of the recipe")
    parser.add_argument("--out", type=Path, help="keep the result in this file")
    options = parser.parse_args()
    device, images = torch.device(options.device), options.steps * options.batch
    cases = [(PLAIN, 0), *((STRONG, int(count)) for count in options.workers.split(","))]
    rows, digests = [], set()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        written = write_cifar10(root, images)
        for name, workers in cases:
            overrides = [f"data.root={root}", f"data.workers={workers}", *options.override]
            overrides += [f"train.batch_size={options.batch}"]
            overrides += ["train.precision=float32"] if device.type == "cpu" else []
            recipe = load_recipe(name, overrides).recipe
            data = load_data(recipe)
            held = data.train.held.numpy().reshape(images, -1)
            assert np.array_equal(held, written), "other bytes"
            if name == STRONG:
                digests.add(digest(data, options.batch))
            row = measure(recipe, data, device)
            rows.append({"recipe": name, "workers": workers, **row})
    assert len(digests) == 1, "the number of workers changes the batches"
    document = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images": images,
        "batch_size": options.batch,
        "overrides": options.override,
        "rows": rows,
    }
    emit(document, options.out)


if __name__ == "__main__":
    main()

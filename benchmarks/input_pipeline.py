"""How much of a training step goes into the input: ResNet-18 on images in CIFAR's format.

    python benchmarks/input_pipeline.py [--out FILE.json]

256 images of noise are written as CIFAR-10's pickled batches, loaded and augmented as the recipe
cifar10_resnet18 does (and its strong variant), in batches of 32. Gate: the loaded bytes are the
written ones. Then whole training steps, and the pipeline alone, take turns in one run.
"""

import argparse
import json
import pickle
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from clifctl.data import shuffled_batches
from clifctl.experiments.assembly import build_net, load_data, loss_of, optimizer_of, repeat_of
from clifctl.recipe.load import load_recipe

IMAGES, BATCH = 256, 32


def write_cifar10(root: Path) -> np.ndarray:
    """`IMAGES` training images below `root`, and as many for test; the training bytes."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    written = []
    counts = [52, 51, 51, 51, 51, IMAGES]
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name, count in zip(names, counts, strict=True):
        rows = random.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
        labels = [i % 10 for i in range(count)]
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": labels}, protocol=2))
        written.append(rows)
    return np.concatenate(written[:-1])


def measure(recipe_name: str, root: Path, written: np.ndarray) -> dict[str, object]:
    """Median seconds of a training step and of its input, over one epoch each, taking turns."""
    overrides = [f"data.root={root}", f"train.batch_size={BATCH}", "train.precision=float32"]
    recipe = load_recipe(recipe_name, overrides).recipe
    data = load_data(recipe)
    assert np.array_equal(data.train.inputs.numpy().reshape(IMAGES, -1), written), "other bytes"
    torch.manual_seed(0)
    net = build_net(recipe).train()
    optimizer, _ = optimizer_of(recipe, net)
    loss = loss_of(recipe)
    generator = torch.Generator().manual_seed(0)
    steps, inputs_alone = [], []
    for turn in range(2):  # the first turn compiles, and does not count
        stream = iter(shuffled_batches(data.train, BATCH, generator, data.augment))
        while True:
            started = time.perf_counter()
            batch = next(stream, None)
            got = time.perf_counter()
            if batch is None:
                break
            optimizer.zero_grad()
            loss(net(batch[0], repeat=repeat_of(recipe))[0], batch[1]).backward()
            optimizer.step()
            done = time.perf_counter()
            if turn:
                inputs_alone.append(got - started)
                steps.append(done - started)
    return {
        "recipe": recipe_name,
        "step_s": statistics.median(steps),
        "input_s": statistics.median(inputs_alone),
        "input_share_percent": 100 * statistics.median(inputs_alone) / statistics.median(steps),
        "steps": len(steps),
    }


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="keep the result in this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        written = write_cifar10(root)
        rows = [
            measure(name, root, written) for name in ("cifar10_resnet18", "cifar10_resnet18_strong")
        ]
    document = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images": IMAGES,
        "batch_size": BATCH,
        "rows": rows,
    }
    text = json.dumps(document, indent=2)
    if options.out:
        options.out.write_text(text + "\n")
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()

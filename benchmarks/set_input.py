"""How much of a training step goes into its input, for data sets beyond the paper's.

    python benchmarks/set_input.py [--case shd --case ...] [--steps 20] [--device cuda] [--out FILE]

For each case some batches are made up in the real format and of real size (recordings of SHD with
8,000 spikes, of N-MNIST with 4,000 events, photographs of 500x375 pixels), and a net trains on
them. Gate: a batch holds every spike, and prepared frames every event, that was written. Exit 1
where the median step waits for 5 % of its time or more; the first epoch, which compiles, does not
count, and the first batch of an epoch, for which workers are started, is given by itself.
"""

import argparse
import importlib.util
import platform
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from documents import emit
from event_input import BAR_PERCENT, Silent
from input_pipeline import measure
from PIL import Image

from clifctl.devices import device_name
from clifctl.experiments.build import load_data
from clifctl.experiments.data_prepare import prepare_data
from clifctl.recipe.load import load_recipe

BATCH = 64
PHOTOGRAPHS = 8  # in a batch
SPIKES, EVENTS = 8_000, 4_000
# The net of Figure 2 at a size that a laptop trains on images of 28x28 pixels.
SNN5 = ["model.channels=[16,32,64,64,64]", f"train.batch_size={BATCH}"]


def writers(name: str) -> Any:
    """The tests' writers of the real formats, `fixtures` or `event_fixtures`."""
    path = Path(__file__).resolve().parent.parent / "tests" / "data" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_spikes(file: Path, recordings: int, classes: int) -> None:
    """One file of SHD or SSC."""
    random = np.random.default_rng(0)
    with h5py.File(file, "w") as made:
        shape = (recordings,)
        times = made.create_dataset("spikes/times", shape, dtype=h5py.vlen_dtype(np.float16))
        units = made.create_dataset("spikes/units", shape, dtype=h5py.vlen_dtype(np.uint16))
        for number in range(recordings):
            times[number] = np.sort(random.random(SPIKES)).astype(np.float16)
            units[number] = random.integers(0, 700, SPIKES).astype(np.uint16)
        made["labels"] = (np.arange(recordings) % classes).astype(np.uint16)


def shd(root: Path, samples: int) -> list[str]:
    """SHD as its recipe reads it."""
    for part in ("train", "test"):
        write_spikes(root / f"shd_{part}.h5", samples, 20)
    return ["shd_mlp", "data.validation_share=0.0", f"train.batch_size={BATCH}"]


def ssc(root: Path, samples: int) -> list[str]:
    """SSC, all channels."""
    for part in ("train", "valid", "test"):
        write_spikes(root / f"ssc_{part}.h5", samples, 35)
    options = ["data.name=ssc", "data.pool=1", "data.validation_share=0.0"]
    return ["shd_mlp", *options, f"train.batch_size={BATCH}"]


def n_mnist(root: Path, samples: int) -> list[str]:
    """N-MNIST as its recipe reads it, prepared."""
    made = writers("event_fixtures")
    draw = made.draw_events
    made.draw_events = lambda label, *, events, seed: draw(label, events=EVENTS, seed=seed)
    made.write_n_mnist(root / "n_mnist", train=-(-samples // 10))
    recipe, cut = "n_mnist_vgg", f"train.batch_size={BATCH}"
    done = prepare_data(
        recipe, [f"data.root={root}"], workers=1, skip_bad=False, overwrite=False, watcher=Silent()
    )
    assert [split.events for split in done.splits] == [
        split.samples * EVENTS for split in done.splits
    ]
    return [recipe, cut]


def npz(root: Path, samples: int) -> list[str]:
    """Frames of events in an .npz with a time axis."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = random.integers(0, 3, (samples, 10, 2, 34, 34), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(samples) % 10
    np.savez(root / "data.npz", **arrays)
    shape = ["data.shape=[2,34,34]", "data.classes=10", "data.time_axis=true"]
    changes = ["data.random_crop_padding=2", "data.horizontal_flip=true"]
    return ["n_mnist_vgg", "data.name=npz", *shape, *changes, f"train.batch_size={BATCH}"]


def adding(root: Path, samples: int) -> list[str]:
    """The adding problem over 100 time steps."""
    sizes = [f"data.train_samples={samples}", f"data.test_samples={samples}", "timesteps=100"]
    return ["digits_rows_mlp", "data.name=adding", *sizes, f"train.batch_size={BATCH}"]


def mnist_events(root: Path, samples: int) -> list[str]:
    """MNIST as the simulated camera sees it."""
    writers("fixtures").write_mnist(root, train=samples, test=samples)
    return ["digits_events_snn5", "data.name=mnist", "data.view=events", *SNN5]


def photographs(root: Path, samples: int) -> list[str]:
    """JPEG files of 500x375 pixels, cropped at random to 224."""
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for number in range(samples * PHOTOGRAPHS // BATCH):
            folder = root / part / str(number % 2)
            folder.mkdir(parents=True, exist_ok=True)
            coarse = random.integers(0, 256, (47, 63, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
            image.save(folder / f"{number}.jpg", quality=90)
    options = ["data.name=image_folder", "data.resize=imagenet", "data.in_memory=false"]
    options += ["data.augmentation=plain", f"train.batch_size={PHOTOGRAPHS}", "timesteps=4"]
    return ["cifar10_snn5", *options]


CASES: dict[str, Callable[[Path, int], list[str]]] = {
    "shd": shd,
    "ssc": ssc,
    "n_mnist": n_mnist,
    "npz": npz,
    "adding": adding,
    "mnist_events": mnist_events,
    "photographs": photographs,
}


def measured(case: str, steps: int, device: torch.device) -> dict[str, object]:
    """How long the steps of one case take, and wait."""
    with tempfile.TemporaryDirectory() as folder:
        recipe_name, *overrides = CASES[case](Path(folder), steps * BATCH)
        if case != "adding":
            overrides.append(f"data.root={folder}")
        if device.type == "cpu":
            overrides.append("train.precision=float32")
        recipe = load_recipe(recipe_name, overrides).recipe
        data = load_data(recipe)
        if case in ("shd", "ssc"):
            counts = next(data.train.read([torch.arange(BATCH)]))[0]
            assert int(counts.sum()) == BATCH * SPIKES, "lost spikes"
        row = measure(recipe, data, device)
    overrides = [one for one in overrides if not one.startswith("data.root=")]
    share = 100 * float(row["input_wait_s"]) / float(row["step_s"])  # type: ignore[arg-type]
    named = {"case": case, "recipe": recipe_name, "overrides": overrides}
    return {**named, **row, "median_share_percent": share}


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=20, help="steps of the epoch that counts")
    parser.add_argument("--case", action="append", choices=CASES, help="default: all of them")
    parser.add_argument("--out", type=Path, help="keep the result in this file")
    options = parser.parse_args()
    device = torch.device(options.device)
    rows = [measured(case, options.steps, device) for case in options.case or CASES]
    document = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "bar_percent": BAR_PERCENT,
        "rows": rows,
    }
    emit(document, options.out)
    slow = [row["case"] for row in rows if float(row["median_share_percent"]) >= BAR_PERCENT]  # type: ignore[arg-type]
    if slow:
        raise SystemExit(
            f"over {BAR_PERCENT:g} % of a step goes into its input: {', '.join(map(str, slow))}"
        )


if __name__ == "__main__":
    main()

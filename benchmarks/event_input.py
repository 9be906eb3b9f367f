"""How much of a training step goes into reading prepared event frames: VGG-11, batch 16.

    python benchmarks/event_input.py [--device cuda] [--steps 3] [--out FILE.json]

Synthetic recordings of real size are written in the real formats: trials of DVS128 Gesture (11
gestures, 400,000 events each) and images of CIFAR10-DVS (200,000 events each). They are
prepared by `clifctl data prepare`, and read back by the recipes dvs_gesture_vgg11 (T = 20, 128x128)
and cifar10_dvs_vgg11 (T = 16, 48x48), both in batches of 16. Gate: the frames hold every event
that was written. Then whole training steps in float32 on a CPU, float16 on a GPU: how long a step
waits for its input, and how long reading takes by itself, from memory and from the disk. Exit 1
where a step waits for 5 % of its time or more.
"""

import argparse
import importlib.util
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from documents import emit

from clifctl.data import LoadedData, Split, shuffled_batches
from clifctl.data.events.aedat import read_aedat3
from clifctl.data.events.frame_cache import CachedFrames
from clifctl.devices import device_name
from clifctl.experiments.build import build_net, load_data, loss_of, optimizer_of
from clifctl.experiments.data_prepare import prepare_data
from clifctl.recipe.load import load_recipe
from clifctl.recipe.schema import Recipe
from clifctl.training.precision import Precision, resolve_precision

BATCH = 16
TRIALS, GESTURE_EVENTS = 4, 400_000
IMAGE_NUMBERS, IMAGE_EVENTS = (0, 1, 2, 3, 4, 900), 200_000
READS = 20
BAR_PERCENT = 5.0  # of a training step, that it may wait for its input at most


class Silent:
    """Watches a preparation and says nothing."""

    def started(self, recordings: int, kept: int) -> None: ...
    def done(self, path: Path) -> None: ...
    def assembling(self, part: str, samples: int) -> None: ...


def fixtures() -> Any:
    """The tests' writers of the real formats."""
    path = Path(__file__).resolve().parent.parent / "tests" / "data" / "event_fixtures.py"
    spec = importlib.util.spec_from_file_location("event_fixtures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_gesture(root: Path, writers: Any) -> dict[str, int]:
    """Trials below `root`; how many events each split has."""
    draw = writers.gesture_events
    writers.gesture_events = lambda trial, label: draw(trial, label, events=GESTURE_EVENTS)
    folder = writers.write_dvs_gesture(root / "DvsGesture", train=TRIALS - 1, test=1)
    writers.gesture_events = draw
    assert len(read_aedat3(folder / "user01_led.aedat")) >= 11 * GESTURE_EVENTS
    return {"train": (TRIALS - 1) * 11 * GESTURE_EVENTS, "test": 11 * GESTURE_EVENTS}


def write_images(root: Path, writers: Any) -> dict[str, int]:
    """Recordings of images below `root`; how many events each split has."""
    draw = writers.image_events
    writers.image_events = lambda label, number: draw(label, number, events=IMAGE_EVENTS)
    writers.write_cifar10_dvs(root / "cifar10_dvs", numbers=IMAGE_NUMBERS)
    writers.image_events = draw
    tested = sum(number >= 900 for number in IMAGE_NUMBERS)
    return {
        "train": 10 * (len(IMAGE_NUMBERS) - tested) * IMAGE_EVENTS,
        "test": 10 * tested * IMAGE_EVENTS,
    }


def prepared(recipe_name: str, overrides: list[str], events: dict[str, int]) -> dict[str, object]:
    """Prepare the frames and check that no event is lost; how fast that was."""
    result = prepare_data(
        recipe_name, overrides, workers=1, skip_bad=False, overwrite=False, watcher=Silent()
    )
    for split in result.splits:
        frames = np.load(split.file, mmap_mode="r")
        assert int(frames.sum(dtype=np.int64)) == split.events == events[split.split], "lost events"
    total = sum(events.values())
    return {
        "prepare_events": total,
        "prepare_s": result.seconds,
        "prepare_events_per_s": total / result.seconds,
        "cache_bytes": sum(split.bytes for split in result.splits),
    }


def read_seconds(recipe: Recipe, *, from_disk: bool) -> float:
    """Median seconds to read a batch of random samples."""
    generator = torch.Generator().manual_seed(0)
    data = load_data(recipe)
    seconds = []
    for _ in range(READS):
        if from_disk:
            # Pages that are mapped stay: a new map of a file that the system has let go.
            forget(data.train)
            data = load_data(recipe)
        order = torch.randint(len(data.train), (BATCH,), generator=generator)
        started = time.perf_counter()
        next(data.train.read([order]))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def forget(split: Split) -> None:
    """Ask the system to drop the file from its memory."""
    frames = split.inputs
    assert isinstance(frames, CachedFrames)
    vars(frames).pop("_map", None)
    descriptor = os.open(frames.file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def trained(recipe: Recipe, data: LoadedData, device: torch.device, steps: int) -> dict[str, float]:
    """Median seconds of a training step, and of its wait for its input."""
    torch.manual_seed(0)
    net = build_net(recipe).to(device).train()
    optimizer, _ = optimizer_of(recipe, net)
    precision = Precision(resolve_precision(recipe.train.precision, device).name, device)
    loss = loss_of(recipe)
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    whole: list[float] = []
    waited: list[float] = []
    generator = torch.Generator().manual_seed(0)
    data = data.to(device)
    while len(whole) <= steps:  # the first one compiles, and does not count
        stream = iter(shuffled_batches(data.train, BATCH, generator, data.augment, drop_last=True))
        while len(whole) <= steps:
            started = time.perf_counter()
            batch = next(stream, None)
            wait()
            got = time.perf_counter()
            if batch is None:
                break
            optimizer.zero_grad()
            with precision.forward():
                logits = net(batch[0])[0]
            precision.backward(loss(logits.float(), batch[1]))
            precision.step(optimizer)
            wait()
            whole.append(time.perf_counter() - started)
            waited.append(got - started)
    step, waits = statistics.median(whole[1:]), statistics.median(waited[1:])
    return {"step_s": step, "input_wait_s": waits, "input_share_percent": 100 * waits / step}


def measure(
    recipe_name: str, root: Path, events: dict[str, int], device: torch.device, steps: int
) -> dict[str, object]:
    """One recipe on its recordings below `root`."""
    overrides = [f"data.root={root}", f"train.batch_size={BATCH}"]
    if device.type == "cpu":
        overrides.append("train.precision=float32")
    row: dict[str, object] = {"recipe": recipe_name, **prepared(recipe_name, overrides, events)}
    recipe = load_recipe(recipe_name, overrides).recipe
    data = load_data(recipe)
    row["timesteps"] = recipe.timesteps
    row["read_from_memory_s"] = read_seconds(recipe, from_disk=False)
    row["read_from_disk_s"] = read_seconds(recipe, from_disk=True)
    step = trained(recipe, data, device, steps)
    row |= step
    row["read_share_percent"] = 100 * float(row["read_from_memory_s"]) / step["step_s"]  # type: ignore[arg-type]
    return row


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=3, help="training steps that count")
    parser.add_argument("--recipe", action="append", help="one of the two (default: both)")
    parser.add_argument("--out", type=Path, help="keep the result in this file")
    options = parser.parse_args()
    device, writers = torch.device(options.device), fixtures()
    writes = {"dvs_gesture_vgg11": write_gesture, "cifar10_dvs_vgg11": write_images}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.recipe or writes:
            root = Path(folder) / name
            rows.append(measure(name, root, writes[name](root, writers), device, options.steps))
    document = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "batch_size": BATCH,
        "bar_percent": BAR_PERCENT,
        "rows": rows,
    }
    emit(document, options.out)
    slow = [row["recipe"] for row in rows if float(row["input_share_percent"]) >= BAR_PERCENT]  # type: ignore[arg-type]
    if slow:
        raise SystemExit(
            f"over {BAR_PERCENT:g} % of a step goes into its input: {', '.join(map(str, slow))}"
        )


if __name__ == "__main__":
    main()

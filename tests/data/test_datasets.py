import hashlib
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clifctl.data import DATASETS, Split, batches, shuffled_batches, simulated_camera
from clifctl.data.augment.transforms import random_crop
from clifctl.data.loading import BLOCK_BATCHES
from clifctl.data.sets.digits import digit_images
from clifctl.data.sets.digits_events import DigitsEventsOptions
from clifctl.errors import DataError

# Options that a data set of files needs besides its root, on `data_root`.
OPTIONS: dict[str, dict[str, Any]] = {
    "mnist": {},
    "fashion_mnist": {},
    "cifar10": {},
    "cifar100": {},
    "tiny_imagenet": {},
    "image_folder": {"size": 16, "classes": 3},
    "npz": {"shape": [3, 8, 8], "classes": 4},
    "shd": {"pool": 5},
    "ssc": {},
    "dvs_gesture": {},
    "cifar10_dvs": {"split": "tebn"},
    "n_mnist": {},
    "event_files": {"classes": 3, "sensor": [24, 32]},
}
# name -> samples of training and test, classes, shape
EXPECTED = {
    "digits": (1297, 500, 10, (1, 8, 8)),
    "digits_events": (1297, 500, 10, (2, 10, 10)),
    "digits_rows": (1297, 500, 10, (8,)),
    "mnist1d": (4000, 1000, 10, (1,)),
    "adding": (50_000, 1000, 10, (2,)),
    "shd": (40, 21, 20, (140,)),
    "ssc": (36, 9, 35, (700,)),
    "mnist": (60, 20, 10, (1, 28, 28)),
    "fashion_mnist": (60, 20, 10, (1, 28, 28)),
    "cifar10": (200, 20, 10, (3, 32, 32)),
    "cifar100": (200, 100, 100, (3, 32, 32)),
    "tiny_imagenet": (200, 20, 200, (3, 64, 64)),
    "image_folder": (12, 6, 3, (3, 16, 16)),
    "npz": (24, 8, 4, (3, 8, 8)),
    "dvs_gesture": (22, 11, 11, (2, 128, 128)),
    "cifar10_dvs": (20, 20, 10, (2, 128, 128)),
    "n_mnist": (20, 10, 10, (2, 34, 34)),
    "event_files": (9, 6, 3, (2, 24, 32)),
}


@pytest.mark.parametrize("name", DATASETS)
def test_contract(name: str, data_root: Path, recorded: ModuleType, tmp_path: Path) -> None:
    dataset = DATASETS[name]
    steps = dataset.timesteps or 3
    root = data_root / "own" if name == "event_files" else data_root
    files = {} if dataset.files is None else {"root": str(root), **OPTIONS[name]}
    if dataset.camera is not None:
        files["cache"] = str(tmp_path)
        overrides = [f"{key}={value}" for key, value in files.items()]
        recorded.prepare(name, f"timesteps={steps}", *overrides)
    options = dataset.options(**files)
    shape = dataset.shape(options)
    data = dataset.load(options, steps)
    found = (len(data.train), len(data.test), shape.classes, shape.input_shape)
    assert found == EXPECTED[name]
    for split in (data.train, data.test):
        leading = 1 if dataset.static else steps
        stored = next(split.read([torch.arange(len(split))]))[0]
        assert stored.shape == (leading, len(split), *shape.input_shape)
        assert stored.dtype == (torch.uint8 if files and split.prepare else torch.float32)
        inputs, targets = next(batches(split, 16))
        assert inputs.shape == (leading, len(targets), *shape.input_shape)
        assert inputs.dtype == torch.float32
        assert inputs.isfinite().all()
        assert split.targets.dtype == torch.int64
        assert set(split.targets.tolist()) <= set(range(shape.classes))
    assert set(data.train.targets.tolist()) == set(range(shape.classes))
    assert (data.validation is None) == (name != "ssc")
    again = dataset.load(options, steps)
    assert again.sha256() == data.sha256()
    for field in dataset.options.model_fields.values():
        assert field.description


def test_every_data_set_is_expected_here() -> None:
    assert set(DATASETS) == set(EXPECTED), "add what is expected of it"
    with_files = {name for name, dataset in DATASETS.items() if dataset.files is not None}
    assert with_files == set(OPTIONS), "add its options, or {}"


def test_a_run_on_digits_draws_what_it_has_always_drawn() -> None:
    # Pinned before augmentation took labels: order of the samples and crops, over two epochs.
    images = digit_images()
    split = Split((images.train * 16).to(torch.uint8).unsqueeze(0), images.train_targets)
    digest, generator = hashlib.sha256(), torch.Generator().manual_seed(7)

    def augment(
        x: torch.Tensor, y: torch.Tensor, g: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return random_crop(1, 0)(x, g), y

    for _ in range(2):
        for x, y in shuffled_batches(split, 128, generator, augment):
            digest.update(x.contiguous().numpy().tobytes() + y.numpy().tobytes())
    assert digest.hexdigest() == "222cf720bea1446dc7f9b298d5d533e3ba0e8ba63eafadceda7355f4c28cac19"


def test_digits_are_the_real_ones_split_once() -> None:
    from sklearn.datasets import load_digits

    images = digit_images()
    both = torch.cat([images.train, images.test]).flatten(1)
    known = torch.from_numpy(load_digits().data).float() / 16
    # The same 1,797 images, each as often: sorting rows makes the order irrelevant.
    assert torch.equal(
        torch.unique(both, dim=0, return_counts=True)[1],
        torch.unique(known, dim=0, return_counts=True)[1],
    )
    assert torch.equal(torch.unique(both, dim=0), torch.unique(known, dim=0))
    counts = images.test_targets.bincount()
    assert counts.min() >= 48
    assert counts.max() <= 52


def test_digits_are_standardised_with_the_training_images() -> None:
    train = DATASETS["digits"].load(DATASETS["digits"].options(), 4).train.inputs
    assert train.mean().item() == pytest.approx(0, abs=1e-5)
    assert train.std().item() == pytest.approx(1, abs=1e-5)


def test_rows_are_the_rows_of_the_digits() -> None:
    whole = DATASETS["digits"].load(DATASETS["digits"].options(), 8).test.inputs
    rows = DATASETS["digits_rows"].load(DATASETS["digits_rows"].options(), 8).test.inputs
    for t in range(8):
        assert torch.equal(rows[t], whole[0, :, 0, t])


def test_mnist1d_is_the_published_one() -> None:
    states = random.getstate(), np.random.get_state()[1].tolist()
    data = DATASETS["mnist1d"].load(DATASETS["mnist1d"].options(), 40)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    numbers = torch.cat([split.held.double() for split in data.splits], 1)
    assert numbers.shape == (40, 5000, 1)
    assert numbers.mean().item() == pytest.approx(0, abs=1e-6)
    assert numbers.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert torch.cat([split.targets for split in data.splits]).bincount().tolist() == [500] * 10
    # Numbers and labels of the file that its authors publish.
    first, last = data.train.held[:3, 0, 0], data.test.held[-2:, -1, 0]
    assert first.tolist() == pytest.approx([-0.33200567, -0.47191037, -0.77869708], abs=1e-6)
    assert last.tolist() == pytest.approx([0.87773435, 1.19315184], abs=1e-6)
    assert data.train.targets[:10].tolist() == [2, 6, 4, 5, 6, 6, 6, 0, 3, 1]
    assert data.test.targets[-5:].tolist() == [2, 5, 9, 6, 4]
    other = DATASETS["mnist1d"].load(DATASETS["mnist1d"].options(seed=1), 40)
    assert other.sha256() != data.sha256()


def test_without_its_package_mnist1d_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(DataError, match="is not installed") as caught:
        DATASETS["mnist1d"].load(DATASETS["mnist1d"].options(seed=2), 40)
    assert caught.value.hint == "pip install 'clifctl[mnist1d]'"


def events(seed: int = 0, timesteps: int = 8, **options: float) -> torch.Tensor:
    images = digit_images().test[:40]
    generator = torch.Generator().manual_seed(seed)
    given = DigitsEventsOptions(**options)
    places = simulated_camera.saccades(len(images), given.jitter, generator)
    return simulated_camera.simulate(images, timesteps, given.contrast_threshold, places)


def test_events_are_whole_counts_and_deterministic_under_their_seed() -> None:
    frames = events()
    assert frames.shape == (8, 40, 2, 10, 10)
    assert torch.equal(frames, frames.round())
    assert (frames >= 0).all()
    assert torch.equal(frames, events())
    assert not torch.equal(frames, events(seed=1))
    assert ((frames.sum((0, 2, 3, 4))) > 100).all()


def test_frames_cut_one_recording_differently() -> None:
    assert torch.equal(events(timesteps=8).sum(0), events(timesteps=3).sum(0))
    assert torch.equal(events(timesteps=8)[0:4].sum(0), events(timesteps=2)[0])


def test_every_event_set_counts_off_before_on() -> None:
    found = {name: row.polarities for name, row in DATASETS.items() if row.polarities is not None}
    assert len(found) == 5
    assert set(found.values()) == {("OFF", "ON")}
    # Halfway along the path, what the events add up to is the change that each pixel has seen.
    instants, threshold = 24, 0.25
    frames = events(timesteps=simulated_camera.INSTANTS, jitter=0.0)[:instants].sum(0)
    images = digit_images().test[:40]
    place = simulated_camera.saccades(40, 0.0, torch.Generator())
    seen = [simulated_camera.log_intensity(images, place[instant]) for instant in (0, instants)]
    change = seen[1] - seen[0]
    assert change.abs().max() > 4 * threshold
    assert ((frames[:, 1] - frames[:, 0]) * threshold - change).abs().max() < threshold


def test_on_and_off_events_cancel_over_a_closed_path() -> None:
    # The path ends where it began, so a pixel's memory ends within one threshold of its start.
    total = events().sum(0)
    assert (total[:, 0] - total[:, 1]).abs().max() <= 1


def test_a_higher_threshold_makes_fewer_events() -> None:
    assert events(contrast_threshold=0.5).sum() < 0.6 * events(contrast_threshold=0.25).sum()


def test_a_blank_image_makes_no_event() -> None:
    places = simulated_camera.saccades(2, 0.2, torch.Generator().manual_seed(0))
    frames = simulated_camera.simulate(torch.zeros(2, 1, 8, 8), 4, 0.25, places)
    assert frames.sum() == 0


def test_random_crop_shifts_each_sample_by_itself() -> None:
    x = torch.arange(2 * 5 * 1 * 4 * 6, dtype=torch.float32).reshape(2, 5, 1, 4, 6)
    generator = torch.Generator().manual_seed(0)
    top, left = torch.randint(0, 5, (2, 5), generator=torch.Generator().manual_seed(0))
    out = random_crop(2, -1.0)(x, generator)
    padded = torch.full((2, 5, 1, 8, 10), -1.0)
    padded[..., 2:6, 2:8] = x
    for n in range(5):
        i, j = int(top[n]), int(left[n])
        assert torch.equal(out[:, n], padded[:, n, :, i : i + 4, j : j + 6])
    assert len({(int(i), int(j)) for i, j in zip(top, left, strict=True)}) > 1


def test_augmentation_fills_with_black() -> None:
    options = DATASETS["digits"].options(random_crop_padding=2)
    data = DATASETS["digits"].load(options, 4)
    assert data.augment is not None
    labels = data.train.targets[:50]
    generator = torch.Generator().manual_seed(0)
    out, targets = data.augment(data.train.inputs[:, :50], labels, generator)
    assert torch.equal(targets, labels)
    assert out.min() == data.train.inputs.min()


def test_batches_keep_order_and_cover_everything() -> None:
    split = DATASETS["digits"].load(DATASETS["digits"].options(), 4).test
    parts = list(batches(split, 130))
    assert [len(y) for _, y in parts] == [130, 130, 130, 110]
    assert torch.equal(torch.cat([y for _, y in parts]), split.targets)
    assert torch.equal(torch.cat([x for x, _ in parts], 1), split.inputs)


def test_batches_augmented_in_a_row_are_those_augmented_one_by_one() -> None:
    """And between two the generator has drawn for no more than was given out."""
    count = 3 * BLOCK_BATCHES + 2  # the last one is smaller, and so is the last block
    inputs = torch.arange(float(count * 2 - 1)).view(1, -1, 1, 1, 1).expand(2, -1, 1, 4, 4)
    split = Split(inputs.contiguous(), torch.arange(count * 2 - 1))

    def augment(
        inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return random_crop(2, -1.0)(inputs, generator), targets

    generator = torch.Generator().manual_seed(3)
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(4))
    found = []
    for batch in shuffled_batches(split, 2, generator, augment, order=order):
        found.append((*batch, generator.get_state()))
    assert len(found) == count
    generator.manual_seed(3)
    for (x, y, state), numbers in zip(found, order.split(2), strict=True):
        expected, targets = augment(split.held[:, numbers], numbers, generator)
        assert torch.equal(x, expected)
        assert torch.equal(y, targets)
        assert torch.equal(state, generator.get_state())


def test_shuffled_batches_are_a_permutation_that_the_generator_decides() -> None:
    split = DATASETS["digits"].load(DATASETS["digits"].options(), 4).test

    def order(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([x for x, _ in shuffled_batches(split, 64, generator)], 1)

    assert torch.equal(order(0), order(0))
    assert not torch.equal(order(0), order(1))
    assert torch.equal(
        torch.unique(order(0)[0].flatten(1), dim=0), torch.unique(split.inputs[0].flatten(1), dim=0)
    )

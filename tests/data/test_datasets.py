import pytest
import torch

from clifctl.data import DATASETS, batches, shuffled_batches
from clifctl.data.augmentation import random_crop
from clifctl.data.digits import digit_images
from clifctl.data.digits_events import DigitsEventsOptions, simulate


@pytest.mark.parametrize("name", DATASETS)
def test_contract(name: str) -> None:
    dataset = DATASETS[name]
    steps = dataset.timesteps or 3
    data = dataset.load(dataset.options(), steps)
    assert (len(data.train), len(data.test)) == (1297, 500)
    for split in (data.train, data.test):
        leading = 1 if dataset.static else steps
        assert split.inputs.shape == (leading, len(split), *dataset.input_shape)
        assert split.inputs.dtype == torch.float32
        assert split.inputs.isfinite().all()
        assert split.targets.dtype == torch.int64
        assert set(split.targets.tolist()) == set(range(dataset.classes))
    again = dataset.load(dataset.options(), steps)
    assert again.sha256() == data.sha256()
    for field in dataset.options.model_fields.values():
        assert field.description


def test_there_are_three_embedded_data_sets() -> None:
    assert list(DATASETS) == ["digits", "digits_events", "digits_rows"]


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


def events(seed: int = 0, timesteps: int = 8, **options: float) -> torch.Tensor:
    images = digit_images().test[:40]
    generator = torch.Generator().manual_seed(seed)
    return simulate(images, timesteps, DigitsEventsOptions(**options), generator)


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


def test_on_and_off_events_cancel_over_a_closed_path() -> None:
    # The path ends where it began, so a pixel's memory ends within one threshold of its start.
    total = events().sum(0)
    assert (total[:, 0] - total[:, 1]).abs().max() <= 1


def test_a_higher_threshold_makes_fewer_events() -> None:
    assert events(contrast_threshold=0.5).sum() < 0.6 * events(contrast_threshold=0.25).sum()


def test_a_blank_image_makes_no_event() -> None:
    frames = simulate(
        torch.zeros(2, 1, 8, 8), 4, DigitsEventsOptions(), torch.Generator().manual_seed(0)
    )
    assert frames.sum() == 0


def test_random_crop_shifts_each_sample_by_itself() -> None:
    x = torch.arange(2 * 5 * 1 * 4 * 6, dtype=torch.float32).reshape(2, 5, 1, 4, 6)
    generator = torch.Generator().manual_seed(0)
    top, left = torch.randint(0, 5, (2, 5), generator=torch.Generator().manual_seed(0))
    out = random_crop(x, 2, -1.0, generator)
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
    out = data.augment(data.train.inputs[:, :50], torch.Generator().manual_seed(0))
    assert out.min() == data.train.inputs.min()


def test_batches_keep_order_and_cover_everything() -> None:
    split = DATASETS["digits"].load(DATASETS["digits"].options(), 4).test
    parts = list(batches(split, 130))
    assert [len(y) for _, y in parts] == [130, 130, 130, 110]
    assert torch.equal(torch.cat([y for _, y in parts]), split.targets)
    assert torch.equal(torch.cat([x for x, _ in parts], 1), split.inputs)


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

"""Augmentation by value: what is drawn, how often, and what it does to pixels and labels."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.data import DATASETS, LoadedData, shuffled_batches
from clifctl.data.augment.mixing import Mix, beta, draw_cutmix, draw_mix, draw_mixup, mixed
from clifctl.data.augment.pipelines import Normalise
from clifctl.data.augment.policies import Policy, apply_policy, draw_seed
from clifctl.data.augment.transforms import cutout, horizontal_flip, random_crop, random_erasing

Boxes = tuple[Tensor, Tensor, Tensor, Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def boxes(mask: Tensor) -> Boxes:
    """Top, left, height and width of the True pixels `[N, H, W]`, which form rectangles."""
    rows, columns = mask.any(2), mask.any(1)
    high, wide = rows.sum(1), columns.sum(1)
    assert torch.equal(mask.flatten(1).sum(1), high * wide)
    return rows.int().argmax(1), columns.int().argmax(1), high, wide


def test_crop_draws_each_of_the_81_offsets_alike() -> None:
    # A pixel's value is its place, so that the first pixel tells the offset.
    place = torch.arange(1, 40 * 40 + 1, dtype=torch.float32).view(1, 1, 1, 40, 40)
    image = place[..., 4:36, 4:36].expand(1, 20_000, 1, 32, 32)
    # Padding by 4 hides the rim; the centre of a crop is never padding.
    seen = random_crop(4, 0)(image, seeded())[0, :, 0, 16, 16].long() - 1
    top, left = seen // 40 - 16, seen % 40 - 16
    counts = torch.bincount(top * 9 + left, minlength=81)
    assert len(counts) == 81
    assert counts.min() > 0.7 * 20_000 / 81
    assert counts.max() < 1.3 * 20_000 / 81


def test_crop_of_bytes_pads_with_black() -> None:
    out = random_crop(4, 0)(torch.full((1, 500, 3, 32, 32), 200, dtype=torch.uint8), seeded())
    assert out.dtype == torch.uint8
    assert set(out.unique().tolist()) == {0, 200}


def test_flip_mirrors_half_of_the_samples_whole() -> None:
    x = torch.arange(3 * 2 * 4).view(1, 1, 3, 2, 4).repeat(1, 4000, 1, 1, 1)
    out = horizontal_flip(x, seeded())
    flipped = (out == x.flip(-1)).flatten(2).all(2)[0]
    kept = (out == x).flatten(2).all(2)[0]
    assert torch.equal(flipped, ~kept)
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_cutout_has_torchtoolboxs_distribution() -> None:
    samples = 20_000
    x = torch.full((1, samples, 3, 32, 32), 77, dtype=torch.uint8)
    out = cutout(x, seeded())[0]
    assert out.dtype == torch.uint8
    painted = out[:, 1] == 0  # green of the colour (c, 0, 0)
    assert torch.equal(out[:, 1], out[:, 2])
    chosen = painted.flatten(1).any(1)
    assert chosen.float().mean().item() == pytest.approx(0.5, abs=0.015)
    assert torch.equal(out[~chosen], x[0, ~chosen])
    top, left, high, wide = boxes(painted[chosen])
    # Sides are rounded down: area in (.02 x 1024 - sides, .4 x 1024].
    area = (high * wide).double()
    assert area.max() <= 0.4 * 1024
    assert ((high + 1) * (wide + 1)).min() >= 0.02 * 1024
    assert area.mean().item() / 1024 == pytest.approx(expected_cutout_area(), rel=0.02)
    ratio = high / wide
    assert ratio[area > 200].min() > 0.4 * 0.85
    assert ratio[area > 200].max() < 2.5 * 1.15
    # Ratio uniform in [.4, 2.5] (not its logarithm): its median is 1.45.
    assert ratio[area > 200].median().item() == pytest.approx(1.45, abs=0.06)
    assert (top + high).max() == 32
    assert (left + wide).max() == 32
    assert (top.min(), left.min()) == (0, 0)
    free = 32 - wide[wide < 32]
    where = left[wide < 32] / free
    assert where.mean().item() == pytest.approx(0.5, abs=0.02)
    assert ((left == 32 - wide).sum() / (left == 0).sum()).item() == pytest.approx(1, abs=0.2)
    red = out[chosen, 0][painted[chosen]]
    assert (red.min(), red.max()) == (0, 255)
    assert red.double().mean().item() == pytest.approx(127.5, abs=4)


def expected_cutout_area() -> float:
    """Mean of int(sqrt(a 1024 / r)) int(sqrt(a 1024 r)) / 1024 over a grid, sides rounded down."""
    total, points = 0, 400
    for i in range(points):
        for j in range(points):
            a = (0.02 + (i + 0.5) / points * 0.38) * 1024
            r = 0.4 + (j + 0.5) / points * 2.1
            total += int(math.sqrt(a / r)) * int(math.sqrt(a * r))
    return total / points**2 / 1024


def test_cutout_of_grey_images_paints_one_whole_number() -> None:
    out = cutout(torch.full((1, 400, 1, 16, 16), 77, dtype=torch.uint8), seeded())
    assert out.shape == (1, 400, 1, 16, 16)
    assert len(out.unique()) > 100


def test_erasing_is_torchvisions_by_distribution() -> None:
    from torchvision.transforms import v2

    samples = 6000
    ours = random_erasing(1.0)(torch.ones(1, samples, 3, 32, 32), seeded())[0]
    theirs_of = v2.RandomErasing(p=1.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = torch.stack([theirs_of(torch.ones(1, 32, 32)) for _ in range(samples)])
    assert torch.equal(ours[:, 0], ours[:, 2])
    for mine, other in zip(boxes(ours[:, 0] == 0), boxes(theirs[:, 0] == 0), strict=True):
        assert mine.float().mean().item() == pytest.approx(other.float().mean().item(), rel=0.04)
        assert mine.float().std().item() == pytest.approx(other.float().std().item(), rel=0.05)
    some = random_erasing(0.1)(torch.ones(1, samples, 3, 32, 32), seeded())[0]
    assert (some == 0).flatten(1).any(1).float().mean().item() == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_beta_has_its_moments(alpha: float) -> None:
    generator = seeded()
    drawn = torch.tensor([beta(alpha, generator) for _ in range(8000)], dtype=torch.float64)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.015)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.04)
    # P(x < .1), from the incomplete beta function.
    below = {0.2: 0.3367, 1.0: 0.1}[alpha]
    assert (drawn < 0.1).double().mean().item() == pytest.approx(below, abs=0.015)


def distinct(samples: int = 6) -> tuple[Tensor, Tensor]:
    """Images `[1, N, 3, 8, 8]` of one value each, and labels."""
    x = torch.arange(1.0, samples + 1).view(1, samples, 1, 1, 1).expand(1, samples, 3, 8, 8)
    return x, torch.arange(samples)


def test_mixup_mixes_pixels_and_labels_with_the_one_before_by_one_lambda() -> None:
    x, y = distinct()
    share = beta(0.2, seeded(5))
    out, weights = mixed(x, y, 6, draw_mixup(seeded(5)))
    for n in range(6):
        partner = (n - 1) % 6
        assert torch.allclose(out[0, n], share * x[0, n] + (1 - share) * x[0, partner])
        assert weights[n, n].item() == pytest.approx(share, abs=1e-6)
        assert weights[n, partner].item() == pytest.approx(1 - share, abs=1e-6)
    assert weights.sum(1).tolist() == pytest.approx([1.0] * 6)


def test_cutmix_pastes_one_rectangle_and_weighs_by_its_area() -> None:
    x, y = distinct()
    generator = seeded(1)
    areas = []
    for _ in range(400):
        out, weights = mixed(x, y, 6, draw_cutmix(x.shape, generator))
        pasted = out[0, :, 0] != x[0, :, 0]
        boxes(pasted)
        assert (pasted == pasted[0]).all()
        assert torch.equal(out[0, 3, 0][pasted[3]], x[0, 2, 0][pasted[3]])
        area = pasted[0].sum().item() / 64
        assert weights[3, 3].item() == pytest.approx(1 - area, abs=1e-6)
        assert weights[3, 2].item() == pytest.approx(area, abs=1e-6)
        areas.append(area)
    assert min(areas) == 0.0
    assert max(areas) == 6 * 6 / 64  # half a side is int(0.5 sqrt(1 - lambda) 8), at most 3


def test_cutmix_places_the_rectangle_as_torchvisions_reference_does() -> None:
    x, y = distinct()
    replay = seeded(8)
    half = int(0.5 * math.sqrt(1 - beta(1.0, replay)) * 8)
    column, row = (int(torch.randint(8, (), generator=replay)) for _ in range(2))
    pasted = torch.zeros(1, 8, 8, dtype=torch.bool)
    pasted[:, max(row - half, 0) : row + half, max(column - half, 0) : column + half] = True
    assert pasted.any()
    out, _ = mixed(x, y, 6, draw_cutmix(x.shape, seeded(8)))
    assert torch.equal(out[0, 1, 0] != x[0, 1, 0], pasted[0])


def test_either_mixing_is_taken_for_half_of_the_batches() -> None:
    x, y = distinct()
    generator = seeded(2)
    cut = 0
    for _ in range(600):
        out, _ = mixed(x, y, 6, draw_mix(x.shape, generator))
        cut += bool((out == out.round()).all())
    # CutMix leaves whole numbers; so does Mixup only where lambda is 0 or 1 in float32.
    assert 0.44 < cut / 600 < 0.62


@pytest.mark.parametrize("policy", ["trivial_augment_wide", "auto_augment_imagenet"])
def test_policies_follow_their_seed_alone(policy: Policy) -> None:
    x = torch.randint(0, 256, (1, 40, 3, 16, 16), generator=seeded()).to(torch.uint8)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    out = apply_policy(x, policy, 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert torch.equal(apply_policy(x, policy, 1), out)
    assert not torch.equal(apply_policy(x, policy, 2), out)
    assert out.shape == x.shape
    assert out.dtype == torch.uint8
    changed = (out != x).flatten(2).any(2).float().mean().item()
    assert 0.5 < changed < 1.0  # the identity is among the operations


def test_normalise_is_to_tensor_and_normalize_bit_for_bit() -> None:
    from torchvision.transforms import v2

    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    x = torch.randint(0, 256, (1, 5, 3, 32, 32), generator=seeded()).to(torch.uint8)
    theirs = v2.functional.normalize(x[0].float() / 255, mean, std)
    assert torch.equal(Normalise(mean, std)(x)[0], theirs)


def loaded(root: Path, name: str, **options: Any) -> LoadedData:
    dataset = DATASETS[name]
    return dataset.load(dataset.options(root=str(root), **options), 4)


def pass_over(data: LoadedData, seed: int) -> tuple[Tensor, Tensor]:
    stream = list(shuffled_batches(data.train, 64, seeded(seed), data.augment))
    return torch.cat([x for x, _ in stream], 1), torch.cat([y for _, y in stream])


@pytest.mark.parametrize("augmentation", ["none", "plain", "strong"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "tiny_imagenet"])
def test_pipelines_give_what_a_net_trains_on(data_root: Path, name: str, augmentation: str) -> None:
    data = loaded(data_root, name, augmentation=augmentation)
    plain = loaded(data_root, name)
    inputs, targets = pass_over(data, seed=1)
    bare, _ = pass_over(plain, seed=1)
    assert inputs.dtype == torch.float32
    assert inputs.shape == bare.shape
    again, _ = pass_over(data, seed=1)
    assert torch.equal(again, inputs)
    same = (inputs == bare).flatten(2).all(2)[0].float().mean().item()
    if augmentation == "none":
        assert same == 1.0
    elif name == "tiny_imagenet" and augmentation == "plain":
        flipped = (inputs == bare.flip(-1)).flatten(2).all(2)[0].float().mean().item()
        assert same + flipped == pytest.approx(1.0)
        assert 0.35 < flipped < 0.65
    else:
        assert same < 0.3
    # The stored bytes stay as they are.
    assert data.sha256() == plain.sha256()
    if augmentation == "strong" and name != "tiny_imagenet":
        assert targets.shape == (200, DATASETS[name].classes)
        assert targets.sum(1).tolist() == pytest.approx([1.0] * 200, abs=1e-5)
    else:
        assert targets.dtype == torch.int64


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("name", ["cifar10", "tiny_imagenet"])
def test_strong_batches_are_those_of_one_process(data_root: Path, name: str, workers: int) -> None:
    """Written out: the draws of a batch follow those of the one before, whoever works on it; and
    between two batches the generator stands where it stood without workers."""
    data = loaded(data_root, name, augmentation="strong", workers=workers)
    generator, reference = seeded(7), seeded(7)
    torch.manual_seed(1)
    untouched = torch.get_rng_state()
    policy: Policy = "auto_augment_imagenet" if name == "tiny_imagenet" else "trivial_augment_wide"
    order = torch.randperm(len(data.train), generator=reference)
    seen = 0
    stream = shuffled_batches(data.train, 48, generator, data.augment)
    for (x, y), numbers in zip(stream, order.split(48), strict=True):
        images = horizontal_flip(data.train.held[:, numbers], reference)
        expected = data.train.prepared(apply_policy(images, policy, draw_seed(reference)))
        labels = data.train.targets[numbers]
        if name == "cifar10":
            expected = random_erasing(0.1)(expected, reference)
            mix = draw_mix(expected.shape, reference)
            expected, labels = mixed(expected, labels, 10, mix)
        assert torch.equal(x, expected)
        assert torch.equal(y, labels)
        assert torch.equal(generator.get_state(), reference.get_state())
        assert torch.equal(torch.get_rng_state(), untouched)  # dropout's
        seen += 1
    assert seen == 5


def test_a_last_batch_that_is_smaller_can_be_left_out(data_root: Path) -> None:
    data = loaded(data_root, "cifar10")
    sizes: Callable[[bool], list[int]] = lambda drop: [  # noqa: E731
        len(y) for _, y in shuffled_batches(data.train, 64, seeded(), drop_last=drop)
    ]
    assert sizes(False) == [64, 64, 64, 8]
    assert sizes(True) == [64, 64, 64]


@pytest.mark.usefixtures("fresh_constants")
def test_everything_stays_on_the_device_of_the_batch() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    generator = seeded()
    with FakeTensorMode():  # a GPU that is not there: mixing devices raises
        x = torch.empty(1, 8, 3, 32, 32, dtype=torch.uint8, device="cuda")
        x = cutout(random_crop(4, 0)(x, generator), generator)
        assert (x.device.type, x.dtype) == ("cuda", torch.uint8)
        x = Normalise((0.5,) * 3, (0.2,) * 3)(horizontal_flip(x, generator))
        x = random_erasing(0.1)(x, generator)
        x, weights = mixed(x, x.new_zeros(8).long(), 10, Mix(0.3))
        assert (x.device.type, x.dtype, x.shape) == ("cuda", torch.float32, (1, 8, 3, 32, 32))
        assert (weights.device.type, weights.shape) == ("cuda", (8, 10))

"""What the net sees of counted events, and the augmentation of event frames."""

from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.data.augment.transforms import changed, horizontal_flip
from clifctl.data.events.pipelines import (
    CHANGES,
    FramePreparation,
    moved,
    origins,
    roll,
)


def counts(*shape: int, most: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, most, shape, generator=generator, dtype=torch.int32)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_counts_are_float_and_unchanged() -> None:
    stored = counts(2, 3, 2, 7, 5, most=70_000)
    seen = FramePreparation("counts", None, "antialias")(stored)
    assert seen.dtype == torch.float32
    assert torch.equal(seen.to(torch.int32), stored)
    # Frames of the size asked for are not resized.
    square = counts(1, 1, 2, 6, 6)
    assert torch.equal(FramePreparation("counts", 6, "area")(square), square.float())


def test_binary() -> None:
    stored = torch.tensor([0, 1, 2, 300]).view(1, 1, 1, 2, 2)
    seen = FramePreparation("binary", None, "nearest")(stored)
    assert seen.flatten().tolist() == [0.0, 1.0, 1.0, 1.0]


def test_the_authors_bytes_wrap() -> None:
    stored = torch.tensor([0, 1, 2, 255, 256, 257]).view(1, 1, 1, 2, 3)
    seen = FramePreparation("authors_bytes", None, "antialias")(stored)
    expected = torch.tensor([0, 255, 254, 1, 0, 255]) / 255
    assert torch.equal(seen.flatten(), expected)


def with_pil(frame: Tensor, size: int, method: Any) -> Tensor:
    """One frame `[2, H, W]` through what the authors put it through."""
    from torchvision.transforms import Compose, Resize, ToPILImage, ToTensor

    seen: Tensor = Compose([ToPILImage(), Resize((size, size), method), ToTensor()])(frame.float())
    return seen


@pytest.mark.parametrize("resize", ["antialias", "nearest"])
@pytest.mark.parametrize(
    ("shape", "size"), [((128, 128), 48), ((31, 31), 13), ((9, 9), 9), ((7, 12), 30)]
)
def test_the_authors_pipeline_is_that_of_pil_to_the_bit(
    resize: Any, shape: tuple[int, int], size: int
) -> None:
    from torchvision.transforms import InterpolationMode

    method = InterpolationMode.BILINEAR if resize == "antialias" else InterpolationMode.NEAREST
    for dtype, most in ((torch.uint8, 4), (torch.int32, 300)):
        stored = counts(2, 3, 2, *shape, most=most).to(dtype)
        stored *= counts(2, 3, 2, *shape, most=2, seed=1)  # half of the pixels saw nothing
        seen = FramePreparation("authors_bytes", size, resize)(stored)
        assert seen.shape == (2, 3, 2, size, size)
        for t in range(2):
            for n in range(3):
                assert torch.equal(seen[t, n], with_pil(stored[t, n], size, method))


def test_without_on_events_the_authors_off_events_are_lost() -> None:
    stored = torch.zeros(1, 1, 2, 128, 128, dtype=torch.uint8)
    stored[:, :, 0] = 1
    seen = FramePreparation("authors_bytes", 48, "antialias")(stored)
    assert not seen.any()
    assert FramePreparation("counts", 48, "antialias")(stored)[0, 0, 0].allclose(torch.ones(48, 48))
    stored[:, :, 1, :64] = 1
    seen = FramePreparation("authors_bytes", 48, "antialias")(stored)
    assert torch.equal(seen[0, 0, 0, :23], torch.ones(23, 48))
    assert not seen[0, 0, 0, 25:].any()


def test_pil_has_two_ways_to_resize() -> None:
    from clifctl.data import DATASETS

    for resize in ("bilinear", "area"):
        with pytest.raises(ValueError, match=f"no resize {resize}: take antialias or nearest"):
            DATASETS["cifar10_dvs"].options(split="tebn", values="authors_bytes", resize=resize)


def test_float_counts_are_resized_as_torchvision_does() -> None:
    from torchvision.transforms import v2

    stored = counts(2, 1, 2, 32, 32)
    for resize, antialias in (("antialias", True), ("bilinear", False)):
        seen = FramePreparation("counts", 12, resize)(stored)
        expected = v2.functional.resize(stored[:, 0].float(), [12, 12], antialias=antialias)
        assert torch.allclose(seen[:, 0], expected, atol=1e-6)
    pooled = FramePreparation("counts", 16, "area")(stored)
    assert pooled[0, 0, 0, 0, 0].item() == stored[0, 0, 0, :2, :2].sum().item() / 4


@pytest.mark.parametrize("name", CHANGES)
def test_all_frames_of_a_sample_are_changed_alike(name: str) -> None:
    def augment(frames: Tensor, generator: torch.Generator) -> Tensor:
        return changed(frames, CHANGES[name], generator)

    same = counts(1, 8, 2, 12, 12).float().expand(3, -1, -1, -1, -1)
    out = augment(same, seeded())
    assert out.shape == same.shape
    assert torch.equal(out[0], out[1])
    assert torch.equal(out[0], out[2])
    # Samples are changed each by itself, both channels alike, and anew in the next batch.
    equal = same[:, :1].expand(-1, 8, -1, -1, -1)
    own = augment(equal, seeded())
    assert len({one.numpy().tobytes() for one in own[0]}) >= 5
    twins = same[:, :, :1].expand(-1, -1, 2, -1, -1)
    pair = augment(twins, seeded())
    assert torch.equal(pair[:, :, 0], pair[:, :, 1])
    assert torch.equal(augment(same, seeded(1)), augment(same, seeded(1)))
    assert not torch.equal(augment(same, seeded(1)), augment(same, seeded(2)))


def test_a_flip_mirrors_columns() -> None:
    frames = counts(2, 20, 2, 4, 5).float()
    flipped = horizontal_flip(frames, seeded())
    mirrored = [torch.equal(flipped[:, n], frames[:, n].flip(-1)) for n in range(20)]
    kept = [torch.equal(flipped[:, n], frames[:, n]) for n in range(20)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 4 <= sum(mirrored) <= 16


def test_roll_is_torchs() -> None:
    frames = counts(2, 4, 2, 7, 9).float()
    by = torch.tensor([[0, 3, -2, 8], [1, -5, 0, 4]])
    rolled = roll(frames, by)
    for n in range(4):
        shifts = (int(by[0, n]), int(by[1, n]))
        assert torch.equal(rolled[:, n], frames[:, n].roll(shifts, (-2, -1)))


def rotate_shear(frames: Tensor, rotation: Tensor, shear: Tensor) -> Tensor:
    return moved(frames, origins(frames.shape, rotation, shear))


def test_quarter_turns_and_no_turn_are_exact() -> None:
    frames = counts(2, 4, 2, 9, 9).float()
    turned = rotate_shear(frames, torch.tensor([0, 90, 180, -90]), torch.zeros(4))
    for n, quarters in enumerate((0, 1, 2, 3)):
        assert torch.equal(turned[:, n], frames[:, n].rot90(quarters, (-2, -1)))


def test_rotation_and_shear_are_those_of_torchvision() -> None:
    from torchvision.transforms import v2

    frames = counts(1, 1, 2, 48, 48, most=200).float()
    for angle in (-30.0, -11.0, 14.0, 30.0):
        turned = rotate_shear(frames, torch.tensor([angle]), torch.zeros(1))
        expected = v2.functional.rotate(frames[0], angle)
        assert (turned[0] == expected).float().mean() > 0.995
        sheared = rotate_shear(frames, torch.zeros(1), torch.tensor([angle]))
        expected = v2.functional.affine(frames[0], 0.0, [0, 0], 1.0, [angle, 0.0])
        assert (sheared[0] == expected).float().mean() > 0.995
    # A frame that is not square keeps its pixels square.
    wide = counts(1, 1, 2, 24, 40, most=200).float()
    turned = rotate_shear(wide, torch.tensor([20.0]), torch.zeros(1))
    assert (turned[0] == v2.functional.rotate(wide[0], 20.0)).float().mean() > 0.99

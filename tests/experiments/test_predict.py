"""What is said of samples, worked out plainly, and how files are gone through."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clifctl.data.given_files import ArrayReader, as_numbers
from clifctl.data.unlabelled import Unlabelled
from clifctl.errors import DataError, RunFailed
from clifctl.experiments.predict import Predictor
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.models import SpikingNet
from clifctl.models.layers import NetState
from clifctl.recipe.load import load_recipe
from clifctl.results.predict import Prediction

STEPS, CLASSES = 5, 4


class Says(SpikingNet):
    """A net whose input is its logits; it keeps how many samples it was asked about at once."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        self.asked.append(x.shape[1])
        return x, ()


def predictor(batch_size: int, top: int | None = None, at_once: int = 1) -> Predictor:
    recipe = load_recipe("digits_rows_mlp", [f"timesteps={STEPS}", "data.name=adding"]).recipe
    reader = ArrayReader((STEPS, CLASSES), as_numbers, timed=True)
    return Predictor(
        Path("last.pt"),
        "net",
        recipe,
        Says(),
        Unlabelled({".npy": reader}, None, at_once=at_once),
        ExecutionOptions().resolve(),
        batch_size,
        top,
    )


def asked(
    predictor: Predictor, *sources: Path | str
) -> tuple[list[Prediction], list[tuple[Path, DataError]]]:
    refused: list[tuple[Path, DataError]] = []
    batches = predictor.predictions(map(str, sources), lambda *one: refused.append(one))
    return [one for batch in batches for one in batch], refused


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, Any]:
    """File -> logits `[N, T, classes]`; a and b hold several samples."""
    random = np.random.default_rng(3)
    found = {}
    for name, samples in (("a", 5), ("b", 3), ("c", 1)):
        found[name] = random.normal(size=(samples, STEPS, CLASSES)).astype(np.float32)
        np.save(tmp_path / f"{name}.npy", found[name])
    return found


def test_class_probability_and_when_it_was_decided(arrays: dict[str, Any], tmp_path: Path) -> None:
    found, refused = asked(predictor(4, top=3), *(tmp_path / f"{name}.npy" for name in arrays))
    assert not refused
    rows = [(name, n, one) for name, many in arrays.items() for n, one in enumerate(many)]
    assert [(Path(one.file).stem, one.index) for one in found] == [row[:2] for row in rows]
    steps = set()
    for one, (_, _, logits) in zip(found, rows, strict=True):
        sums = [[sum(map(float, logits[: t + 1, c])) for c in range(CLASSES)] for t in range(STEPS)]
        decided = [max(range(CLASSES), key=row.__getitem__) for row in sums]
        step = next(t for t in range(STEPS) if set(decided[t:]) == {decided[-1]}) + 1
        assert (one.label, one.decided_after_step) == (decided[-1], step)
        mean = [value / STEPS for value in sums[-1]]
        total = sum(map(math.exp, mean))
        assert one.probability == pytest.approx(math.exp(mean[one.label]) / total, rel=1e-5)
        order = sorted(range(CLASSES), key=lambda c: -mean[c])[:3]
        assert [best.label for best in one.top or ()] == order
        assert [best.probability for best in one.top or ()] == pytest.approx(
            [math.exp(mean[c]) / total for c in order], rel=1e-5
        )
        steps.add(step)
    assert len(steps) > 2


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1] * 9), (4, [4, 4, 1]), (50, [9])])
def test_batches_change_nothing(
    batch_size: int, sizes: list[int], arrays: dict[str, Any], tmp_path: Path
) -> None:
    files = [tmp_path / f"{name}.npy" for name in arrays]
    wanted, _ = asked(predictor(3), *files)
    one = predictor(batch_size, at_once=3)
    found, _ = asked(one, *files)
    assert isinstance(one.net, Says)
    assert one.net.asked == sizes
    assert found == wanted  # a softmax of each row by itself


def test_no_more_is_read_than_is_asked_for(arrays: dict[str, Any], tmp_path: Path) -> None:
    named: list[int] = []

    def names() -> Iterator[str]:
        for number in range(10_000):
            named.append(number)
            yield str(tmp_path / "c.npy")

    for at_once, most in ((1, 7), (2, 11)):  # a batch; and two workers, twice as many ahead
        named.clear()
        batches = predictor(7, at_once=at_once).predictions(names(), lambda *one: None)
        assert len(next(batches)) == 7
        assert 7 <= len(named) <= most + 1
        del batches


def test_what_cannot_be_used_is_told_and_the_rest_goes_on(
    arrays: dict[str, Any], tmp_path: Path
) -> None:
    folder, empty = tmp_path / "in", tmp_path / "empty"
    (folder / "below").mkdir(parents=True)
    empty.mkdir()
    (tmp_path / "c.npy").rename(folder / "below/c.npy")
    for name in ("notes.txt", ".hidden.npy"):
        (folder / name).write_text("no array")
    (folder / "bad.npy").write_text("no array")
    one = predictor(2)
    sources = (tmp_path / "b.npy", folder, empty, tmp_path / "gone.npy", "x.wav", "a\0b.npy")
    found, refused = asked(one, *sources)
    assert [Path(row.file).stem for row in found] == ["b", "b", "b", "c"]
    assert [str(path) for path, _ in refused] == [
        str(folder / "bad.npy"), str(empty), str(tmp_path / "gone.npy"), "x.wav", "a\0b.npy"
    ]  # fmt: skip
    messages = [error.message for _, error in refused]
    assert "is no file of plain numpy arrays" in messages[0]
    assert "holds no file that is read" in messages[1]
    assert "cannot be read: No such file" in messages[2]
    assert "is none of the files that are read" in messages[3]
    assert refused[3][1].hint == "a net of data set 'adding' reads .npy"
    assert (one.files, one.passed_over) == (7, 1)


def test_logits_that_are_not_finite_are_no_answer(tmp_path: Path) -> None:
    broken = predictor(2)
    broken.net.forward = lambda x, **_: (x * torch.inf, ())  # type: ignore[method-assign]
    np.save(tmp_path / "x.npy", np.zeros((1, STEPS, CLASSES)))
    with pytest.raises(RunFailed, match="are not finite"):
        asked(broken, tmp_path / "x.npy")

"""The adding problem, against its own definition."""

from bisect import bisect_right
from typing import Any

import pytest
import torch

from clifctl.data import DATASETS, LoadedData
from clifctl.data.sets import adding
from clifctl.data.sets.adding import AddingOptions
from clifctl.errors import DataError


def load(timesteps: int, **options: Any) -> LoadedData:
    sizes = {"train_samples": 3001, "test_samples": 97}
    return DATASETS["adding"].load(AddingOptions(**{**sizes, **options}), timesteps)


@pytest.mark.parametrize(("timesteps", "classes"), [(2, 2), (7, 10), (50, 9)])
def test_the_label_is_the_range_of_the_sum_of_what_is_marked(timesteps: int, classes: int) -> None:
    data = load(timesteps, classes=classes)
    assert [len(split) for split in data.splits] == [3001, 97]
    edges = [adding.edge(number / classes) for number in range(1, classes)]
    for split in data.splits:
        numbers, marks = split.held.double().unbind(2)
        half = timesteps // 2
        assert torch.equal(marks[:half].sum(0), torch.ones(len(split), dtype=torch.float64))
        assert torch.equal(marks[half:].sum(0), torch.ones(len(split), dtype=torch.float64))
        assert (numbers.min() >= 0) & (numbers.max() < 1)
        sums = (numbers * marks).sum(0).tolist()
        for total, label in zip(sums, split.targets.tolist(), strict=True):
            if min(abs(total - edge) for edge in edges) > 1e-9:
                assert label == bisect_right(edges, total)
    # Each class has a share of 1 / classes; five standard deviations of that many draws.
    count, share = 3001, 1 / classes
    spread = 5 * (count * share * (1 - share)) ** 0.5
    counts = data.train.targets.bincount(minlength=classes)
    assert (counts - count * share).abs().max() < spread
    assert data.class_names is not None
    assert data.class_names[0] == f"0.000 to {edges[0]:.3f}"
    assert data.class_names[-1] == f"{edges[-1]:.3f} to 2.000"


def test_a_sum_is_in_the_ranges_that_two_uniform_numbers_make_equally_likely() -> None:
    # P(u + v < s) = s^2 / 2 up to s = 1, and symmetric about it.
    assert [adding.edge(share) for share in (0, 1 / 8, 1 / 2, 7 / 8, 1)] == [0, 0.5, 1, 1.5, 2]
    sums = torch.tensor([0.0, 0.49, 0.51, 0.99, 1.0, 1.49, 1.51, 2.0], dtype=torch.float64)
    assert adding.labels_of(sums.numpy(), 8).tolist() == [0, 0, 1, 3, 4, 6, 7, 7]


def test_sequences_are_those_of_their_seed() -> None:
    assert load(7).sha256() == load(7).sha256()
    assert load(7).sha256() != load(7, seed=1).sha256()
    train, test = load(7).train.held, load(7).test.held
    assert not torch.equal(train[:, :97], test)
    with pytest.raises(DataError, match="two numbers are marked, and there is 1 time step"):
        load(1)
    with pytest.raises(DataError, match="of memory are free") as caught:
        load(4096, train_samples=10_000_000)
    assert "data.train_samples" in str(caught.value.hint)

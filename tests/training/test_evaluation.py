"""What is counted in an evaluation, held against the same numbers worked out plainly."""

import math

import pytest
import torch
from torch import Tensor

from clifctl.models import SpikingNet
from clifctl.models.layers import NetState
from clifctl.results.eval import ClassCount, Confusion
from clifctl.training.evaluation import evaluate
from clifctl.training.loss import step_cross_entropy


class Says(SpikingNet):
    """A net whose input is its logits."""

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        return x, ()


def _evaluated(logits: Tensor, labels: Tensor, batch: int):  # type: ignore[no-untyped-def]
    pairs = zip(logits.split(batch, 1), labels.split(batch), strict=True)
    return evaluate(Says(), pairs, step_cross_entropy, repeat=1)


def test_each_step_counts_the_logits_so_far() -> None:
    steps, samples, classes = 3, 37, 7
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(steps, samples, classes, generator=generator)
    labels = torch.randint(classes, (samples,), generator=generator)
    found = _evaluated(logits, labels, 10)
    for step in range(steps):
        first = among = 0
        loss = 0.0
        for sample, label in enumerate(labels.tolist()):
            mean = [
                sum(float(logits[t, sample, c]) for t in range(step + 1)) / (step + 1)
                for c in range(classes)
            ]
            rank = sorted(range(classes), key=lambda c: -mean[c]).index(label)
            first += rank == 0
            among += rank < 5
            loss += math.log(sum(map(math.exp, mean))) - mean[label]
        assert found.accuracy_percent_per_step[step] == 100.0 * first / samples
        assert found.accuracy_top5_percent_per_step[step] == 100.0 * among / samples
        assert found.cross_entropy_per_step[step] == pytest.approx(loss / samples, rel=1e-5)
    assert found.samples == samples
    assert found.accuracy_percent == found.accuracy_percent_per_step[-1]
    # One step: the mean so far is that step's own, and both cross entropies are one.
    one = _evaluated(logits[:1], labels, 10)
    assert one.cross_entropy_per_step[0] == pytest.approx(one.cross_entropy, rel=1e-6)


def test_classes_are_counted_one_by_one() -> None:
    #          decided: 0 0 0 1 1 2, then class 3 which nobody is and nobody is taken for
    decided = torch.tensor([0, 0, 0, 1, 1, 2])
    labels = torch.tensor([0, 0, 1, 1, 1, 0])
    logits = torch.nn.functional.one_hot(decided, 4).float()[None]
    found = _evaluated(logits, labels, 4)
    assert found.accuracy_top5_percent_per_step is None
    third = 100.0 / 3
    assert found.per_class == (
        ClassCount(
            label=0, samples=3, correct=2, recall_percent=2 * third,
            precision_percent=2 * third, mistaken_for=2, mistaken_count=1,
        ),
        ClassCount(
            label=1, samples=3, correct=2, recall_percent=2 * third,
            precision_percent=100.0, mistaken_for=0, mistaken_count=1,
        ),
        ClassCount(
            label=2, samples=0, correct=0, recall_percent=None,
            precision_percent=0.0, mistaken_for=None, mistaken_count=0,
        ),
        ClassCount(
            label=3, samples=0, correct=0, recall_percent=None,
            precision_percent=None, mistaken_for=None, mistaken_count=0,
        ),
    )  # fmt: skip
    assert found.confusion == ((2, 0, 1, 0), (1, 2, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))


def test_the_most_confused_pairs_come_first() -> None:
    names = ("ant", "bee", "cat")
    matrix = Confusion(class_names=names, counts=((7, 3, 0), (3, 1, 0), (0, 5, 0)))
    found = [(one.name, one.decided_name, one.samples) for one in matrix.most_confused(9)]
    # Of equal counts the larger share of its class comes first.
    assert found == [("cat", "bee", 5), ("bee", "ant", 3), ("ant", "bee", 3)]
    assert matrix.most_confused(1)[0].share_percent == 100.0
    assert [one.samples for one in matrix.pairs()] == [7, 3, 3, 1, 5]


def test_weighted_labels_count_as_their_largest_class() -> None:
    logits = torch.tensor([[[3.0, 0.0], [0.0, 2.0]]])
    soft = torch.tensor([[0.8, 0.2], [0.4, 0.6]])
    found = _evaluated(logits, soft, 2)
    assert found.accuracy_percent == 100.0
    assert [row.samples for row in found.per_class] == [1, 1]

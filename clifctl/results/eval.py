"""What `eval` returns."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from clifctl.results.connections import DENSE_THEN
from clifctl.results.published import Published
from clifctl.results.quantities import (
    FIRING_RATE,
    LAYER_RATE,
    NEURONS,
    RATE_PER_STEP,
    SECONDS,
    TARGET,
    TEST_SAMPLES,
    TIMESTEPS,
    Quantity,
)
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class LayerRate:
    """Spikes per neuron and time step of one layer, on average and at each step, and the standard
    deviation over samples (None for one sample)."""

    layer: str
    neurons: Annotated[int, NEURONS]
    firing_rate: Annotated[float, LAYER_RATE]
    firing_rate_sample_std: float | None
    firing_rate_per_step: Annotated[tuple[float, ...], RATE_PER_STEP]


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """One class: how many of its samples were classified correctly, and which other class most of
    the wrong ones were assigned to (None: none was wrong). Names are None where classes have none.
    Recall is the accuracy on the class, precision the share of correct samples among all that were
    assigned to it."""

    label: Annotated[int, Quantity("class")]
    samples: Annotated[int, Quantity("samples", digits=0)]
    correct: int
    recall_percent: Annotated[float | None, Quantity("recall", "%", 2)]
    precision_percent: Annotated[float | None, Quantity("precision", "%", 2)]
    mistaken_for: int | None
    mistaken_count: int
    name: str | None = None
    mistaken_for_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """One cell of a confusion matrix: how many samples of class `label` were decided to be of class
    `decided`, also as a share of the class. Names are None where classes have none."""

    label: Annotated[int, Quantity("class")]
    name: str | None
    decided: Annotated[int, Quantity("decided")]
    decided_name: str | None
    samples: Annotated[int, Quantity("samples", digits=0)]
    share_percent: Annotated[float, Quantity("share of the class", "%", 2)]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How many samples of each class (row) were decided to be of each class (column), after the
    last time step. `class_names` is None where classes have none."""

    class_names: tuple[str, ...] | None
    counts: tuple[tuple[int, ...], ...]

    def pairs(self) -> tuple[ConfusedPair, ...]:
        """Every pair of classes that occurs, each class with itself too, in the order of rows and
        columns."""
        names = self.class_names or (None,) * len(self.counts)
        return tuple(
            ConfusedPair(
                label=label,
                name=names[label],
                decided=decided,
                decided_name=names[decided],
                samples=samples,
                share_percent=100.0 * samples / sum(row),
            )
            for label, row in enumerate(self.counts)
            for decided, samples in enumerate(row)
            if samples
        )

    def most_confused(self, most: int) -> tuple[ConfusedPair, ...]:
        """The `most` pairs of two classes that occur most often, those of one number by their
        share of the class, then in the order of the matrix."""
        wrong = (pair for pair in self.pairs() if pair.label != pair.decided)
        order = sorted(wrong, key=lambda pair: (-pair.samples, -pair.share_percent))
        return tuple(order[:most])


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A net on one split of the data.

    After each step the prediction is the class with the largest sum of logits so far (or mean,
    which is the same); `cross_entropy_per_step` is that of the mean. `cross_entropy` and `loss` are
    those of training: of every step's own logits. Top-5 is None where there are five classes or
    fewer. `confusion` counts how often each class (row) was decided to be each class (column).
    """

    samples: int
    loss: float
    cross_entropy: float
    accuracy_percent: float
    accuracy_percent_per_step: tuple[float, ...]
    accuracy_top5_percent_per_step: tuple[float, ...] | None
    cross_entropy_per_step: tuple[float, ...]
    per_class: tuple[ClassCount, ...]
    confusion: tuple[tuple[int, ...], ...]
    firing_rate: float | None
    firing_rates: tuple[LayerRate, ...]


@dataclass(frozen=True, kw_only=True)
class EvalResult(Result):
    """A checkpoint evaluated on the test data: see Evaluation. `checkpoint` is None of a net that
    is in no file, `per_class` and `confusion` unless asked for; `picture` is the file that is drawn
    when the result is written."""

    schema: ClassVar[str] = "clifctl.eval/1"

    checkpoint: str | None
    recipe: str
    data: str
    model: str
    neuron: str
    timesteps: Annotated[int, TIMESTEPS]
    epoch: int | None
    seed: int | None
    batch_statistics: bool
    batch_size: int
    samples: Annotated[int, TEST_SAMPLES]
    accuracy_percent: Annotated[float, Quantity("test accuracy", "%", 2)]
    accuracy_top5_percent: Annotated[float | None, Quantity("test accuracy, top 5", "%", 2)]
    loss: Annotated[float, Quantity("test loss (TET)", digits=4)]
    cross_entropy: Annotated[float, Quantity("test cross entropy, mean over steps", digits=4)]
    accuracy_percent_per_step: tuple[float, ...]
    accuracy_top5_percent_per_step: tuple[float, ...] | None
    cross_entropy_per_step: tuple[float, ...]
    per_class: tuple[ClassCount, ...] | None
    firing_rate: Annotated[float | None, FIRING_RATE]
    firing_rates: tuple[LayerRate, ...]
    seconds: Annotated[float, SECONDS]
    device: str
    target: Annotated[str, TARGET]
    target_reason: str
    connections: str = "dense"
    connections_reason: str = DENSE_THEN
    published: Published
    picture: str | None
    confusion: Confusion | None = None

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
class Evaluation:
    """A net on one split of the data.

    After each step the prediction is the class with the largest sum of logits so far (or mean,
    which is the same); `cross_entropy_per_step` is that of the mean. `cross_entropy` and `loss` are
    those of training: of every step's own logits. Top-5 is None where there are five classes or
    fewer.
    """

    samples: int
    loss: float
    cross_entropy: float
    accuracy_percent: float
    accuracy_percent_per_step: tuple[float, ...]
    accuracy_top5_percent_per_step: tuple[float, ...] | None
    cross_entropy_per_step: tuple[float, ...]
    per_class: tuple[ClassCount, ...]
    firing_rate: float | None
    firing_rates: tuple[LayerRate, ...]


@dataclass(frozen=True, kw_only=True)
class EvalResult(Result):
    """A checkpoint evaluated on the test data: see Evaluation. `checkpoint` is None of a net that
    is in no file, `per_class` unless asked for; `picture` is the file that is drawn when the result
    is written."""

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

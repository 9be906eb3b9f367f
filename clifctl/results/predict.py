"""What `predict` returns."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from clifctl.results.connections import DENSE_THEN
from clifctl.results.quantities import TARGET, TIMESTEPS, Quantity
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class ClassProbability:
    """A class, and how probable it is."""

    label: Annotated[int, Quantity("class")]
    class_name: str | None
    probability: Annotated[float, Quantity("probability", digits=4)]


@dataclass(frozen=True, kw_only=True)
class Prediction(Result):
    """What a net says of sample `index` of a file: the class with the largest sum of logits over
    all time steps, and its probability, the softmax of their mean. From the end of time step
    `decided_after_step` on the sum so far has said the same. `class_name` is None where no names of
    classes are known, `top` are the most probable classes where they were asked for."""

    file: str
    index: Annotated[int, Quantity("sample")]
    label: Annotated[int, Quantity("class")]
    class_name: Annotated[str | None, Quantity("name")]
    probability: Annotated[float, Quantity("probability", digits=4)]
    decided_after_step: Annotated[int, Quantity("decided after time step", short="decided after")]
    top: tuple[ClassProbability, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class RefusedFile:
    """A file or folder that could not be used, and why."""

    file: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class PredictResult(Result):
    """A checkpoint asked about files without labels."""

    schema: ClassVar[str] = "clifctl.predict/1"

    checkpoint: str
    recipe: str
    data: str
    model: str
    neuron: str
    timesteps: Annotated[int, TIMESTEPS]
    batch_size: int
    device: str
    target: Annotated[str, TARGET]
    target_reason: str
    connections: str = "dense"
    connections_reason: str = DENSE_THEN
    predictions: tuple[Prediction, ...]
    refused: tuple[RefusedFile, ...]

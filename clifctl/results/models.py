"""What the `models` commands return."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from clifctl.results.connections import ConnectionPaths
from clifctl.results.quantities import TIMESTEPS, Quantity
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class OptionRow:
    """One key of a net's section `model`."""

    name: Annotated[str, Quantity("key")]
    default: Any
    description: str


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One net."""

    model: str
    title: str
    options: Annotated[tuple[str, ...], Quantity("keys")]


@dataclass(frozen=True, kw_only=True)
class ModelList(Result):
    """Every net."""

    schema: ClassVar[str] = "clifctl.models/1"

    models: tuple[ModelRow, ...]


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer of a net. `output` is the shape of one time step of one sample."""

    layer: str
    kind: str
    output: tuple[int, ...]
    parameters: Annotated[int, Quantity("parameters", digits=0)]


@dataclass(frozen=True, kw_only=True)
class ModelShown(Result):
    """A net for samples of one shape: its keys and layers. `logits` says of what they are."""

    schema: ClassVar[str] = "clifctl.model/1"

    model: str
    title: str
    data: str
    input_shape: tuple[int, ...]
    classes: int
    timesteps: Annotated[int, TIMESTEPS]
    neuron: str
    parameters: Annotated[int, Quantity("parameters", digits=0)]
    neurons: Annotated[int, Quantity("neurons", digits=0)]
    logits: str
    options: tuple[OptionRow, ...]
    layers: tuple[LayerRow, ...]


@dataclass(frozen=True, kw_only=True)
class UseRow:
    """What a command can do with a net, or why it cannot."""

    command: str
    possible: bool
    note: str


@dataclass(frozen=True, kw_only=True)
class ModelCheck(Result):
    """A net that keeps the contract, what commands can do with it, and how its connections run in a
    training step on noise."""

    schema: ClassVar[str] = "clifctl.models.check/1"

    shown: ModelShown
    uses: tuple[UseRow, ...]
    connections: tuple[ConnectionPaths, ...]

"""What the fields of results hold: each quantity is declared once, with its field.

Tables, Markdown, csv and the reference read the declaration; the field's name is the key of JSON
and csv. A field without one is labelled by its name: `run_folder` is the 'run folder'.
"""

import dataclasses
import functools
import importlib
import pkgutil
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clifctl import results
from clifctl.amounts import signed


@dataclass(frozen=True)
class Quantity:
    """A quantity: its label, its unit, and how many digits behind the point are shown (None: the
    value as it is; 0: a whole number, with commas).

    `short` heads its column in a wide table. Of the quantities of a grid, a mean over seeds and a
    difference have so many digits `fewer`, `compared` asks for paired differences, `of` is the
    name of what a trial measured where that has another one, one is a column only `on_request`,
    and of two values the lower one is better unless `higher_is_better`.
    """

    label: str
    unit: str = ""
    digits: int | None = None
    short: str | None = None
    fewer: int = 0
    compared: bool = False
    of: str | None = None
    on_request: bool = False
    higher_is_better: bool = False

    @property
    def mean_digits(self) -> int:
        """The digits of a mean over seeds, and of a difference."""
        return (self.digits or 0) - self.fewer

    @property
    def heading(self) -> str:
        """The label with the unit, as a table has it."""
        return _headed(self.label, self.unit)

    @property
    def difference_heading(self) -> str:
        """The same for a difference."""
        return _headed(self.label, self.difference_unit)

    @property
    def title(self) -> str:
        """The label as a sentence has it: 'test accuracy (last epoch)'."""
        return re.sub(", (.*)", r" (\1)", self.label)

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: percentages differ by points."""
        return "points" if self.unit == "%" else self.unit

    def signed(self, value: float) -> str:
        """A difference with its sign."""
        return signed(value, self.mean_digits)


def _headed(label: str, unit: str) -> str:
    return f"{label} [{unit}]" if unit else label


TIMESTEPS = Quantity("time steps", short="T")
TEST_SAMPLES = Quantity("test samples", digits=0)
NEURONS = Quantity("neurons", digits=0)
BATCH_SIZE = Quantity("batch size", short="N")
LAYER_RATE = Quantity("firing rate", "spikes/neuron/step", 4, short="mean")
RATE_PER_STEP = Quantity(
    "firing rate at each time step", "spikes/neuron/step", 3, short="at each time step"
)
STEP = Quantity("step", "ms", 1)
RELU_RATIO = Quantity("ratio to the ReLU net", digits=3, short="/ReLU")
SECONDS = Quantity("time", "s", 1)
TRAINING_TIME = Quantity("training time", "s", 1, on_request=True)
SOP_ENERGY = Quantity("energy, SOP method", "nJ", 1, compared=True)
MEMORY_ENERGY = Quantity("energy, memory method", "nJ", 1, compared=True)
TARGET = Quantity("kernel target")
PARAMETERS = Quantity("parameters", digits=0)
WINDOW = Quantity("window of BPTT (- = full)", short="window")
ACCURACY_LAST = Quantity(
    "test accuracy, last epoch",
    "%",
    2,
    short="accuracy, last [%]",
    compared=True,
    higher_is_better=True,
)
ACCURACY_BEST = Quantity(
    "test accuracy, best epoch", "%", 2, short="accuracy, best [%]", higher_is_better=True
)
VALIDATION_ACCURACY = Quantity(
    "validation accuracy, last epoch",
    "%",
    2,
    short="validation [%]",
    compared=True,
    higher_is_better=True,
)
TRAIN_LOSS_TRAIN_MODE = Quantity(
    "training loss, train mode",
    digits=4,
    short="train loss, train mode",
    fewer=1,
    compared=True,
)
TRAIN_LOSS_EVAL_MODE = Quantity(
    "training loss, evaluation mode",
    digits=4,
    short="train loss, eval. mode",
    fewer=1,
    compared=True,
)
TEST_LOSS = Quantity("test loss", digits=4, fewer=1, compared=True)
FIRING_RATE = Quantity(
    "firing rate", "spikes/neuron/step", 4, short="firing rate", fewer=1, compared=True
)


@functools.cache
def quantities_of(kind: type) -> Mapping[str, Quantity]:
    """The quantity of each field of a result dataclass, in their order, by the field's name."""
    declared = dict(_declared(kind))
    names = [field.name for field in dataclasses.fields(kind)]
    return {name: declared.get(name) or Quantity(name.replace("_", " ")) for name in names}


def _declared(kind: type) -> Iterator[tuple[str, Quantity]]:
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        for one in getattr(hint, "__metadata__", ()):
            if isinstance(one, Quantity):
                yield name, one


def catalogue() -> Mapping[tuple[str, str], Sequence[str]]:
    """Every quantity that is declared, by its key and heading, for the reference: the documents
    that it is in, as `clifctl.train`."""
    found: dict[tuple[str, str], list[str]] = {}
    for document, kind in documents():
        for part in _parts(kind):
            for name, quantity in _declared(part):
                places = found.setdefault((name, quantity.heading.strip()), [])
                if document not in places:
                    places.append(document)
    return found


def documents() -> Iterator[tuple[str, type]]:
    """Every result that is a document of its own: what it is called, and its type."""
    for module in pkgutil.iter_modules(results.__path__, f"{results.__name__}."):
        for kind in vars(importlib.import_module(module.name)).values():
            if getattr(kind, "__module__", None) == module.name and hasattr(kind, "schema"):
                yield kind.schema.partition("/")[0], kind


def _parts(hint: Any) -> Iterator[type]:
    """The result dataclasses in a type, each with those in its fields."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield hint
        for inner in typing.get_type_hints(hint).values():
            yield from _parts(inner)
    for argument in typing.get_args(hint):
        yield from _parts(argument)

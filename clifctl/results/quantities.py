"""What the fields of results hold: each quantity is declared once, with its field.

Tables, Markdown, csv and the reference read the declaration; the field's name is the key of JSON
and csv. A field without one is labelled by its name: `run_folder` is the 'run folder'.
"""

import dataclasses
import functools
import re
import typing
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Quantity:
    """A quantity: its label, its unit, and how many digits behind the point are shown (None: the
    value as it is; 0: a whole number, with commas).

    `short` heads its column in a wide table. Of the quantities of a grid, a mean over seeds and a
    difference have so many digits `fewer`, `compared` asks for paired differences, and `of` is
    the name of what a trial measured where that has another one.
    """

    label: str
    unit: str = ""
    digits: int | None = None
    short: str | None = None
    fewer: int = 0
    compared: bool = False
    of: str | None = None

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


def signed(value: float, digits: int) -> str:
    """A number with its sign; what rounds to nothing has a plus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


TIMESTEPS = Quantity("time steps", short="T")
PARAMETERS = Quantity("parameters", digits=0)
WINDOW = Quantity("window of BPTT (- = full)", short="window")
ACCURACY_LAST = Quantity(
    "test accuracy, last epoch", "%", 2, short="accuracy, last [%]", compared=True
)
ACCURACY_BEST = Quantity("test accuracy, best epoch", "%", 2, short="accuracy, best [%]")
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
def quantities_of(kind: type) -> dict[str, Quantity]:
    """The quantity of each field of a result dataclass, in their order, by the field's name."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        field.name: next(
            (one for one in _metadata(hints[field.name]) if isinstance(one, Quantity)),
            Quantity(field.name.replace("_", " ")),
        )
        for field in dataclasses.fields(kind)
    }


def _metadata(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__metadata__", ())

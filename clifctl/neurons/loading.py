"""A neuron by its name: of the table, of an installed package, or of a person's own file."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clifctl.errors import NeuronError
from clifctl.foreign_code import ForeignCode
from clifctl.neurons.contract import Neuron


def _checked(value: object, where: str) -> Neuron:
    if not isinstance(value, Neuron):
        raise NeuronError(
            f"{where} is a {type(value).__name__}, not a Neuron",
            hint="declare it with clifctl.neurons.Neuron(...), as clifctl/neurons/lif.py does",
        )
    return value


def _renamed(neuron: Neuron, name: str) -> Neuron:
    # One of a package has the name that it declares.
    return replace(neuron, name=name) if ".py:" in name else neuron


def _offered(values: Mapping[str, Any]) -> list[str]:
    return [name for name, value in values.items() if isinstance(value, Neuron)]


FOREIGN_NEURONS = ForeignCode(
    "neuron",
    group="clifctl.neurons",
    listed_by="clifctl neurons ls",
    error=NeuronError,
    checked=_checked,
    renamed=_renamed,
    offered=_offered,
)


def load_neuron(reference: str, table: dict[str, Neuron]) -> Neuron:
    """The neuron that a person names: a name of `table` or of an installed package, in whatever
    case, or FILE.py:NAME, a file that is trusted from then on, and run.

    Raises NeuronError with the nearest name, or what is wrong with the file.
    """
    return FOREIGN_NEURONS.load(reference, table)

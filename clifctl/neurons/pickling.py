"""How a neuron is pickled: by its name, and in other cases by what it is made of.

A neuron of the table or of an installed package is its name. One of a person's own file is
FILE.py:NAME, and reading it back runs no file: the process that unpickles must have loaded the
neuron itself. One that was built in code is its declaration, if its functions can be pickled.
"""

import pickle
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from clifctl.errors import NeuronError
from clifctl.neurons import NEURONS
from clifctl.neurons.contract import Neuron
from clifctl.neurons.loading import FOREIGN_NEURONS, load_neuron
from clifctl.trust import is_file_reference


def reduced(neuron: Neuron) -> tuple[Callable[..., Neuron], tuple[Any, ...]]:
    """What pickle keeps of a neuron: a function and its arguments.

    Raises NeuronError where it is built in code, of functions that cannot be pickled.
    """
    if NEURONS.get(neuron.name) is neuron:
        return named, (neuron.name,)
    installed = FOREIGN_NEURONS.installed_name_of(neuron)
    reference = FOREIGN_NEURONS.reference_of(neuron)
    if installed is not None:
        return named, (installed,)
    if reference is not None:
        return from_loaded_file, (reference,)
    _require_importable(neuron)
    return Neuron, tuple(getattr(neuron, field.name) for field in fields(neuron))


def named(name: str) -> Neuron:
    """The neuron of that name, of the table or of an installed package; no file is run."""
    return from_loaded_file(name) if is_file_reference(name) else load_neuron(name, NEURONS)


def from_loaded_file(reference: str) -> Neuron:
    """The neuron of FILE.py:NAME, which this process must have loaded."""
    neuron = FOREIGN_NEURONS.loaded_from_file(reference)
    if neuron is None:
        raise NeuronError(
            f"this pickle has the neuron '{reference}', which this process has not loaded; "
            "a pickle runs no file by itself",
            hint="if you trust the file, load it first: "
            f"clifctl.neurons.loading.load_neuron({reference!r}, NEURONS)",
        )
    return neuron


def values_for_class(state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a module with a `neuron`, to be pickled: its hyperparameters as values,
    since their class may be one of a person's own file."""
    return state | {"hyperparameters": dict(state["hyperparameters"])}


def class_for_values(state: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `values_for_class`."""
    values = state["hyperparameters"]
    if "window_reading" in state:  # the name of the attribute in what older versions pickled
        state = {**state, "window_mode": state["window_reading"]}
    return state | {"hyperparameters": state["neuron"].hyperparameters(**values)}


def _require_importable(neuron: Neuron) -> None:
    functions = {"step": neuron.step, "hyperparameters": neuron.hyperparameters}
    functions |= {f"initial of '{state.name}'": state.initial for state in neuron.states}
    for learnable in neuron.learnables:
        functions[f"initial of '{learnable.name}'"] = learnable.initial
        functions[f"transform of '{learnable.name}'"] = learnable.transform
    for what, function in functions.items():
        try:
            pickle.dumps(function)
        except (pickle.PicklingError, AttributeError, TypeError):
            raise NeuronError(
                f"neuron '{neuron.name}' cannot be pickled: its {what} has no name to be found by",
                hint="declare it with def at the top of a module, or load the neuron from its "
                "file, as FILE.py:NAME",
            ) from None

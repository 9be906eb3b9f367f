"""A neuron by its name: of the table, of an installed package, or of a person's own file."""

import importlib.util
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path

from clifctl.errors import NeuronError, unknown_name
from clifctl.neurons.contract import Neuron

# An installed package offers neurons under this group: name = "package.module:NEURON".
ENTRY_POINTS = "clifctl.neurons"


def is_file_reference(reference: str) -> bool:
    """Whether `reference` is FILE.py:NAME."""
    return ".py:" in reference


def load_neuron(reference: str, table: dict[str, Neuron]) -> Neuron:
    """The neuron that `reference` names: a name of `table` or of an installed package, or
    FILE.py:NAME. Loading a file runs it.

    Raises NeuronError with the nearest name, or what is wrong with the file.
    """
    if reference in table:
        return table[reference]
    if is_file_reference(reference):
        file, _, name = reference.rpartition(":")
        return _from_file(str(Path(file).absolute()), file, name)
    offered = installed_neurons()
    if reference in offered:
        return offered[reference]
    raise NeuronError(
        unknown_name("neuron", reference, [*table, *offered]),
        hint="clifctl neurons ls lists them; a neuron of your own is FILE.py:NAME",
    )


@lru_cache(maxsize=1)
def installed_neurons() -> dict[str, Neuron]:
    """What installed packages offer, by name."""
    found = {}
    for entry in entry_points(group=ENTRY_POINTS):
        found[entry.name] = _checked(entry.load(), f"entry point '{entry.name}'")
    return found


# (path, name) -> what was loaded. One object each: kernels are kept by the neuron that they are of.
_LOADED: dict[tuple[str, str], Neuron] = {}


def loaded_from_file(reference: str) -> Neuron | None:
    """The neuron of FILE.py:NAME, where this process has loaded it; no file is run."""
    file, _, name = reference.rpartition(":")
    return _LOADED.get((str(Path(file).absolute()), name))


def reference_of(neuron: Neuron) -> str | None:
    """The FILE.py:NAME that this very neuron was loaded from; None if it was not."""
    places = (f"{path}:{name}" for (path, name), known in _LOADED.items() if known is neuron)
    return next(places, None)


def installed_name_of(neuron: Neuron) -> str | None:
    """The name under which an installed package offers this very neuron; None if none does."""
    # What was never asked for by name is not of a package that has been loaded.
    offered = installed_neurons() if installed_neurons.cache_info().currsize else {}
    return next((name for name, known in offered.items() if known is neuron), None)


def _from_file(path: str, shown: str, name: str) -> Neuron:
    if (path, name) not in _LOADED:
        _LOADED[path, name] = _run(path, shown, name)
    return _LOADED[path, name]


def _run(path: str, shown: str, name: str) -> Neuron:
    if not Path(path).is_file():
        raise NeuronError(f"no file '{shown}'", hint="a neuron of your own is FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(f"clifctl_user_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise NeuronError(f"'{shown}' is not a Python file", hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except NeuronError:
        raise
    except Exception as broken:
        # A person's own file may fail in any way; what it says is the message.
        raise NeuronError(
            f"'{shown}' cannot be loaded: {type(broken).__name__}: {broken}",
            hint="run it with python to see where; --debug shows the traceback",
        ) from broken
    if not hasattr(module, name):
        offered = [key for key, value in vars(module).items() if isinstance(value, Neuron)]
        raise NeuronError(
            f"'{shown}' has no '{name}'", hint=f"it offers: {', '.join(offered) or 'no neuron'}"
        )
    return _checked(getattr(module, name), f"'{shown}:{name}'")


def _checked(value: object, where: str) -> Neuron:
    if not isinstance(value, Neuron):
        raise NeuronError(
            f"{where} is a {type(value).__name__}, not a Neuron",
            hint="declare it with clifctl.neurons.Neuron(...), as clifctl/neurons/lif.py does",
        )
    return value

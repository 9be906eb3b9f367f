"""A neuron by its name: of the table, of an installed package, or of a person's own file."""

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from clifctl import trust
from clifctl.errors import NeuronError, as_listed, unknown_name
from clifctl.neurons.contract import Neuron
from clifctl.neurons.foreign_code import foreign_code, print_to_stderr

# An installed package offers neurons under this group: name = "package.module:NEURON".
ENTRY_POINTS = "clifctl.neurons"


def load_neuron(reference: str, table: dict[str, Neuron]) -> Neuron:
    """The neuron that a person names: a name of `table` or of an installed package, in whatever
    case, or FILE.py:NAME, a file that is trusted from then on, and run.

    Raises NeuronError with the nearest name, or what is wrong with the file.
    """
    if trust.is_file_reference(reference):
        trust.allow(reference)
    elif reference not in table:  # what packages offer is loaded where it may be meant
        reference = as_listed(reference, [*table, *installed_neurons()])
    found = find_neuron(reference, table)
    if found is None:
        raise NeuronError(
            unknown_name("neuron", reference, [*table, *installed_neurons()]),
            hint="clifctl neurons ls lists them; a neuron of your own is FILE.py:NAME",
        )
    return found


def find_neuron(reference: str, table: dict[str, Neuron]) -> Neuron | None:
    """The neuron that a recipe names, None where there is none, or where it is of a file that is
    not trusted (see `clifctl.trust`). Raises NeuronError for what is wrong with a file or an
    installed package."""
    if reference in table:
        return table[reference]
    if trust.is_file_reference(reference):
        if not trust.allows(reference):
            return None
        file, _, name = reference.rpartition(":")
        return _from_file(trust.file_of(reference), file, name)
    found = installed_neurons().get(reference)
    if found is None and reference in _installed()[1]:
        raise _installed()[1][reference]
    return found


def installed_neurons() -> dict[str, Neuron]:
    """What installed packages offer, by name. What cannot be loaded is named in a warning, and left
    out."""
    return _installed()[0]


@lru_cache(maxsize=1)
def _installed() -> tuple[dict[str, Neuron], dict[str, NeuronError]]:
    found, broken = {}, {}
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            found[entry.name] = _offered(entry)
        except NeuronError as problem:
            broken[entry.name] = problem
            warnings.warn(f"{problem.message}: it is left out", RuntimeWarning, stacklevel=2)
    return found, broken


def _offered(entry: EntryPoint) -> Neuron:
    package = f" of '{entry.dist.name}'" if entry.dist is not None else ""
    where = f"the neuron '{entry.name}' ({entry.value}){package}"
    with _loading(where, hint="install that package again, or remove it"):
        return _checked(entry.load(), where)


@contextlib.contextmanager
def _loading(what: str, *, hint: str) -> Iterator[None]:
    with foreign_code(f"{what} cannot be loaded", hint=hint), redirect_stdout(sys.stderr):
        yield


# (path, name) -> what was loaded. One object each: kernels are kept by the neuron that they are of.
_LOADED: dict[tuple[str, str], Neuron] = {}


def loaded_from_file(reference: str) -> Neuron | None:
    """The neuron of FILE.py:NAME, where this process has loaded it; no file is run."""
    return _LOADED.get((trust.file_of(reference), reference.rpartition(":")[2]))


def reference_of(neuron: Neuron) -> str | None:
    """The FILE.py:NAME that this very neuron was loaded from; None if it was not."""
    places = (f"{path}:{name}" for (path, name), known in _LOADED.items() if known is neuron)
    return next(places, None)


def installed_name_of(neuron: Neuron) -> str | None:
    """The name under which an installed package offers this very neuron; None if none does."""
    # What was never asked for by name is not of a package that has been loaded.
    offered = installed_neurons() if _installed.cache_info().currsize else {}
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
    see = "run it with python to see where; --debug shows the traceback"
    vars(module)["print"] = print_to_stderr
    with _loading(f"'{shown}'", hint=see):
        # Its text, which a person can read: never bytecode that somebody has put beside it.
        code = compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
        exec(code, vars(module))
    if not hasattr(module, name):
        offered = [key for key, value in vars(module).items() if isinstance(value, Neuron)]
        raise NeuronError(
            f"'{shown}' has no '{name}'", hint=f"it offers: {', '.join(offered) or 'no neuron'}"
        )
    found = _checked(getattr(module, name), f"'{shown}:{name}'")
    # Two files may hold a "foo", and one of the table be copied: it goes by what it is called by.
    return replace(found, name=f"{Path(path).name}:{name}")


def _checked(value: object, where: str) -> Neuron:
    if not isinstance(value, Neuron):
        raise NeuronError(
            f"{where} is a {type(value).__name__}, not a Neuron",
            hint="declare it with clifctl.neurons.Neuron(...), as clifctl/neurons/lif.py does",
        )
    return value

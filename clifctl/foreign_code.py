"""Code of other people, a file or an installed package, run: it may print, and fail in any way."""

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from clifctl import trust
from clifctl.errors import ClifctlError, NeuronError, as_listed, unknown_name

T = TypeVar("T")

# How torch says that the CPU's memory is full, for which a step is not to blame.
_FULL = "allocate memory"
# Where a signal is from that nothing more has to be computed again: no error at all.
_CHECKPOINTS = "torch.utils.checkpoint"


@contextmanager
def foreign_code(
    where: str, *, hint: str | None = None, error: type[ClifctlError] = NeuronError
) -> Iterator[None]:
    """Raise `error` for whatever goes wrong within, `sys.exit` included: `where` says where."""
    try:
        yield
    except (ClifctlError, KeyboardInterrupt, torch.OutOfMemoryError):
        raise
    except BaseException as broken:
        if isinstance(broken, RuntimeError) and _FULL in str(broken):
            raise
        if type(broken).__module__ == _CHECKPOINTS:
            raise
        raise error(f"{where}: {in_a_line(broken)}", hint=hint or _SEE) from broken


_SEE = "--debug shows where in its code"


def in_a_line(broken: BaseException) -> str:
    """What was raised, and what it says."""
    text = " ".join(str(broken).split())
    return f"{type(broken).__name__}: {text}" if text else type(broken).__name__


def print_to_stderr(*values: Any, **options: Any) -> None:
    """The `print` of a person's own file: stdout carries a command's result alone."""
    print(*values, **{**options, "file": options.get("file") or sys.stderr})  # noqa: T201


@dataclass
class ForeignCode(Generic[T]):
    """What a kind of thing (`neuron`, `model`) is by its name: of a table, of an installed package
    (entry points `group`: name = "package.module:NAME"), or of a person's own file, FILE.py:NAME.

    `checked` makes what is wanted of a value, whose place it is told, and raises `error` where it
    is none; `renamed` gives what a file holds the name that it goes by; `offered` are the names in
    a file that a person may have meant.
    """

    kind: str
    group: str
    listed_by: str
    error: type[ClifctlError]
    checked: Callable[[object, str], T]
    renamed: Callable[[T, str], T]
    offered: Callable[[Mapping[str, Any]], Iterable[str]]
    # (path, name) -> what was loaded. One object each: kernels are kept by the neuron that they
    # are of.
    of_files: dict[tuple[str, str], T] = field(default_factory=dict)
    _of_packages: tuple[dict[str, T], dict[str, ClifctlError]] | None = None

    def load(self, reference: str, table: Mapping[str, T]) -> T:
        """What a person names: a name of `table` or of an installed package, in whatever case, or
        FILE.py:NAME, a file that is trusted from then on, and run.

        Raises `error` with the nearest name, or what is wrong with the file.
        """
        if trust.is_file_reference(reference):
            trust.allow(reference)
        elif reference not in table:  # what packages offer is loaded where it may be meant
            reference = as_listed(reference, [*table, *self.installed()])
        found = self.find(reference, table)
        if found is None:
            raise self.error(
                unknown_name(self.kind, reference, [*table, *self.installed()]),
                hint=f"{self.listed_by} lists them; a {self.kind} of your own is FILE.py:NAME",
            )
        return found

    def find(self, reference: str, table: Mapping[str, T]) -> T | None:
        """What a recipe names, None where there is none, or where it is of a file that is not
        trusted (see `clifctl.trust`). Raises `error` for what is wrong with a file or an installed
        package."""
        if reference in table:
            return table[reference]
        if trust.is_file_reference(reference):
            if not trust.allows(reference):
                return None
            file, _, name = reference.rpartition(":")
            return self._from_file(trust.file_of(reference), file, name)
        found = self.installed().get(reference)
        if found is None and reference in self._packages()[1]:
            raise self._packages()[1][reference]
        return found

    def installed(self) -> dict[str, T]:
        """What installed packages offer, by name. What cannot be loaded is named in a warning, and
        left out."""
        return self._packages()[0]

    def loaded_from_file(self, reference: str) -> T | None:
        """What FILE.py:NAME is, where this process has loaded it; no file is run."""
        return self.of_files.get((trust.file_of(reference), trust.name_in_file(reference)))

    def reference_of(self, value: T) -> str | None:
        """The FILE.py:NAME that this very object was loaded from; None if it was not."""
        places = (f"{path}:{name}" for (path, name), one in self.of_files.items() if one is value)
        return next(places, None)

    def installed_name_of(self, value: T) -> str | None:
        """The name under which an installed package offers this very object; None if none does."""
        # What was never asked for by name is not of a package that has been loaded.
        offered = self._of_packages[0] if self._of_packages is not None else {}
        return next((name for name, known in offered.items() if known is value), None)

    def forget(self) -> None:
        """Forget what was loaded."""
        self.of_files.clear()
        self._of_packages = None

    def _packages(self) -> tuple[dict[str, T], dict[str, ClifctlError]]:
        if self._of_packages is None:
            found: dict[str, T] = {}
            broken: dict[str, ClifctlError] = {}
            for entry in entry_points(group=self.group):
                try:
                    found[entry.name] = self._offered(entry)
                except self.error as problem:
                    broken[entry.name] = problem
                    said = f"{problem.message}: it is left out"
                    warnings.warn(said, RuntimeWarning, stacklevel=4)
            self._of_packages = found, broken
        return self._of_packages

    def _offered(self, entry: EntryPoint) -> T:
        package = f" of '{entry.dist.name}'" if entry.dist is not None else ""
        where = f"the {self.kind} '{entry.name}' ({entry.value}){package}"
        with self._loading(where, hint="install that package again, or remove it"):
            return self.renamed(self.checked(entry.load(), where), entry.name)

    @contextlib.contextmanager
    def _loading(self, what: str, *, hint: str) -> Iterator[None]:
        told = foreign_code(f"{what} cannot be loaded", hint=hint, error=self.error)
        with told, redirect_stdout(sys.stderr):
            yield

    def _from_file(self, path: str, shown: str, name: str) -> T:
        if (path, name) not in self.of_files:
            self.of_files[path, name] = self._run(path, shown, name)
        return self.of_files[path, name]

    def _run(self, path: str, shown: str, name: str) -> T:
        if not Path(path).is_file():
            hint = f"a {self.kind} of your own is FILE.py:NAME"
            raise self.error(f"no file '{shown}'", hint=hint)
        spec = importlib.util.spec_from_file_location(f"clifctl_user_{Path(path).stem}", path)
        if spec is None or spec.loader is None:
            raise self.error(f"'{shown}' is not a Python file", hint="its name must end in .py")
        module = importlib.util.module_from_spec(spec)
        see = "run it with python to see where; --debug shows the traceback"
        vars(module)["print"] = print_to_stderr
        with self._loading(f"'{shown}'", hint=see):
            # Its text, which a person can read: never bytecode that somebody has put beside it.
            code = compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
            exec(code, vars(module))
        if not hasattr(module, name):
            offered = ", ".join(self.offered(vars(module))) or f"no {self.kind}"
            raise self.error(f"'{shown}' has no '{name}'", hint=f"it offers: {offered}")
        found = self.checked(getattr(module, name), f"'{shown}:{name}'")
        # Two files may hold a "foo", and one of the table be copied: it goes by what it is called.
        return self.renamed(found, f"{Path(path).name}:{name}")

"""Which runs of a folder are those of the paper's cells: matched by what decides a result."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from clifctl.experiments.published import NO_PROTOCOL
from clifctl.experiments.reproduce.cells import Basis, Cell
from clifctl.experiments.runs import runs_below
from clifctl.reading import read_json
from clifctl.recipe.defaults import completed, defaults_of
from clifctl.recipe.old_names import with_new_names
from clifctl.results.decoding import flat
from clifctl.results.runs import DamagedRun, RunRow
from clifctl.training import run_folder

# Keys in which a run may differ from a cell: the same mathematics, or one sample of it.
FREE_KEYS = NO_PROTOCOL - {"timesteps"}
# Data, net, neuron and T: what a run is first looked up by.
Kind = tuple[str, str, str, int]


@dataclass(frozen=True)
class FoundRun:
    """A run, and its resolved recipe as its file has it."""

    row: RunRow
    recipe: dict[str, Any]

    @property
    def done(self) -> bool:
        """Whether it came to its end."""
        return self.row.state == "done" and self.row.accuracy_percent_last is not None

    @property
    def kind(self) -> Kind:
        """What it is looked up by."""
        return self.row.data, self.row.model, self.row.neuron, self.row.timesteps

    @property
    def numerics_version(self) -> Any:
        """That of the clifctl that made it; None where nothing says so."""
        return run_folder.read_manifest(Path(self.row.run)).get("numerics_version")

    @cached_property
    def firing_rates(self) -> tuple[float, ...]:
        """The firing rate of every layer in forward order; empty where none was written."""
        try:
            document = read_json(Path(self.row.run) / run_folder.RESULT)
            return tuple(float(one["firing_rate"]) for one in document["firing_rates"])
        except (OSError, ValueError, KeyError, TypeError):
            return ()


@dataclass(frozen=True)
class Match:
    """The runs of a cell: finished ones by their seed, those that are not, and those of the same
    net that differ in other keys, each with the first of them."""

    done: Mapping[int, FoundRun] = field(default_factory=dict)
    unfinished: tuple[FoundRun, ...] = ()
    others: tuple[tuple[FoundRun, str], ...] = ()


class FoundRuns:
    """The runs below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count, self.damaged = 0, 0
        self._by_kind: dict[Kind, list[FoundRun]] = defaultdict(list)
        self._matches: dict[tuple[Basis, Cell], Match] = {}
        for found in runs_below(folder) if folder.is_dir() else ():
            if isinstance(found, DamagedRun):
                self.damaged += 1
                continue
            run = FoundRun(*found)
            self.count += 1
            self._by_kind[run.kind].append(run)

    def of(self, basis: Basis, cell: Cell) -> Match:
        """The runs that are `cell` of `basis`. Raises RecipeError where there is no such recipe."""
        kind = (basis.data, basis.model, cell.spec.neuron.name, cell.timesteps)
        candidates = self._by_kind.get(kind)
        if not candidates:
            return Match()
        if (basis, cell) not in self._matches:
            self._matches[basis, cell] = _match(candidates, basis, cell)
        return self._matches[basis, cell]


def _match(candidates: Sequence[FoundRun], basis: Basis, cell: Cell) -> Match:
    document = basis.variant(cell, 0).recipe.document
    own, defaults = _decisive(document), defaults_of(document)
    done: dict[int, FoundRun] = {}
    unfinished, others = [], []
    # Of two runs with one seed the later one counts.
    for run in sorted(candidates, key=lambda one: one.row.started or ""):
        theirs = _decisive(completed(with_new_names(run.recipe), defaults))
        differing = [key for key in {**own, **theirs} if own.get(key) != theirs.get(key)]
        if not differing:
            if run.done:
                done[run.row.seed] = run
            else:
                unfinished.append(run)
        elif not any(map(_is_another_cell, differing)):
            others.append((run, _in_words(differing, own, theirs)))
    return Match(dict(sorted(done.items())), tuple(unfinished), tuple(others))


def _decisive(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flat(document).items() if key not in FREE_KEYS}


def _is_another_cell(key: str) -> bool:
    """Whether a key is what the paper's runs differ in: another value is another point."""
    return key.startswith("neuron.") or key == "data.augmentation"


def _in_words(keys: Iterable[str], own: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    def told() -> Iterator[str]:
        for key in keys:
            yield f"{key} = {theirs.get(key)} and not {own.get(key)}"

    found = list(told())
    return ", ".join(found[:2]) + (f" and {len(found) - 2} more" if len(found) > 2 else "")

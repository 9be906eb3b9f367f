"""The runs that a table or figure is made of: a recipe, what is varied of it, and on which data."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from clifctl.commands import command_line
from clifctl.data import DATASETS, Dataset, data_folder
from clifctl.errors import UsageError, as_listed, unknown_name
from clifctl.neurons import NEURONS
from clifctl.paper import PaperGrid
from clifctl.recipe import catalog
from clifctl.recipe.load import LoadedRecipe, RecipeSource, open_recipe
from clifctl.recipe.neuron_specs import NeuronSpec, read_specs
from clifctl.recipe.yamlfile import parse_document

# Of a folder of results.
_LONGEST_NAME = 120
# What the cells of an item set themselves, and how a person has another.
_OWN_KEYS = {
    "data.name": "--data NAME trains on other data",
    "train.seed": "--seeds N takes N of them, from the recipe's on",
    "timesteps": "clifctl compare-neurons --timesteps takes others",
    "neuron.name": "clifctl compare-neurons --neurons takes others",
    "neuron.window": "clifctl truncate-bptt --k takes others",
    "neuron.exchange": "clifctl compare-neurons takes another one",
}


@dataclass(frozen=True)
class Cell:
    """One run of the authors, whatever its seed: `tau` and `window` None are the recipe's tau and
    full BPTT; `exchanged`: LIF that becomes CLIF half way."""

    recipe: str
    neuron: str
    timesteps: int
    window: int | None = None
    tau: float | None = None
    exchanged: bool = False

    @property
    def spec(self) -> NeuronSpec:
        """Its neuron."""
        return next(iter(read_specs([self.neuron]).values()))

    @property
    def title(self) -> str:
        """What sets it apart, in words."""
        parts = [f"{self.spec.neuron.name}{' to clif' * self.exchanged}", f"T = {self.timesteps}"]
        parts += [] if self.tau is None else [f"tau = {self.tau:g}"]
        parts += [] if self.window is None else [f"k = {self.window}"]
        return ", ".join(parts)


def cells_of(grid: PaperGrid) -> tuple[Cell, ...]:
    """The cells of a grid, each once: a neuron for fewer time steps (the ANN: one) has one."""
    if grid.windows:
        (neuron,), (timesteps,) = grid.neurons, grid.timesteps
        return tuple(
            Cell(grid.recipe, neuron, timesteps, window, tau)
            for tau in grid.taus
            for window in grid.windows
        )
    return tuple(
        dict.fromkeys(
            Cell(grid.recipe, neuron, min(steps, _most(neuron, steps)), exchanged=grid.exchange)
            for steps in grid.timesteps
            for neuron in grid.neurons
        )
    )


def _most(neuron: str, steps: int) -> int:
    return NEURONS[neuron.partition("(")[0]].max_timesteps or steps


def command_of(grid: PaperGrid, seeds: int, half: int) -> str:
    """The command that makes the runs of a grid; `half` is the epoch of the exchange."""
    if grid.windows:
        lists: dict[str, tuple[object, ...]] = {"k": grid.windows, "tau": grid.taus}
        words: list[object] = ["truncate-bptt", grid.recipe, f"neuron.name={grid.neurons[0]}"]
    else:
        words = ["compare-neurons", grid.recipe]
        words += [f"neuron.exchange={{epoch: {half}, to: clif}}"] if grid.exchange else []
        lists = {"neurons": grid.neurons, "timesteps": grid.timesteps}
    for name, values in lists.items():
        words += [f"--{name}", ",".join(map(str, values))]
    return command_line(*words, "--seeds", seeds)


@dataclass(frozen=True, eq=False)
class Basis:
    """The recipe of the catalog that cells are variants of. Its data are those of the paper or,
    `substituted`, others that a person has named; `name` is that of its results."""

    recipe: str
    name: str
    source: RecipeSource
    substituted: bool = False

    @cached_property
    def loaded(self) -> LoadedRecipe:
        """The recipe itself."""
        return self.source.variant()

    @property
    def data(self) -> str:
        """The data set of its runs."""
        return str(self.source.document["data"]["name"])

    @property
    def dataset(self) -> Dataset:
        """The same, as a row of DATASETS."""
        return DATASETS[self.data]

    @property
    def model(self) -> str:
        """The net of its runs."""
        return str(self.source.document["model"]["name"])

    @cached_property
    def data_here(self) -> bool:
        """Whether the files of the data are there, by a look at them."""
        return has_data(self.dataset, self.source.document["data"])

    @cached_property
    def half(self) -> int:
        """The epoch after which a neuron is exchanged."""
        return max(1, self.loaded.recipe.train.epochs // 2)

    def variant(self, cell: Cell, seed: int) -> LoadedRecipe:
        """The recipe of a run. Raises RecipeError."""
        full = cell.window is None or cell.window >= cell.timesteps
        overrides = [*cell.spec.overrides, f"timesteps={cell.timesteps}", f"train.seed={seed}"]
        overrides += [f"neuron.window={'null' if full else cell.window}"]
        if cell.tau is not None:
            overrides.append(f"neuron.tau={cell.tau!r}")
        if cell.exchanged:
            overrides.append(f"neuron.exchange={{epoch: {self.half}, to: clif}}")
        return self.source.variant(overrides)


def has_data(dataset: Dataset, section: dict[str, Any]) -> bool:
    """Whether the files of a data set are where a recipe's `data` section looks for them, or are
    fetched there."""
    if dataset.files is None or section.get("download"):
        return True
    root = section.get("root")
    place = data_folder() if root is None else data_folder(str(root))
    return all(state.present and not state.problem for state in dataset.files.inspect(place))


def basis_of(recipe: str, overrides: Sequence[str] = ()) -> Basis:
    """`recipe` on the paper's data. Raises RecipeError, UsageError."""
    require_free(overrides)
    return Basis(recipe, _named(recipe, overrides), open_recipe(recipe, overrides))


def substitute(recipe: str, data: str, overrides: Sequence[str] = ()) -> Basis:
    """`recipe` on other data: the recipe of that data and net that clifctl ships, or else `recipe`
    itself with `data.name` changed. Raises UsageError for data that are not known, RecipeError
    where they do not fit."""
    require_free(overrides)
    data = named_data(data)
    own = open_recipe(recipe).document
    if own["data"]["name"] == data:
        return basis_of(recipe, overrides)
    shipped = _shipped(data, own["model"]["name"])
    if shipped is not None:
        return replace(basis_of(shipped, overrides), substituted=True)
    source = open_recipe(recipe, [f"data.name={data}", *overrides])
    return Basis(recipe, _named(f"{recipe}-on-{data}", overrides), source, substituted=True)


def named_data(name: str) -> str:
    """The data set that a person names. Raises UsageError with the nearest name."""
    found = as_listed(name, DATASETS)
    if found not in DATASETS:
        raise UsageError(unknown_name("data set", name, DATASETS), hint="clifctl data ls")
    return found


def require_free(overrides: Sequence[str]) -> None:
    """Raise UsageError for an override of what the paper's runs differ in."""
    for override in overrides:
        key = override.partition("=")[0]
        for own, instead in _OWN_KEYS.items():
            if key == own or key.startswith(f"{own}."):
                raise UsageError(
                    f"{override}: {own} is what the runs of the paper differ in", hint=instead
                )


def _shipped(data: str, model: str) -> str | None:
    """The recipe of the catalog for a data set and a net."""
    for name in catalog.names():
        read = catalog.read_text(name)
        document = parse_document(read.text, read.where)
        if (document["data"]["name"], document["model"]["name"]) == (data, model):
            return name
    return None


def _named(recipe: str, overrides: Sequence[str]) -> str:
    """The name of results: with the overrides, since other results have another place."""
    return re.sub(r"[^\w.]+", "-", "-".join([recipe, *overrides]), flags=re.ASCII)[:_LONGEST_NAME]

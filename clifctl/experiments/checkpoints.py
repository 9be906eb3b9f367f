"""A checkpoint, whoever wrote it: its recipe, its weights, and on what its net runs."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast

import torch

from clifctl import trust
from clifctl.convert.nir_file import is_nir
from clifctl.convert.nir_net import NirNet
from clifctl.data import LoadedData
from clifctl.errors import ArgumentError, CheckpointError, UsageError
from clifctl.experiments.build import at_root, unfilled_net
from clifctl.experiments.published import published_for
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.experiments.run.nir_graphs import recipe_of_graph
from clifctl.experiments.run.resume import file_sources_of
from clifctl.files import write_output
from clifctl.kernels import check_connections
from clifctl.models import SpikingNet
from clifctl.notices import tell_once
from clifctl.recipe.catalog import SUFFIXES
from clifctl.recipe.key_map import read_key_map
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.own_files import located
from clifctl.recipe.schema import Recipe, validate
from clifctl.results.published import Published
from clifctl.training.checkpoint import load_checkpoint, load_weights
from clifctl.training.foreign import KeysDiffer, load_foreign, load_foreign_weights
from clifctl.training.key_map import as_file

Opened = TypeVar("Opened", bound="OpenedCheckpoint")
FOREIGN = "weights of other code load with --recipe, or with --model and --data"
NET_MISSING = "weights of other code need --recipe, or both --model and --data"
NET_EXAMPLE = "for example: --model resnet18 --data cifar100 neuron.name=clif"


@dataclass(frozen=True)
class CheckpointOptions:
    """How a checkpoint is opened and run.

    `foreign_recipe` is the recipe of a state dict of other code, which carries none; where it is
    `without_net` no net was named, and only a NIR graph can be opened, which is one. `dt` is how
    many seconds a time step of such a graph is. `key_map` is a file by which the keys of such a
    state dict are renamed, `proposed_map` one to which a proposal is written where they do not fit.
    `neuron` is a neuron FILE.py:NAME that the checkpoint may load, `root` the folder in which its
    data lie here. With `changed_file` the file of its neuron may be another
    one than it was trained with. Raises UsageError for a map without a `foreign_recipe`.
    """

    foreign_recipe: LoadedRecipe | None = None
    without_net: bool = False
    dt: float | None = None
    key_map: Path | None = None
    proposed_map: Path | None = None
    neuron: str | None = None
    root: Path | None = None
    execution: ExecutionOptions = field(default_factory=ExecutionOptions)
    changed_file: bool = False

    def __post_init__(self) -> None:
        check_connections(self.execution.connections)
        if self.foreign_recipe is not None:
            return
        if self.key_map is not None:
            raise UsageError("--key-map renames the keys of weights of other code", hint=FOREIGN)
        if self.proposed_map is not None:
            raise UsageError("--propose-key-map is for weights of other code", hint=FOREIGN)

    def placed(self, recipe: Recipe) -> Recipe:
        """`recipe`, with its data where they lie here. Raises UsageError for data without files."""
        return recipe if self.root is None else at_root(recipe, self.root)


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A checkpoint's recipe, and what puts its weights into a net.

    `trained_neuron` is the neuron that a converted net was trained with, None of any other."""

    name: str
    recipe: Recipe
    epoch: int | None
    seed: int | None
    fill: Callable[[SpikingNet], None]
    trained_neuron: str | None = None

    def published(self, data: LoadedData) -> Published:
        """The paper's accuracies on `data`; none for a converted net, since the paper's nets were
        trained with the neurons that they have."""
        return published_for(self.recipe, data) if self.trained_neuron is None else Published()

    def net(self, recipe: Recipe, where: torch.device) -> SpikingNet:
        """The net of `recipe` with the checkpoint's weights. Raises CheckpointError."""
        net = unfilled_net(recipe, where)
        self.fill(net)
        return net


@dataclass(frozen=True, kw_only=True)
class OpenedNet(OpenedCheckpoint):
    """A net that is there, as if it came from a checkpoint: it is run itself, and not a copy."""

    own: SpikingNet

    @classmethod
    def of(cls, net: SpikingNet, loaded: LoadedRecipe, *, epoch: int | None = None) -> "OpenedNet":
        """`net`, which was made by the recipe `loaded`, as it was after `epoch`."""
        recipe = loaded.recipe
        return cls(
            name=loaded.name,
            recipe=recipe,
            epoch=epoch,
            seed=recipe.train.seed,
            fill=lambda other: None,
            own=net,
        )

    @property
    def device(self) -> str:
        """Where the net lies."""
        return str(next(self.own.parameters()).device)

    def net(self, recipe: Recipe, where: torch.device) -> SpikingNet:
        """The net, on the device `where`."""
        return self.own.to(where)


def is_checkpoint(source: str) -> bool:
    """Whether `source` is the path of a checkpoint, and not a recipe."""
    path = Path(source)
    if source == "-" or path.suffix in SUFFIXES:
        return False
    return path.exists() or bool(path.suffix)


def refused_override(override: str, why: str, **instead: str) -> UsageError:
    """The error for an override of a checkpoint, which is taken as it was trained; `instead`: key
    -> the option that does something of the kind."""
    key = override.partition("=")[0]
    option = {"data.root": "--root DIR", "root": "--root DIR", **instead}.get(key)
    hint = "KEY=VALUE changes recipes, as with --recipe, or --model and --data"
    if option is not None:
        hint = f"a checkpoint takes {option} instead"
    return UsageError(f"'{override}': {why}", hint=hint)


def open_checkpoint(
    path: Path, options: CheckpointOptions, *, timesteps: int | None = None
) -> OpenedCheckpoint:
    """The checkpoint `path`; `timesteps` replaces the T of its recipe. Raises CheckpointError,
    RecipeError."""
    if is_nir(path):
        for option, given in (
            ("--key-map", options.key_map),
            ("--propose-key-map", options.proposed_map),
        ):
            if given is not None:
                raise UsageError(f"{option}: '{path}' is a NIR graph", hint="leave it out")
        return _open_graph(path, options, timesteps)
    if options.dt is not None:
        raise ArgumentError("dt", options.dt, f"'{path}' is no NIR graph", hint="leave it out")
    if options.without_net:
        raise UsageError(NET_MISSING, hint=NET_EXAMPLE)
    opened = (
        _open(path, options.neuron, options.changed_file)
        if options.foreign_recipe is None
        else _open_foreign(path, options.foreign_recipe, options)
    )
    return for_timesteps(opened, timesteps, f"checkpoint '{path}'")


def for_timesteps(opened: Opened, timesteps: int | None, where: str) -> Opened:
    """`opened` with another T in its recipe, unless that is None. Raises RecipeError."""
    if timesteps is None:
        return opened
    trained = opened.recipe.timesteps
    if timesteps != trained:
        tell_once(f"the net runs for T = {timesteps} time steps; it was trained with T = {trained}")
    document = {**opened.recipe.document, "timesteps": timesteps}
    recipe = validate(document, where, of_a_run=True, overrides=(f"timesteps={timesteps}",))
    return replace(opened, recipe=recipe)


def _open(path: Path, neuron: str | None, changed_file: bool) -> OpenedCheckpoint:
    if neuron is not None and not trust.is_file_reference(neuron):
        raise ArgumentError(
            "neuron",
            neuron,
            "must be FILE.py:NAME, the checkpoint's own neuron",
            hint="leave it out for a neuron of clifctl; clifctl convert puts a net on LIF",
        )
    checkpoint = load_checkpoint(path, foreign=FOREIGN)
    if neuron is not None:
        trust.allow(neuron)
    sources = file_sources_of(checkpoint, path)
    where = f"checkpoint '{path}'"
    document = located(checkpoint.recipe, sources, where, changed_file=changed_file)
    recipe = validate(document, f"recipe of {where}", of_a_run=True)
    recipe = replace(recipe, neuron=recipe.neuron_at(checkpoint.epoch_of_weights))
    # A file that names no sources is of the time when this set alone had ON before OFF.
    if checkpoint.neuron_sources is None and recipe.data.dataset.name == "digits_events":
        tell_once(
            f"{where} was trained when 'digits_events' had ON before OFF: it sees them exchanged "
            "now, so its accuracy and rates are not those that it had; train it again"
        )
    return OpenedCheckpoint(
        checkpoint.recipe_name,
        recipe,
        checkpoint.epoch,
        recipe.train.seed,
        lambda net: load_weights(net, checkpoint, path),
        checkpoint.trained_neuron,
    )


def _open_graph(path: Path, options: CheckpointOptions, timesteps: int | None) -> OpenedCheckpoint:
    given = options.foreign_recipe
    recipe = recipe_of_graph(path, given, dt=options.dt, timesteps=timesteps)
    name = path.name if given is None else given.name
    return OpenedCheckpoint(name, recipe, None, None, lambda net: cast(NirNet, net).fill())


def _open_foreign(path: Path, given: LoadedRecipe, options: CheckpointOptions) -> OpenedCheckpoint:
    foreign = load_foreign(path)
    renaming = None if options.key_map is None else read_key_map(options.key_map)
    proposed = options.proposed_map

    def fill(net: SpikingNet) -> None:
        try:
            load_foreign_weights(net, foreign, path, renaming)
        except KeysDiffer as differ:
            if proposed is None:
                raise
            rules = {} if renaming is None else renaming.rules
            about = f"Keys of '{path}' for {given.recipe.model.model.name}, by their shapes"
            text = as_file(differ.missing, differ.unexpected, rules, about)
            write_output(proposed, lambda file: file.write(text.encode()))
            raise CheckpointError(
                differ.message,
                hint=f"a map is proposed in '{proposed}': look it through, then --key-map "
                f"{proposed}",
            ) from None
        if proposed is not None:
            tell_once(f"the keys of '{path}' fit: '{proposed}' was not written")

    return OpenedCheckpoint(given.name, given.recipe, foreign.epoch, None, fill)

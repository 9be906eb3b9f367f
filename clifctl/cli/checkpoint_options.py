"""The options of commands that open a checkpoint: whose it is, its data, where its net runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clifctl.cli.completion import complete_data, complete_model
from clifctl.cli.execution_options import Execution
from clifctl.cli.options import ChangedFileOption, Output, Shared
from clifctl.errors import UsageError
from clifctl.experiments.run.execution import ExecutionOptions

if TYPE_CHECKING:
    from clifctl.experiments.checkpoints import CheckpointOptions
    from clifctl.recipe.load import LoadedRecipe

_TIMESTEPS = "timesteps="

CheckpointArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A run's last.pt or best.pt, weights of other code, or a NIR graph.",
    ),
]


@dataclass(frozen=True)
class _Choice:
    """The values of the options that say how a checkpoint is opened and run."""

    recipe: str | None
    data: str | None
    model: str | None
    neuron: str | None
    root: Path | None
    dt: float | None
    key_map: Path | None
    propose_key_map: Path | None
    changed_file: bool
    execution: ExecutionOptions

    def options(self, overrides: Sequence[str], output: Output) -> "CheckpointOptions":
        """How the checkpoint is opened; what its recipe has to say goes to stderr. Raises
        UsageError for `overrides` without a recipe that they could change."""
        if overrides and not self.names_a_recipe:
            from clifctl.experiments.checkpoints import refused_override

            why = "a checkpoint of clifctl is evaluated as it was trained"
            raise refused_override(overrides[0], why)
        return self._options(overrides, output)

    def options_and_timesteps(
        self, overrides: Sequence[str], output: Output
    ) -> "tuple[CheckpointOptions, int | None]":
        """The same, and the T of `timesteps=T`: the one override that a checkpoint takes."""
        if self.names_a_recipe:
            return self._options(overrides, output), None
        own = [given for given in overrides if given.startswith(_TIMESTEPS)]
        options = self.options([given for given in overrides if given not in own], output)
        if not own:
            return options, None
        from clifctl.recipe.load import read_timesteps

        return options, read_timesteps(own[-1].removeprefix(_TIMESTEPS))

    def options_of_source(self, overrides: Sequence[str], output: Output) -> "CheckpointOptions":
        """The same where the source may be a recipe, which `overrides` then change."""
        return self._options(overrides if self.names_a_recipe else (), output)

    @property
    def names_a_recipe(self) -> bool:
        """Whether weights of other code are given a recipe, or a net and a data set."""
        return bool(self.recipe or self.data or self.model)

    @property
    def words(self) -> tuple[str, ...]:
        """The options without which a net or its data are not found, as a command line has them."""
        names = ("recipe", "data", "model", "root", "dt", "key_map")
        given = {name.replace("_", "-"): getattr(self, name) for name in names}
        pairs = ((f"--{name}", str(one)) for name, one in given.items() if one is not None)
        return tuple(word for pair in pairs for word in pair)

    def _options(self, overrides: Sequence[str], output: Output) -> "CheckpointOptions":
        from clifctl.experiments.checkpoints import CheckpointOptions

        if self.propose_key_map is not None:
            apart = () if self.key_map is None else (self.key_map,)
            output.may_write(self.propose_key_map, apart_from=apart)
            output.keep_apart(self.propose_key_map)
        foreign = self._foreign_recipe(list(overrides))
        for notice in foreign.notices if foreign else ():
            output.notice(notice)
        return CheckpointOptions(
            foreign_recipe=foreign,
            without_net=self.data is not None and self.model is None,
            dt=self.dt,
            key_map=self.key_map,
            proposed_map=self.propose_key_map,
            neuron=self.neuron,
            root=self.root,
            changed_file=self.changed_file,
            execution=self.execution,
        )

    def _foreign_recipe(self, overrides: list[str]) -> "LoadedRecipe | None":
        if (self.model and not self.data) or (self.recipe and self.data):
            from clifctl.experiments.checkpoints import NET_EXAMPLE, NET_MISSING

            raise UsageError(NET_MISSING, hint=NET_EXAMPLE)
        from clifctl.recipe.load import bare_recipe, load_recipe

        if self.recipe:
            return load_recipe(self.recipe, overrides)
        if self.data:
            return bare_recipe(self.data, self.model, overrides)
        return None


def _choice(
    *,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="For weights of other code: a recipe with their net and data; for a NIR graph: "
            "with its data."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Instead of --recipe: the data set.", autocompletion=complete_data),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Instead of --recipe: the net (a NIR graph is one itself).",
            autocompletion=complete_model,
        ),
    ] = None,
    neuron: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:NAME", help="Older name of --trust."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder of the data, if not the one in the recipe.")
    ] = None,
    dt: Annotated[
        float | None,
        typer.Option(
            "--dt",
            metavar="SECONDS",
            help="How long a time step of a NIR graph is (default: 1e-4, as writers take it).",
        ),
    ] = None,
    key_map: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="For weights of other code: a file of lines 'their key: our key'. A key that ends "
            "in a dot stands for all that begin with it; null leaves a key out.",
        ),
    ] = None,
    propose_key_map: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="Where the keys of such weights do not fit: write a map to edit there, of what "
            "shapes tell.",
        ),
    ] = None,
    changed_file: ChangedFileOption = False,
    execution: Execution,
) -> _Choice:
    return _Choice(
        recipe, data, model, neuron, root, dt, key_map, propose_key_map, changed_file, execution
    )


CheckpointChoice = Annotated[_Choice, Shared(_choice)]

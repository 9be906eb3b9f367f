"""What the commands share that open a checkpoint: whose it is, its data, where its net runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clifctl.cli.options import (
    ConnectionsOption,
    DeviceOption,
    Output,
    TargetOption,
    ThreadsOption,
    command,
    with_options,
)
from clifctl.errors import UsageError

if TYPE_CHECKING:
    from clifctl.experiments.checkpoints import CheckpointOptions
    from clifctl.recipe.load import LoadedRecipe

CheckpointArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT", help="A last.pt or best.pt of a run, or other code's weights."
    ),
]


@dataclass(frozen=True)
class CheckpointChoice:
    """The values of the shared options."""

    recipe: str | None
    data: str | None
    model: str | None
    neuron: str | None
    root: Path | None
    device: str
    target: str
    connections: str
    threads: int | None

    def opening(self, overrides: Sequence[str], output: Output) -> "CheckpointOptions":
        """How the checkpoint is opened; what its recipe has to say goes to stderr. Raises
        UsageError for `overrides` without a recipe that they could change."""
        if overrides and not self.names_a_recipe:
            from clifctl.experiments.checkpoints import refused_override

            why = "a checkpoint of clifctl is evaluated as it was trained"
            raise refused_override(overrides[0], why)
        return self._opening(overrides, output)

    def opening_of_source(self, overrides: Sequence[str], output: Output) -> "CheckpointOptions":
        """The same where the source may be a recipe, which `overrides` then change."""
        return self._opening(overrides if self.names_a_recipe else (), output)

    @property
    def names_a_recipe(self) -> bool:
        """Whether weights of other code are given a recipe, or a net and a data set."""
        return bool(self.recipe or self.data or self.model)

    def _opening(self, overrides: Sequence[str], output: Output) -> "CheckpointOptions":
        from clifctl.experiments.checkpoints import CheckpointOptions

        foreign = self._foreign_recipe(list(overrides))
        for notice in foreign.notices if foreign else ():
            output.notice(notice)
        return CheckpointOptions(
            foreign_recipe=foreign,
            neuron=self.neuron,
            root=self.root,
            device=self.device,
            target=self.target,
            connections=self.connections,
            threads=self.threads,
        )

    def _foreign_recipe(self, overrides: list[str]) -> "LoadedRecipe | None":
        if (self.data is None) != (self.model is None) or (self.recipe and self.data):
            raise UsageError(
                "weights of other code need --recipe, or both --model and --data",
                hint="for example: --model resnet18 --data cifar100 neuron.name=clif",
            )
        from clifctl.recipe.load import bare_recipe, load_recipe

        if self.recipe:
            return load_recipe(self.recipe, overrides)
        if self.data and self.model:
            return bare_recipe(self.data, self.model, overrides)
        return None


def opening_command(
    app: typer.Typer, name: str, *, example: str, output_help: str | None = None
) -> Callable[[Any], Any]:
    """Register a function as a command with the shared options, given to it as `choice`; the rest
    is `clifctl.cli.options.command`'s."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        combined = with_options(function, "choice", _shared, CheckpointChoice)
        command(app, name, example=example, output_help=output_help)(combined)
        return function

    return register


def _shared(
    *,
    recipe: Annotated[
        str | None,
        typer.Option(help="For weights of other code: the recipe of their net and data."),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Instead of a recipe: the data set.")] = None,
    model: Annotated[str | None, typer.Option(help="Instead of a recipe: the net.")] = None,
    neuron: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:NAME", help="The older name of --trust."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the data lie here, if not where the recipe says.")
    ] = None,
    device: DeviceOption = "auto",
    target: TargetOption = "auto",
    connections: ConnectionsOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Never called: its signature is what the commands share."""

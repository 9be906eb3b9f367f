"""`evaluate`: a checkpoint, or a net, on the test data of its recipe."""

import os
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from clifctl.api.nets import Checkpoint
from clifctl.api.recipe import Recipe, as_recipe
from clifctl.api.session import Trusted, in_pythons_words, session
from clifctl.errors import ArgumentError
from clifctl.experiments.checkpoints import CheckpointOptions, OpenedNet
from clifctl.experiments.eval import EvalRequest, evaluate_checkpoint, evaluate_net
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.models import SpikingNet
from clifctl.models.own.net import own_net_of
from clifctl.results.eval import EvalResult

Source = Checkpoint | nn.Module | str | os.PathLike[str]


def evaluate(
    source: Source,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    /,
    *,
    timesteps: int | None = None,
    use_batch_statistics: bool = False,
    per_class: bool = False,
    confusion: bool = False,
    root: str | os.PathLike[str] | None = None,
    device: str = "auto",
    target: str = "auto",
    connections: str = "auto",
    threads: int | None = None,
    dt: float | None = None,
    trust: Sequence[str] = (),
    changed_file: bool = False,
) -> EvalResult:
    """Accuracy, losses and firing rates on the test data: what `clifctl eval` gives.

    `source` is the path of a checkpoint (with `recipe` and `dt` as for `load`), what `load` gives,
    or a net with its `recipe`: one of clifctl's, or any module `[T, N, *input_shape]` to logits
    `[T, N, classes]` or `[N, classes]` whose layers of neurons are those of `clifctl.nn` or of
    SpikingJelly, of which a copy is run. A net is run where it lies: `device`, `target` and
    `connections` are of checkpoints. `timesteps` replaces the T of the recipe,
    `use_batch_statistics` the running averages of batch norm, `root` the folder of the data;
    `per_class` adds a count of every class, `confusion` one of every pair of classes.

    Raises CheckpointError, ModelError, RecipeError, DataError, UsageError.

    >>> import clifctl
    >>> result = clifctl.evaluate("run/last.pt")
    >>> result.samples, len(result.accuracy_percent_per_step), len(result.firing_rates)
    (500, 2, 5)
    >>> result.to_dict()["schema"]
    'clifctl.eval/1'
    """
    chosen = None if recipe is None else as_recipe(recipe)
    with in_pythons_words():
        opened = as_opened(source, chosen)
    trusted = trusted_by(source, chosen).also(trust)
    with session(trusted):
        options = CheckpointOptions(
            foreign_recipe=None if chosen is None else chosen.loaded,
            root=None if root is None else Path(root),
            execution=ExecutionOptions(
                opened.device if isinstance(opened, OpenedNet) else device,
                target,
                connections,
                threads,
            ),
            dt=dt,
            changed_file=changed_file,
        )
        request = EvalRequest(
            timesteps=timesteps,
            use_batch_statistics=use_batch_statistics,
            per_class=per_class,
            confusion=confusion,
        )
        if isinstance(opened, OpenedNet):
            return evaluate_net(opened, options, request)
        return evaluate_checkpoint(opened, options, request)


def as_opened(source: Source, recipe: Recipe | None) -> OpenedNet | Path:
    """A net, and one that was loaded, as what a checkpoint is opened as, of another module a copy;
    a path as it is. Raises
    ArgumentError for a net without its recipe, ModelError for a module that breaks the contract."""
    if isinstance(source, Checkpoint):
        return OpenedNet.of(source.net, source.recipe.loaded, epoch=source.epoch)
    if not isinstance(source, nn.Module):
        return Path(source)
    if recipe is None:
        raise ArgumentError("recipe", None, "a net needs the one of its data and T")
    net = source
    if not isinstance(net, SpikingNet):
        net = own_net_of(
            net,
            input_shape=recipe.input_shape,
            timesteps=recipe.timesteps,
            classes=recipe.classes,
        )
    return OpenedNet.of(net, recipe.loaded)


def trusted_by(source: Source, recipe: Recipe | None) -> Trusted:
    """The files of the recipe that is given, or that a checkpoint came with."""
    own = source.recipe if isinstance(source, Checkpoint) else recipe
    return Trusted() if own is None else own.trusted

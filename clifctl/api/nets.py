"""`build_net` and `load`: a net with fresh weights, and one from a checkpoint."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from clifctl.api.recipe import Recipe, as_recipe
from clifctl.api.session import Trusted, in_pythons_words, session
from clifctl.devices import CPU
from clifctl.errors import ArgumentError, UsageError, unknown_name
from clifctl.experiments.build import build_net as net_of
from clifctl.experiments.build import run_on
from clifctl.experiments.checkpoints import CheckpointOptions, open_checkpoint
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.models import Model, NeuronChoice, SpikingNet
from clifctl.models.options import NetOptions
from clifctl.recipe.load import LoadedRecipe, RecipeSource
from clifctl.recipe.neuron_specs import read_specs
from clifctl.recipe.schema import row_of
from clifctl.strict import in_words


@dataclass(frozen=True)
class Checkpoint:
    """What `load` gives: a net with its weights, in evaluation mode, and the recipe that it was
    trained by.

    `net(x, repeat=...)` takes `x` `[T, N, *input_shape]`, of a static image `[1, N, *input_shape]`
    with `repeat` = T, and returns logits `[T, N, classes]` and the final states. `epoch` is the one
    it was saved after, None where the file does not say; `trained_neuron` the neuron that a
    converted net was trained with, None of any other.
    """

    net: SpikingNet
    recipe: Recipe
    path: Path
    epoch: int | None
    trained_neuron: str | None


def build_net(
    recipe: Recipe | str | os.PathLike[str],
    /,
    *,
    input_shape: Sequence[int] | None = None,
    classes: int | None = None,
    timesteps: int | None = None,
    neuron: str | None = None,
    seed: int | None = None,
    trust: Sequence[str] = (),
    **options: Any,
) -> SpikingNet:
    """The net of a recipe, or of a model's name with `input_shape`, `classes`, `timesteps`, a
    `neuron` (NAME or `"lif(tau=4)"`, default clif) and the model's own options.

    The net takes `[T, N, *input_shape]` (with `repeat` = T: `[1, N, *input_shape]`, the same input
    at each step) and returns logits `[T, N, classes]` and the final states. Its weights
    are drawn from torch's generator, or from `seed`, which leaves that alone: with the `train.seed`
    of a recipe they are those that its training begins with.

    Raises RecipeError or UsageError for what it cannot be built of.

    >>> import clifctl, torch
    >>> net = clifctl.build_net("digits_snn5", seed=0)
    >>> logits, states = net(torch.rand(1, 3, 1, 8, 8), repeat=6)
    >>> logits.shape
    torch.Size([6, 3, 10])
    >>> net = clifctl.build_net(
    ...     "mlp", input_shape=(1, 8, 8), classes=10, timesteps=4, neuron="lif(tau=4)", hidden=[16]
    ... )
    >>> net(torch.rand(4, 3, 1, 8, 8))[0].shape
    torch.Size([4, 3, 10])
    """
    given = {"input_shape": input_shape, "classes": classes, "timesteps": timesteps}
    with in_pythons_words(), _drawing_from(seed):
        model = None if isinstance(recipe, Recipe) else _model(os.fspath(recipe), trust)
        if model is not None:
            return _net(model, given, neuron or "clif", options)
        for name, value in {**given, "neuron": neuron, **options}.items():
            if value is not None:
                raise ArgumentError(
                    name,
                    value,
                    "the recipe says what it is",
                    hint=f"change that: clifctl.load_recipe({str(recipe)!r}, ...)",
                )
        return net_of(as_recipe(recipe, trust).loaded.recipe)


@contextmanager
def _drawing_from(seed: int | None) -> Iterator[None]:
    """Within it torch's generator begins with `seed`, and is left alone; None: it is used."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _model(name: str, trust: Sequence[str]) -> Model | None:
    with session(Trusted().also(trust)):
        found: Model | None = row_of("model", name)
        return found


def _net(model: Model, shapes: dict[str, Any], neuron: str, options: dict[str, Any]) -> SpikingNet:
    for name, value in shapes.items():
        if value is None:
            raise ArgumentError(
                name, None, f"model '{model.name}' needs it", hint="or give the name of a recipe"
            )
    (spec,) = read_specs([neuron]).values()
    net = model.build(
        _options(model, options),
        **{**shapes, "input_shape": tuple(shapes["input_shape"])},
        neuron=NeuronChoice(spec.neuron, spec.neuron.with_values(**spec.keys)),
    )
    return net.to(memory_format=torch.channels_last)


def _options(model: Model, values: dict[str, Any]) -> NetOptions:
    try:
        return model.options.model_validate(values)
    except ValidationError as invalid:
        problem = invalid.errors()[0]
        where, known = ".".join(map(str, problem["loc"])), model.options.model_fields
        said = f"{where} = {problem['input']!r}: {in_words(problem)}"
        if problem["type"] == "extra_forbidden":
            said = unknown_name("option", where, known)
        raise UsageError(
            f"model '{model.name}': {said}", hint=f"its options: {', '.join(known)}"
        ) from None


def load(
    path: str | os.PathLike[str],
    /,
    *,
    recipe: Recipe | str | None = None,
    timesteps: int | None = None,
    device: str = CPU,
    target: str = "auto",
    connections: str = "auto",
    dt: float | None = None,
    key_map: str | Path | None = None,
    trust: Sequence[str] = (),
    changed_file: bool = False,
) -> Checkpoint:
    """The net of a checkpoint, on `device`, and the recipe that it carries; of a state dict of
    other code, which carries none, `recipe` is that of its net and data, of a NIR graph that of its
    data (and `dt` is how many seconds a time step is). `key_map` is a YAML file of lines
    'their key: our key' for such a state dict.

    `timesteps` replaces the T of the recipe. `target` and `connections` say how the net runs, as on
    the command line. A checkpoint runs no code: a neuron or net of a file of your own has to be
    named by `trust`, FILE.py:NAME, and be the one that it was trained with unless `changed_file`.

    Raises CheckpointError, RecipeError, NeuronError.

    >>> import clifctl, torch
    >>> checkpoint = clifctl.load("run/last.pt")
    >>> checkpoint.recipe, checkpoint.epoch
    (Recipe('digits_snn5': digits, snn5, clif, T = 2), 1)
    >>> checkpoint.net(torch.rand(1, 3, 1, 8, 8), repeat=2)[0].shape
    torch.Size([2, 3, 10])
    """
    given = None if recipe is None else as_recipe(recipe)
    trusted = (Trusted() if given is None else given.trusted).also(trust)
    with session(trusted):
        options = CheckpointOptions(
            foreign_recipe=None if given is None else given.loaded,
            execution=ExecutionOptions(device, target, connections),
            dt=dt,
            key_map=None if key_map is None else Path(key_map),
            changed_file=changed_file,
        )
        opened = open_checkpoint(Path(path), options, timesteps=timesteps)
        execution = options.execution.resolve()
        own = run_on(opened.recipe, execution.kernels)
        net = opened.net(own, execution.device).eval()
        source = RecipeSource(opened.name, f"recipe of '{path}'", own.document, ())
        return Checkpoint(
            net,
            Recipe(LoadedRecipe(opened.name, own), source, trusted),
            Path(path),
            opened.epoch,
            opened.trained_neuron,
        )

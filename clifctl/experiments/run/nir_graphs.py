"""A NIR graph that another program wrote, as a net of a recipe: the file says the net, the recipe
its data and T."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from clifctl.convert.nir_file import BadGraph, of_file, read_nir
from clifctl.convert.nir_net import NirGraph, NirNet, checked
from clifctl.convert.nir_nodes import DT_S
from clifctl.errors import ArgumentError, DataError, UsageError
from clifctl.models import Model, ModelOptions, NeuronChoice
from clifctl.notices import tell_once
from clifctl.recipe.choices import ModelChoice
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.schema import Recipe, validate

# Sections of a recipe that the graph says itself.
_OF_THE_GRAPH = ("model", "neuron")


def recipe_of_graph(
    path: Path, given: LoadedRecipe | None, *, dt: float | None, timesteps: int | None
) -> Recipe:
    """`given` with the net of the graph `path` in the place of its own.

    `dt` is how many seconds a time step is (None: 0.1 ms, what SpikingJelly, snnTorch and clifctl
    write); `timesteps` replaces the T of the recipe. Raises ConversionError for a graph that cannot
    be read, DataError where the data are not of its shape, UsageError where no data are named.
    """
    if dt is not None and not 0 < dt < float("inf"):
        raise ArgumentError("dt", dt, "must be above 0", hint="in seconds: --dt 1e-4")
    file = read_nir(path)
    with of_file(path):
        graph = checked(file, DT_S if dt is None else dt)
        if not any(layer.neuron.neuron.spiking for layer in graph.neurons if layer.neuron):
            raise BadGraph("it has no spiking neurons")
    if given is None:
        raise UsageError(
            f"'{path}' says nothing of data: give a data set and T, or a recipe that has both",
            hint="--data digits timesteps=8, or --recipe digits_snn5",
        )
    _require_no_net(path, given)
    recipe = given.recipe
    if timesteps is not None:
        document = {**recipe.document, "timesteps": timesteps}
        recipe = validate(document, f"'{path}'", overrides=(f"timesteps={timesteps}",))
    _require_fits(path, graph, recipe)
    return _with_net(path.name, graph, recipe)


def _require_no_net(path: Path, given: LoadedRecipe) -> None:
    """Raise UsageError for overrides of what the graph says."""
    for override in given.overrides:
        section = override.partition("=")[0].partition(".")[0]
        if section in _OF_THE_GRAPH:
            raise UsageError(
                f"'{override}': the net of '{path}' is the one in the file",
                hint="leave it out; keys of data, timesteps and eval are the recipe's",
            )


def _require_fits(path: Path, graph: NirGraph, recipe: Recipe) -> None:
    """Raise DataError where the graph is for other samples or classes."""
    name, shape = recipe.data.dataset.name, recipe.data.input_shape
    if shape != graph.input_shape:
        if max(graph.input_shape) != _size(shape) or _size(graph.input_shape) != _size(shape):
            raise DataError(
                f"'{path}' takes samples {list(graph.input_shape)}, those of '{name}' are "
                f"{list(shape)}",
                hint="choose the data, and their keys (size, view), that it was made for",
            )
        tell_once(
            f"'{path}' takes {list(graph.input_shape)}: samples {list(shape)} are flattened, row "
            "by row"
        )
    if graph.output_shape[-1] != _size(graph.output_shape):
        raise DataError(f"'{path}' gives {list(graph.output_shape)} a step, and no list of classes")
    if _size(graph.output_shape) != recipe.data.classes:
        raise DataError(
            f"'{path}' tells {_size(graph.output_shape)} classes apart, '{name}' has "
            f"{recipe.data.classes}",
            hint="choose the data that it was made for",
        )


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _with_net(name: str, graph: NirGraph, recipe: Recipe) -> Recipe:
    neurons = [layer.neuron for layer in graph.neurons if layer.neuron is not None]
    first = next(one for one in neurons if one.neuron.spiking)
    kinds = {layer.name: layer.neuron.neuron.name for layer in graph.neurons if layer.neuron}
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{layer} {kind}" for layer, kind in kinds.items())
        tell_once(f"'{name}' has neurons of several kinds: {said}")

    def build(
        options: ModelOptions,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> NirNet:
        return NirNet(graph, neuron, timesteps)

    values: dict[str, Any] = first.hyperparameters.model_dump(mode="json")
    document = {
        **recipe.document,
        "model": {"name": name},
        "neuron": {"name": first.neuron.name, **values},
    }
    return replace(
        recipe,
        model=ModelChoice(Model(name, "NIR graph", ModelOptions, build), ModelOptions()),
        neuron=NeuronChoice(first.neuron, first.hyperparameters),
        exchange=None,
        document=document,
    )

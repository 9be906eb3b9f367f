"""`models ls`, `models show`, `models cp` and `models check`."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.amounts import counted
from clifctl.analysis.splits import can_split
from clifctl.convert.deployment import require_deployable, require_layers_deployable
from clifctl.convert.graph import read_net
from clifctl.convert.nir_graph import nir_graph
from clifctl.devices import CPU
from clifctl.energy.tracing import trace_net
from clifctl.errors import ClifctlError, ConversionError, UsageError
from clifctl.experiments.build import build_net, parameter_count, repeat_of
from clifctl.experiments.gradients import require_lags, require_spiking
from clifctl.experiments.run.connections import tried_step
from clifctl.files import write_output
from clifctl.models import MODELS, Model, SpikingLayer, firing_modules
from clifctl.models.own.loading import FOREIGN_MODELS
from clifctl.neurons import NEURONS
from clifctl.nn import template
from clifctl.recipe.keys import typed
from clifctl.recipe.load import LoadedRecipe, bare_recipe
from clifctl.recipe.schema import Recipe
from clifctl.results.models import (
    LayerRow,
    ModelCheck,
    ModelList,
    ModelRow,
    ModelShown,
    OptionRow,
    UseRow,
)

DATA = "digits"


def list_models() -> ModelList:
    """Every net of the table and of installed packages."""
    models = (*MODELS.values(), *FOREIGN_MODELS.installed().values())
    return ModelList(models=tuple(map(_row, models)))


def _row(model: Model) -> ModelRow:
    return ModelRow(model=model.name, title=model.title, options=tuple(model.options.model_fields))


def copy_template(path: Path, *, may_write: Callable[[Path], None]) -> tuple[Path, str]:
    """Write the template of a net to `path`, a Python file; the path and the net's name in it.

    `may_write` raises OutputError where the file must not be written. Raises UsageError for a path
    that is no Python file's.
    """
    if path.suffix != ".py" or ":" in str(path):
        raise UsageError(
            f"'{path}': a net's file ends in .py, and has no colon in its path",
            hint="clifctl models cp --template my_net.py",
        )
    may_write(path)
    text = inspect.getsource(template)
    write_output(path, lambda file: file.write(text.encode()))
    return path, template.MyNet.__name__


def recipe_for(model: str, data: str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """A recipe of defaults for a net (a name or FILE.py:NAME, which is run) and the shape of a data
    set, no file of which is read. Raises RecipeError, ModelError, UsageError."""
    return bare_recipe(data, model, overrides)


def show_model(recipe: Recipe) -> ModelShown:
    """The recipe's net. Raises ModelError where one of a person's own breaks the contract."""
    with torch.device("meta"):
        net = build_net(recipe)
    layers = _Layers(net, recipe)
    options = recipe.model.options
    return ModelShown(
        model=recipe.model.model.name,
        title=recipe.model.model.title,
        data=recipe.data.dataset.name,
        input_shape=recipe.data.input_shape,
        classes=recipe.data.classes,
        timesteps=recipe.timesteps,
        neuron=recipe.neuron.neuron.name,
        parameters=parameter_count(net),
        neurons=layers.neurons,
        logits="each step"
        if layers.steps_of_logits > 1 or recipe.timesteps == 1
        else "whole sequence",
        options=tuple(
            OptionRow(name=name, default=typed(field.default), description=field.description or "")
            for name, field in type(options).model_fields.items()
        ),
        layers=tuple(layers.rows),
    )


def check_model(recipe: Recipe, threads: int) -> ModelCheck:
    """The recipe's net, what commands can do with it, and how its connections run. Raises
    ModelError where one of a person's own breaks the contract."""
    shown = show_model(recipe)
    return ModelCheck(
        shown=shown, uses=_uses(recipe, shown), connections=tried_step(recipe, None, threads)
    )


class _Layers:
    """The layers of a net that compute something by themselves, in the order in which they run."""

    def __init__(self, net: nn.Module, recipe: Recipe) -> None:
        self.rows: list[LayerRow] = []
        self.neurons = 0
        self._steps, self._samples = recipe.timesteps, 3 if recipe.timesteps == 2 else 2
        x = torch.empty(self._steps, self._samples, *recipe.data.input_shape, device="meta")
        with ExitStack() as hooks, torch.no_grad():
            for name, module in net.named_modules():
                if isinstance(module, SpikingLayer) or not list(module.children()):
                    hooks.callback(module.register_forward_hook(self._note(name)).remove)
            logits, _ = net.eval()(x)
        self.steps_of_logits = len(logits)

    def _note(self, name: str) -> Any:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            kind = type(module).__name__
            result = output
            if isinstance(module, SpikingLayer):
                kind, result = module.neuron.name, output[0]
                self.neurons += result[0, 0].numel()
            if not isinstance(result, Tensor):
                return
            row = LayerRow(
                layer=name,
                kind=kind,
                output=self._of_one(tuple(result.shape)),
                parameters=parameter_count(module),
            )
            self.rows.append(row)

        return note

    def _of_one(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if shape[:2] == (self._steps, self._samples):
            return shape[2:]
        return (
            shape[1:] if shape[:1] in ((self._steps * self._samples,), (self._samples,)) else shape
        )


def _uses(recipe: Recipe, shown: ModelShown) -> tuple[UseRow, ...]:
    steps = "" if shown.logits == "each step" else "no accuracy after each step: logits are of all"
    return (
        UseRow(command="train", possible=True, note=""),
        UseRow(command="eval", possible=True, note=steps),
        _tried("gradients", lambda: _gradients(recipe)),
        _tried("energy", lambda: _energy(recipe)),
        _tried("convert --to lif", lambda: _to_lif(recipe)),
        _tried("convert --to nir", lambda: _to_nir(recipe)),
    )


def _tried(command: str, attempt: Callable[[], str]) -> UseRow:
    try:
        return UseRow(command=command, possible=True, note=attempt())
    except ClifctlError as refused:
        return UseRow(command=command, possible=False, note=refused.message)


def _gradients(recipe: Recipe) -> str:
    require_spiking(recipe)
    with torch.device("meta"):
        require_lags(build_net(recipe), recipe.model.model.name)
    split = ", and the split of the paper" if can_split(recipe.neuron.neuron) else ""
    return f"lags, reach, windows{split}"


def _energy(recipe: Recipe) -> str:
    with torch.device("meta"):
        net = build_net(recipe)
    shape, repeat = recipe.data.input_shape, repeat_of(recipe)
    graph = trace_net(net, shape, recipe.timesteps, repeat=repeat)
    left_out = graph.unpriced_places
    priced = counted(len(graph.operations) - 1 - len(graph.unpriced), "operation")
    without = f"; in no total, without one: {', '.join(left_out)}" if left_out else ""
    return f"{priced} with a price{without}"


def _to_lif(recipe: Recipe) -> str:
    name = recipe.model.model.name
    if recipe.own_neurons:
        with torch.device("meta"):
            require_layers_deployable(build_net(recipe), name)
        return "each layer with its own constants"
    require_deployable(recipe.neuron.neuron, recipe.neuron.hyperparameters, f"'{name}' is a net of")
    return ""


def _to_nir(recipe: Recipe) -> str:
    try:
        return _nir_nodes(recipe)
    except ConversionError:
        pass
    lif = NEURONS["lif"]
    neuron = replace(recipe.neuron, neuron=lif, hyperparameters=lif.with_values(reset="hard"))
    model = recipe.model
    if recipe.own_neurons:
        model = replace(model, options=model.options.model_copy(update={"nodes": "lif"}))
    on_lif = _nir_nodes(replace(recipe, neuron=neuron, model=model))
    return f"{on_lif}, once it is on LIF neurons that reset hard"


def _nir_nodes(recipe: Recipe) -> str:
    with torch.device(CPU):
        net = build_net(recipe)
    graph = nir_graph(
        read_net(net.double().eval(), recipe.data.input_shape), profile="portable", metadata={}
    )
    layers = counted(len(firing_modules(net)), "layer")
    return f"{counted(len(graph.nodes), 'node')}, {layers} of neurons"

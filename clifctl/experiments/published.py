"""What the paper published for a recipe: looked up by what is run, not by the recipe's name."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from clifctl.data import LoadedData
from clifctl.experiments.run.resume import FREE, PLACES
from clifctl.models import NetOptions
from clifctl.paper import (
    PaperRecipe,
    PublishedDeployment,
    PublishedTruncation,
    accuracies,
    deployment,
    figure_note,
    paper_recipe,
    truncation,
)
from clifctl.recipe.catalog import path_of
from clifctl.recipe.load import load_recipe
from clifctl.recipe.schema import Recipe
from clifctl.results.decoding import flat
from clifctl.results.published import Published, PublishedNumber

# Options of a net that say how it is trained or computed, not which net it is.
HOW_TRAINED = {"batch_norm", "dropout", "fuse_norm"}
# Keys that are no part of a protocol: the same mathematics (but for rounding), or one sample of it.
NO_PROTOCOL = {
    *FREE,
    *PLACES,
    "timesteps",
    "data.in_memory",
    "data.split_seed",
    "model.fuse_norm",
    "train.seed",
    "train.deterministic",
    "train.compile",
    "eval.batch_size",
}
# The net of Figure 2, which prints no numbers, and its data.
FIGURE_2 = ("cifar10", "snn5", 2)
# The figure of Table 3.
FIGURE_6 = 6
# Figures of ResNet-18 on images: LIF and CLIF over T and an exchange; the neurons of others.
NET_OF_FIGURES = "resnet18"
FIGURE_3 = ({"cifar10"}, {"lif", "clif"}, 3)
FIGURE_4 = ({"cifar10", "cifar100"}, {"plif", "klif", "glif"}, 4)


def published_deployment(recipe: Recipe) -> PublishedDeployment | None:
    """The row of Table 8 for the recipe's data, net, neuron and T; None where the paper has none,
    or the recipe changes the net, a constant of the neuron or the neuron itself."""
    neuron = recipe.neuron
    found = deployment(recipe.data.dataset.name, neuron.neuron.name)
    if (
        found is None
        or (found.model, found.timesteps) != (recipe.model.model.name, recipe.timesteps)
        or neuron.hyperparameters != neuron.neuron.hyperparameters()
        or recipe.exchange is not None
        or not _is_full(recipe)
        or not keeps_the_net(recipe)
    ):
        return None
    return found


def published_for(recipe: Recipe, data: LoadedData | None = None) -> Published:
    """The paper's accuracies for the recipe's data, net, neuron, T and window of BPTT, most apt
    first; with a note where the recipe's protocol is not the paper's or samples lack in `data`, or
    on a figure that has no number for it.

    None where the paper has none, and where the recipe changes the net, the neuron's constants, the
    neuron itself or who is tested, for which the paper's number does not stand. A net whose authors
    have a LIF of their own may have that one too: the paper changed nothing but neurons.
    """
    if recipe.exchange is not None or not keeps_the_net(recipe):
        return Published(note=_figure(recipe))
    found = tuple(_numbers(recipe))
    if not found:
        return Published(note=_figure(recipe))
    split = getattr(recipe.data.options, "split", None)
    of_paper = getattr(_shipped(_protocol(recipe)).data.options, "split", None)
    if split != of_paper:
        return Published(
            note=f"the paper's numbers are taken to be of data.split={of_paper}, those of "
            f"{split} do not compare"
        )
    notes = [protocol_note(recipe), _lacking(recipe, data) if data is not None else None]
    return Published(accuracies=found, note="; ".join(filter(None, notes)) or None)


def _numbers(recipe: Recipe) -> Iterator[PublishedNumber]:
    neuron = recipe.neuron
    if _is_full(recipe) and _usual_constants(recipe):
        protocol = _protocol_or_none(recipe)
        found = accuracies(
            data=recipe.data.dataset.name,
            model=recipe.model.model.name,
            neuron=neuron.neuron.name,
            timesteps=recipe.timesteps,
            strong=protocol is not None and protocol.starred,
        )
        for number in found:
            yield PublishedNumber(
                accuracy_percent=number.accuracy_percent,
                source=number.source,
                row=number.row,
                column=number.column,
                note=number.note,
            )
        return
    half = published_truncation(with_full_bptt(recipe) if _is_full(recipe) else recipe)
    if half is None or _is_strong(recipe):
        return
    tau = float(neuron.hyperparameters.tau)  # type: ignore[attr-defined]
    window = recipe.timesteps if neuron.window is None else neuron.window
    percent = half.accuracy_percent.get((tau, window))
    if percent is not None:
        yield PublishedNumber(
            accuracy_percent=percent,
            source=f"Table {half.table}",
            row=f"{half.data} / {window}",
            column=f"tau_{tau}",
            note=half.note,
        )


def protocol_note(recipe: Recipe) -> str | None:
    """In which keys a recipe differs from the shipped one that names the paper's row; None: in
    none, or no shipped recipe does."""
    protocol = _protocol_or_none(recipe)
    if protocol is None:
        return None
    own, theirs = (flat(one.document) for one in (recipe, _shipped(protocol)))
    differing = [
        f"{key} = {_shown(own.get(key))} ({_shown(theirs.get(key))} there)"
        for key in dict.fromkeys([*theirs, *own])
        if key not in NO_PROTOCOL
        and not key.startswith("neuron.")  # what the row was found by
        and own.get(key) != theirs.get(key)
    ]
    if not differing:
        return None
    return (
        f"not the protocol of the paper's number, which is that of the recipe {protocol.recipe}: "
        + ", ".join(differing)
    )


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_strong(recipe: Recipe) -> bool:
    return getattr(recipe.data.options, "augmentation", "none") == "strong"


def _protocol_or_none(recipe: Recipe) -> PaperRecipe | None:
    data, model = recipe.data.dataset.name, recipe.model.model.name
    return paper_recipe(data, model, strong=_is_strong(recipe))


def _protocol(recipe: Recipe) -> PaperRecipe:
    found = _protocol_or_none(recipe)
    if found is None:
        raise ValueError(f"no recipe names the rows of {recipe.model.model.name}")
    return found


@cache
def _shipped(protocol: PaperRecipe) -> Recipe:
    return load_recipe(str(path_of(protocol.recipe))).recipe


def _figure(recipe: Recipe) -> str | None:
    """What can be said of the figure that shows such a run and has no number for it."""
    data, model = recipe.data.dataset.name, recipe.model.model.name
    if (data, model) == FIGURE_2[:2]:
        return figure_note(FIGURE_2[2])
    if model != NET_OF_FIGURES or not keeps_the_net(recipe):
        return None
    for images, neurons, figure in (FIGURE_3, FIGURE_4):
        if data in images and recipe.neuron.neuron.name in neurons:
            return figure_note(figure)
    return None


def figure_of_windows(recipe: Recipe) -> str | None:
    """What can be said of the figure that shows what a window of BPTT does to such a net."""
    if published_truncation(recipe) is not None:
        return figure_note(FIGURE_6)
    data, model = recipe.data.dataset.name, recipe.model.model.name
    return figure_note(FIGURE_2[2]) if (data, model) == FIGURE_2[:2] else None


def _lacking(recipe: Recipe, data: LoadedData) -> str | None:
    """What to say where event data have fewer samples than the paper's; None: they have all."""
    camera = recipe.data.dataset.camera
    if camera is None or camera.complete is None:
        return None
    held_out = 0 if data.validation is None else len(data.validation)
    there = {"train": len(data.train) + held_out, "test": len(data.test)}
    few = [
        f"{there[part]:,} of {complete:,} {part} samples"
        for part, complete in camera.complete.items()
        if there[part] != complete
    ]
    return f"there are {' and '.join(few)}: results do not compare" if few else None


def published_truncation(recipe: Recipe) -> PublishedTruncation | None:
    """The half of Table 3 for the recipe's data, net, neuron and T, whatever its tau and window;
    None where the paper has none, or the recipe changes the net or another constant."""
    neuron, model = recipe.neuron, recipe.model
    if recipe.exchange is not None or neuron.window_mode != "sliding":
        return None
    usual = neuron.neuron.hyperparameters()
    changed = {name for name, value in neuron.hyperparameters if value != getattr(usual, name)}
    if changed - {"tau"} or not keeps_the_net(recipe):
        return None
    key = (recipe.data.dataset.name, model.model.name, neuron.neuron.name, recipe.timesteps)
    for half in truncation():
        if (half.data, half.model, half.neuron, half.timesteps) == key:
            return half
    return None


def with_full_bptt(recipe: Recipe) -> Recipe:
    """`recipe` without a window: what a window of T is in any mode."""
    neuron = replace(recipe.neuron, window=None, window_mode="sliding")
    return replace(recipe, neuron=neuron)


def _is_full(recipe: Recipe) -> bool:
    """Whether BPTT is not truncated, in whatever way that is written."""
    window = recipe.neuron.window
    return window is None or window >= recipe.timesteps


def _usual_constants(recipe: Recipe) -> bool:
    neuron, own = recipe.neuron, recipe.model.model.own_neuron
    kind = neuron.neuron.hyperparameters
    usual = [kind()]
    if own is not None and neuron.neuron.name == "lif":
        usual.append(kind(**own))
    return neuron.hyperparameters in usual


def keeps_the_net(recipe: Recipe) -> bool:
    """Whether the recipe's net is the paper's, in width and kernels."""
    options = recipe.model.options
    return options.model_fields_set <= HOW_TRAINED | _unchanged(options)


def _unchanged(options: NetOptions) -> set[str]:
    fields = type(options).model_fields
    return {name for name, field in fields.items() if getattr(options, name) == field.default}

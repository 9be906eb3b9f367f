"""What the paper published for a recipe: looked up by what is run, not by the recipe's name."""

from clifctl.data import LoadedData
from clifctl.models import ModelOptions
from clifctl.paper import (
    PublishedDeployment,
    PublishedTruncation,
    accuracies,
    deployment,
    figure_note,
    truncation,
)
from clifctl.recipe.schema import Recipe
from clifctl.results import Published, PublishedNumber

# Where Table 1 prints two numbers, the second for strong augmentation; for other data sets one.
STARRED = ("cifar10", "cifar100")
# Options of a net that say how it is trained, not which net it is.
HOW_TRAINED = {"batch_norm", "dropout"}
# Which split a net's row of Table 2 is taken to be of, where the data have several.
SPLITS = {("cifar10_dvs", "vgg11"): "authors", ("cifar10_dvs", "vggsnn"): "tebn"}
# The net of Figure 2, which prints no numbers, and its data.
FIGURE_2 = ("cifar10", "snn5", 2)


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
        or not keeps_the_net(recipe)
    ):
        return None
    return found


def published_for(recipe: Recipe, data: LoadedData | None = None) -> Published:
    """The paper's accuracies for the recipe's data, net, neuron and T, most apt first; with a note
    where samples lack in `data`.

    None where the paper has none, and where the recipe changes the net, the neuron's constants, the
    neuron itself, the window of BPTT or who is tested, for which the paper's number does not stand.
    A net whose authors have a LIF of their own may have that one too: the paper changed nothing but
    neurons.
    """
    neuron, model = recipe.neuron, recipe.model
    images, net, figure = FIGURE_2
    if (recipe.data.dataset.name, model.model.name) == (images, net):
        return Published(note=figure_note(figure))
    if (
        neuron.window is not None
        or recipe.exchange is not None
        or not _usual_constants(recipe)
        or not keeps_the_net(recipe)
    ):
        return Published()
    split = getattr(recipe.data.options, "split", None)
    of_paper = SPLITS.get((recipe.data.dataset.name, model.model.name), split)
    found = accuracies(
        data=recipe.data.dataset.name,
        model=model.model.name,
        neuron=neuron.neuron.name,
        timesteps=recipe.timesteps,
        strong=recipe.data.dataset.name in STARRED
        and getattr(recipe.data.options, "augmentation", "none") == "strong",
    )
    if found and split != of_paper:
        return Published(
            note=f"the paper's numbers are taken to be of data.split={of_paper}, those of "
            f"{split} do not compare"
        )
    return Published(
        accuracies=tuple(
            PublishedNumber(
                accuracy_percent=number.accuracy_percent,
                source=f"Table {number.table}",
                row=number.row,
                column=number.column,
                note=number.note,
            )
            for number in found
        ),
        note=_lacking(recipe, data) if found and data is not None else None,
    )


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
    if neuron.window_reading != "sliding" or recipe.exchange is not None:
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


def _unchanged(options: ModelOptions) -> set[str]:
    fields = type(options).model_fields
    return {name for name, field in fields.items() if getattr(options, name) == field.default}

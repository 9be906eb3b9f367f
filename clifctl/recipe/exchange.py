"""The exchange of neurons in the middle of a run: `neuron.exchange: {epoch: E, to: clif}`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field, ValidationError

from clifctl.amounts import counted
from clifctl.errors import RecipeError, unknown_name
from clifctl.models import NeuronChoice
from clifctl.neurons import NEURONS, Neuron
from clifctl.recipe.problems import Problem
from clifctl.strict import Count, Strict, in_words
from clifctl.trust import is_file_reference


class ExchangeSection(Strict):
    """Another neuron from the middle of a run on (Figure 3a)."""

    epoch: Count = Field(description="last epoch with the neuron that the run began with")
    to: str = Field(description="neuron of the epochs after it")


@dataclass(frozen=True)
class Exchange:
    """`neuron` takes over after `epoch`. Weights and the optimizer's state stay as they are."""

    epoch: int
    neuron: NeuronChoice


def exchange_of(
    neuron: NeuronChoice, section: ExchangeSection | None, find: Callable[[str], Neuron]
) -> Exchange | None:
    """The exchange that a valid section asks for; the new neuron keeps the constants that both
    neurons have. Raises RecipeError where it does not allow one of them."""
    if section is None:
        return None
    new = find(section.to)
    shared = {
        name: value
        for name, value in neuron.hyperparameters
        if name in new.hyperparameters.model_fields
    }
    try:
        hyperparameters = new.hyperparameters(**shared)
    except ValidationError as invalid:
        problem = invalid.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise RecipeError(
            f"neuron.exchange: '{new.name}' does not allow {where} = {problem['input']!r} of "
            f"'{neuron.neuron.name}': it {in_words(problem)}"
        ) from None
    return Exchange(section.epoch, replace(neuron, neuron=new, hyperparameters=hyperparameters))


def exchange_problems(
    document: dict[str, Any], neuron: Neuron, find: Callable[[str], Neuron | None]
) -> list[Problem]:
    """What is wrong with the exchange of a recipe's document, whose own neuron is `neuron`."""
    section = document["neuron"].get("exchange")
    if not isinstance(section, dict):
        return []
    problems: list[Problem] = []
    train = document.get("train")
    epochs = train.get("epochs") if isinstance(train, dict) else None
    epoch, to = section.get("epoch"), section.get("to")
    if isinstance(epoch, int) and isinstance(epochs, int) and epoch >= epochs:
        said = f" = {epoch}: must be less than train.epochs = {epochs}"
        problems.append(Problem("neuron.exchange.epoch", said))
    if not isinstance(to, str):
        return problems
    new = find(to)
    if new is None and is_file_reference(to):
        return problems  # not trusted, which is reported when all else is right
    if new is None:
        said = f": {unknown_name('neuron', to, NEURONS)}"
        return [*problems, Problem("neuron.exchange.to", said)]
    problems += [
        Problem(
            "neuron.exchange",
            f": '{one.name}' has learnable parameters, which the exchange would have to invent or "
            "to lose: both neurons must be without",
        )
        for one in (neuron, new)
        if one.learnables
    ]
    timesteps = document.get("timesteps")
    if new.max_timesteps and isinstance(timesteps, int) and timesteps > new.max_timesteps:
        most = counted(new.max_timesteps, "time step")
        problems.append(Problem("neuron.exchange.to", f": neuron '{new.name}' allows {most}"))
    return problems

"""The keywords of a person's own net as keys of a recipe's section `model`."""

import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from torch import nn

from clifctl.errors import ModelError
from clifctl.models.options import NetOptions
from clifctl.neurons import Neuron

# What every net is told, if it asks for it.
GIVEN = ("input_shape", "classes", "timesteps", "neuron")
NODES = "nodes"
_PLAIN = (bool, int, float, str)


class OwnOptions(NetOptions):
    """What every net of a person's own has."""

    nodes: Literal["recipe", "own", "lif"] = Field(
        "recipe",
        description="what layers of neurons become that the net does not build by "
        "neuron(channels), as SpikingJelly's: the recipe's neuron, their own, or LIF with their "
        "own constants and the recipe's reset",
    )

    def notices(self, neuron: Neuron) -> tuple[str, ...]:
        """The notice that nodes keep their own neurons, where that was asked for."""
        if self.nodes == "recipe":
            return ()
        theirs = "keep their own" if self.nodes == "own" else "are LIF with their own constants"
        return (
            f"model.nodes={self.nodes}: layers of neurons that the net does not build by "
            f"neuron(channels) {theirs}; neuron.name={neuron.name} is the neuron of the others",
        )


def options_of(maker: Callable[..., nn.Module], where: str) -> type[OwnOptions]:
    """The options of the net that `maker` (a class or a function) builds: its keywords that have a
    default and can be written in YAML. Raises ModelError for a keyword without a default, one whose
    default is not of its type, and one that is called `name` or `nodes`."""
    fields: dict[str, Any] = {}
    for name, parameter in parameters_of(maker, where).items():
        if name in GIVEN or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            raise ModelError(
                f"{where} needs '{name}', which nothing gives it",
                hint=f"a net gets {', '.join(GIVEN)}; what else it takes needs a default",
            )
        kind = _kind(_annotations(maker).get(name), parameter.default)
        if kind is None:
            continue
        if name in ("name", NODES) or hasattr(NetOptions, name):
            raise ModelError(
                f"{where} has a keyword '{name}', which is taken", hint="give it another name"
            )
        fields[name] = (kind, Field(parameter.default, description="keyword of the net"))
    return _checked_defaults(fields, where)


def parameters_of(maker: Callable[..., nn.Module], where: str) -> "dict[str, inspect.Parameter]":
    """What `maker` takes, by name."""
    try:
        found = dict(inspect.signature(maker).parameters)
    except (TypeError, ValueError):
        raise ModelError(f"{where}: what it takes cannot be read") from None
    return found


def _checked_defaults(fields: dict[str, Any], where: str) -> type[OwnOptions]:
    made = create_model("OwnNetOptions", __base__=OwnOptions, **fields)
    try:
        made(**{name: field.default for name, (_, field) in fields.items()})
    except ValidationError as invalid:
        problem = invalid.errors()[0]
        name = str(problem["loc"][0]) if problem["loc"] else "a keyword"
        raise ModelError(
            f"{where}: the default {problem['input']!r} of '{name}' is not of its type",
            hint="as in width: int = 32",
        ) from None
    return made


def _annotations(maker: Callable[..., nn.Module]) -> dict[str, Any]:
    function = maker.__init__ if isinstance(maker, type) else maker  # type: ignore[misc]
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # a name that exists for type checkers alone
        return {}


def _kind(annotation: Any, default: Any) -> Any:
    """The type of a key; None for what cannot be written in YAML."""
    if annotation in (None, Any):
        annotation = _of_default(default)
    elif get_origin(annotation) in (list, tuple, Sequence):
        entries = [one for one in get_args(annotation) if one is not ...]
        if get_origin(annotation) is tuple and ... not in get_args(annotation):
            annotation = Annotated[annotation, Field(strict=False)]
        else:
            annotation = _listed(entries[0] if entries else Any, get_origin(annotation))
    elif annotation in (list, tuple):
        annotation = _of_default(default)
    if annotation is None:
        return None
    try:
        create_model("Try", __config__=ConfigDict(strict=True), x=(annotation, ...))
    except PydanticUserError:
        return None
    return annotation


def _of_default(default: Any) -> Any:
    if type(default) in _PLAIN:
        return type(default)
    if type(default) in (list, tuple):
        entries = {type(one) for one in default}
        entry = float if entries == {int, float} else next(iter(entries), Any)
        return _listed(entry, type(default)) if len(entries) == 1 or entry is float else None
    return None


def _listed(entry: Any, container: Any) -> Any:
    entries = Annotated[entry, Field(strict=True)]
    whole = list[entries] if container is list else tuple[entries, ...]
    return Annotated[whole, Field(strict=False)]

"""A net by its name: of the table, of an installed package, or of a person's own file."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from clifctl.errors import ModelError
from clifctl.foreign_code import ForeignCode
from clifctl.models.model import Model
from clifctl.models.own.net import OwnBuild
from clifctl.models.own.options import options_of


def _checked(value: object, where: str) -> Model:
    if isinstance(value, Model):
        return value
    if isinstance(value, nn.Module) or not callable(value):
        what = "a module that is built already" if isinstance(value, nn.Module) else repr(value)
        raise ModelError(
            f"{where} is {what:.80}, and not a class of torch.nn.Module",
            hint="name the class, or a function that builds the net",
        )
    if isinstance(value, type) and not issubclass(value, nn.Module):
        raise ModelError(
            f"{where} is the class {value.__name__}, and not one of torch.nn.Module",
            hint="class MyNet(nn.Module)",
        )
    first = (inspect.getdoc(value) or "").partition("\n")[0]
    of_torch = first == (inspect.getdoc(nn.Module) or "").partition("\n")[0]
    code = getattr(value.forward if isinstance(value, type) else value, "__code__", None)
    build = OwnBuild(value, where, getattr(code, "co_filename", None))
    title = first if first and not of_torch else "a net of a person's own"
    return Model("", title, options_of(value, where), build, own=True)


def _renamed(model: Model, name: str) -> Model:
    return replace(model, name=name)


def _offered(values: Mapping[str, Any]) -> list[str]:
    """The classes of nets that a file declares itself."""
    return [
        name
        for name, value in values.items()
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.__module__ == values.get("__name__")
    ]


FOREIGN_MODELS = ForeignCode(
    "model",
    group="clifctl.models",
    listed_by="clifctl models ls",
    error=ModelError,
    checked=_checked,
    renamed=_renamed,
    offered=_offered,
)

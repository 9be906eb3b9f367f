"""Flags in the help: they take no value, so none is shown behind them."""

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose flags are shown without a value."""

    def get_params(self, ctx: Any) -> Any:
        """Its options and arguments."""
        return _without_value(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands, in the same way."""

    def get_params(self, ctx: Any) -> Any:
        """Its options."""
        return _without_value(super().get_params(ctx))


def _without_value(parameters: Any) -> Any:
    for one in parameters:
        # What typer adds has no default.
        added = {"--help", "--install-completion", "--show-completion"} & {*one.opts}
        is_flag = isinstance(one.default, bool) or added
        if is_flag and one.metavar is None:
            one.metavar = ""
    return parameters

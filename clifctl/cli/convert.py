"""`clifctl convert`."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from clifctl.cli.checkpoint_options import CheckpointArgument, CheckpointChoice
from clifctl.cli.exports import EXPORTS
from clifctl.cli.options import Output, OverridesArgument, Shared, command, name_after
from clifctl.errors import UsageError
from clifctl.report.render import ENDINGS


class _OwnOptions:
    """Makes a mapping of `--to` and the options of every target, by their names."""

    @property
    def __signature__(self) -> inspect.Signature:
        names = tuple(EXPORTS)
        to = inspect.Parameter(
            "to",
            inspect.Parameter.KEYWORD_ONLY,
            default=names[0],
            annotation=Annotated[
                Literal.__getitem__(names), typer.Option("--to", help="What becomes of it.")
            ],
        )
        own = [one for export in EXPORTS.values() for one in _parameters(export.options)]
        return inspect.Signature([to, *own])

    def __call__(self, **values: Any) -> Mapping[str, Any]:
        return values


def register(app: typer.Typer) -> None:
    """Add the command to `app`, with the targets of EXPORTS."""
    suffixes = [f"RUN-last{one.suffix}" for one in EXPORTS.values()]

    @functools.wraps(convert)
    def described(**values: Any) -> None:
        convert(**values)

    described.__doc__ = "\n\n".join([str(convert.__doc__), *(e.help for e in EXPORTS.values())])
    command(
        app,
        "convert",
        example="clifctl convert runs/digits_snn5-1/last.pt --to lif -o lif.pt",
        tables=("settings", "readers", "result"),
        output_help=f"The converted net (default: {' or '.join(suffixes)}, here).",
    )(described)


def _parameters(options: Callable[..., None]) -> list[inspect.Parameter]:
    return list(inspect.signature(options, eval_str=True).parameters.values())


def convert(
    checkpoint: CheckpointArgument,
    overrides: OverridesArgument = None,
    *,
    own: Annotated[Mapping[str, Any], Shared(_OwnOptions())],
    choice: CheckpointChoice,
    output: Output,
) -> None:
    """Deploy a trained net: on LIF neurons, or as a file that other programs read."""
    to = own["to"]
    export = EXPORTS[to]
    given = {one.name: own[one.name] for one in _parameters(export.options)}
    _require_of_target(to, own)
    out = _written(output, checkpoint, to)
    output.require_columns(lambda: export.report(export.like(**given)))

    from clifctl.experiments.convert import ConvertOptions

    common = ConvertOptions(
        out=out,
        overwrite=output.overwrite,
        checkpoint=choice.options(overrides or (), output),
        say=output.notice,
    )
    result = export.run(checkpoint, common, **given)
    replace(output, path=None).emit(export.report(result))  # -o is the net
    if failure := export.failure(result):
        raise failure


def _require_of_target(to: str, own: Mapping[str, Any]) -> None:
    """Raise UsageError for an option of another target."""
    for other, export in EXPORTS.items():
        for one in _parameters(export.options):
            if other != to and own[one.name] != one.default:
                raise UsageError(
                    f"{_flag(one)} belongs to --to {other}, not to --to {to}", hint="leave it out"
                )


def _flag(parameter: inspect.Parameter) -> str:
    names = [
        name
        for one in getattr(parameter.annotation, "__metadata__", ())
        for name in one.param_decls
    ]
    return names[0] if names else f"--{parameter.name.replace('_', '-')}"


def _written(output: Output, checkpoint: Path, to: str) -> Path:
    """The file of the converted net, which must not be there yet."""
    default = f"{name_after(checkpoint)}{EXPORTS[to].suffix}"
    path = output.path or Path(default)
    if path.suffix in ENDINGS:
        raise UsageError(
            f"-o {path}: -o is the converted net, and the table goes to stdout",
            hint=f"-o {default}; the table: --format {ENDINGS[path.suffix]} > {path}",
        )
    foreign = {ending for export in EXPORTS.values() for ending in export.endings}
    if path.suffix in foreign - set(EXPORTS[to].endings):
        raise UsageError(f"-o {path}: --to {to} writes no {path.suffix} file", hint=f"-o {default}")
    output.may_write(path, apart_from=(checkpoint,))
    return path

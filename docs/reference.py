"""Write reference.md from the code: `python docs/reference.py`; with `check`, compare (exit 1).

Lists come from the commands that print them and from the tables NEURONS, MODELS and DATASETS;
commands and packages from their own first sentences.
"""

import argparse
import ast
import contextlib
import inspect
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

PAGE = Path(__file__).with_name("reference.md")
PACKAGE = Path(__file__).resolve().parent.parent / "clifctl"
HEAD = """# Reference

Everything that has a name: commands, neurons, surrogate gradients, nets, data sets, recipes and
packages. This page is written from the code by `python docs/reference.py`; a test compares the two.
"""


QUANTITIES = """What the fields of results hold, where their names alone do not say it. A document
is known by its `schema`. In csv and jsonl a mean over seeds has its standard error beside it.
"""


def page() -> str:
    """The whole text of reference.md."""
    return "\n".join([HEAD, *(f"## {title}\n\n{text}\n" for title, text in _sections())])


def _sections() -> Iterator[tuple[str, str]]:
    yield "Commands", _table("command | what for", _commands())
    yield (
        "Neurons",
        _table("neuron | what it is | states | learnable parameters | paper", _neurons()),
    )
    yield "Surrogate gradients", _table("surrogate | where it comes from", _surrogates())
    yield "Nets", _table("net | what it is | keys of the recipe's `model` section", _nets())
    columns = "data | what it is | classes | input of a time step | time steps | source"
    yield "Data sets", _table(columns, _data())
    columns = "recipe | what it trains | data | net | neuron | time steps | learnable parameters"
    yield "Recipes", _table(columns, _recipes())
    columns = "key in JSON and csv | what it is, and its unit | documents"
    yield "Quantities", f"{QUANTITIES}\n{_table(columns, _quantities())}"
    yield "Packages", f"```\n{_tree()}\n```"


def _quantities() -> Iterator[Sequence[str]]:
    from clifctl.results.quantities import catalogue

    for (key, heading), documents in sorted(catalogue().items()):
        yield f"`{key}`", heading, _joined(sorted(documents))


def _commands() -> Iterator[Sequence[str]]:
    from clifctl.cli.app import app

    return _commands_of(app, "clifctl")


def _commands_of(group: typer.Typer, prefix: str) -> Iterator[Sequence[str]]:
    """The commands of a group, each with the first sentence of its help."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"`{prefix} {command.name}`", _first_sentence(inspect.getdoc(command.callback))
    for child in group.registered_groups:
        assert child.typer_instance is not None
        yield from _commands_of(child.typer_instance, f"{prefix} {child.name}")


def _neurons() -> Iterator[Sequence[str]]:
    from clifctl.neurons import NEURONS

    for row in _printed("neurons", "ls")["neurons"]:
        if row["neuron"] in NEURONS:  # and not one of an installed package
            states, learnable = (_joined(row[key]) for key in ("states", "learnables"))
            yield f"`{row['neuron']}`", row["title"], states, learnable, row["paper"]


def _surrogates() -> Iterator[Sequence[str]]:
    from clifctl.neurons import SURROGATES

    return ((f"`{name}`", surrogate.source) for name, surrogate in SURROGATES.items())


def _nets() -> Iterator[Sequence[str]]:
    from clifctl.models import MODELS

    for name, model in MODELS.items():
        yield f"`{name}`", model.title, _joined(list(model.options.model_fields))


def _data() -> Iterator[Sequence[str]]:
    for row in _printed("data", "ls")["data"]:
        shape = "x".join(map(str, row["input_shape"] or ["as given"]))
        classes = str(row["classes"] or "as given")
        yield f"`{row['data']}`", row["title"], classes, shape, row["timesteps"], row["source"]


def _recipes() -> Iterator[Sequence[str]]:
    for row in _printed("recipes", "ls")["recipes"]:
        name = row["recipe"]
        link = f"[`{name}`](../recipes/{name}.yaml)"
        names = (f"`{row[key]}`" for key in ("data", "model", "neuron"))
        yield link, row["title"], *names, str(row["timesteps"]), f"{_parameters(name):,}"


def _parameters(name: str) -> int:
    """The number of learnable parameters of a recipe's net, which is built without memory."""
    import torch

    from clifctl.recipe.load import load_recipe

    recipe = load_recipe(name, []).recipe
    with torch.device("meta"):
        net = recipe.model.model.build(
            recipe.model.options,
            input_shape=recipe.data.input_shape,
            classes=recipe.data.classes,
            timesteps=recipe.timesteps,
            neuron=recipe.neuron,
        )
    return sum(parameter.numel() for parameter in net.parameters())


def _printed(*arguments: str) -> Any:
    """What a command prints with --json."""
    from clifctl.cli.app import run

    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        code = run([*arguments, "--json"])
    assert code == 0, arguments
    return json.loads(stdout.getvalue())


def _tree() -> str:
    """The packages and modules of clifctl, and the folders in them."""
    lines = ["clifctl/"]
    for path, depth in _places(PACKAGE, 1):
        source = path / "__init__.py" if path.is_dir() else path
        name = f"{'  ' * depth}{path.name}{'/' if path.is_dir() else ''}"
        sentence = _first_sentence(ast.get_docstring(ast.parse(source.read_text("utf-8"))))
        lines.append(f"{name:<22} {sentence}".rstrip())
    return "\n".join(lines)


def _places(folder: Path, depth: int) -> Iterator[tuple[Path, int]]:
    """Packages first, each with the packages in it; then, on the top level, modules."""
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").is_file():
            yield path, depth
            yield from _places(path, depth + 1)
    if depth == 1:
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith("__"):
                yield path, depth


def _first_sentence(text: str | None) -> str:
    """The first sentence of a docstring, without its full stop."""
    paragraph = " ".join((text or "").split("\n\n")[0].split())
    return re.split(r"\.(?= [A-Z`]|$)", paragraph)[0]


def _joined(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _table(heading: str, rows: Iterator[Sequence[str]]) -> str:
    columns = heading.split(" | ")
    lines = [f"| {heading} |", f"|{'---|' * len(columns)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def main() -> int:
    """Write the page, or compare it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", nargs="?", choices=["write", "check"], default="write")
    if parser.parse_args().verb == "write":
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.read_text("utf-8") == page():
        return 0
    print(f"{PAGE.name} is not what the code says: python docs/reference.py", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())

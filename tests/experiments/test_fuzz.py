"""Hundreds of broken recipes and checkpoints: each refused with one error, nothing overwritten."""

import copy
import io
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.errors import ClifctlError, Interrupted
from clifctl.experiments.run import plan
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.experiments.run.plan import RunOptions
from clifctl.experiments.train import train
from clifctl.recipe.load import LoadedRecipe, load_recipe
from clifctl.recipe.yamlfile import dump_document
from clifctl.results.events import RunEvent, StepDone
from clifctl.training.checkpoint import load_checkpoint
from clifctl.training.seal import sealed

RECIPE = "digits_rows_mlp"
SMALL = ["model.hidden=[4]", "train.batch_size=256", "train.epochs=2", "train.precision=float16"]
Document = dict[str, Any]
Mutation = Callable[[Document], None]


class StopsAt:
    """Stops the run as Ctrl-C would, at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, event: RunEvent) -> None:
        if isinstance(event, StepDone) and event.step == self.step:
            import signal

            signal.raise_signal(signal.SIGINT)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every entry, inner ones first."""
    entries: Iterable[tuple[Any, Any]] = document.items() if isinstance(document, dict) else ()
    if isinstance(document, list):
        entries = enumerate(document)
    for key, value in entries:
        yield from places(value, (*path, key))
        yield (*path, key)


def parent_of(document: Document, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


def recipe_mutations() -> dict[str, Mutation]:
    """Every one of them makes a recipe wrong."""
    document = load_recipe(RECIPE, SMALL).recipe.document
    found: dict[str, Mutation] = {}
    required = {("timesteps",), ("data",), ("model",), ("neuron",), ("train",)}
    required |= {("train", "epochs"), ("data", "name"), ("model", "name"), ("neuron", "name")}
    nullable = {
        ("neuron", "window"),
        ("neuron", "exchange"),
        ("train", "clip_norm"),
        ("train", "warmup_lr"),
        ("train", "save_every"),
    }
    free_text = {("title",)}

    def put(path: tuple[Any, ...], value: Any) -> Mutation:
        def mutate(copied: Document) -> None:
            parent_of(copied, path)[path[-1]] = value

        return mutate

    def rename(path: tuple[Any, ...]) -> Mutation:
        def mutate(copied: Document) -> None:
            parent = parent_of(copied, path)
            parent[f"{path[-1]}x"] = parent.pop(path[-1])

        return mutate

    def remove(path: tuple[Any, ...]) -> Mutation:
        return lambda copied: parent_of(copied, path).pop(path[-1])

    for path in places(document):
        name = ".".join(map(str, path))
        if isinstance(parent_of(document, path), dict):
            found[f"rename {name}"] = rename(path)
        if path in required:
            found[f"remove {name}"] = remove(path)
        wrong: dict[str, Any] = {"mapping": {"a": 1}, "nan": float("nan")}
        if path not in nullable:
            wrong["null"] = None
        if path not in free_text:
            wrong["text"] = "colour \u20ac"
        if path != ("model", "hidden"):
            wrong["list"] = []
        for kind, value in wrong.items():
            found[f"{kind} {name}"] = put(path, value)
    return found


def resume(loaded: LoadedRecipe, folder: Path, *, stop_at: int = -1) -> object:
    options = RunOptions(out=folder, resume="auto", execution=ExecutionOptions(target="reference"))
    return train(loaded, options, StopsAt(stop_at))


# Every fourth mutation, of each kind some; on request all of them.
some_or_all = pytest.mark.parametrize(
    "every", [4, pytest.param(1, marks=pytest.mark.exhaustive)], ids=["some", "all"]
)


@some_or_all
def test_mutated_recipes_are_refused(
    every: int, clifctl: Callable[..., Any], tmp_path: Path
) -> None:
    document = load_recipe(RECIPE, SMALL).recipe.document
    old = tmp_path / "run"
    old.mkdir()
    for name in ("recipe.yaml", "manifest.json", "last.pt"):
        (old / name).write_text("an earlier run")
    texts = {}
    for name, mutate in recipe_mutations().items():
        copied = copy.deepcopy(document)
        mutate(copied)
        texts[name] = dump_document(copied).encode()
    whole = dump_document(document).encode()
    # Before the last section that a recipe must have.
    for end in random.Random(0).sample(range(whole.index(b"train:")), 20):
        texts[f"cut at {end}"] = whole[:end]
    for byte in (b"\0", b"\x80", b"\t- {", b"%&", b"!!binary ", b"&a *a"):
        at = whole.index(b"timesteps: ") + len("timesteps: ")
        texts[f"bytes {byte!r}"] = whole[:at] + byte + whole[at:]
    assert len(texts) >= 200
    for name, text in list(texts.items())[::every]:
        (tmp_path / "mutated.yaml").write_bytes(text)
        done = clifctl("train", "mutated.yaml", "--out", "run", "--overwrite")
        assert done.code == 2, name
        assert done.err.startswith("error: "), name
        assert done.err.count("error: ") == 1
        assert done.err.splitlines()[-1].startswith("hint: "), name
        assert "Traceback" not in done.err
        assert "internal" not in done.err, name
        assert done.out == ""
    assert {path.read_text() for path in old.iterdir()} == {"an earlier run"}
    (tmp_path / "mutated.yaml").write_bytes(whole)
    assert clifctl("recipes", "check", "mutated.yaml").code == 0


class Hostile:
    """Unpickled, it would call something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def hostile_values() -> list[Any]:
    import os
    import subprocess

    return [
        Hostile(os.system, "touch executed"),
        Hostile(exec, "open('executed', 'w')"),
        Hostile(eval, "open('executed', 'w')"),
        Hostile(open, "executed", "w"),
        Hostile(subprocess.run, ["touch", "executed"]),
        Hostile(os.mkdir, "executed"),
        Hostile(Path.touch, Path("executed")),
        Hostile(getattr, Path("executed"), "touch"),
        Hostile(__import__, "antigravity"),
        Hostile(torch.load, "executed"),
    ]


def sealed_bytes(document: Document) -> bytes:
    buffer = io.BytesIO()
    torch.save(document, buffer)
    return b"".join(sealed(buffer.getvalue()))


def damaged(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Cut off, or changed in one bit."""
    random_ = random.Random(0)
    for end in random_.sample(range(len(content)), 30):
        yield f"cut at {end}", content[:end]
    for at in [*random_.sample(range(len(content)), 60), len(content) - 1, len(content) - 70]:
        flipped = bytearray(content)
        flipped[at] ^= 1 << random_.randrange(8)
        yield f"flipped at {at}", bytes(flipped)


def changed(document: Document) -> Iterator[tuple[str, bytes]]:
    """Another content under a checksum that is right: keys renamed and removed, other types, shapes
    and values, hostile pickles."""
    for path in places(document):
        name = ".".join(map(str, path))
        # The recipe is the schema's; None stands where there is nothing yet.
        if path[0] in ("recipe", "recipe_name", "accuracy_percent"):
            continue
        settings = len(path) > 2 and path[1] in ("schedule", "scaler", "optimizer")
        if isinstance(path[-1], str) and path[-1] != "cuda":
            copied = copy.deepcopy(document)
            parent = parent_of(copied, path)
            parent[f"{path[-1]}x"] = parent.pop(path[-1])
            yield f"renamed {name}", sealed_bytes(copied)
        value = parent_of(document, path)[path[-1]]
        others: list[Any] = ["text"]
        if isinstance(value, torch.Tensor):
            others += [value[None].repeat(2, *(1,) * value.dim()), value.to(torch.complex64)]
            others += [value[..., :0]] if value.dim() else []
            # One number in the file, more than any memory once something computes with it.
            others += [value.reshape(-1)[:1].expand(2**46)]
        if isinstance(value, int) and not settings:
            others += [-1]
        for number, other in enumerate(others):
            copied = copy.deepcopy(document)
            parent_of(copied, path)[path[-1]] = other
            yield f"other {number} {name}", sealed_bytes(copied)
    for number, value in enumerate(hostile_values()):
        yield f"hostile {number}", sealed_bytes({**document, "recipe_name": value})


def refusal(action: Callable[[], object]) -> ClifctlError | None:
    """The error with which `action` refuses, None if it does not."""
    try:
        action()
    except ClifctlError as error:
        return error
    return None


@some_or_all
def test_mutated_checkpoints_are_refused(
    every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_recipe(RECIPE, SMALL)
    folder = tmp_path / "run"
    # Once, not hundreds of times: what does not depend on the file.
    execution = ExecutionOptions(target="reference")
    prepared = plan.prepare(loaded, RunOptions(execution, out=folder), execution.resolve())
    monkeypatch.setattr("clifctl.experiments.train.prepare", lambda *given: prepared)
    with pytest.raises(Interrupted):
        resume(loaded, folder, stop_at=3)
    last = folder / "last.pt"
    content = last.read_bytes()
    document = torch.load(last, weights_only=True)
    mutated = [*damaged(content), *changed(document)]
    assert len(mutated) >= 200, len(mutated)
    others = {k: v for k, v in content_of(folder).items() if k != "last.pt"}
    for name, broken in mutated[::every]:
        last.write_bytes(broken)
        error = refusal(lambda: resume(loaded, folder))
        assert error is not None, f"{name}: was not refused"
        assert error.exit_code == 2, name
        assert error.hint, name
        assert "\n" not in error.message, name
        assert last.read_bytes() == broken, name
    assert {k: v for k, v in content_of(folder).items() if k != "last.pt"} == others
    assert not (tmp_path / "executed").exists()
    last.write_bytes(content)
    resume(loaded, folder)
    assert load_checkpoint(last).epoch == 2

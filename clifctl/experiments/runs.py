"""`runs ls|show|compare`: the runs that lie in folders, read from their files alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clifctl.errors import (
    ArgumentError,
    ClifctlError,
    RecipeError,
    RunFolderError,
    UsageError,
    nearest,
)
from clifctl.experiments.run.found import folders
from clifctl.experiments.run.state import standing_of
from clifctl.reading import MOST_GIVEN_BYTES, read_text
from clifctl.recipe.yamlfile import parse_document
from clifctl.results.decoding import flat
from clifctl.results.published import Published
from clifctl.results.runs import (
    DamagedRun,
    RecipeDifference,
    RunComparison,
    RunCurves,
    RunList,
    RunRow,
    RunShown,
)
from clifctl.training import run_folder
from clifctl.training.run_folder import epoch_records, read_epochs

_LISTED = "clifctl runs ls lists runs"


# Of the keys in which runs differ, these come first.
_FIRST = ("data.name", "model.name", "neuron.name", "timesteps")
_ORDER = ("neuron.", "train.", "model.", "data.", "")


def list_runs(folder: Path, keys: Sequence[str] | None = None) -> RunList:
    """The runs below `folder`, each with its values of the `keys` of its recipe (None: of every key
    in which they differ). Raises UsageError where there is no such folder, and for a key that no
    run has."""
    require_folder(folder)
    rows, recipes, damaged = [], [], []
    for found in runs_below(folder):
        if isinstance(found, DamagedRun):
            damaged.append(found)
        else:
            rows.append(found[0])
            recipes.append(found[1])
    leaves = _leaves(recipes)
    shown = differing_keys(leaves) if keys is None else _chosen(keys, leaves)
    return RunList(
        folder=str(folder),
        runs=_with_values(rows, leaves, shown),
        keys=tuple(shown),
        skipped=tuple(one.run for one in damaged),
        damaged=tuple(damaged),
    )


def runs_below(folder: Path) -> Iterator[tuple[RunRow, dict[str, Any]] | DamagedRun]:
    """Each run below `folder` with its resolved recipe, and the folders that are damaged."""
    for found in folders(folder):
        if not found.is_run:
            continue
        try:
            if found.refused is not None:
                raise found.refused
            recipe = read_recipe(found.path)
            yield _row(found.path, recipe), recipe
        except ClifctlError as problem:
            yield DamagedRun(run=str(found.path), problem=problem.message)


def require_folder(folder: Path) -> None:
    """Raise UsageError where there is no folder to look for runs in."""
    if not folder.is_dir():
        raise UsageError(f"no folder '{folder}'", hint="clifctl train makes runs/<recipe>-1")


def show_run(path: Path) -> RunShown:
    """One run. Raises RunFolderError for what is none."""
    row = _row(path, read_recipe(path))
    return RunShown(
        row=row,
        curves=_curves(path, row),
        manifest=run_folder.read_manifest(path),
        resolved_recipe=read_recipe(path),
        published=_published(path),
    )


def _published(path: Path) -> Published:
    """The paper's numbers for the recipe of a run; none for one with a net or neuron of a file,
    which is not run for that, and for a recipe that this version does not take."""
    from clifctl.experiments.published import published_for
    from clifctl.recipe.schema import named_files, validate

    document = read_recipe(path)
    if named_files(document):
        return Published()
    try:
        recipe = validate(document, str(path), of_a_run=True)
    except ClifctlError:
        return Published()
    return published_for(recipe)


def compare_runs(paths: Sequence[Path]) -> RunComparison:
    """Two runs or more. Raises UsageError for fewer, RunFolderError for what is no run."""
    if len(paths) < 2:
        raise UsageError("runs compare needs two run folders", hint="clifctl runs ls lists them")

    recipes = [read_recipe(path) for path in paths]
    rows = [_row(path, recipe) for path, recipe in zip(paths, recipes, strict=True)]
    leaves = [flat(_whole(recipe)) for recipe in recipes]
    differing = tuple(
        RecipeDifference(key=key, values=tuple(one.get(key) for one in leaves))
        for key in _all_keys(leaves)
        if key != "title" and any(one.get(key) != leaves[0].get(key) for one in leaves)
    )
    hashes = [run_folder.read_manifest(path).get("data_sha256") for path in paths]
    return RunComparison(
        differences=differing,
        same_data=None if None in hashes else len(set(hashes)) == 1,
        runs=_with_values(rows, leaves, differing_keys(leaves)),
        curves=tuple(_curves(path, row) for path, row in zip(paths, rows, strict=True)),
    )


def _leaves(recipes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The keys and values of each recipe. Where one lacks a key that another of the same rows has,
    it is older: it gets the defaults then."""
    leaves = [flat(recipe) for recipe in recipes]
    keys: dict[tuple[Any, ...], set[str]] = {}
    for one in leaves:
        kind = tuple(one.get(name) for name in _FIRST[:3])
        own = {key for key in one if not key.startswith("neuron.exchange")}
        if keys.setdefault(kind, own) != own:
            return [flat(_whole(recipe)) for recipe in recipes]
    return leaves


def _all_keys(leaves: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for one in leaves for key in one))


def differing_keys(leaves: Sequence[dict[str, Any]]) -> list[str]:
    """The keys in which runs differ, but for those that only one neuron, net or data set has: that
    they are missing elsewhere follows from its name."""
    found = []
    for key in _all_keys(leaves):
        values = [one.get(key) for one in leaves]
        if key == "title" or all(value == values[0] for value in values):
            continue
        name = f"{key.partition('.')[0]}.name"
        theirs = {one.get(name) for one in leaves if key in one}
        others = {one.get(name) for one in leaves if key not in one}
        own = [one[key] for one in leaves if key in one]
        is_exchange = key.startswith("neuron.exchange")
        if is_exchange or theirs & others or any(value != own[0] for value in own):
            found.append(key)
    return sorted(found, key=_rank)


def _rank(key: str) -> tuple[int, int]:
    if key in _FIRST:
        return 0, _FIRST.index(key)
    return 1, next((at for at, start in enumerate(_ORDER) if key.startswith(start)), len(_ORDER))


def _chosen(keys: Sequence[str], leaves: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that were asked for; a section means all of its own. Raises ArgumentError for one
    that no run has."""
    known = _all_keys(leaves)
    found: list[str] = []
    for asked in keys:
        own = [key for key in known if key == asked or key.startswith(f"{asked}.")]
        if not own:
            near = next((key for key in known if key.endswith(f".{asked}")), nearest(asked, known))
            raise ArgumentError(
                "keys",
                asked,
                "no run here has this key",
                hint="clifctl runs show RUN --json lists those of a run"
                if near is None
                else f"did you mean {near}?",
            )
        found += own
    return list(dict.fromkeys(found))


def _with_values(
    rows: Sequence[RunRow], leaves: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> tuple[RunRow, ...]:
    return tuple(
        replace(row, hyperparameters={key: own.get(key) for key in keys})
        for row, own in zip(rows, leaves, strict=True)
    )


def _row(path: Path, recipe: dict[str, Any]) -> RunRow:
    records = epoch_records(path)
    last = records[-1] if records else {}
    accuracies = [record["test_accuracy_percent"] for record in records]
    try:
        names = [recipe[section]["name"] for section in ("data", "model", "neuron")]
        exchange = recipe["neuron"].get("exchange") or {"to": "", "epoch": 0}
        of_numbers = isinstance(exchange["epoch"], int)
        if not of_numbers or not all(isinstance(n, str) for n in (*names, exchange["to"])):
            raise TypeError
        standing = standing_of(path)
        return RunRow(
            run=str(path),
            data=recipe["data"]["name"],
            model=recipe["model"]["name"],
            neuron=recipe["neuron"]["name"],
            timesteps=recipe["timesteps"],
            batch_norm=recipe["model"].get("batch_norm", "own"),
            window=recipe["neuron"].get("window"),
            seed=recipe["train"]["seed"],
            epochs_done=len(records),
            epochs=recipe["train"]["epochs"],
            accuracy_percent_last=last.get("test_accuracy_percent"),
            accuracy_percent_best=max((a for a in accuracies if a is not None), default=None),
            train_loss_train_mode=last.get("train_loss_train_mode"),
            test_loss=last.get("test_loss"),
            started=run_folder.read_manifest(path).get("started"),
            state=standing.state,
            saved_epochs=standing.epoch,
            saved_steps=standing.step,
            problem=standing.problem,
        )
    except (KeyError, TypeError):
        raise RunFolderError(
            f"'{path / run_folder.RECIPE}' is not the resolved recipe of a run", hint=_LISTED
        ) from None


def read_recipe(path: Path) -> dict[str, Any]:
    """The resolved recipe of a run, as it was written. Raises RunFolderError."""
    file = path / run_folder.RECIPE
    try:
        return parse_document(read_text(file, MOST_GIVEN_BYTES), str(file))
    except (OSError, ValueError):
        raise RunFolderError(
            f"'{path}' is not a run folder: it has no {run_folder.RECIPE} that can be read",
            hint=_LISTED,
        ) from None
    except RecipeError as broken:
        raise RunFolderError(broken.message, hint=_LISTED) from None


def _whole(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with the keys that came after it was written, at their defaults. The file of a
    person's own net or neuron is not run for that."""
    from clifctl.recipe.defaults import completed, defaults_of
    from clifctl.recipe.old_names import with_new_names
    from clifctl.trust import is_file_reference

    document = with_new_names(document)
    of_files = [name for name in ("model", "neuron") if is_file_reference(document[name]["name"])]
    known = document | {name: {} for name in of_files}
    return completed(document, defaults_of(known))


def _curves(path: Path, row: RunRow) -> RunCurves:
    exchange = read_recipe(path)["neuron"].get("exchange")
    to = f" to {exchange['to']}" if exchange else ""
    return RunCurves(
        label=f"{path}: {row.neuron}{to}, T = {row.timesteps}",
        exchange_after_epoch=exchange["epoch"] if exchange else None,
        epochs=read_epochs(path),
    )

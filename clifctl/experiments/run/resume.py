"""What a run folder holds of a recipe: nothing yet, a run to go on with, or a finished one."""

import shlex
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from clifctl.amounts import counted
from clifctl.commands import command_line
from clifctl.errors import CheckpointError, RecipeError, UsageError
from clifctl.experiments.run.initial_weights import require_same_start
from clifctl.experiments.run.plan import RunOptions
from clifctl.reading import MOST_GIVEN_BYTES, read_bytes, read_json
from clifctl.recipe.catalog import read_text
from clifctl.recipe.defaults import completed, defaults_of
from clifctl.recipe.load import LoadedRecipe, RecipeSource, apply_overrides
from clifctl.recipe.old_names import with_new_names
from clifctl.recipe.own_files import located, named_alike
from clifctl.recipe.yamlfile import parse_document
from clifctl.results.decoding import NewerResult, UnreadableResult, decode, flat
from clifctl.results.train import TrainResult
from clifctl.training import run_folder
from clifctl.training.checkpoint import Checkpoint, load_checkpoint
from clifctl.training.optimizer import OPEN_ENDED

# Keys that do not change what is computed: a run may go on with others.
FREE = ("title", "train.save_every", "train.log_every")
# Keys that say where the data lie and how they are read: their hash says whether they are the same.
READING = ("data.cache", "data.workers", "data.download")
PLACES = ("data.root", *READING)


@dataclass(frozen=True)
class FolderState:
    """How far the run in a folder has come; neither: it has still to begin. `source` is the file
    that `checkpoint` was read from."""

    checkpoint: Checkpoint | None = None
    result: TrainResult | None = None
    source: Path | None = None


def recipe_of_run(
    folder: Path, overrides: Sequence[str] = (), *, changed_file: bool = False
) -> LoadedRecipe:
    """The recipe of the run in `folder`, under the name that it was started with; where its file is
    lost, that of its last checkpoint.

    Raises UsageError where there is no run, RecipeError where its recipe does not hold, ModelError
    or NeuronError where the file of its own net or neuron is not there or, unless `changed_file`,
    not what it was.
    """
    file = folder / run_folder.RECIPE
    if not run_folder.holds_something(file):
        carried = _last_checkpoint(folder)
        if carried is not None:
            return _loaded(
                carried[0].recipe_name,
                f"recipe of checkpoint '{carried[1]}'",
                carried[0].recipe,
                overrides,
                file_sources_of(carried[0], carried[1]),
                changed_file=changed_file,
            )
        what = f"has no {run_folder.RECIPE}" if folder.is_dir() else "does not exist"
        hint = "give the folder of a run, or start one: clifctl train RECIPE --out DIR"
        if folder.is_file():
            what = "is a file"
            if (folder.parent / run_folder.RECIPE).is_file():
                hint = f"give the folder of the run: --resume {shlex.quote(str(folder.parent))}"
        raise UsageError(f"--resume: there is no run in '{folder}': it {what}", hint=hint)
    return _loaded(
        _name_of_run(folder),
        f"the run in '{folder}'",
        parse_document(read_text(str(file)).text, str(file)),
        overrides,
        run_folder.neuron_sources(folder),
        changed_file=changed_file,
    )


def _loaded(
    name: str,
    where: str,
    document: dict[str, Any],
    overrides: Sequence[str],
    sources: dict[str, str],
    *,
    changed_file: bool,
) -> LoadedRecipe:
    notices = apply_overrides(document, overrides)
    document = located(document, sources, where, changed_file=changed_file)
    source = RecipeSource(name, where, document, tuple(notices), overrides=tuple(overrides))
    return source.variant()


def file_sources_of(checkpoint: Checkpoint, path: Path) -> dict[str, str]:
    """The SHA-256 of the files of the checkpoint's own net and neurons; of one from before they
    were kept in it, what the manifest beside it says."""
    if checkpoint.neuron_sources is not None:
        return checkpoint.neuron_sources
    return run_folder.neuron_sources(path.parent)


def _name_of_run(folder: Path) -> str:
    name = run_folder.read_manifest(folder).get("recipe")
    return name if isinstance(name, str) else folder.absolute().name


def folder_state(loaded: LoadedRecipe, options: RunOptions) -> FolderState:
    """How far the run of `loaded` in the folder of `options` has come. Reads and writes nothing
    else.

    Raises RecipeError where the folder holds a run with a different recipe, UsageError where it
    began with other weights than `options.init`, CheckpointError where its files are not usable.
    """
    if options.resume == "never" or options.out is None:
        return FolderState()
    folder = options.out
    run_folder.require_run(folder)
    file = folder / run_folder.RECIPE
    carried = None
    if run_folder.holds_something(file):
        text = read_bytes(file, MOST_GIVEN_BYTES).decode(errors="replace")
        earlier, where = parse_document(text, str(file)), f"run folder '{folder}'"
    elif carried := _last_checkpoint(folder):
        earlier, where = carried[0].recipe, f"checkpoint '{carried[1]}'"
    else:
        if options.resume == "always":
            recipe_of_run(folder)  # raises, saying what is not there
        _require_nothing_lost(folder)
        return FolderState()
    require_same_start(folder, options.init)
    sources = run_folder.neuron_sources(folder)
    in_same_words = partial(
        named_alike, own=loaded.recipe.document, changed_file=options.changed_file
    )
    earlier = in_same_words(earlier, sources, where=f"the run in '{folder}'")
    longer = _require_same(loaded, earlier, where, folder)
    result = folder / run_folder.RESULT
    if result.is_file() and not longer:
        return FolderState(result=_read_result(result, folder, loaded))
    carried = carried or _last_checkpoint(folder)
    if carried is None:
        _require_nothing_lost(folder)
        return FolderState()
    checkpoint, source = carried
    where = f"checkpoint '{source}'"
    kept = in_same_words(checkpoint.recipe, file_sources_of(checkpoint, source), where=where)
    _require_same(loaded, kept, where, folder)
    if checkpoint.training is None:
        raise CheckpointError(
            f"'{source}' is of an earlier version, which kept the weights alone: it cannot be "
            "resumed",
            hint=f"start again: {_anew(folder)}",
        )
    return FolderState(checkpoint, source=source)


def _last_checkpoint(folder: Path) -> tuple[Checkpoint, Path] | None:
    """The checkpoint that the run in `folder` goes on from, and its file: the last one, or the
    latest of the others where that is lost. Raises CheckpointError where the last one is damaged.
    """
    there = run_folder.checkpoints(folder)
    last = folder / run_folder.LAST
    if last not in there:
        return _latest(there)
    try:
        return load_checkpoint(last), last
    except CheckpointError as damaged:
        other = _latest([path for path in there if path != last])
        if other is None:
            raise
        raise CheckpointError(
            damaged.message,
            hint=f"'{other[1]}' holds the run after epoch {other[0].epoch}: to resume from there, "
            f"remove the damaged file: rm {shlex.quote(str(last))}",
        ) from None


def _latest(paths: Sequence[Path]) -> tuple[Checkpoint, Path] | None:
    """The whole checkpoint with the most epochs of the best one and those kept of epochs (`paths`
    as `run_folder.checkpoints` has them)."""
    kept = [path for path in paths if path.name != run_folder.BEST]
    found = []
    for path in (*(path for path in paths if path.name == run_folder.BEST), *kept):
        with suppress(CheckpointError):
            found.append((load_checkpoint(path), path))
            if path in kept:
                break  # the others are earlier
    return max(found, key=lambda one: one[0].epoch, default=None)


def _require_nothing_lost(folder: Path) -> None:
    """Raise CheckpointError where the run in `folder`, which has no checkpoint, has had one: to
    begin anew would remove what is left of it."""
    epochs = run_folder.finished_epochs(folder / run_folder.METRICS)
    # After its first epoch a run may have been killed before the checkpoint was written.
    if len(epochs) > 1 or (folder / run_folder.RESULT).is_file():
        raise CheckpointError(
            f"the run in '{folder}' has lost its checkpoints ({run_folder.LAST}, "
            f"{run_folder.BEST}): it cannot be resumed, and starting again would remove what is "
            "left",
            hint="choose another --out, or replace that run with --overwrite",
        )


def _anew(folder: Path, *changed: str) -> str:
    """The command that starts a run like that in `folder`; it could not be put there."""
    return command_line("train", folder / run_folder.RECIPE, *changed, "--out", "DIR")


def _require_same(loaded: LoadedRecipe, earlier: dict[str, Any], where: str, folder: Path) -> bool:
    """Whether the recipe asks for more epochs than `earlier`, which is otherwise the same.

    A key that `earlier` lacks counts as its default. Raises RecipeError where they differ, or where
    a longer run would have been another one from the start.
    """
    document = loaded.recipe.document
    own, other = flat(document), flat(completed(with_new_names(earlier), defaults_of(document)))
    free = (*FREE, *PLACES)
    keys = [k for k in {**other, **own} if k not in free and own.get(k) != other.get(k)]
    longer = keys == ["train.epochs"] and _is_larger(own["train.epochs"], other.get("train.epochs"))
    schedule = loaded.recipe.train.schedule
    if not keys or (longer and schedule in OPEN_ENDED):
        return longer
    if longer:
        anew = _anew(folder, f"train.epochs={own['train.epochs']}")
        raise RecipeError(
            f"train.epochs = {own['train.epochs']}: {where} was trained with the schedule "
            f"'{schedule}' over {counted(other['train.epochs'], 'epoch')}, a longer run would "
            "differ from its first step",
            hint=f"start it again: {anew}; runs with {' or '.join(OPEN_ENDED)} can be longer",
        )
    shown = ", ".join(f"{_shown(other, k)} there, {_shown(own, k)} here" for k in keys[:3])
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    raise RecipeError(
        f"{where} has a different recipe: {shown}{more}",
        hint=f"leave these keys out, or start another run: {_anew(folder, 'KEY=VALUE')}",
    )


def _shown(flat: dict[str, Any], key: str) -> str:
    return f"{key} = {flat[key]}" if key in flat else f"no {key}"


def decisive(document: dict[str, Any]) -> dict[str, Any]:
    """A resolved recipe's document without the keys that do not change what is computed: of those
    that say how data are read, `data.root` stays, which may say what data."""
    return without(document, (*FREE, *READING))


def without(document: dict[str, Any], keys: Collection[str], prefix: str = "") -> dict[str, Any]:
    """`document` without some dotted keys."""
    return {
        key: without(value, keys, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in document.items()
        if f"{prefix}{key}" not in keys
    }


def _is_larger(own: Any, other: Any) -> bool:
    return isinstance(own, int) and isinstance(other, int) and own > other


def _read_result(path: Path, folder: Path, loaded: LoadedRecipe) -> TrainResult:
    """The result of the run of `loaded`: `folder` may have been moved, and an older version did not
    write the recipe into it."""
    try:
        result = decode(TrainResult, read_json(path))
        recipe = result.resolved_recipe or loaded.recipe.document
        return replace(result, run_folder=str(folder), resolved_recipe=recipe)
    except NewerResult as newer:
        raise CheckpointError(
            f"'{path}' was written by a newer clifctl: {newer}", hint="show it with that one"
        ) from None
    except (OSError, ValueError) as broken:
        reason = f": {broken}" if isinstance(broken, UnreadableResult) else ""
        raise CheckpointError(
            f"'{path}' is not the result of a run, or not a whole one{reason}",
            hint="remove it: the run's last checkpoint is then evaluated again",
        ) from None

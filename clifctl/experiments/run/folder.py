"""The folder of a run: locked, begun, or gone on with."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from clifctl.experiments.build import steps_of
from clifctl.experiments.run.manifest import (
    changed_surroundings,
    manifest,
    surroundings,
)
from clifctl.experiments.run.plan import RUNS, Prepared, RunOptions
from clifctl.experiments.run.repair import repair
from clifctl.experiments.run.resume import FolderState, folder_state
from clifctl.files import is_folder, write_text
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.own_files import file_sources
from clifctl.recipe.yamlfile import dump_document
from clifctl.training import run_folder
from clifctl.training.lock import locked
from clifctl.training.precision import resolve_tf32


def lock_folder(
    loaded: LoadedRecipe, options: RunOptions, until_done: ExitStack
) -> tuple[FolderState, bool]:
    """How far the run has come, in a folder that is locked if it is there; whether it is."""
    is_ours = options.out is not None and is_folder(options.out)
    if options.out is not None and is_ours:
        until_done.enter_context(locked(options.out))
    return folder_state(loaded, options), is_ours


def open_folder(
    loaded: LoadedRecipe,
    options: RunOptions,
    prepared: Prepared,
    until_done: ExitStack,
    *,
    earlier: FolderState,
    is_ours: bool,
    notice: Callable[[str], None],
) -> Path:
    """The run folder, locked, with its recipe and manifest; what a run that goes on from `earlier`
    has written after its checkpoint is taken back, and what it has lost is repaired. `is_ours`: it
    was there, and has been locked. `notice` is called with the losses, and with what may make the
    resumed run round differently."""
    document = loaded.recipe.document
    conditions = surroundings(
        execution=prepared.execution,
        precision=prepared.precision,
        tf32=resolve_tf32(loaded.recipe.train.tf32, prepared.execution.device),
    )
    if earlier.checkpoint is not None and options.out is not None:
        _go_on(options.out, document, earlier, conditions, options.keep, notice)
        return options.out
    if options.out is None:
        folder = run_folder.claim_numbered_folder(RUNS, loaded.name)
        until_done.enter_context(locked(folder))
    else:
        folder = options.out
        if not is_ours:
            run_folder.make_folder(folder)
            until_done.enter_context(locked(folder))
        # What may be replaced is what was there when it was locked: never another run's new files.
        may_exist = is_ours and (options.overwrite or options.resume != "never")
        run_folder.clear_run_folder(folder, overwrite=may_exist)
    run_folder.write_json(
        folder / run_folder.MANIFEST,
        manifest(
            recipe=loaded.name,
            seed=loaded.recipe.train.seed,
            deterministic=loaded.recipe.train.deterministic,
            data_sha256=prepared.data_sha256,
            sources=file_sources(document),
            conditions={
                "keep": options.keep or 0,
                **conditions,
                "steps_per_epoch": steps_of(prepared.recipe, prepared.data),
                "init": None if prepared.start is None else prepared.start.document,
            },
        ),
    )
    # Last: a folder with a recipe is a run that can be gone on with.
    write_text(folder / run_folder.RECIPE, dump_document(document))
    return folder


def _go_on(
    folder: Path,
    document: dict[str, Any],
    earlier: FolderState,
    conditions: dict[str, Any],
    keep: int | None,
    notice: Callable[[str], None],
) -> None:
    """Bring the files of a run, which is locked, to the state of its checkpoint, repaired."""
    resumed, source = earlier.checkpoint, earlier.source
    assert resumed is not None
    assert source is not None
    run_folder.remove_temporaries(folder)
    for loss in repair(folder, resumed, source):
        notice(loss)
    run_folder.trim_metrics(folder / run_folder.METRICS, resumed.epoch, resumed.step)
    (folder / run_folder.RESULT).unlink(missing_ok=True)  # of fewer epochs
    write_text(folder / run_folder.RECIPE, dump_document(document))
    changed = changed_surroundings(run_folder.read_manifest(folder), conditions)
    if changed:
        notice(f"resumed under other conditions: {'; '.join(changed)}; it may round differently")
    again = {} if keep is None else {"keep": keep}
    at = {"epoch": resumed.epoch, "step": resumed.step}
    files = {"neuron_sources": file_sources(document)}
    run_folder.add_to_manifest(folder, {**at, **again, **files, **conditions})
    # The process may have been killed just before it did so itself.
    if kept := run_folder.kept_epochs(folder):
        run_folder.remove_old_epochs(folder, kept)

"""What a resumed run finds lost in its folder is reported, and rewritten from what is left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clifctl.errors import CheckpointError
from clifctl.training import run_folder
from clifctl.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def repair(folder: Path, resumed: Checkpoint, source: Path) -> Iterator[str]:
    """Rewrite what the run in `folder`, which resumes from the checkpoint `resumed` in the file
    `source`, has lost: its last checkpoint and its best one. Yields a sentence for each loss, those
    of its recipe and its metrics too. Raises OutputError."""
    if not run_folder.holds_something(folder / run_folder.RECIPE):
        yield f"{run_folder.RECIPE} was lost: rewritten from {source.name}"
    if source.name != run_folder.LAST:
        save_checkpoint(resumed, folder / run_folder.LAST)
        yield f"{run_folder.LAST} was lost: the run resumes from {source.name}"
    written = run_folder.finished_epochs(folder / run_folder.METRICS)
    lost = [epoch for epoch in range(1, resumed.epoch + 1) if epoch not in written]
    if lost:
        yield f"{run_folder.METRICS} lacks the lines of {_named(lost)}"
    yield from _repair_best(folder, resumed)


def _repair_best(folder: Path, resumed: Checkpoint) -> Iterator[str]:
    best = _best_epoch(resumed)
    if best is None:
        return
    there = _epoch_of(folder / run_folder.BEST)
    # One of a later epoch was written just before the end: the run comes to it again.
    if there is not None and (there == best or there > resumed.epoch):
        return
    state = "is of another epoch" if there is not None else "was lost"
    for path in run_folder.checkpoints(folder):
        if path.name != run_folder.BEST and _epoch_of(path) == best:
            save_checkpoint(load_checkpoint(path), folder / run_folder.BEST)
            yield f"{run_folder.BEST} {state}: rewritten from {path.name}"
            return
    yield (
        f"{run_folder.BEST} {state}, and no file holds the weights of epoch {best}, the best so "
        "far: there will be none until a better epoch"
    )


def _best_epoch(checkpoint: Checkpoint) -> int | None:
    """The epoch that the history in a checkpoint says was the best, None before the first."""
    history: dict[str, Any] = (checkpoint.training or {}).get("history", {})
    best = history.get("best")
    return None if best is None else int(best["epoch"])


def _epoch_of(path: Path) -> int | None:
    """The epoch after which the checkpoint `path` was saved; None for one that is lost, damaged,
    or of the middle of an epoch."""
    try:
        checkpoint = load_checkpoint(path)
    except CheckpointError:
        return None
    return checkpoint.epoch if checkpoint.step == 0 else None


def _named(numbers: list[int]) -> str:
    """Ascending numbers of epochs in words: `epoch 4`, `epochs 1 to 3, 5`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    what = "epoch " if len(numbers) == 1 else "epochs "
    return what + ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]} to {r[-1]}" for r in runs)

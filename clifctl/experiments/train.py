"""`train`: a recipe becomes a run folder and a result."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from clifctl.data import LoadedData, Split, batches, shuffled_batches
from clifctl.errors import Interrupted, OutputError, RunFailed
from clifctl.experiments.assembly import (
    build_net,
    exchange_neurons,
    loss_of,
    optimizer_of,
    parameter_count,
    repeat_of,
    steps_of,
)
from clifctl.experiments.planning import RUNS, Prepared, RunOptions, prepare
from clifctl.experiments.provenance import manifest
from clifctl.experiments.published import published_for
from clifctl.files import write_text
from clifctl.models import SpikingNet
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.yamlfile import dump_document
from clifctl.results import EpochRecord, Evaluation, TrainPlan, TrainResult
from clifctl.training import run_folder
from clifctl.training.checkpoint import Checkpoint, save_checkpoint
from clifctl.training.device import seed_everything
from clifctl.training.evaluation import evaluate
from clifctl.training.loop import StepDone, train_epochs
from clifctl.training.precision import Precision


class Observer(Protocol):
    """Who watches a run; the experiment itself prints nothing."""

    def started(self, plan: TrainPlan, epochs: int, steps: int) -> None: ...
    def stepped(self, epoch: int, step: int) -> None: ...
    def finished_epoch(self, record: EpochRecord) -> None: ...


@dataclass(frozen=True)
class _History:
    last: EpochRecord
    best: EpochRecord


def train(loaded: LoadedRecipe, options: RunOptions, observer: Observer) -> TrainResult:
    """Train `loaded` into its run folder.

    Raises before anything is written where the recipe, the data, the device or the folder will not
    do; raises Interrupted on Ctrl-C, with the last finished epoch kept in `last.pt`.
    """
    started = time.perf_counter()
    prepared = prepare(loaded, options)
    recipe = prepared.recipe
    torch.set_num_threads(prepared.threads.count)
    data = prepared.data.to(prepared.device)
    generator = seed_everything(recipe.train.seed)
    net = build_net(recipe).to(prepared.device)
    events = _training(loaded, net, data, shuffled_by=generator)
    # Only now: whatever cannot be built must not cost the run that --overwrite replaces.
    folder = _open_folder(loaded, options, prepared)
    steps = steps_of(recipe, data)
    observer.started(replace(prepared.plan, run_folder=str(folder)), recipe.train.epochs, steps)
    training_started = time.perf_counter()
    with _interruptible(folder):
        history = _keep(events, folder, loaded, net, observer)
        train_seconds = time.perf_counter() - training_started
        final = _test(loaded, net, data.test, with_rates=True)
        on_train = evaluate(
            net,
            batches(data.train, recipe.eval.batch_size),
            loss_of(recipe),
            repeat=repeat_of(recipe),
        )
    return TrainResult(
        recipe=loaded.name,
        data=recipe.data.dataset.name,
        model=recipe.model.model.name,
        neuron=recipe.neuron.neuron.name,
        timesteps=recipe.timesteps,
        batch_norm=recipe.model.options.batch_norm,
        window=recipe.neuron.window,
        seed=recipe.train.seed,
        epochs=recipe.train.epochs,
        parameters=parameter_count(net),
        accuracy_percent_last=final.accuracy_percent,
        accuracy_percent_best=history.best.test_accuracy_percent,
        epoch_best=history.best.epoch,
        best_chosen_on="test" if data.validation is None else "validation",
        train_loss_train_mode=history.last.train_loss_train_mode,
        train_loss_eval_mode=on_train.loss,
        test_loss=final.loss,
        firing_rate=final.firing_rate,
        firing_rates=final.firing_rates,
        train_seconds=train_seconds,
        total_seconds=time.perf_counter() - started,
        device=str(prepared.device),
        target=prepared.target.name,
        target_reason=prepared.target.reason,
        run_folder=str(folder),
        published=published_for(recipe),
    )


def _training(
    loaded: LoadedRecipe, net: SpikingNet, data: LoadedData, *, shuffled_by: torch.Generator
) -> Iterator[StepDone | EpochRecord]:
    """The training loop as the recipe describes it."""
    recipe = loaded.recipe
    section = recipe.train
    held_out = data.validation
    optimizer, schedule = optimizer_of(recipe, net)
    return train_epochs(
        net,
        optimizer,
        schedule,
        training_batches=lambda: shuffled_batches(
            data.train, section.batch_size, shuffled_by, data.augment, drop_last=section.drop_last
        ),
        test=lambda: _test(loaded, net, data.test),
        validation=lambda: _test(loaded, net, held_out) if held_out else None,
        before_epoch=lambda epoch: exchange_neurons(recipe, net, epoch),
        loss=loss_of(recipe),
        repeat=repeat_of(recipe),
        epochs=section.epochs,
        precision=Precision(section.precision, next(net.parameters()).device),
    )


def _test(
    loaded: LoadedRecipe, net: SpikingNet, split: Split, *, with_rates: bool = False
) -> Evaluation:
    recipe = loaded.recipe
    return evaluate(
        net,
        batches(split, recipe.eval.batch_size),
        loss_of(recipe),
        repeat=repeat_of(recipe),
        with_rates=with_rates,
    )


def _keep(
    events: Iterator[StepDone | EpochRecord],
    folder: Path,
    loaded: LoadedRecipe,
    net: SpikingNet,
    observer: Observer,
) -> _History:
    """Consume the training: write metrics and checkpoints, tell the observer."""
    history: _History | None = None
    for event in events:
        if isinstance(event, StepDone):
            observer.stepped(event.epoch, event.step)
            continue
        run_folder.append_metrics(folder / run_folder.METRICS, event)
        _save(folder / run_folder.LAST, net, loaded, event)
        # Strictly greater, as in the authors' code: the first of equals is the best.
        best = history.best if history else None
        if best is None or _judged(event) > _judged(best):
            best = event
            _save(folder / run_folder.BEST, net, loaded, event)
        history = _History(event, best)
        observer.finished_epoch(event)
    if history is None:
        raise ValueError("a run needs at least one epoch")
    return history


def _judged(record: EpochRecord) -> float:
    """What the best epoch is chosen by: held-out training data where there are any."""
    held_out = record.validation_accuracy_percent
    return record.test_accuracy_percent if held_out is None else held_out


def _open_folder(loaded: LoadedRecipe, options: RunOptions, prepared: Prepared) -> Path:
    if options.out is None:
        folder = run_folder.claim_numbered_folder(RUNS, loaded.name)
    else:
        folder = options.out
        run_folder.create_run_folder(folder, overwrite=options.overwrite)
    document = loaded.recipe.document
    write_text(folder / run_folder.RECIPE, dump_document(document))
    run_folder.write_json(
        folder / run_folder.MANIFEST,
        manifest(
            device=prepared.device,
            target=prepared.target,
            threads=prepared.threads,
            seed=loaded.recipe.train.seed,
            data_sha256=prepared.data.sha256(),
        ),
    )
    return folder


def _save(path: Path, net: SpikingNet, loaded: LoadedRecipe, record: EpochRecord) -> None:
    save_checkpoint(
        path,
        Checkpoint(
            recipe_name=loaded.name,
            recipe=loaded.recipe.document,
            epoch=record.epoch,
            accuracy_percent=record.test_accuracy_percent,
            model=net.state_dict(),
        ),
    )


@contextmanager
def _interruptible(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(stop, f"training stopped in '{folder}': {_kept(folder)}") from None
    except OutputError as refused:
        # The input was good; the disk was not.
        raise RunFailed(f"{refused.message}: {_kept(folder)}", hint=refused.hint) from None


def _kept(folder: Path) -> str:
    last = folder / run_folder.LAST
    return f"'{last}' holds the last finished epoch" if last.is_file() else "no epoch finished"

"""A run that is built, and stands where it begins or goes on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from clifctl.amounts import counted
from clifctl.data import LoadedData, Split, batches, draw_order, shuffled_batches
from clifctl.errors import CheckpointError, DataError
from clifctl.experiments.build import (
    build_net,
    exchange_neurons,
    loss_of,
    optimizer_of,
    repeat_of,
    steps_of,
    training_step_of,
)
from clifctl.experiments.run.connections import first_step_noted, may_be_event_driven
from clifctl.experiments.run.plan import Prepared
from clifctl.experiments.run.recorder import History
from clifctl.models import SpikingNet, folded_norms
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.schema import Recipe
from clifctl.results.connections import ConnectionPaths
from clifctl.results.eval import Evaluation
from clifctl.training import run_folder
from clifctl.training.checkpoint import Checkpoint, load_weights
from clifctl.training.device import evaluating, seed_everything
from clifctl.training.distributed import Processes
from clifctl.training.evaluation import evaluate
from clifctl.training.loop import Event, Position, train_epochs
from clifctl.training.precision import Precision
from clifctl.training.resume import InProgress, restore
from clifctl.training.stopping import StopRequest

FOLDED = (
    "batch norm was folded into the weights of --init: training normalises again what is already "
    "normalised; convert without --fold-norm gives weights to train on"
)


@dataclass(frozen=True)
class Run:
    """A run that is ready to train: everything is built, and brought to where it goes on."""

    loaded: LoadedRecipe
    prepared: Prepared
    recipe: Recipe
    data: LoadedData
    net: SpikingNet
    running: InProgress
    history: History
    continues_after: str | None
    seconds_before: float  # that it has trained for before it went on
    notes: Sequence[str]  # what a person should know
    processes: Processes

    @classmethod
    def assemble(
        cls,
        loaded: LoadedRecipe,
        prepared: Prepared,
        checkpoint: Checkpoint | None,
        processes: Processes,
    ) -> "Run":
        """Build the run. Raises CheckpointError, DataError where `checkpoint` is not of it."""
        recipe, section = prepared.recipe, prepared.recipe.train
        device = prepared.execution.device
        torch.set_num_threads(prepared.execution.threads.count)
        data = prepared.data.to(device)
        generator = seed_everything(section.seed)
        net = build_net(recipe).to(device)
        optimizer, schedule = optimizer_of(recipe, net)
        precision = Precision(prepared.precision.name, device)
        step = training_step_of(recipe, net, optimizer, precision, processes)
        running = InProgress(step, schedule, Position(), generator)
        history, after = History(), None
        notes = [] if prepared.precision.note is None else [prepared.precision.note]
        if checkpoint is not None:
            history = _go_on(running, checkpoint, prepared)
            after = f"epoch {checkpoint.epoch}"
            after += f" and {counted(checkpoint.step, 'step')}" if checkpoint.step else ""
            # Of a run whose epochs are all done, nothing but evaluations may be left.
            exchange_neurons(recipe, net, running.position.epoch)
        elif prepared.start is not None:
            prepared.start.fill(net)
            notes += [FOLDED] if folded_norms(net) else []
        seconds = history.seconds + running.position.seconds
        return cls(
            loaded, prepared, recipe, data, net, running, history, after, seconds, notes, processes
        )

    def events(
        self, request: StopRequest, note: Callable[[tuple[ConnectionPaths, ...]], None]
    ) -> Iterator[Event]:
        """The training, from where it stands; `note` is called with how the connections run."""
        held_out = self.data.validation
        events = train_epochs(
            self.running.step,
            self.running.schedule,
            self.running.position,
            training_batches=self._batches,
            test=lambda: self.evaluate(self.data.test, request),
            validation=lambda: self.evaluate(held_out, request) if held_out else None,
            before_epoch=lambda epoch: exchange_neurons(self.recipe, self.net, epoch),
            epochs=self.recipe.train.epochs,
            log_every=self.recipe.train.log_every,
        )
        if may_be_event_driven(self.recipe):
            return first_step_noted(events, self.net, self.prepared.precision.name, note)
        return events

    def evaluate(
        self, split: Split, request: StopRequest, *, with_rates: bool = False
    ) -> Evaluation:
        """The net on a split, of which each process takes a part. Raises StopNow where a stop is
        asked for."""
        # Without statistics over all processes each has its own running averages.
        self.processes.copy_from_main(list(self.net.buffers()))
        own = split.part(self.processes.part(len(split))) if self.processes.several else split
        with evaluating():
            return evaluate(
                self.net,
                request.watched(batches(own, self.recipe.eval.batch_size)),
                loss_of(self.recipe),
                repeat=repeat_of(self.recipe),
                with_rates=with_rates,
                processes=self.processes,
            )

    def _batches(self, position: Position) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """What is left of the epoch at `position`, whose order is drawn here."""
        split, section = self.data.train, self.recipe.train
        if position.order is None:
            position.order = draw_order(split, self.running.generator)
        return shuffled_batches(
            split,
            section.batch_size,
            self.running.generator,
            self.data.augment,
            drop_last=section.drop_last,
            order=position.order,
            start=position.step,
            part=self.processes.part if self.processes.several else None,
        )


def _go_on(running: InProgress, checkpoint: Checkpoint, prepared: Prepared) -> History:
    """Bring `running` to where `checkpoint` was saved; its history."""
    state, recipe = checkpoint.training or {}, prepared.recipe
    where = f"{prepared.plan.run_folder}/{run_folder.LAST}"
    if state.get("data_sha256") != prepared.data_sha256:
        raise DataError(
            f"the data are not those that '{where}' was trained on: they have a different hash",
            hint="put the data back as they were, or start a new run",
        )
    load_weights(running.step.net, checkpoint, Path(where))
    history = History.of(state.get("history", {}), where)
    restore(
        running,
        state,
        samples=len(prepared.data.train),
        steps=steps_of(recipe, prepared.data),
        epochs=recipe.train.epochs,
        where=where,
    )
    position = running.position
    if (position.epoch, position.step) != (checkpoint.epoch + 1, checkpoint.step):
        raise CheckpointError(
            f"'{where}' says epoch {checkpoint.epoch}, step {checkpoint.step}, its training state "
            f"epoch {position.epoch - 1}, step {position.step}",
            hint="the file was changed after training: resume from another one",
        )
    return history

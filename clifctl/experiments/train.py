"""`train`: a recipe becomes a run folder and a result."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
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
    parameter_count,
    prepare_net,
    repeat_of,
    steps_of,
    training_step_of,
)
from clifctl.experiments.published import published_for
from clifctl.experiments.run.connections import first_step_noted, may_be_event_driven
from clifctl.experiments.run.execution import Execution
from clifctl.experiments.run.folder import lock_folder, open_folder
from clifctl.experiments.run.plan import Prepared, RunOptions, prepare, require_options
from clifctl.experiments.run.recorder import History, RunRecorder
from clifctl.experiments.run.resume import folder_state
from clifctl.launch import launch
from clifctl.models import SpikingNet, folded_norms
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.neuron_files import neuron_sources
from clifctl.recipe.schema import Recipe
from clifctl.results.connections import ConnectionPaths
from clifctl.results.decoding import encode
from clifctl.results.eval import Evaluation
from clifctl.results.events import Notice, Observer, RunStarted
from clifctl.results.train import TrainResult
from clifctl.training import run_folder
from clifctl.training.checkpoint import Checkpoint, load_weights
from clifctl.training.device import (
    determinism,
    evaluating,
    seed_everything,
    tf32,
)
from clifctl.training.distributed import Processes, joined
from clifctl.training.evaluation import evaluate
from clifctl.training.loop import Event, Position, train_epochs
from clifctl.training.precision import Precision
from clifctl.training.resume import InProgress, restore
from clifctl.training.stopping import StopNow, StopRequest, never, stop_requests

FOLDED = (
    "batch norm was folded into the weights of --init: training normalises again what is already "
    "normalised; convert without --fold-norm gives weights to train on"
)


def train(
    loaded: LoadedRecipe,
    options: RunOptions,
    observe: Observer,
    should_stop: Callable[[], bool] = never,
) -> TrainResult:
    """Train `loaded` into its run folder: start, go on, or return what is finished, as
    `options.resume` says.

    Raises before anything is written where the recipe, the data, the device or the folder will not
    do. On SIGINT, SIGTERM, SIGHUP, or once `should_stop` returns True, it saves at the next step
    and raises Interrupted; RunFailed is raised where the computation or the disk fails. Both say
    what was kept.

    One of several processes (`clifctl.launch`) takes its part of every batch; the main one alone
    writes and is observed. All return the same result.
    """
    require_options(options)
    execution = options.execution.resolve()
    with joined(launch(), execution.device) as processes:
        return _train(loaded, options, execution, observe, processes, should_stop)


def _train(
    loaded: LoadedRecipe,
    options: RunOptions,
    execution: Execution,
    observe: Observer,
    processes: Processes,
    should_stop: Callable[[], bool],
) -> TrainResult:
    started = time.perf_counter()

    def notice(line: str) -> None:
        observe(Notice(line))

    finished = processes.from_main(lambda: folder_state(loaded, options).result)
    if finished is not None:
        observe(Notice(f"'{options.out}' is already finished"))
        return finished
    prepared = processes.agree(lambda: prepare(loaded, options, execution))
    _require_same_data(prepared, processes)
    with ExitStack() as until_done:
        until_done.enter_context(determinism(loaded.recipe.train.deterministic))
        until_done.enter_context(tf32(loaded.recipe.train.tf32))
        # Once more: until it was locked, another process may have gone on with it.
        earlier, is_ours = processes.from_main(lambda: lock_folder(loaded, options, until_done))
        if earlier.result is not None:
            return earlier.result
        run = processes.agree(
            lambda: _Run.assemble(loaded, prepared, earlier.checkpoint, processes)
        )
        prepare_net(run.recipe, run.net, processes)
        # Only now: whatever cannot be built must not cost the run that --overwrite replaces.
        folder = processes.from_main(
            lambda: open_folder(
                loaded,
                options,
                prepared,
                until_done,
                earlier=earlier,
                is_ours=is_ours,
                notice=notice,
            )
        )
        recorder = RunRecorder(
            folder,
            loaded,
            run.running,
            run.history,
            prepared.data_sha256,
            neuron_sources(loaded.recipe.document),
            run_folder.kept_epochs(folder),
            processes,
        )
        plan = replace(prepared.plan, run_folder=str(folder), continues_after=run.continues_after)
        observe(RunStarted(plan, loaded.recipe.train.epochs, steps_of(run.recipe, run.data)))
        for note in run.notes:
            observe(Notice(note))
        stops = stop_requests(notice, processes, should_stop=should_stop)
        with recorder.reporting_failures(), stops as request:
            if earlier.checkpoint is None:
                recorder.log("started")
            else:
                recorder.resumed(earlier.checkpoint)
            recorder.consume(run.events(request, recorder.note_connections), observe, request)
            try:
                result = _result(run, folder, request, started)
            except StopNow:
                raise recorder.interrupted(request) from None
            if processes.main:
                run_folder.write_json(folder / run_folder.RESULT, encode(result))
            recorder.log("finished")
    return result


def _require_same_data(prepared: Prepared, processes: Processes) -> None:
    """Raise DataError where the processes of a run have read different data."""
    if not processes.several:
        return
    hashes = processes.gather(prepared.data_sha256)

    def compare() -> None:
        if prepared.data_sha256 != hashes[0]:
            raise DataError(
                "its data are not those of process 0: they have a different hash",
                hint="give every machine the same files",
            )

    processes.agree(compare)


@dataclass(frozen=True)
class _Run:
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
    ) -> "_Run":
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
        )


def _go_on(running: InProgress, checkpoint: Checkpoint, prepared: Prepared) -> History:
    """Bring `running` to where `checkpoint` was saved; its history."""
    state, recipe = checkpoint.training or {}, prepared.recipe
    where = prepared.plan.run_folder + "/" + run_folder.LAST
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


def _result(run: _Run, folder: Path, request: StopRequest, started: float) -> TrainResult:
    """Evaluate the finished net, and put together what the run gives."""
    recipe, prepared, history = run.recipe, run.prepared, run.history
    last, best = history.last, history.best
    if last is None or best is None:
        raise ValueError("a run needs at least one epoch")
    final = run.evaluate(run.data.test, request, with_rates=True)
    on_train = run.evaluate(run.data.train, request)
    return TrainResult(
        recipe=run.loaded.name,
        data=recipe.data.dataset.name,
        model=recipe.model.model.name,
        neuron=recipe.neuron.neuron.name,
        timesteps=recipe.timesteps,
        batch_norm=recipe.model.options.batch_norm,
        window=recipe.neuron.window,
        seed=recipe.train.seed,
        epochs=recipe.train.epochs,
        parameters=parameter_count(run.net),
        accuracy_percent_last=final.accuracy_percent,
        accuracy_percent_best=best.test_accuracy_percent,
        epoch_best=best.epoch,
        best_chosen_on="test" if run.data.validation is None else "validation",
        train_loss_train_mode=last.train_loss_train_mode,
        train_loss_eval_mode=on_train.loss,
        test_loss=final.loss,
        firing_rate=final.firing_rate,
        firing_rates=final.firing_rates,
        precision=prepared.precision.name,
        skipped_steps=last.skipped_steps,
        train_seconds=history.seconds,
        total_seconds=run.seconds_before + time.perf_counter() - started,
        samples_per_second=last.samples_per_second,
        time=last.time,
        processes=run.processes.count,
        **prepared.execution.facts,
        run_folder=str(folder),
        resolved_recipe=run.loaded.recipe.document,
        published=published_for(recipe, run.data),
    )

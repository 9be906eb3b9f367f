"""`train`: a recipe becomes a run folder and a result."""

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace

from clifctl.errors import DataError, UsageError
from clifctl.experiments.build import (
    parameter_count,
    prepare_net,
    steps_of,
)
from clifctl.experiments.published import published_for
from clifctl.experiments.run.built import Run
from clifctl.experiments.run.execution import Execution
from clifctl.experiments.run.folder import lock_folder, open_folder
from clifctl.experiments.run.plan import Prepared, RunOptions, prepare, require_options
from clifctl.experiments.run.recorder import RunRecorder
from clifctl.experiments.run.resume import folder_state
from clifctl.launch import ON_ITS_OWN, launch
from clifctl.models import SpikingNet
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.own_files import file_sources
from clifctl.results.decoding import encode
from clifctl.results.events import Notice, Observer, RunEvent, RunStarted
from clifctl.results.train import EpochRecord, TrainResult
from clifctl.training import run_folder
from clifctl.training.device import (
    determinism,
    tf32,
)
from clifctl.training.distributed import Processes, joined
from clifctl.training.stopping import StopNow, StopRequest, never, stop_requests

Training = Generator[RunEvent, None, TrainResult]
# Called with the net of a run once it is built, and stands where the run begins or goes on.
Begun = Callable[[SpikingNet], None]
Stops = Callable[[Processes], AbstractContextManager[StopRequest]]


def train(
    loaded: LoadedRecipe,
    options: RunOptions,
    observe: Observer,
    should_stop: Callable[[], bool] = never,
) -> TrainResult:
    """Train `loaded` into its run folder: start, go on, or return what is finished, as
    `options.resume` says.

    Raises before anything is written where the recipe, the data, the device or the folder will not
    do. On a signal that asks for a stop, or once `should_stop` returns True, it saves at the next
    step and raises Interrupted; RunFailed is raised where the computation or the disk fails. Both
    say what was kept.

    One of several processes (`clifctl.launch`) takes its part of every batch; the main one alone
    writes and is observed. All return the same result.
    """

    def notice(line: str) -> None:
        observe(Notice(line))

    def stops(processes: Processes) -> AbstractContextManager[StopRequest]:
        return stop_requests(notice, processes, should_stop=should_stop)

    events = training(loaded, options, notice, stops)
    while True:
        try:
            event = next(events)
        except StopIteration as done:
            result: TrainResult = done.value
            return result
        try:
            observe(event)
        except BaseException as raised:
            events.throw(raised)


def training(
    loaded: LoadedRecipe,
    options: RunOptions,
    notice: Callable[[str], None],
    stops: Stops = lambda processes: nullcontext(StopRequest()),
    begun: Begun = lambda net: None,
) -> Training:
    """As `train`, as a generator of what happens, which returns the result. `stops` says who may
    ask the run to stop: without it nobody, and whoever iterates just leaves off. Unless
    `options.recorded` there is no run folder and nothing is written.
    """
    require_options(options)
    execution = options.execution.resolve()
    with joined(launch(), execution.device) as processes:
        if options.recorded:
            return (yield from _train(loaded, options, execution, notice, processes, stops, begun))
        return (yield from _unrecorded(loaded, options, execution, notice, processes, begun))


def _train(
    loaded: LoadedRecipe,
    options: RunOptions,
    execution: Execution,
    notice: Callable[[str], None],
    processes: Processes,
    stops: Stops,
    begun: Begun,
) -> Training:
    started = time.perf_counter()
    finished = processes.from_main(lambda: folder_state(loaded, options).result)
    if finished is not None:
        notice(f"'{options.out}' is already finished")
        return finished
    prepared = processes.agree(lambda: prepare(loaded, options, execution))
    _require_the_same(loaded, prepared, processes)
    with ExitStack() as until_done:
        until_done.enter_context(determinism(loaded.recipe.train.deterministic))
        until_done.enter_context(tf32(loaded.recipe.train.tf32))
        # Once more: until it was locked, another process may have gone on with it.
        earlier, is_ours = processes.from_main(lambda: lock_folder(loaded, options, until_done))
        if earlier.result is not None:
            return earlier.result
        run = processes.agree(lambda: Run.assemble(loaded, prepared, earlier.checkpoint, processes))
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
            file_sources(loaded.recipe.document),
            run_folder.kept_epochs(folder),
            processes,
        )
        begun(run.net)
        plan = replace(prepared.plan, run_folder=str(folder), continues_after=run.continues_after)
        yield RunStarted(plan, loaded.recipe.train.epochs, steps_of(run.recipe, run.data))
        for note in run.notes:
            notice(note)
        with recorder.reporting_failures(), stops(processes) as request:
            if earlier.checkpoint is None:
                recorder.log("started")
            else:
                recorder.resumed(earlier.checkpoint)
            yield from recorder.recorded(run.events(request, recorder.note_connections), request)
            try:
                result = _result(run, str(folder), request, started)
            except StopNow:
                raise recorder.interrupted(request) from None
            if processes.main:
                run_folder.write_json(folder / run_folder.RESULT, encode(result))
            recorder.log("finished")
    return result


def _unrecorded(
    loaded: LoadedRecipe,
    options: RunOptions,
    execution: Execution,
    notice: Callable[[str], None],
    processes: Processes,
    begun: Begun,
) -> Training:
    """The same run, of which nothing is kept but its net, and the result that is returned."""
    started = time.perf_counter()
    prepared = processes.agree(lambda: prepare(loaded, options, execution))
    _require_the_same(loaded, prepared, processes)
    nobody = StopRequest()
    with determinism(loaded.recipe.train.deterministic), tf32(loaded.recipe.train.tf32):
        run = processes.agree(lambda: Run.assemble(loaded, prepared, None, processes))
        prepare_net(run.recipe, run.net, processes)
        begun(run.net)
        yield RunStarted(prepared.plan, run.recipe.train.epochs, steps_of(run.recipe, run.data))
        for note in run.notes:
            notice(note)
        for event in run.events(nobody, lambda paths: None):
            if isinstance(event, EpochRecord):
                run.history.add(event)
            yield event
        return _result(run, None, nobody, started)


def _require_the_same(loaded: LoadedRecipe, prepared: Prepared, processes: Processes) -> None:
    """Raise UsageError where the processes of a run were given different recipes, DataError where
    they have read different data."""
    if not processes.several:
        return
    document = loaded.recipe.document
    both = processes.gather((document, prepared.data_sha256))

    def compare() -> None:
        if document != both[0][0]:
            raise UsageError(
                "its recipe is not that of process 0, and the processes of a run have one",
                hint=f"for runs of their own in one step of Slurm: {ON_ITS_OWN} clifctl train ...",
            )
        if prepared.data_sha256 != both[0][1]:
            raise DataError(
                "its data are not those of process 0: they have a different hash",
                hint="give every machine the same files",
            )

    processes.agree(compare)


def _result(run: Run, folder: str | None, request: StopRequest, started: float) -> TrainResult:
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
        batch_norm=recipe.model.options.norm_mode,
        window=recipe.neuron.window,
        seed=recipe.train.seed,
        epochs=recipe.train.epochs,
        parameters=parameter_count(run.net),
        accuracy_percent_last=final.accuracy_percent,
        accuracy_percent_best=best.test_accuracy_percent,
        validation_accuracy_percent_last=last.validation_accuracy_percent,
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
        run_folder=folder,
        resolved_recipe=run.loaded.recipe.document,
        published=published_for(recipe, run.data),
    )

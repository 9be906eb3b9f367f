"""What a run leaves behind while it trains: metrics, checkpoints and a log."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from clifctl.commands import command_line
from clifctl.data import WITHOUT_WORKERS
from clifctl.errors import CheckpointError, Interrupted, OutputError, RunFailed, WorkerFailed
from clifctl.experiments.run.state import Standing, note_end
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.schema import named_files
from clifctl.results.connections import ConnectionPaths
from clifctl.results.decoding import decode
from clifctl.results.events import StepDone
from clifctl.results.runs import RunState
from clifctl.results.train import EpochRecord, StepRecord
from clifctl.training import run_folder
from clifctl.training.checkpoint import Checkpoint, save_checkpoint
from clifctl.training.distributed import ALONE, Processes, lost_process
from clifctl.training.loop import Event
from clifctl.training.resume import InProgress, capture
from clifctl.training.saving import Interval, Timer
from clifctl.training.stopping import StopNow, StopRequest


@dataclass
class History:
    """The last epoch, the best one, and the seconds that training has taken so far."""

    last: EpochRecord | None = None
    best: EpochRecord | None = None
    seconds: float = 0.0

    def add(self, record: EpochRecord) -> bool:
        """Take in an epoch; whether it is the best so far."""
        self.last = record
        self.seconds += record.seconds
        # Strictly greater, as in the authors' code: the first of equals is the best.
        if self.best is not None and _judged(record) <= _judged(self.best):
            return False
        self.best = record
        return True

    def document(self) -> dict[str, Any]:
        """As a checkpoint carries it."""
        return asdict(self)

    @classmethod
    def of(cls, document: dict[str, Any], where: str) -> "History":
        """The history in a checkpoint. Raises CheckpointError where it is none."""
        try:
            last, best = (
                decode(EpochRecord, document[name]) if document[name] is not None else None
                for name in ("last", "best")
            )
            if (last is None) != (best is None):
                raise ValueError
            return cls(last, best, float(document["seconds"]))
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(
                f"the history in '{where}' cannot be used",
                hint="the file was changed after training: resume from another one",
            ) from None


def _judged(record: EpochRecord) -> float:
    """What the best epoch is chosen by: held-out training data where there are any."""
    held_out = record.validation_accuracy_percent
    return record.test_accuracy_percent if held_out is None else held_out


@dataclass
class RunRecorder:
    """Records the events of a training: writes what they say, and passes them on.

    `data_sha256` and `neuron_sources` go into every checkpoint: a run goes on with its own data and
    neurons only. Of several
    `processes` each follows the run in one of these; the main one's alone writes.
    """

    folder: Path
    loaded: LoadedRecipe
    running: InProgress
    history: History
    data_sha256: str
    neuron_sources: dict[str, str]
    keep: int
    processes: Processes = ALONE
    kept: str = "nothing was saved yet"
    _place: tuple[int, int] | None = field(init=False, default=None)  # epochs and steps saved
    _timer: Timer = field(init=False)
    _clean: bool = field(init=False, default=False)  # whether the last save holds every step

    def __post_init__(self) -> None:
        self._timer = Timer(Interval.parse(self.loaded.recipe.train.save_every))

    def resumed(self, checkpoint: Checkpoint) -> None:
        """Take note that the run goes on from `checkpoint`."""
        self._is_kept(checkpoint)
        self.log(f"resumed: {self.kept}")

    def _is_kept(self, checkpoint: Checkpoint) -> None:
        self.kept = describe(self.folder, checkpoint)
        self._place = (checkpoint.epoch, checkpoint.step)

    def recorded(self, events: Iterator[Event], request: StopRequest) -> Iterator[Event]:
        """The events to the end, or until a stop is asked for: then save, and raise Interrupted."""
        try:
            for event in events:
                if isinstance(event, StepRecord):
                    if self.processes.main:
                        run_folder.append_metrics(self.folder / run_folder.METRICS, event)
                    yield event
                    continue
                if isinstance(event, StepDone):
                    self._clean = False
                    yield event
                    is_due = request.settle(self.processes, is_due=self._timer.is_due())
                    if request.stop is not None or is_due:
                        self.save(run_folder.LAST)
                else:
                    self._keep_epoch(event)
                    yield event
                    request.settle(self.processes)
                if request.stop is not None:
                    raise StopNow
        except StopNow:
            # Between two batches of an evaluation: the state is that after the last step.
            if not self._clean:
                self.save(run_folder.LAST)
            raise self.interrupted(request) from None
        except WorkerFailed:
            # The batches that it had in hand are no part of the state either.
            if not self._clean and self.running.position.step and not self.processes.several:
                self.save(run_folder.LAST)
            raise

    def interrupted(self, request: StopRequest) -> Interrupted:
        """The error to end with, saying what was kept."""
        if request.stop is None:
            request.settle(self.processes)
        assert request.stop is not None
        return self._interrupted(request.stop)

    def _interrupted(self, stop: KeyboardInterrupt, *, at_once: bool = False) -> Interrupted:
        return Interrupted(
            stop,
            f"training stopped in '{self.folder}': {self.kept}",
            hint=f"resume with: {self._go_on()}",
            at_once=at_once,
        )

    def save(self, *names: str) -> None:
        """Write a checkpoint of this moment under each name. Raises RunFailed, OutputError."""
        state = capture(self.running)
        checkpoint = self._checkpoint(state)
        if self.processes.main:
            # What was appended before must not be less on the disk than the checkpoint.
            run_folder.sync(self.folder / run_folder.METRICS)
            save_checkpoint(checkpoint, *(self.folder / name for name in names))
        self._is_kept(checkpoint)
        self._clean = True
        self._timer.saved()

    def _checkpoint(self, state: dict[str, Any]) -> Checkpoint:
        """This moment, whose state is `state`."""
        position, last = self.running.position, self.history.last
        return Checkpoint(
            recipe_name=self.loaded.name,
            recipe=self.loaded.recipe.document,
            epoch=position.epoch - 1,
            step=position.step,
            accuracy_percent=last.test_accuracy_percent if last else None,
            model=self.running.step.net.state_dict(),
            neuron_sources=self.neuron_sources,
            training={
                **state,
                "data_sha256": self.data_sha256,
                "history": replace(self.history).document(),
            },
        )

    def _keep_epoch(self, record: EpochRecord) -> None:
        if self.processes.main:
            run_folder.append_metrics(self.folder / run_folder.METRICS, record)
        # The last one last: what it says of the others is then true.
        names = [run_folder.BEST] if self.history.add(record) else []
        names += [run_folder.epoch_file(record.epoch)] if self.keep else []
        self.save(*names, run_folder.LAST)
        if self.keep and self.processes.main:
            run_folder.remove_old_epochs(self.folder, self.keep)
        self.log(
            f"epoch {record.epoch}: train loss {record.train_loss_train_mode:.4f}, test loss "
            f"{record.test_loss:.4f}, test accuracy {record.test_accuracy_percent:.2f} %, "
            f"{record.seconds:.1f} s, {record.samples_per_second:.0f} samples/s"
        )

    def note_connections(self, paths: tuple[ConnectionPaths, ...]) -> None:
        """Write into the manifest how the connections ran, a line each. Raises OutputError."""
        if self.processes.main:
            ways = {path.layer: path.in_words for path in paths}
            run_folder.note_in_manifest(self.folder, connection_paths=ways)

    def log(self, line: str) -> None:
        """Write a line to the run's log. Raises OutputError."""
        if self.processes.main:
            run_folder.append_log(self.folder / run_folder.LOG, line)

    @contextmanager
    def reporting_failures(self) -> Iterator[None]:
        """Within it, whatever ends the run is logged, and says what was kept."""
        try:
            yield
        except KeyboardInterrupt as stop:
            self._note_end("interrupted", "interrupted at once")
            raise self._interrupted(stop, at_once=True) from None
        except OutputError as refused:
            # The input was good; the disk was not.
            hint = f"once that is fixed, resume with: {self._go_on()}"
            raise self._with_what_was_kept(RunFailed(refused.message, hint=hint)) from None
        except WorkerFailed as failed:
            again = f"{failed.hint}: {self._go_on(WITHOUT_WORKERS)}"
            raise self._with_what_was_kept(type(failed)(failed.message, hint=again)) from failed
        except RunFailed as failed:
            raise self._with_what_was_kept(failed) from failed
        except Interrupted as interrupted:
            self._note_end("interrupted", interrupted.message)
            raise
        except GeneratorExit:
            self._note_end("interrupted", "left before its end")
            raise
        except Exception as error:
            if isinstance(error, RuntimeError) and (lost := lost_process(error, self.processes)):
                raise self._with_what_was_kept(lost) from None
            self._note_failure(f"{type(error).__name__}: {error}")
            raise

    def _with_what_was_kept(self, failed: RunFailed) -> RunFailed:
        self._note_failure(failed.message)
        return type(failed)(f"{failed.message}; {self.kept}", hint=failed.hint)

    def _go_on(self, *overrides: str) -> str:
        """The command that goes on with the run. A run folder alone does not decide what is run."""
        named = named_files(self.loaded.recipe.document)
        trusting = [word for _, name in named for word in ("--trust", name)]
        return command_line("train", "--resume", self.folder, *overrides, *trusting)

    def _note_failure(self, problem: str) -> None:
        self._note_end("failed", f"failed: {problem}", problem)

    def _note_end(self, state: RunState, line: str, problem: str | None = None) -> None:
        with suppress(OutputError):  # the run ends with what is worse
            self.log(line)
        if self.processes.main:
            epoch, step = self._place or (0, 0)
            note_end(self.folder, Standing(state, epoch=epoch, step=step, problem=problem))


def describe(folder: Path, checkpoint: Checkpoint) -> str:
    """What the last checkpoint of a run holds, in words."""
    after = f"epoch {checkpoint.epoch}"
    if checkpoint.step:
        after = f"step {checkpoint.step} of epoch {checkpoint.epoch + 1}"
    return f"'{folder / run_folder.LAST}' holds the run after {after}"

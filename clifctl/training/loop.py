"""The training loop: a generator. It knows no console and no path; its consumer does the rest."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from clifctl.errors import RunFailed
from clifctl.results.eval import Evaluation
from clifctl.results.events import StepDone
from clifctl.results.train import EpochRecord, StepRecord
from clifctl.training.evaluation import Batches
from clifctl.training.step import Sums, TrainingStep
from clifctl.training.timing import shares


@dataclass
class Position:
    """Where a run stands: `step` steps of `epoch` (from 1) are taken, of the data in `order`.

    Whenever the loop has yielded, this, the step's optimizer and scaler, the schedule, the weights
    and the random generators are all that decides how the run goes on.
    """

    epoch: int = 1
    step: int = 0
    order: Tensor | None = None
    sums: Sums = field(default_factory=Sums)
    seconds: float = 0.0  # that the epoch has taken

    def next_epoch(self) -> None:
        """Stand before the first step of the next epoch."""
        self.epoch, self.step, self.order = self.epoch + 1, 0, None
        self.sums, self.seconds = Sums(), 0.0


Event = StepDone | StepRecord | EpochRecord


def train_epochs(
    step: TrainingStep,
    schedule: LRScheduler,
    position: Position,
    *,
    training_batches: Callable[[Position], Batches],
    test: Callable[[], Evaluation],
    validation: Callable[[], Evaluation | None] = lambda: None,
    before_epoch: Callable[[int], None] = lambda epoch: None,
    epochs: int,
    log_every: int = 50,
) -> Iterator[Event]:
    """Train from `position` on, which moves along; yields a StepDone after each step, a StepRecord
    every `log_every` steps, and an EpochRecord after each epoch.

    An epoch is one pass over what is left of `training_batches(position)`, `test()`, then one step
    of the schedule: the order of the authors' protocol. `before_epoch` may change the net at its
    start, and is called again where a run goes on in its middle. Where samples are mixed (labels
    `[N, classes]`), training accuracy counts the class with the largest weight. Raises RunFailed
    when a number is not finite, before that step or epoch is yielded.
    """
    while position.epoch <= epochs:
        before_epoch(position.epoch)
        lr = step.optimizer.param_groups[0]["lr"]
        before = time.perf_counter() - position.seconds
        step.net.train()
        step.clock.start()
        for inputs, targets in training_batches(position):
            step.clock.mark("data")
            step(position.epoch, position.step + 1, inputs, targets, position.sums)
            position.step += 1
            position.seconds = time.perf_counter() - before
            if position.step % log_every == 0:
                step.health.check()
                yield _step_record(step, position, lr)
            yield StepDone(position.epoch, position.step, position.sums)
            step.clock.mark("rest")
        step.health.check()
        sums = position.sums
        mean_loss = sums.mean_loss()
        _require_finite("training loss", mean_loss, position.epoch)
        seconds = dict(step.clock.read())
        evaluation = test()
        _require_finite("test loss", evaluation.loss, position.epoch)
        held_out = validation()
        position.seconds = time.perf_counter() - before
        record = EpochRecord(
            epoch=position.epoch,
            lr=lr,
            train_loss_train_mode=mean_loss,
            train_accuracy_percent_train_mode=sums.accuracy_percent(),
            test_loss=evaluation.loss,
            test_accuracy_percent=evaluation.accuracy_percent,
            validation_accuracy_percent=held_out.accuracy_percent if held_out else None,
            skipped_steps=int(step.health.skipped),
            seconds=position.seconds,
            samples_per_second=int(sums.samples) / (sum(seconds.values()) or math.inf),
            time=shares(seconds),
        )
        _step(schedule)
        position.next_epoch()
        step.clock.reset()
        yield record


def _step_record(step: TrainingStep, position: Position, lr: float) -> StepRecord:
    """The epoch so far. Waits for a GPU."""
    seconds = step.clock.read()
    return StepRecord(
        epoch=position.epoch,
        step=position.step,
        lr=lr,
        train_loss_train_mode=position.sums.mean_loss(),
        train_accuracy_percent_train_mode=position.sums.accuracy_percent(),
        skipped_steps=int(step.health.skipped),
        seconds=position.seconds,
        samples_per_second=int(position.sums.samples) / (sum(seconds.values()) or math.inf),
        time=shares(seconds),
    )


def _step(schedule: LRScheduler) -> None:
    """One step of the schedule, an epoch's."""
    with warnings.catch_warnings():
        # Not so: the optimizer's steps were taken before the run was interrupted.
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        # What torch's own SequentialLR calls.
        warnings.filterwarnings("ignore", "The epoch parameter")
        schedule.step()


def _require_finite(what: str, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise RunFailed(
            f"the {what} became {loss} in epoch {epoch}",
            hint="lower train.lr, and look at the last finite epoch in metrics.jsonl",
        )

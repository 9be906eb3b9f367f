"""The training loop: a generator. It knows no console and no path; its consumer does the rest."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from clifctl.errors import RunFailed
from clifctl.models import SpikingNet
from clifctl.results import EpochRecord, Evaluation
from clifctl.training.evaluation import Batches, Loss
from clifctl.training.loss import hard_labels
from clifctl.training.precision import Precision


@dataclass(frozen=True)
class StepDone:
    """One optimizer step was taken: `step` of the epoch, counted from 1."""

    epoch: int
    step: int


def train_epochs(
    net: SpikingNet,
    optimizer: Optimizer,
    schedule: LRScheduler,
    *,
    training_batches: Callable[[], Batches],
    test: Callable[[], Evaluation],
    validation: Callable[[], Evaluation | None] = lambda: None,
    before_epoch: Callable[[int], None] = lambda epoch: None,
    loss: Loss,
    repeat: int,
    epochs: int,
    precision: Precision,
) -> Iterator[StepDone | EpochRecord]:
    """Train `net`; yields a StepDone after each step and an EpochRecord after each epoch.

    An epoch is one pass over `training_batches()`, one step of the schedule, then `test()`: the
    order of the authors' protocol. `before_epoch` may change the net at its start. Where samples
    are mixed (labels `[N, classes]`), training accuracy counts the class with the largest weight.
    Raises RunFailed when a loss is not finite, before that epoch is yielded: what is saved is the
    last finite one.
    """
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        before_epoch(epoch)
        lr = optimizer.param_groups[0]["lr"]
        net.train()
        samples = 0
        loss_sum: Tensor | float = 0.0
        correct: Tensor | int = 0
        for step, (inputs, targets) in enumerate(training_batches(), 1):
            optimizer.zero_grad(set_to_none=True)
            with precision.forward():
                logits, _ = net(inputs, repeat=repeat)
            logits = logits.float()
            batch_loss = loss(logits, targets)
            precision.step(batch_loss, optimizer)
            # Sums stay on the device: reading them here would stall it at every step.
            loss_sum = loss_sum + batch_loss.detach().double() * len(targets)
            labels = hard_labels(targets)
            correct = correct + (logits.detach().sum(0).argmax(1) == labels).sum()
            samples += len(targets)
            yield StepDone(epoch, step)
        schedule.step()
        mean_loss = float(loss_sum) / samples
        _require_finite("training loss", mean_loss, epoch)
        evaluation = test()
        _require_finite("test loss", evaluation.loss, epoch)
        held_out = validation()
        yield EpochRecord(
            epoch=epoch,
            lr=lr,
            train_loss_train_mode=mean_loss,
            train_accuracy_percent_train_mode=100.0 * int(correct) / samples,
            test_loss=evaluation.loss,
            test_accuracy_percent=evaluation.accuracy_percent,
            validation_accuracy_percent=held_out.accuracy_percent if held_out else None,
            seconds=time.perf_counter() - start,
        )


def _require_finite(what: str, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise RunFailed(
            f"the {what} became {loss} in epoch {epoch}",
            hint="lower train.lr, and look at the last finite epoch in metrics.jsonl",
        )

"""One training step: forward, backward, the checks in between, the optimizer."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from clifctl.errors import RunFailed
from clifctl.models import SpikingNet
from clifctl.training.distributed import ALONE, Processes
from clifctl.training.evaluation import Loss
from clifctl.training.health import Health
from clifctl.training.loss import hard_labels
from clifctl.training.optimizer import leaves_out
from clifctl.training.precision import Precision
from clifctl.training.timing import PhaseClock

# Steps whose right samples are counted together: counting is calls, not arithmetic.
COUNTED_TOGETHER = 16


@dataclass
class Sums:
    """What an epoch adds up. Tensors stay on the device: reading them would stall it."""

    loss: Tensor | float = 0.0
    counted: Tensor | int = 0
    samples: Tensor | int = 0
    _uncounted: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def add(self, loss: Tensor | float, samples: Tensor | int) -> None:
        """Add a step's: the sum of its samples' losses, and how many they are."""
        self.loss = self.loss + loss
        self.samples = self.samples + samples

    def add_right(self, right: Tensor | int) -> None:
        """Add so many samples that were right."""
        self.counted = self.counted + right

    def count_later(self, logits: Tensor, targets: Tensor) -> None:
        """Add the right ones of the samples with logits `[T, n, classes]`, several steps' at once
        or when they are asked for."""
        self._uncounted.append((logits, targets))
        if len(self._uncounted) >= COUNTED_TOGETHER:
            self._count()

    @property
    def correct(self) -> Tensor | int:
        """How many samples were right."""
        if self._uncounted:
            self._count()
        return self.counted

    def _count(self) -> None:
        logits, targets = zip(*self._uncounted, strict=True)
        self._uncounted.clear()
        self.add_right(right_ones(torch.cat(logits, 1), torch.cat(targets)))

    def mean_loss(self) -> float:
        """The mean training loss, NaN before the first sample. Waits for a GPU."""
        samples = int(self.samples)
        return float(self.loss) / samples if samples else float("nan")

    def accuracy_percent(self) -> float:
        """The training accuracy, NaN before the first sample. Waits for a GPU."""
        samples = int(self.samples)
        return 100.0 * int(self.correct) / samples if samples else float("nan")


def right_ones(logits: Tensor, targets: Tensor) -> Tensor:
    """How many samples with logits `[T, n, classes]` are right: the sum over time decides."""
    return (logits.sum(0).argmax(1) == hard_labels(targets)).sum()


class TrainingStep:
    """The optimizer's step for one batch.

    `accumulate` computes a batch in so many parts of (nearly) equal size, one after the other, and
    adds up their gradients: the step of the whole batch with less memory, but for batch norm, whose
    statistics are those of the parts. A part has two samples at least. `clip_norm` scales the
    gradients so that their 2-norm is at most that.

    Each of several `processes` takes its part of every batch, and they add up their gradients.
    `seed` is that of their dropout; with one process it draws from torch's generator as it stands.
    `compiled`: torch.compile fuses what is not a neuron's kernel.
    """

    def __init__(
        self,
        net: SpikingNet,
        optimizer: Optimizer,
        *,
        loss: Loss,
        repeat: int,
        precision: Precision,
        clip_norm: float | None = None,
        accumulate: int = 1,
        processes: Processes = ALONE,
        seed: int = 0,
        compiled: bool = False,
    ) -> None:
        self.net = net
        self._net = torch.compile(net) if compiled else net
        self.optimizer = optimizer
        self.precision = precision
        device = next(net.parameters()).device
        self.clock = PhaseClock(device)
        self._loss = loss
        self._repeat = repeat
        self._clip_norm = clip_norm
        self._accumulate = accumulate
        self._processes = processes
        self._seed = seed
        # An optimizer that obeys no flag on the device needs the verdict before its step.
        self.health = Health(
            net,
            lazy=leaves_out(optimizer),
            scaled=precision.scales,
            replay=lambda inputs: self._forward(net, inputs),  # a compiled net calls no hooks
            processes=processes,
        )

    def __call__(self, epoch: int, step: int, inputs: Tensor, targets: Tensor, sums: Sums) -> None:
        """Train on a batch and add to `sums`: inputs `[T, n, *]` of this process's part of it,
        labels `[N]` or `[N, classes]` of all of it.

        Raises RunFailed where loss or gradients are not finite, before the weights change.
        """
        samples = len(targets)
        if self._processes.several:
            targets = targets[self._processes.part(samples)]
            self._processes.seed_step(self._seed, epoch, step)
        self.optimizer.zero_grad(set_to_none=True)
        loss, logits = self._gradients(inputs, targets, samples)
        right = None
        if self._processes.several:
            loss, right = self._added_up(loss, right_ones(logits, targets))
            self.clock.mark("backward")
        self.precision.unscale(self.optimizer)
        self.health.judge(epoch, step, inputs, targets, loss)
        if self._clip_norm is not None:
            clip_grad_norm_(self.net.parameters(), self._clip_norm)
        if self.health.lazy and not self.precision.scales:
            # What GradScaler does with a fused optimizer: with this flag set it changes nothing.
            self.optimizer.grad_scale = None  # type: ignore[attr-defined]
            self.optimizer.found_inf = self.health.frozen  # type: ignore[attr-defined]
        self.precision.step(self.optimizer)
        self.clock.mark("optimizer")
        if self.precision.scales:  # a step that is left out may have no loss
            counts = loss.isfinite()
            right = right_ones(logits, targets) if right is None else right
            sums.add(torch.where(counts, loss.double() * samples, 0.0), samples * counts)
            sums.add_right(torch.where(counts, right, 0))
            return
        # On the CPU the loss has been waited for: a number adds up faster, to the same sum.
        sums.add((loss.double() if self.health.lazy else loss.item()) * samples, samples)
        if right is None:
            sums.count_later(logits, targets)
        else:
            sums.add_right(right)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits `[T, N, classes]` in the run's arithmetic. Raises RunFailed where the net was to
        be compiled and cannot be."""
        if self._net is self.net:
            return self._forward(self.net, inputs)
        from torch._dynamo.exc import BackendCompilerFailed  # takes a second to import

        try:
            return self._forward(self._net, inputs)
        except BackendCompilerFailed as failed:
            reason = (str(getattr(failed, "inner_exception", failed)).splitlines() or [""])[0][:150]
            raise RunFailed(
                f"torch.compile could not compile the net: {reason}",
                hint="train.compile=false; torch needs a C++ compiler, on a GPU Triton",
            ) from failed

    def _forward(self, net: Callable[..., Any], inputs: Tensor) -> Tensor:
        with self.precision.forward():
            logits, _ = net(inputs, repeat=self._repeat)
        return logits.float()

    def _gradients(self, inputs: Tensor, targets: Tensor, whole: int) -> tuple[Tensor, Tensor]:
        """This process's share of the gradients of the mean loss over the batch of `whole` samples;
        its share of that loss, and the logits `[T, n, classes]` of its samples."""
        # All processes have as many parts: batch norm may make them wait for each other.
        parts = min(self._accumulate, max(1, whole // self._processes.count // 2))
        losses, outputs = [], []
        for part, labels in _parts(inputs, targets, parts):
            logits = self.forward(part)
            loss = self._loss(logits, labels)
            if len(labels) < whole:
                loss = loss * (len(labels) / whole)
            self.clock.mark("forward")
            self.precision.backward(loss)
            self.clock.mark("backward")
            losses.append(loss.detach())
            outputs.append(logits.detach())
        if parts == 1:
            return losses[0], outputs[0]
        return torch.stack(losses).sum(), torch.cat(outputs, 1)

    def _added_up(self, loss: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients, loss and number of right samples of all processes, in one transfer."""
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        counted = right.to(loss.dtype)  # exact up to 16 million
        self._processes.add_up([*gradients, loss, counted])
        return loss, counted.round().long()


def _parts(inputs: Tensor, targets: Tensor, count: int) -> Iterable[tuple[Tensor, Tensor]]:
    """The batch in `count` parts of (nearly) equal size."""
    if count == 1:
        return [(inputs, targets)]
    return zip(inputs.tensor_split(count, 1), targets.tensor_split(count), strict=True)

"""One training step: forward, backward, the checks in between, the optimizer."""

from collections.abc import Callable
from dataclasses import dataclass
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
from clifctl.training.precision import Precision
from clifctl.training.timing import PhaseClock


@dataclass
class Sums:
    """What an epoch adds up. The tensors stay on the device: reading them would stall it."""

    loss: Tensor | float = 0.0
    correct: Tensor | int = 0
    samples: Tensor | int = 0

    def mean_loss(self) -> float:
        """The mean training loss, NaN before the first sample. Waits for a GPU."""
        samples = int(self.samples)
        return float(self.loss) / samples if samples else float("nan")

    def accuracy_percent(self) -> float:
        """The training accuracy, NaN before the first sample. Waits for a GPU."""
        samples = int(self.samples)
        return 100.0 * int(self.correct) / samples if samples else float("nan")


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
        # A fused optimizer obeys a flag on the device; any other needs the verdict before its step.
        self.health = Health(
            net,
            lazy=bool(optimizer.defaults.get("fused")),
            scaled=precision.scales,
            replay=lambda inputs: self._forward(net, inputs),  # a compiled net calls no hooks
            processes=processes,
        )

    def __call__(self, epoch: int, step: int, inputs: Tensor, targets: Tensor, sums: Sums) -> None:
        """Train on inputs `[T, N, *]` with labels `[N]` or `[N, classes]`, the whole batch of all
        processes, and add to `sums`.

        Raises RunFailed where loss or gradients are not finite, before the weights change.
        """
        samples: Tensor | int = len(targets)
        if self._processes.several:
            own = self._processes.part(len(targets))
            inputs, targets = inputs[:, own], targets[own]
            self._processes.seed_step(self._seed, epoch, step)
        self.optimizer.zero_grad(set_to_none=True)
        loss, correct = self._gradients(inputs, targets, int(samples))
        if self._processes.several:
            loss, correct = self._added_up(loss, correct)
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
        loss_sum = loss.double() * samples
        if self.precision.scales:  # a step that is left out may have no loss
            counts = loss.isfinite()
            loss_sum, correct = torch.where(counts, loss_sum, 0.0), torch.where(counts, correct, 0)
            samples = samples * counts
        sums.loss = sums.loss + loss_sum
        sums.correct = sums.correct + correct
        sums.samples = sums.samples + samples

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
        its share of that loss, and how many of its samples were right."""
        # All processes have as many parts: batch norm may make them wait for each other.
        parts = min(self._accumulate, max(1, whole // self._processes.count // 2))
        losses, rights = [], []
        for part, labels in zip(
            inputs.tensor_split(parts, 1), targets.tensor_split(parts), strict=True
        ):
            logits = self.forward(part)
            loss = self._loss(logits, labels)
            if len(labels) < whole:
                loss = loss * (len(labels) / whole)
            self.clock.mark("forward")
            self.precision.backward(loss)
            self.clock.mark("backward")
            losses.append(loss.detach())
            rights.append((logits.detach().sum(0).argmax(1) == hard_labels(labels)).sum())
        if parts == 1:
            return losses[0], rights[0]
        return torch.stack(losses).sum(), torch.stack(rights).sum()

    def _added_up(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients, loss and right samples of all processes, in one transfer."""
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        right = correct.to(loss.dtype)  # exact up to 16 million
        self._processes.add_up([*gradients, loss, right])
        return loss, right.round().long()

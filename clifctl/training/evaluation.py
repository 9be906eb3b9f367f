"""Evaluation of a net: loss, accuracy after each time step, per class, firing rates."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from clifctl.models import FiringRates, SpikingNet
from clifctl.results.eval import ClassCount, Evaluation, LayerRate
from clifctl.results.firing_rates import net_firing_rate
from clifctl.training.distributed import ALONE, Processes
from clifctl.training.loss import hard_labels, step_cross_entropy
from clifctl.training.stopping import StopNow

Loss = Callable[[Tensor, Tensor], Tensor]
Batches = Iterable[tuple[Tensor, Tensor]]
Watch = Callable[[SpikingNet], AbstractContextManager[object]]

TOP = 5


@torch.inference_mode()
def evaluate(
    net: SpikingNet,
    batches: Batches,
    loss: Loss,
    *,
    repeat: int,
    with_rates: bool = False,
    watch: Watch = nullcontext,
    processes: Processes = ALONE,
) -> Evaluation:
    """Evaluate `net` in evaluation mode over `batches` (inputs `[T, N, *]`, labels `[N]`
    or `[N, classes]`).

    `repeat` is that of the net's forward; `watch` is entered with the net around all of its runs.
    The class is the argmax of the logits summed over the time steps so far. The net's mode is
    restored afterwards. Each of several `processes` gives its own batches, or none, and gets the
    evaluation of all of them. Raises StopNow where `batches` of one of them does.
    """
    was_training = net.training
    net.eval()
    rates = FiringRates(net)
    tally = _Tally()
    stopped = False
    try:
        # Its hooks come last: what counts rates is nothing that the net computes.
        with rates.recording() if with_rates else nullcontext(), watch(net):
            for inputs, targets in batches:
                logits, _ = net(inputs, repeat=repeat)
                tally.add(logits, targets, loss(logits, targets))
    except StopNow:  # the other processes wait for this one's answer
        stopped = True
    finally:
        net.train(was_training)
    if any(processes.gather(stopped)):
        raise StopNow
    tally.add_others(processes)
    rates.add_others(processes.gather)
    if tally.samples == 0:
        raise ValueError("evaluation needs at least one batch")
    return tally.evaluation(rates)


class _Tally:
    """Sums over batches. They stay on the device until the end: to read one there would wait for
    every batch."""

    def __init__(self) -> None:
        self.samples = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, logits: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Count a batch: `logits` `[T, N, classes]`, `targets` `[N]` or `[N, classes]`."""
        _, samples, classes = logits.shape
        labels = hard_labels(targets)
        summed = logits.cumsum(0)
        decided = summed.argmax(2)
        among = summed.topk(min(TOP, classes), dim=2).indices
        self._sum("correct", (decided == labels).sum(1))
        self._sum("correct_top", (among == labels[:, None]).any(2).sum(1))
        self._sum("loss", loss.double() * samples)
        self._sum("cross_entropy", step_cross_entropy(logits, targets).double() * samples)
        self._sum("cross_entropy_so_far", _so_far(summed, targets))
        pairs = torch.zeros(classes * classes, dtype=torch.long, device=logits.device)
        pairs.index_add_(0, labels * classes + decided[-1], torch.ones_like(labels))
        self._sum("pairs", pairs.view(classes, classes))
        self.samples += samples

    def add_others(self, processes: Processes) -> None:
        """Count what the other processes have counted."""
        if processes.several:
            own = {name: value.cpu() for name, value in self._sums.items()}
            self._sums = {}
            for sums in processes.gather(own):
                for name, value in sums.items():
                    self._sum(name, value)
            self.samples = sum(processes.gather(self.samples))

    def _sum(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    def evaluation(self, rates: FiringRates) -> Evaluation:
        """The means over all samples, and what `rates` has recorded."""
        pairs: list[list[int]] = self._sums["pairs"].tolist()
        per_step = self._percent("correct")
        # Of five classes or fewer the right one is always among five.
        top = self._percent("correct_top") if len(pairs) > TOP else None
        so_far = (self._sums["cross_entropy_so_far"] / self.samples).tolist()
        layers = layer_rates(rates)
        return Evaluation(
            samples=self.samples,
            loss=self._sums["loss"].item() / self.samples,
            cross_entropy=self._sums["cross_entropy"].item() / self.samples,
            accuracy_percent=per_step[-1],
            accuracy_percent_per_step=per_step,
            accuracy_top5_percent_per_step=top,
            cross_entropy_per_step=tuple(so_far),
            per_class=_per_class(pairs),
            confusion=tuple(map(tuple, pairs)),
            firing_rate=net_firing_rate(layers),
            firing_rates=layers,
        )

    def _percent(self, name: str) -> tuple[float, ...]:
        return tuple(100.0 * count / self.samples for count in self._sums[name].tolist())


def layer_rates(rates: FiringRates) -> tuple[LayerRate, ...]:
    """What `rates` has recorded, layer by layer in forward order."""
    spread = rates.sample_std()
    return tuple(
        LayerRate(
            layer=name,
            neurons=rates.neurons[name],
            firing_rate=sum(steps) / len(steps),
            firing_rate_sample_std=spread[name],
            firing_rate_per_step=tuple(steps),
        )
        for name, steps in rates.per_step().items()
    )


def _so_far(summed: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of the mean logits after each step, summed over the batch: `[T]`, from the
    summed logits `[T, N, classes]`."""
    steps, samples, classes = summed.shape
    mean = summed / torch.arange(1, steps + 1, device=summed.device)[:, None, None]
    repeated = targets.repeat(steps, *(1,) * (targets.dim() - 1))
    each = F.cross_entropy(mean.view(steps * samples, classes), repeated, reduction="none")
    return each.view(steps, samples).double().sum(1)


def _per_class(pairs: list[list[int]]) -> tuple[ClassCount, ...]:
    """From how often each class (row) was decided to be each class (column)."""
    decided = [sum(column) for column in zip(*pairs, strict=True)]
    rows = []
    for label, row in enumerate(pairs):
        wrong = [(count, -other) for other, count in enumerate(row) if other != label and count]
        most, other = max(wrong, default=(0, 0))
        samples = sum(row)
        rows.append(
            ClassCount(
                label=label,
                samples=samples,
                correct=row[label],
                recall_percent=100.0 * row[label] / samples if samples else None,
                precision_percent=100.0 * row[label] / decided[label] if decided[label] else None,
                mistaken_for=-other if most else None,
                mistaken_count=most,
            )
        )
    return tuple(rows)

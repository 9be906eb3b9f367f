"""Optimizers and schedules of the learning rate."""

from typing import Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR, StepLR

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["cosine", "step", "constant"]
# Schedules whose learning rate does not depend on the number of epochs: such a run can be made
# longer afterwards.
OPEN_ENDED: tuple[ScheduleName, ...] = ("step", "constant")
# What an optimizer keeps for each parameter, of the parameter's shape unless it is a number.
STATES = {SGD: {"momentum_buffer"}, AdamW: {"step", "exp_avg", "exp_avg_sq"}}


def optimizer_and_schedule(
    net: nn.Module,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    epochs: int,
    optimizer: OptimizerName = "sgd",
    schedule: ScheduleName = "cosine",
    warmup_epochs: int = 0,
    step_epochs: int = 100,
    step_factor: float = 0.1,
    fused: bool | None = None,
) -> tuple[Optimizer, LRScheduler]:
    """All parameters in one group (norms, biases and neurons decay too), as the authors'.

    `sgd` is without Nesterov; in `adamw` `momentum` is beta1. The schedule is stepped once an
    epoch: `cosine` is lr / 2 * (1 + cos(pi * epoch / epochs)), `step` multiplies by `step_factor`
    every `step_epochs`. A warm-up goes linearly from lr / warmup_epochs to lr, and the schedule
    takes the rest of the epochs. `fused` is torch's: one kernel for all parameters.
    """
    chosen: Optimizer
    if optimizer == "sgd":
        chosen = SGD(
            net.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=fused
        )
    else:
        betas = (momentum, 0.999)
        chosen = AdamW(net.parameters(), lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)
    rest = max(1, epochs - warmup_epochs)
    after: LRScheduler
    if warmup_epochs:
        warmup = LinearLR(chosen, start_factor=1 / warmup_epochs, total_iters=warmup_epochs)
    if schedule == "cosine":
        after = CosineAnnealingLR(chosen, T_max=rest)
    elif schedule == "step":
        after = StepLR(chosen, step_size=step_epochs, gamma=step_factor)
    else:
        after = LinearLR(chosen, start_factor=1.0, total_iters=1)
    if not warmup_epochs:
        return chosen, after
    return chosen, SequentialLR(chosen, [warmup, after], milestones=[warmup_epochs])

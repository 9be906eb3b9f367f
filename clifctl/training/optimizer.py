"""Optimizers and schedules of the learning rate."""

import math
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    SequentialLR,
    StepLR,
)

from clifctl.training.lamb import Lamb

OptimizerName = Literal["sgd", "adamw", "lamb"]
ScheduleName = Literal["cosine", "step", "constant", "timm_cosine"]
# What decays: every parameter, or weights of convolutions and linear layers alone.
Decayed = Literal["all", "weights"]
# Schedules whose learning rate does not depend on the number of epochs: such a run can be made
# longer afterwards.
OPEN_ENDED: tuple[ScheduleName, ...] = ("step", "constant")
# What an optimizer keeps for each parameter, of the parameter's shape unless it is a number.
_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
STATES = {SGD: {"momentum_buffer"}, AdamW: _MOMENTS, Lamb: _MOMENTS}


def optimizer_and_schedule(
    net: nn.Module,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    epochs: int,
    optimizer: OptimizerName = "sgd",
    decayed: Decayed = "all",
    schedule: ScheduleName = "cosine",
    warmup_epochs: int = 0,
    warmup_lr: float | None = None,
    min_lr: float = 0.0,
    cooldown_epochs: int = 0,
    step_epochs: int = 100,
    step_factor: float = 0.1,
    fused: bool | None = None,
) -> tuple[Optimizer, LRScheduler]:
    """With `decayed` = all, all parameters in one group (norms, biases and neurons decay too), as
    the CLIF authors'; with weights, those of fewer than two dimensions are left out.

    `sgd` is without Nesterov; in `adamw` and `lamb` `momentum` is beta1. The schedule is stepped
    once an epoch: `cosine` is lr / 2 * (1 + cos(pi * epoch / epochs)), `step` multiplies by
    `step_factor` every `step_epochs`. A warm-up goes linearly from lr / warmup_epochs to lr, and
    the schedule takes the rest of the epochs. `timm_cosine` is `timm_cosine_lr`; `warmup_lr`,
    `min_lr` and `cooldown_epochs` are its own. `fused`: nothing waits for the device, and a flag
    there can leave a step out (`leaves_out`); torch's own are one kernel for all parameters then.
    """
    groups = _groups(net, decayed, weight_decay)
    chosen: Optimizer
    if optimizer == "sgd":
        chosen = SGD(groups, lr=lr, momentum=momentum, fused=fused)
        if fused and momentum:
            # torch takes memory as it finds it for them, and leaves it so where it leaves out the
            # first step, as float16 often does.
            for parameter in net.parameters():
                chosen.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    elif optimizer == "adamw":
        chosen = AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=fused)
    else:
        chosen = Lamb(groups, lr, betas=(momentum, 0.999), on_device=bool(fused))
    if schedule == "timm_cosine":
        rates: dict[str, Any] = {
            "lr": lr, "min_lr": min_lr, "warmup_epochs": warmup_epochs,
            "warmup_lr": lr / max(1, warmup_epochs) if warmup_lr is None else warmup_lr,
            "epochs": epochs - cooldown_epochs,
        }  # fmt: skip
        return chosen, LambdaLR(chosen, lambda epoch: timm_cosine_lr(epoch, **rates) / lr)
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


def leaves_out(optimizer: Optimizer) -> bool:
    """Whether `optimizer` obeys a flag on the device, `found_inf`, that leaves a step out."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def timm_cosine_lr(
    epoch: int, *, lr: float, min_lr: float, warmup_lr: float, warmup_epochs: int, epochs: int
) -> float:
    """The learning rate of `epoch` (from 0) by timm's cosine schedule with its usual options.

    The warm-up, from `warmup_lr` towards `lr`, covers the first epochs of the cosine and does not
    shift it; from epoch `epochs` on, the cool-down, it is `min_lr`.
    """
    if epoch < warmup_epochs:
        return warmup_lr + (lr - warmup_lr) * epoch / warmup_epochs
    if epoch >= epochs:
        return min_lr
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def _groups(net: nn.Module, decayed: Decayed, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters, in groups of one weight decay each."""
    parameters = list(net.parameters())
    if decayed == "all":
        return [{"params": parameters, "weight_decay": weight_decay}]
    weights = [parameter for parameter in parameters if parameter.dim() > 1]
    others = [parameter for parameter in parameters if parameter.dim() <= 1]
    groups = [(weights, weight_decay), (others, 0.0)]
    return [{"params": own, "weight_decay": decay} for own, decay in groups if own]

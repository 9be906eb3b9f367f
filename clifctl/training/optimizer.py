"""Optimizers and schedules of the learning rate."""

import math
from typing import Any, Literal

import torch
from pydantic import Field, ValidationInfo, model_validator
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

from clifctl.strict import OF_A_RUN, Count, Strict
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


class OptimizerSection(Strict):
    """What a recipe says of the optimizer and of the schedule of its learning rate."""

    epochs: Count = Field(description="passes over the training data")
    optimizer: OptimizerName = Field("sgd", description="how weights follow from gradients")
    lr: float = Field(0.1, gt=0.0, description="learning rate at the start")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="momentum of SGD, beta1 of the others")
    weight_decay: float = Field(5e-4, ge=0.0, description="weight decay")
    decayed: Decayed = Field(
        "all", description="what decays: all, or weights (no norm, bias or neuron)"
    )
    schedule: ScheduleName = Field(
        "cosine", description="how the learning rate changes from epoch to epoch"
    )
    warmup_epochs: int = Field(0, ge=0, description="epochs of linear warm-up")
    warmup_lr: float | None = Field(
        None,
        gt=0.0,
        description="of timm_cosine: where its warm-up starts; null: lr / epochs of it",
    )
    min_lr: float = Field(0.0, ge=0.0, description="of timm_cosine: where it ends")
    cooldown_epochs: int = Field(
        0, ge=0, description="of timm_cosine: the last epochs, at train.min_lr"
    )
    step_epochs: Count = Field(100, description="epochs between the steps of schedule step")
    step_factor: float = Field(0.1, gt=0.0, le=1.0, description="factor of each such step")

    @model_validator(mode="after")
    def _schedule_has_its_keys(self, info: ValidationInfo) -> "OptimizerSection":
        own = {"warmup_lr": None, "min_lr": 0.0, "cooldown_epochs": 0}
        if self.schedule != "timm_cosine":
            given = [name for name, unset in own.items() if getattr(self, name) != unset]
            if given:
                raise ValueError(
                    f"{given[0]} is of schedule = timm_cosine, the schedule is {self.schedule}"
                )
            # An earlier version trained so: such a run is read as it is.
            if self.warmup_epochs > self.epochs and info.context != OF_A_RUN:
                raise ValueError(
                    f"warmup_epochs = {self.warmup_epochs} must be at most epochs = {self.epochs}, "
                    "which they are part of"
                )
            return self
        phases = self.warmup_epochs + self.cooldown_epochs
        if phases >= self.epochs:
            raise ValueError(
                f"warmup_epochs + cooldown_epochs = {phases} must be less than epochs = "
                f"{self.epochs}, which they are part of"
            )
        if max(self.min_lr, self.warmup_lr or 0.0) > self.lr:
            raise ValueError(f"min_lr and warmup_lr must be at most lr = {self.lr}")
        return self


def optimizer_and_schedule(
    net: nn.Module, section: OptimizerSection, *, fused: bool | None = None
) -> tuple[Optimizer, LRScheduler]:
    """The optimizer of `section` for `net`, and its schedule, which is stepped once an epoch.

    With `decayed` = all, all parameters are in one group (norms, biases and neurons decay too), as
    in the CLIF authors' code; with weights, those of fewer than two dimensions are left out. `sgd`
    is without Nesterov; in `adamw` and `lamb` `momentum` is beta1. `fused`: nothing waits for the
    device, and a flag there can leave a step out (`leaves_out`); torch's own are one kernel for all
    parameters then.
    """
    optimizer = _optimizer(net, section, fused)
    return optimizer, _schedule(optimizer, section)


def _optimizer(net: nn.Module, section: OptimizerSection, fused: bool | None) -> Optimizer:
    groups = _groups(net, section.decayed, section.weight_decay)
    lr, betas = section.lr, (section.momentum, 0.999)
    if section.optimizer == "adamw":
        return AdamW(groups, lr=lr, betas=betas, fused=fused)
    if section.optimizer == "lamb":
        return Lamb(groups, lr, betas=betas, on_device=bool(fused))
    optimizer = SGD(groups, lr=lr, momentum=section.momentum, fused=fused)
    if fused and section.momentum:
        # torch takes memory as it finds it for them, and leaves it so where it leaves out the
        # first step, as float16 often does.
        for parameter in net.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _schedule(optimizer: Optimizer, section: OptimizerSection) -> LRScheduler:
    """`cosine` is lr / 2 * (1 + cos(pi * epoch / epochs)), `step` multiplies by `step_factor` every
    `step_epochs`. A warm-up goes linearly from lr / warmup_epochs to lr, and the schedule takes the
    rest of the epochs. `timm_cosine` is `timm_cosine_lr`; `warmup_lr`, `min_lr` and
    `cooldown_epochs` are its own."""
    lr, warmup_epochs = section.lr, section.warmup_epochs
    if section.schedule == "timm_cosine":
        first = section.warmup_lr
        rates: dict[str, Any] = {
            "lr": lr,
            "min_lr": section.min_lr,
            "warmup_epochs": warmup_epochs,
            "warmup_lr": lr / max(1, warmup_epochs) if first is None else first,
            "epochs": section.epochs - section.cooldown_epochs,
        }
        return LambdaLR(optimizer, lambda epoch: timm_cosine_lr(epoch, **rates) / lr)
    after: LRScheduler
    if warmup_epochs:
        warmup = LinearLR(optimizer, start_factor=1 / warmup_epochs, total_iters=warmup_epochs)
    if section.schedule == "cosine":
        after = CosineAnnealingLR(optimizer, T_max=max(1, section.epochs - warmup_epochs))
    elif section.schedule == "step":
        after = StepLR(optimizer, step_size=section.step_epochs, gamma=section.step_factor)
    else:
        after = LinearLR(optimizer, start_factor=1.0, total_iters=1)
    if not warmup_epochs:
        return after
    return SequentialLR(optimizer, [warmup, after], milestones=[warmup_epochs])


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

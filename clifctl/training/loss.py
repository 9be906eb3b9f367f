"""The loss of the authors' protocol: cross entropy of every time step and the TET regulariser."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

TetTarget = Literal["constant", "one_hot"]
# Whose cross entropy: that of every time step, or of the logits' mean over time.
CrossEntropyOf = Literal["steps", "mean"]


def tet_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    tet_lambda: float,
    tet_mean: float,
    tet_target: TetTarget = "constant",
    label_smoothing: float = 0.0,
    cross_entropy_of: CrossEntropyOf = "steps",
) -> Tensor:
    """(1 - tet_lambda) * CE + tet_lambda * MSE(logits, goal), means over all entries.

    `logits` `[T, N, classes]`; `targets` are classes `[N]` or soft labels `[N, classes]`. The goal
    is `tet_mean` everywhere, or with `one_hot` 1 for the class and 0 elsewhere (a soft label is its
    own goal). CE is the mean of each step's, or with `mean` that of the mean of all steps' logits;
    the goal is each step's either way. After Deng et al. (TET, ICLR 2022), in the form of the CLIF
    authors' training code.
    """
    decided = logits if cross_entropy_of == "steps" else logits.mean(0, keepdim=True)
    cross_entropy = step_cross_entropy(decided, targets, label_smoothing)
    if tet_lambda == 0.0:
        return cross_entropy
    if tet_target == "constant":
        goal = torch.full_like(logits, tet_mean)
    else:
        soft = targets if targets.is_floating_point() else F.one_hot(targets, logits.shape[2])
        goal = soft.to(logits.dtype).expand_as(logits)
    return (1 - tet_lambda) * cross_entropy + tet_lambda * F.mse_loss(logits, goal)


def step_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean over time steps of each step's cross entropy; `logits` `[T, N, classes]`, `targets`
    `[N]` or `[N, classes]`."""
    repeated = targets.repeat(logits.shape[0], *(1,) * (targets.dim() - 1))
    return F.cross_entropy(logits.flatten(0, 1), repeated, label_smoothing=label_smoothing)


def hard_labels(targets: Tensor) -> Tensor:
    """Labels `[N]`: of weights `[N, classes]` the class with the largest."""
    return targets if targets.dim() == 1 else targets.argmax(1)

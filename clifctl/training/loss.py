"""The loss of the authors' protocol: cross entropy of every time step and the TET regulariser."""

import torch
from torch import Tensor
from torch.nn import functional as F


def tet_loss(logits: Tensor, targets: Tensor, *, tet_lambda: float, tet_mean: float) -> Tensor:
    """(1 - tet_lambda) * CE + tet_lambda * MSE(logits, tet_mean), means over all entries.

    `logits` `[T, N, classes]`, `targets` `[N]`, or `[N, classes]` as weights of the classes. After
    Deng et al. (TET, ICLR 2022), in the form of the CLIF authors' training code.
    """
    cross_entropy = step_cross_entropy(logits, targets)
    if tet_lambda == 0.0:
        return cross_entropy
    regulariser = F.mse_loss(logits, torch.full_like(logits, tet_mean))
    return (1 - tet_lambda) * cross_entropy + tet_lambda * regulariser


def step_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over time steps of each step's cross entropy; `logits` `[T, N, classes]`, `targets`
    `[N]`, or `[N, classes]` as weights of the classes."""
    repeats = (logits.shape[0], *[1] * (targets.dim() - 1))
    return F.cross_entropy(logits.flatten(0, 1), targets.repeat(repeats))


def hard_labels(targets: Tensor) -> Tensor:
    """Labels `[N]`: of weights `[N, classes]` the class with the largest."""
    return targets if targets.dim() == 1 else targets.argmax(1)

"""Batch norm over `[T, N, C, *]`: statistics of each time step, or of all steps together."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NormMode = Literal["per_step", "folded"]


class TemporalBatchNorm(nn.Module):
    """Batch norm for a sequence `[T, N, C, *features]`.

    `per_step` takes the statistics of one time step at a time and updates the running averages T
    times in order: the numbers of a net that is called step by step, as the authors' is.
    `folded` takes them over time and batch together and updates once. In evaluation both use the
    one set of running averages, unless `batch_statistics` is set: then the batch's own statistics
    are used and the running averages are left alone. Keys, defaults and the unbiased variance of
    the running averages are those of `torch.nn.BatchNorm2d`.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, channels: int, mode: NormMode, *, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.mode = mode
        self.eps = eps
        self.momentum = momentum
        self.batch_statistics = False
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, mode={self.mode}"

    def forward(self, x: Tensor, repeats: int = 1) -> Tensor:
        """Normalise `x` `[T, N, C, *features]`.

        `repeats` > 1 says that each step of `x` stands for that many equal time steps (the constant
        input of a static image): the running averages are updated as often, the rest is the same.
        """
        if not (self.training or self.batch_statistics):
            folded = F.batch_norm(
                x.flatten(0, 1),
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=False,
                eps=self.eps,
            )
            return folded.view(x.shape)
        if self.mode == "folded":
            normed, means, variances = self._normalise(x.flatten(0, 1), 1)
            normed = normed.view(x.shape)
            if repeats > 1:
                # Equal steps change the unbiased variance: the count is `repeats` times as large.
                count = x.numel() // x.shape[2]
                variances = variances * ((count - 1) / (count - 1 / repeats))
            repeats = 1
        else:
            # Steps become channels, so that one call gives every step its own statistics.
            steps, batch, channels, *features = x.shape
            by_step = x.transpose(0, 1).reshape(batch, steps * channels, *features)
            normed, means, variances = self._normalise(by_step, steps)
            normed = normed.view(batch, steps, channels, *features).transpose(0, 1)
        if self.training:
            self._track(means, variances, repeats)
        return normed

    def _normalise(self, x: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """`x` `[N, steps * C, *]` normalised, with each step's mean and unbiased variance."""
        channels = self.weight.numel()
        means = torch.zeros_like(self.running_mean).repeat(steps)
        variances = torch.zeros_like(self.running_var).repeat(steps)
        # With momentum 1 the "running" averages that come back are this batch's own.
        normed = F.batch_norm(
            x,
            means,
            variances,
            self.weight.repeat(steps),
            self.bias.repeat(steps),
            training=True,
            momentum=1.0,
            eps=self.eps,
        )
        return normed, means.view(steps, channels), variances.view(steps, channels)

    @torch.no_grad()
    def _track(self, means: Tensor, variances: Tensor, repeats: int) -> None:
        for mean, variance in zip(means, variances, strict=True):
            for _ in range(repeats):
                self.running_mean.mul_(1 - self.momentum).add_(mean, alpha=self.momentum)
                self.running_var.mul_(1 - self.momentum).add_(variance, alpha=self.momentum)
                self.num_batches_tracked += 1

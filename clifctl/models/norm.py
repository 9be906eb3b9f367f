"""Batch norm over `[T, N, C, *]`: statistics of each time step, or of all steps together."""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.kernels import (
    Norm,
    batch_moments,
    differentiable_sum,
    gather_over_processes,
    several_processes,
    sum_over_processes,
)
from clifctl.transfer import constant

NormMode = Literal["per_step", "folded"]
# Batch norm of torch, as it stands in a person's own net.
TorchNorm = nn.modules.batchnorm._BatchNorm


class TemporalBatchNorm(nn.Module):
    """Batch norm for a sequence `[T, N, C, *features]`.

    `per_step` takes the statistics of one time step at a time and updates the running averages T
    times in order: the numbers of a net that is called step by step, as the authors' is.
    `folded` takes them over time and batch together and updates once. In evaluation both use the
    one set of running averages, unless `batch_statistics` is set: then the batch's own statistics
    are used and the running averages are left alone. Keys, defaults and the unbiased variance of
    the running averages are those of `torch.nn.BatchNorm2d`, and so are `momentum` None (the
    average of all updates) and `affine` False.

    `fused` says that a neuron behind it may take the norm into its kernel (`before`); called by
    itself the module is the plain norm. `processes`: statistics are those of the batches of all
    processes of the run.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        channels: int,
        mode: NormMode,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.mode = mode
        self.eps = eps
        self.momentum = momentum
        self.fused = fused
        self.batch_statistics = False
        self.processes = False
        # Whether it was folded into the weights before it; None where its file does not say so.
        self.folded: bool | None = None
        self.register_parameter("weight", nn.Parameter(torch.ones(channels)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels)) if affine else None)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def extra_repr(self) -> str:
        return f"{self.channels}, mode={self.mode}, fused={self.fused}"

    @property
    def of_batch(self) -> bool:
        """Whether the batch's own statistics are used."""
        return self.training or self.batch_statistics

    @property
    def is_folded(self) -> bool:
        """Whether `make_identity` left it so. Of a checkpoint of an earlier version its values say
        that (a fresh norm's variance is 1); its running mean may hold a shift since."""
        if self.folded is not None:
            return self.folded
        near = 0.1 * self.eps
        return (
            bool(((self.running_var - (1.0 - self.eps)).abs() < near).all())
            and (self.weight is None or bool((self.weight == 1.0).all()))
            and (self.bias is None or bool((self.bias == 0.0).all()))
        )

    def forward(self, x: Tensor, repeats: int = 1) -> Tensor:
        """Normalise `x` `[T, N, C, *features]`.

        `repeats` > 1 says that each step of `x` stands for that many equal time steps (the constant
        input of a static image): the running averages are updated as often, the rest is the same.
        """
        if not self.of_batch:
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
        if self.processes and several_processes():
            return self._with_others(x, repeats)
        steps, batch, channels, *features = x.shape
        if self.mode == "folded":
            normed, means, variances = self._normalise(x.flatten(0, 1), 1)
            normed = normed.view(x.shape)
            count = x.numel() // channels
        else:
            # Steps become channels, so that one call gives every step its own statistics.
            by_step = x.transpose(0, 1).reshape(batch, steps * channels, *features)
            normed, means, variances = self._normalise(by_step, steps)
            normed = normed.view(batch, steps, channels, *features).transpose(0, 1)
            count = x.numel() // (steps * channels)
        self._track(means, variances * ((count - 1) / count), count, repeats)
        return normed

    def require(self, x: Tensor) -> None:
        """Raise ValueError where `x` is not `[T, N, C, *features]`, or has too few values."""
        if x.dim() < 3 or x.shape[2] != self.channels:
            raise ValueError(f"input must be [T, N, {self.channels}, *], got {list(x.shape)}")
        means = self.channels * (1 if self.mode == "folded" else len(x))
        alone = not (self.processes and several_processes())
        if self.of_batch and alone and x.numel() == means:
            raise ValueError(
                f"batch norm needs more than one value per channel for its statistics, got "
                f"{list(x.shape)}"
            )

    def before(self, x: Tensor, steps: int) -> Norm:
        """This norm as the prologue of a neuron's kernel, for `x` `[T or 1, N, C, *features]` and
        T = `steps`; the running averages are updated as by `forward`."""
        self.require(x)
        weight, bias = self._affine()
        if not self.of_batch:
            inverse = torch.rsqrt(self.running_var + self.eps)
            return Norm(self.running_mean[None], inverse[None], weight, bias, None, steps)
        with torch.no_grad():
            means, variances = batch_moments(x, together=self.mode == "folded")
            count = x.numel() // (len(means) * self.channels)
            processes = self.processes and several_processes()
            total = means.new_full((), count)
            if processes:
                means, variances, total = _over_processes(means, variances, total)
            self._track(means, variances, total if processes else count, steps // len(x))
            inverse = torch.rsqrt(variances + self.eps)
        return Norm(means, inverse, weight, bias, total, steps, processes)

    def _with_others(self, x: Tensor, repeats: int) -> Tensor:
        """As `forward`, with the statistics of all processes' batches."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        others = [d for d in range(x.dim()) if d != 2 and (d or self.mode == "folded")]
        shape = [1 if d in others else n for d, n in enumerate(x.shape)]
        values = wide.new_full((), x.numel() // math.prod(shape))
        count = sum_over_processes(values)[0]
        means = differentiable_sum(wide.sum(others)) / count
        centred = wide - means.view(shape)
        variances = differentiable_sum(centred.square().sum(others)) / count
        rows = (-1, self.channels)
        self._track(means.detach().view(rows), variances.detach().view(rows), count, repeats)
        weight, bias = self._affine()
        along = [1, 1, self.channels, *[1] * (x.dim() - 3)]
        scale = torch.rsqrt(variances + self.eps).view(shape) * weight.view(along)
        return (centred * scale + bias.view(along)).to(x.dtype)

    def _affine(self) -> tuple[Tensor, Tensor]:
        """Weight and bias, or what has the effect of neither."""
        if self.weight is None or self.bias is None:
            return torch.ones_like(self.running_mean), torch.zeros_like(self.running_mean)
        return self.weight, self.bias

    def _normalise(self, x: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """`x` `[N, steps * C, *]` normalised, with each step's mean and unbiased variance."""
        means = torch.zeros_like(self.running_mean).repeat(steps)
        variances = torch.zeros_like(self.running_var).repeat(steps)
        # With momentum 1 the "running" averages that come back are this batch's own.
        normed = F.batch_norm(
            x,
            means,
            variances,
            None if self.weight is None else self.weight.repeat(steps),
            None if self.bias is None else self.bias.repeat(steps),
            training=True,
            momentum=1.0,
            eps=self.eps,
        )
        return normed, means.view(steps, self.channels), variances.view(steps, self.channels)

    @torch.no_grad()
    def _track(self, means: Tensor, variances: Tensor, count: int | Tensor, repeats: int) -> None:
        """Update the running averages as the updates of single steps in a row would. `means` and
        biased `variances` are `[steps, C]`, of `count` values each; each stands for `repeats`
        equal steps: in `folded` these are as many values more, in `per_step` as many updates."""
        if not self.training:
            return
        if self.mode == "folded":
            count, repeats = count * repeats, 1
        unbiased = variances * (count / (count - 1))
        steps = len(means) * repeats
        if self.momentum is None:
            before = self.num_batches_tracked.to(means.dtype)
            kept, shares = before / (before + steps), repeats / (before + steps)
            for running, new in ((self.running_mean, means), (self.running_var, unbiased)):
                running.mul_(kept).add_(new.sum(0) * shares)
        else:
            stays = 1 - self.momentum
            # What is left of each step's share once the steps after it have been added.
            left = tuple(stays**t for t in range(steps - repeats, -1, -repeats))
            shares = constant(left, means.dtype, means.device) * (1 - stays**repeats)
            for running, new in ((self.running_mean, means), (self.running_var, unbiased)):
                # No matrix product: autocast would round it to 16 bits.
                running.mul_(stays**steps).add_((shares[:, None] * new).sum(0))
        self.num_batches_tracked += steps


def _over_processes(
    means: Tensor, variances: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, biased variance and number of values of all processes' batches together."""
    rows = torch.cat([means.flatten(), variances.flatten(), count.view(1)])
    all_rows = gather_over_processes(rows)
    size = means.numel()
    counts = all_rows[:, -1]
    shares = (counts / counts.sum())[:, None, None]
    of_each = all_rows[:, :size].view(-1, *means.shape)
    variance_of_each = all_rows[:, size : 2 * size].view(-1, *means.shape)
    mean = (shares * of_each).sum(0)
    variance = (shares * (variance_of_each + (of_each - mean).square())).sum(0)
    return mean, variance, counts.sum()


def norms_in(model: nn.Module) -> dict[str, TemporalBatchNorm | TorchNorm]:
    """The batch norms of `model` by name, clifctl's and torch's, but those of torch that keep no
    running averages."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, TemporalBatchNorm)
        or (isinstance(module, TorchNorm) and module.running_mean is not None)
    }


def is_folded(norm: TemporalBatchNorm | TorchNorm) -> bool:
    """Whether `make_identity` left it so."""
    if isinstance(norm, TemporalBatchNorm):
        return norm.is_folded
    return bool(getattr(norm, "folded", False))


@torch.no_grad()
def make_identity(norm: TemporalBatchNorm | TorchNorm) -> None:
    """Let a batch norm change nothing in evaluation: what it did has gone into the weights before
    it."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0 - norm.eps)
    if norm.weight is not None:
        norm.weight.fill_(1.0)
    if norm.bias is not None:
        norm.bias.zero_()
    norm.folded = True


def unfolded_norms(model: nn.Module) -> list[TemporalBatchNorm | TorchNorm]:
    """Every batch norm of `model` but those that were folded into the weights before them, which
    have nothing left to normalise."""
    return [norm for norm in norms_in(model).values() if not is_folded(norm)]


def folded_norms(model: nn.Module) -> tuple[str, ...]:
    """The names of the batch norms of `model` that were folded into the weights before them."""
    return tuple(name for name, norm in norms_in(model).items() if is_folded(norm))


def set_folded(model: nn.Module, names: Collection[str] | None) -> None:
    """Say which batch norms of `model` were folded; None: their values say so."""
    for name, norm in norms_in(model).items():
        norm.folded = None if names is None else name in names


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Within it, batch norm in evaluation mode uses each batch's statistics and tracks none; see
    `unfolded_norms`."""
    norms = unfolded_norms(model)
    averages = ("running_mean", "running_var")
    kept = [[norm._buffers[name] for name in averages] for norm in norms]
    for norm in norms:
        if isinstance(norm, TemporalBatchNorm):
            norm.batch_statistics = True
        else:  # torch's takes the batch's where it has no averages
            norm.running_mean = norm.running_var = None
    try:
        yield
    finally:
        for norm, tensors in zip(norms, kept, strict=True):
            if isinstance(norm, TemporalBatchNorm):
                norm.batch_statistics = False
            else:
                norm.running_mean, norm.running_var = tensors

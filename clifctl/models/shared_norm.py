"""Batch norm of torch in a person's own net, with statistics of the batches of all processes."""

from typing import Any

from torch import Tensor

from clifctl.kernels.distributed import several_processes
from clifctl.models.norm import NormMode, TemporalBatchNorm, TorchNorm


def share_statistics(norm: TorchNorm) -> None:
    """Let `norm`, which keeps running averages, take its statistics in training over all processes
    of the run; its keys and what it does in evaluation stay."""
    kind = type(norm)
    if not isinstance(norm, _Shared):
        norm.__class__ = type(f"Shared{kind.__name__}", (_Shared, kind), {})


class _Shared(TorchNorm):
    def forward(self, input: Tensor) -> Tensor:
        """Normalise `input` as the norm itself does: `[N, C, *]`, `[T, N, C, *]` of SpikingJelly's
        in step mode "m", `[T * N, C, *]` of one that goes step by step."""
        if not (self.training and several_processes()):
            return super().forward(input)
        own: Any = self
        mode: NormMode = getattr(own, "mode", "folded")
        if mode == "per_step":
            sequence = input.unflatten(0, (own.clock.steps, -1))
        else:
            sequence = input if getattr(own, "step_mode", "s") == "m" else input[None]
        norm = TemporalBatchNorm(
            self.num_features, mode, eps=self.eps, momentum=self.momentum, affine=self.affine
        )
        norm.processes = True
        norm.weight, norm.bias = own.weight, own.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(norm, name, getattr(own, name))
        return norm(sequence).reshape(input.shape)

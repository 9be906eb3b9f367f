"""The one place where a kernel target is chosen, with the reason."""

from dataclasses import dataclass

import torch

from clifctl.errors import TargetError, unknown_name

# name -> what it is
TARGETS: dict[str, str] = {
    "reference": "the neuron's step, run eagerly and differentiated by torch autograd",
    "numba": "fused kernels generated from the step, compiled for the CPU",
}
# A tensor on the meta device has a shape and no values: it stands for one on the CPU.
FUSED_DEVICES = ("cpu", "meta")
NUMBA_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Target:
    """A kernel target and why it was chosen."""

    name: str
    reason: str


def resolve_target(
    requested: str = "auto",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Target:
    """The target that runs tensors of `device` and `dtype`.

    An explicit request is met or refused, never replaced. Raises TargetError.
    """
    device = torch.device(device)
    if requested == "auto":
        if device.type in FUSED_DEVICES:
            return Target("numba", "auto: the fused kernel for tensors on the CPU")
        return Target("reference", f"auto: there is no fused kernel for '{device.type}' tensors")
    if requested not in TARGETS:
        raise TargetError(unknown_name("kernel target", requested, ["auto", *TARGETS]))
    if requested == "numba" and device.type not in FUSED_DEVICES:
        raise TargetError(
            f"kernel target 'numba' was asked for, and the tensor is on '{device}'",
            hint="numba runs tensors on the CPU; target auto takes what the device has",
        )
    if requested == "numba" and dtype not in NUMBA_DTYPES:
        raise TargetError(f"kernel target 'numba' has no kernels for {dtype}")
    return Target(requested, "asked for")

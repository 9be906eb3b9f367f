"""The one place where a kernel target is chosen, with the reason."""

import os
import shutil
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import torch

from clifctl.devices import CPU, GPU
from clifctl.errors import TargetError, unknown_name
from clifctl.kernels.cpu.numba_settings import refused_settings

# name -> what it is
TARGETS: dict[str, str] = {
    "reference": "the neuron's step, run eagerly and differentiated by torch autograd",
    "numba": "fused kernels generated from the step, compiled for the CPU",
    "triton": "fused kernels generated from the step, compiled for the GPU",
}
# A tensor on the meta device has a shape and no values: it stands for one on any device.
DEVICES = {"numba": (CPU, "meta"), "triton": (GPU, "meta")}
_LOW = (torch.float32, torch.bfloat16, torch.float16)
DTYPES = {"numba": (*_LOW, torch.float64), "triton": _LOW}
_FOR = {"numba": "the CPU", "triton": "a GPU"}


@dataclass(frozen=True)
class Target:
    """A kernel target and why it was chosen."""

    name: str
    reason: str


def resolve_target(
    requested: str = "auto",
    device: torch.device | str = CPU,
    dtype: torch.dtype = torch.float32,
) -> Target:
    """The target that runs tensors of `device` and `dtype`.

    An explicit request is met or refused, never replaced. Raises TargetError.
    """
    device = torch.device(device)
    if requested == "auto":
        target = _automatic(device, dtype)
        if target.name == "numba":
            _refuse_settings()
        return target
    if requested not in TARGETS:
        raise TargetError(unknown_name("kernel target", requested, ["auto", *TARGETS]))
    if requested != "reference":
        _refuse(requested, device, dtype)
    return Target(requested, "asked for")


def is_fused(requested: str, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a fused kernel runs tensors of `device` and `dtype`. Every layer asks at every step:
    the first answer stays."""
    return _is_fused(requested, device, dtype)


# As torch.compiler.assume_constant_result marks it, which imports torch's compiler: over a second.
is_fused._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(maxsize=256)
def _is_fused(requested: str, device: torch.device, dtype: torch.dtype) -> bool:
    return resolve_target(requested, device, dtype).name != "reference"


def targets_of(device: torch.device | str) -> list[str]:
    """The fused targets that can run tensors of `device` here."""
    kind = torch.device(device).type
    return [
        name
        for name, devices in DEVICES.items()
        if (kind in devices or (name == "triton" and _interpreted() and kind == CPU))
        and not (name == "triton" and triton_missing())
    ]


def triton_missing() -> str | None:
    """Why Triton's kernels cannot run on this machine's GPUs, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed (torch brings it on Linux, for NVIDIA GPUs)"
    if torch.version.hip is not None:
        return "the kernels are for NVIDIA GPUs, this torch is built for AMD's"
    return None


def _unusable() -> str | None:
    """Why Triton cannot launch its kernels here, or None."""
    compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    if not any(shutil.which(name) for name in compilers if name):
        return "Triton needs a C compiler at its first launch, and none is installed (gcc or clang)"
    return triton_missing()


def _interpreted() -> bool:
    """Whether Triton runs its kernels on the CPU, to check them."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _automatic(device: torch.device, dtype: torch.dtype) -> Target:
    name = next((name for name, devices in DEVICES.items() if device.type in devices), None)
    if name is None:
        return Target("reference", f"auto: there is no fused kernel for '{device.type}' tensors")
    if name == "triton" and (missing := _unusable()):
        return Target("reference", f"auto: {missing}")
    if dtype not in DTYPES[name]:
        return Target("reference", f"auto: target '{name}' has no kernels for {dtype}")
    return Target(name, f"auto: the fused kernel for tensors on {_FOR[name]}")


def _refuse_settings() -> None:
    """Raise TargetError where the environment keeps numba from working: never a silent reference,
    which would be many times slower."""
    if refused := refused_settings():
        raise TargetError(
            f"kernel target 'numba' cannot be used: {refused}",
            hint="unset the variable, or take --target reference, which runs without kernels",
        )


# As torch.compiler.assume_constant_result marks it, which imports torch's compiler: over a second.
_refuse_settings._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _refuse(name: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raise TargetError where `name` cannot run such a tensor."""
    if name == "triton" and (missing := _unusable()):
        raise TargetError(
            f"kernel target 'triton' was asked for: {missing}",
            hint="target auto takes what is there; reference runs everywhere",
        )
    interpreted = name == "triton" and device.type == CPU and _interpreted()
    if device.type not in DEVICES[name] and not interpreted:
        ways = f"{name} runs tensors on {_FOR[name]}; target auto takes what the device has"
        if name == "triton":
            ways += "; TRITON_INTERPRET=1 checks the kernels on the CPU, slowly"
        raise TargetError(
            f"kernel target '{name}' was asked for, and the tensor is on '{device}'", hint=ways
        )
    if name == "numba":
        _refuse_settings()
    if dtype not in DTYPES[name]:
        allowed = ", ".join(str(known).removeprefix("torch.") for known in DTYPES[name])
        raise TargetError(
            f"kernel target '{name}' has no kernels for {str(dtype).removeprefix('torch.')}",
            hint=f"{name} takes {allowed}; target reference takes every floating-point dtype",
        )

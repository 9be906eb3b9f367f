"""Mixed precision: which arithmetic a training step uses, and how its gradients are scaled."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from clifctl.devices import is_gpu

ArithmeticName = Literal["float32", "bfloat16", "float16"]
PrecisionName = Literal["float32", "bfloat16", "float16", "auto"]
PRECISIONS: tuple[str, ...] = get_args(ArithmeticName)
SLOW_ON_CPU = (
    "float16 is meant for GPUs: on a CPU a net with convolutions takes many times as long as with "
    "train.precision=auto"
)
# What other tools call them.
ALIASES = {"off": "float32", "bf16": "bfloat16", "fp16": "float16"}


def precision_name(given: object) -> object:
    """`given` by the name that it has here; what is no such name is left for the schema."""
    return ALIASES.get(given, given) if isinstance(given, str) else given


# Whose factors, of float32, a GPU may round to TF32: 10 of their 23 bits. The first is torch's own
# default, and so what the authors ran.
Tf32Name = Literal["convolutions", "all", "none"]
TF32_DEFAULT: Tf32Name = "convolutions"


def tf32_name(given: object) -> object:
    """`given` by the name that it has here: true is all, false is none."""
    return {True: "all", False: "none"}[given] if isinstance(given, bool) else given


@dataclass(frozen=True)
class Tf32:
    """Which products of float32 are TF32 on a device, and why."""

    name: Tf32Name
    reason: str


def resolve_tf32(requested: Tf32Name, device: torch.device) -> Tf32:
    """What `train.tf32` comes to on `device`."""
    if not is_gpu(device):
        return Tf32("none", "a CPU has none")
    major, minor = torch.cuda.get_device_capability(device)
    if major < 8:
        return Tf32("none", f"compute capability {major}.{minor} is below 8.0")
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return Tf32("none", "NVIDIA_TF32_OVERRIDE=0 forbids it")
    return Tf32(requested, f"train.tf32={requested}")


@dataclass(frozen=True)
class Arithmetic:
    """The arithmetic of a run, and why; `note` is what a person should know of it."""

    name: ArithmeticName
    reason: str
    note: str | None = None


def resolve_precision(requested: PrecisionName, device: torch.device) -> Arithmetic:
    """`auto` is bfloat16 where the device multiplies matrices of it in hardware, else float32."""
    if requested != "auto":
        slow = requested == "float16" and not is_gpu(device)
        return Arithmetic(requested, "asked for", SLOW_ON_CPU if slow else None)
    if is_gpu(device):
        major, minor = torch.cuda.get_device_capability(device)
        if major >= 8:
            return Arithmetic("bfloat16", f"auto: compute capability {major}.{minor}")
        return Arithmetic("float32", f"auto: compute capability {major}.{minor} is below 8.0")
    if "amx_bf16" in _cpu_flags():
        return Arithmetic("bfloat16", "auto: the CPU has AMX for bfloat16")
    return Arithmetic("float32", "auto: the CPU has no AMX for bfloat16")


def _cpu_flags() -> set[str]:
    """What the CPU can do, in Linux's words; nothing where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.split())


class Precision:
    """`float32` is plain; `bfloat16` and `float16` run forward under torch's autocast.

    float16 also scales the loss, so that small gradients do not vanish: the authors' protocol.
    Losses are computed in float32, states of neurons always are; evaluation is plain float32.
    """

    def __init__(self, name: ArithmeticName, device: torch.device) -> None:
        self.name = name
        self._device = device
        self._scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")

    @property
    def scales(self) -> bool:
        """Whether the loss is scaled: then a step whose gradients overflow is left out."""
        return self._scaler.is_enabled()

    def forward(self) -> AbstractContextManager[object]:
        """Around the net's forward pass."""
        if self.name == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=getattr(torch, self.name))

    def backward(self, loss: Tensor) -> None:
        """Gradients of the scaled loss, added to those that are there."""
        self._scaler.scale(loss).backward()

    def unscale(self, optimizer: Optimizer) -> None:
        """Gradients as if nothing had been scaled; once a step, before anything looks at them."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """The optimizer's step. One whose scaled gradients overflow is left out, and the scale
        halved: that is how float16 finds its scale."""
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The state of the scaling; empty where nothing is scaled."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the scaling of `state`."""
        if self.scales:
            self._scaler.load_state_dict(state)

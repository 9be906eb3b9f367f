"""How a connection behind a neuron may run: what a person chooses between, and what it comes to."""

from dataclasses import dataclass
from typing import Any

import torch

from clifctl.devices import CPU
from clifctl.errors import TargetError, unknown_name
from clifctl.kernels.targets import Target, resolve_target

# name -> what it is
CONNECTIONS: dict[str, str] = {
    "auto": "only the work that spikes cause, where it pays; else dense",
    "dense": "a dense convolution or product of matrices, whatever the spikes",
}


def check_connections(name: str) -> None:
    """Raise TargetError for a name that is none of `CONNECTIONS`."""
    if name not in CONNECTIONS:
        raise TargetError(unknown_name("kind of connections", name, CONNECTIONS))


@dataclass(frozen=True)
class Connections:
    """How connections may run (a name of `CONNECTIONS`), and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Kernels:
    """On what a net runs: the target of its neurons, and its connections."""

    target: Target
    connections: Connections

    @property
    def facts(self) -> dict[str, Any]:
        """As results and manifests name them."""
        return {
            "target": self.target.name,
            "target_reason": self.target.reason,
            "connections": self.connections.name,
            "connections_reason": self.connections.reason,
        }


def resolve_kernels(
    target: str = "auto",
    connections: str = "auto",
    device: torch.device | str = CPU,
    dtype: torch.dtype = torch.float32,
) -> Kernels:
    """What `--target` and `--connections` come to for tensors of `device` and `dtype`. Raises
    TargetError."""
    check_connections(connections)
    chosen = resolve_target(target, device, dtype)
    return Kernels(chosen, _resolved(connections, chosen, dtype))


def _resolved(requested: str, target: Target, dtype: torch.dtype) -> Connections:
    """Connections beside neurons that run on `target`: "auto" is "dense" where there are no
    event-driven kernels."""
    if requested == "dense":
        return Connections("dense", "asked for")
    if target.name != "numba":
        return Connections(
            "dense", f"auto: event-driven kernels need target 'numba', this is '{target.name}'"
        )
    if dtype != torch.float32:
        given = str(dtype).removeprefix("torch.")
        return Connections(
            "dense", f"auto: event-driven kernels compute in float32, not in {given}"
        )
    return Connections("auto", f"auto: {CONNECTIONS['auto']}")

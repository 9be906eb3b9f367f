"""On what a net runs: what a person asks for, and what that comes to on this machine.

Importing this imports no torch: the command line needs the options before it needs tensors.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from clifctl.devices import CPU
from clifctl.launch import launch

if TYPE_CHECKING:
    import torch

    from clifctl.kernels import Kernels
    from clifctl.training.device import Threads


@dataclass(frozen=True)
class ExecutionOptions:
    """The device, kernel target, connections and number of CPU threads that are asked for.

    With `threads` None the number is chosen by the size of the net.
    """

    device: str = "auto"
    target: str = "auto"
    connections: str = "auto"
    threads: int | None = None

    def resolve(self, dtype: "torch.dtype | None" = None) -> "Execution":
        """What this comes to in this process, for tensors of `dtype` (None: float32).

        Raises UsageError for a device or a number of threads that this machine does not have, and
        TargetError for kernels that cannot run there.
        """
        import torch

        from clifctl.kernels import resolve_kernels
        from clifctl.training.device import resolve_device, resolve_threads

        device = resolve_device(self.device, launch())
        kernels = resolve_kernels(self.target, self.connections, device, dtype or torch.float32)
        return Execution(self, device, kernels, resolve_threads(self.threads))


# The same on every machine: what the benchmarks run on, where nothing else is asked for.
ON_CPU = ExecutionOptions(CPU)


@dataclass(frozen=True)
class Execution:
    """What `options` came to: a device, the kernels and the CPU threads, with their reasons."""

    options: ExecutionOptions
    device: "torch.device"
    kernels: "Kernels"
    threads: "Threads"

    def for_step(self, activations_bytes: int) -> "Execution":
        """The same with the CPU threads for a step that keeps `activations_bytes` for backward."""
        from clifctl.training.device import resolve_threads

        return replace(self, threads=resolve_threads(self.options.threads, activations_bytes))

    @property
    def facts(self) -> dict[str, Any]:
        """The device and the kernels with their reasons, as results and manifests name them."""
        return {"device": str(self.device), **self.kernels.facts}

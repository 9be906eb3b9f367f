"""On what a net runs: the options of every command that runs one."""

from typing import Annotated

import typer

from clifctl.cli.options import Shared
from clifctl.devices import CPU
from clifctl.experiments.run.execution import ExecutionOptions

DeviceOption = Annotated[
    str, typer.Option("--device", help="Device: auto, cpu, cuda or cuda:N.", metavar="DEVICE")
]
TargetOption = Annotated[
    str,
    typer.Option(
        "--target", help="Kernels: auto, numba (CPU), triton (GPU) or reference.", metavar="TARGET"
    ),
]
ConnectionsOption = Annotated[
    str,
    typer.Option(
        "--connections",
        help="auto: compute only what spikes require, where that is faster (CPU); or dense.",
        metavar="HOW",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", help="Number of CPU threads (default: by the size of the net)."),
]


def _of_a_net(
    *,
    device: DeviceOption = "auto",
    target: TargetOption = "auto",
    connections: ConnectionsOption = "auto",
    threads: ThreadsOption = None,
) -> ExecutionOptions:
    return ExecutionOptions(device, target, connections, threads)


def _of_a_benchmark(
    *,
    device: DeviceOption = CPU,
    connections: ConnectionsOption = "auto",
    threads: ThreadsOption = None,
) -> ExecutionOptions:
    return ExecutionOptions(device, connections=connections, threads=threads)


def _of_single_kernels(
    *,
    device: DeviceOption = CPU,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="Number of CPU threads (default: torch's own number)."),
    ] = None,
) -> ExecutionOptions:
    return ExecutionOptions(device, threads=threads)


Execution = Annotated[ExecutionOptions, Shared(_of_a_net)]
BenchmarkExecution = Annotated[ExecutionOptions, Shared(_of_a_benchmark)]
KernelExecution = Annotated[ExecutionOptions, Shared(_of_single_kernels)]

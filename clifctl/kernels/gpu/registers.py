"""Machine code of the Triton kernels without a GPU: compiled for a given one, registers counted.

A spill (values that do not fit into registers and go to slow memory) appears as stack.
"""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clifctl.devices import GPU
from clifctl.errors import TargetError
from clifctl.kernels.flat import SampleLayout
from clifctl.kernels.gpu import triton_target
from clifctl.kernels.gpu.triton_launch import THREADS
from clifctl.kernels.targets import triton_missing
from clifctl.neurons import Hyperparameters, Neuron

# Compute capability as in sm_80 (A100) and sm_90 (H100).
CAPABILITIES = (80, 90)
TIMESTEPS = (1, 4, 6, 8, 10, 16, 20, 64)
KERNELS = ("forward", "backward", "windowed")
# A usual layer: 64 channels of 32 x 32.
_SAMPLE = SampleLayout(64, 32 * 32)
_IN_OUT = ("x_all", "out_all", "g_out_all", "g_x_all")
_ALWAYS = "TRITON_ALWAYS_COMPILE"
_SWITCHES = {"WINDOW_MODE": 1}


@dataclass(frozen=True)
class Resources:
    """What one kernel takes on one GPU. `stack_bytes` and `local_bytes` are 0 without a spill."""

    kernel: str
    timesteps: int
    dtype: str
    capability: int
    elements_per_thread: int
    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes: int
    compile_s: float


def kernels_of(neuron: Neuron, steps: int) -> tuple[str, ...]:
    """The kernels that a neuron needs for a sequence of `steps`."""
    return KERNELS if neuron.states and steps > 1 else KERNELS[:2]


def resources(
    neuron: Neuron,
    hyperparameters: Hyperparameters,
    *,
    timesteps: Sequence[int] = TIMESTEPS,
    dtypes: Sequence[torch.dtype] = tuple(triton_target.DTYPES),
    capabilities: Sequence[int] = CAPABILITIES,
) -> Iterator[Resources]:
    """Compile every kernel of a neuron and count. Initial states and gradients of final states are
    given and the sequence is cut in chunks: the variant that needs most."""
    most = neuron.max_timesteps
    for steps in (t for t in timesteps if most is None or t <= most):
        for name in kernels_of(neuron, steps):
            for dtype in dtypes:
                for capability in capabilities:
                    yield compile_for(neuron, hyperparameters, name, steps, dtype, capability)


def compile_for(
    neuron: Neuron,
    hyperparameters: Hyperparameters,
    name: str,
    steps: int,
    dtype: torch.dtype,
    capability: int,
) -> Resources:
    """Compile one kernel for one GPU. Raises TargetError where Triton or its tools are missing."""
    if missing := triton_missing():
        raise TargetError(f"kernels cannot be compiled for a GPU: {missing}")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    run = triton_target.kernel(neuron, hyperparameters, steps)
    function = getattr(run.module, name)
    if not isinstance(function, triton.JITFunction):
        raise TargetError(
            "kernels cannot be compiled while Triton interprets them",
            hint="unset TRITON_INTERPRET",
        )
    tile = run.tile(name, _SAMPLE)
    fixed = {"BLOCK": tile.block, "CHANNELS": tile.channels, **_SWITCHES}
    signature = {arg: _kind(arg, triton_target.DTYPES[dtype]) for arg in function.arg_names}
    constants: dict[Any, Any] = {
        arg: fixed[arg] for arg, kind in signature.items() if kind == "constexpr"
    }
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, (arg, kind) in enumerate(signature.items())
        if kind.startswith("*") or arg in ("size", "per_channel")
    }
    started = time.perf_counter()
    with _always_compiling():
        compiled = triton.compile(
            ASTSource(function, signature, constants, aligned),
            target=GPUTarget(GPU, capability, 32),
            options=dict(triton_target.OPTIONS),
        )
    seconds = time.perf_counter() - started
    used = _usage(compiled.asm["cubin"])
    return Resources(
        kernel=name,
        timesteps=steps,
        dtype=str(dtype).removeprefix("torch."),
        capability=capability,
        elements_per_thread=tile.block * tile.channels // THREADS,
        registers=used["REG"],
        stack_bytes=used["STACK"],
        local_bytes=used["LOCAL"],
        shared_bytes=int(compiled.metadata.shared),
        compile_s=seconds,
    )


@contextmanager
def _always_compiling() -> Iterator[None]:
    """Triton reads no earlier result from its cache: the time is that of a first use."""
    before = os.environ.get(_ALWAYS)
    os.environ[_ALWAYS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ALWAYS]
        else:
            os.environ[_ALWAYS] = before


def _kind(argument: str, dtype: str) -> str:
    """Triton's type of an argument of a generated kernel."""
    if argument in _IN_OUT:
        return f"*{dtype}"
    if re.fullmatch(r"(const|initial)_.*", argument):
        return "fp32"
    if re.fullmatch(r".*_(all|start|final)|kept", argument):
        return "*fp32"
    return "constexpr" if argument.isupper() else "i32"


def _usage(cubin: bytes) -> dict[str, int]:
    """What `cuobjdump -res-usage` says of machine code that holds one function."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.is_file():
        raise TargetError(f"Triton's cuobjdump is not where it should be: '{tool}'")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    return {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", done.stdout)}

"""The vector width that is not at hand is checked by its machine code: CLIF's kernels compiled for
another processor, and read."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COMPILE = """
import inspect, torch
from numba import types
from clifctl.kernels.cpu.vectors import LANES
from clifctl.kernels.cpu.numba_target import kernel
from clifctl.kernels.ir.prologue import with_norm
from clifctl.neurons import NEURONS
neuron = with_norm(NEURONS["clif"])
module = kernel(neuron, neuron.hyperparameters(), torch.float32).module
print("LANES", LANES)
for name in ("forward", "forward_spikes", "backward", "windowed"):
    function = getattr(module, name)
    function.compile((types.int64,) * len(inspect.signature(function.py_func).parameters))
    (code,) = function.inspect_asm().values()
    print("FUNCTION", name)
    print(code)
"""
AVX2 = "+avx2,+fma,+avx,+popcnt,+bmi,+bmi2,+sse4.2"
AVX512 = f"{AVX2},+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512cd"
# name: numba's processor, its features, elements in a vector, and the registers that hold them
PROCESSORS = {
    "AVX2": ("znver3", AVX2, 8, "ymm"),
    "AVX-512": ("skylake-avx512", AVX512, 16, "zmm"),
}


@pytest.mark.machine_code
@pytest.mark.parametrize("name", PROCESSORS)
def test_everything_is_computed_in_whole_registers(name: str, tmp_path: Path) -> None:
    processor, features, lanes, registers = PROCESSORS[name]
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": processor,
        "NUMBA_CPU_FEATURES": features,
        "XDG_CACHE_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    head, *functions = done.stdout.split("FUNCTION ")
    assert head.split() == ["LANES", str(lanes)]
    assert len(functions) == 4
    for code in functions:
        function = code.split(maxsplit=1)[0]
        # Two sigmoids, each of eight fused operations and a division.
        for operation, least in (("vfmadd", 16), ("vdiv", 2), ("vmul", 4), ("vadd", 4)):
            packed = re.findall(rf"\b{operation}\d*ps\s.*%{registers}", code)
            assert len(packed) >= least, (function, operation)
        narrower = r"\bv(?:add|sub|mul|div|sqrt|fn?m\w+)(?:ss|ps\s.*%xmm)"
        assert re.findall(narrower, code) == [], function
        # Nothing of the C library is called: what is, are parts of numba's error handling.
        calls = set(re.findall(r"\bcallq?\s+\*?(\S+)", code))
        assert not {call for call in calls if re.search(r"expf?|tanhf?|fmaf?\b", call)}, calls

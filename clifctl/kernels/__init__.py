"""HOW a neuron runs: one entry point, `scan`, over every neuron, target and window."""

from clifctl.kernels.scan import initial_state, scan
from clifctl.kernels.targets import DTYPES as TARGET_DTYPES
from clifctl.kernels.targets import TARGETS, Target, resolve_target
from clifctl.kernels.window import READINGS

__all__ = [
    "READINGS",
    "TARGETS",
    "TARGET_DTYPES",
    "Target",
    "initial_state",
    "resolve_target",
    "scan",
]

"""HOW a neuron runs: one entry point, `scan`, over every neuron, target and window."""

from clifctl.kernels.scan import initial_state, scan
from clifctl.kernels.targets import TARGETS, Target, resolve_target

__all__ = ["TARGETS", "Target", "initial_state", "resolve_target", "scan"]

"""HOW a neuron runs: one entry point, `scan`, over every neuron, target and window."""

from clifctl.kernels.arguments import initial_state
from clifctl.kernels.backward import NO_BACKWARD, backward_pass
from clifctl.kernels.connections import (
    CONNECTIONS,
    Kernels,
    check_connections,
    resolve_kernels,
)
from clifctl.kernels.distributed import (
    differentiable_sum,
    gather_over_processes,
    several_processes,
    sum_over_processes,
)
from clifctl.kernels.eager import is_transformed
from clifctl.kernels.ir.trace import is_binary
from clifctl.kernels.norm_passes import batch_moments
from clifctl.kernels.normed import Norm
from clifctl.kernels.recurrent import recurrent_scan
from clifctl.kernels.scan import norm_scan, scan
from clifctl.kernels.spikes.arithmetic import as_spikes, sparse
from clifctl.kernels.spikes.marks import mark_spikes, spike_value, spikes_as_bits
from clifctl.kernels.spikes.tensor import Spikes
from clifctl.kernels.targets import DTYPES as TARGET_DTYPES
from clifctl.kernels.targets import TARGETS, Target, is_fused, resolve_target
from clifctl.kernels.window import WINDOW_MODES

__all__ = [
    "CONNECTIONS",
    "NO_BACKWARD",
    "TARGETS",
    "TARGET_DTYPES",
    "WINDOW_MODES",
    "Kernels",
    "Norm",
    "Spikes",
    "Target",
    "as_spikes",
    "backward_pass",
    "batch_moments",
    "check_connections",
    "differentiable_sum",
    "gather_over_processes",
    "initial_state",
    "is_binary",
    "is_fused",
    "is_transformed",
    "mark_spikes",
    "norm_scan",
    "recurrent_scan",
    "resolve_kernels",
    "resolve_target",
    "scan",
    "several_processes",
    "sparse",
    "spike_value",
    "spikes_as_bits",
    "sum_over_processes",
]

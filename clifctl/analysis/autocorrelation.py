"""Autocorrelation of a signal over time, as in the paper's Figure 8 and as it is better read.

    R[k] = (1/T) sum_n x[n] x[n - k]        x is zero before the first step

The paper takes it raw. What it shows is dominated by the mean of the signal, so it is given with
the mean removed too, and both relative to lag 0.
"""

import torch
from torch import Tensor


def autocorrelation(x: Tensor, lags: int) -> Tensor:
    """R[0] to R[lags], `[lags + 1, trials]`, of `x` `[T, trials]`, in float64."""
    x = x.double()
    steps = len(x)
    return torch.stack([(x[k:] * x[: steps - k]).sum(0) / steps for k in range(lags + 1)])


def normalised(r: Tensor) -> Tensor:
    """R[k] / R[0]; NaN for a signal that is zero throughout."""
    return r / r[:1]


def without_mean(x: Tensor) -> Tensor:
    """`x` `[T, trials]` without the mean of each trial."""
    x = x.double()
    return x - x.mean(0)

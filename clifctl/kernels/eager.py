"""When an operator of torch may be left out: its plain function does the same, 0.05 ms sooner."""

import torch
from torch import Tensor, nn


def is_eager(x: Tensor) -> bool:
    """Whether `x` is a tensor with values and nothing traces: no graph that needs to know the
    operator by its name, no shapes without values."""
    return type(x) in (Tensor, nn.Parameter) and not x.is_meta and not torch.compiler.is_compiling()

"""Mixed precision: which arithmetic a training step uses, and how its gradients are scaled."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

PrecisionName = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[str, ...] = get_args(PrecisionName)


class Precision:
    """`float32` is plain; `bfloat16` and `float16` run forward under torch's autocast.

    float16 also scales the loss, so that small gradients do not vanish: the authors' protocol.
    Losses are computed in float32, states of neurons always are; evaluation is plain float32.
    """

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        self.name = name
        self._device = device
        self._scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")

    def forward(self) -> AbstractContextManager[object]:
        """Around the net's forward pass."""
        if self.name == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=getattr(torch, self.name))

    def step(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Backward and the optimizer's step. A step whose scaled gradients overflow is left out,
        and the scale halved: that is how float16 finds its scale."""
        scaled: Tensor = self._scaler.scale(loss)
        scaled.backward()
        self._scaler.step(optimizer)
        self._scaler.update()

"""ReLU: the artificial neuron of the ANN rows. It has no state, no threshold and no time.

y = max(x, 0)
"""

from typing import Any

import torch
from torch import Tensor

from clifctl.neurons.contract import Hyperparameters, Neuron


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    return torch.relu(x), state


NEURON = Neuron(
    name="relu",
    title="rectified linear unit (the ANN)",
    paper="the ANN rows of CLIF, ICML 2024, Tables 1 and 2",
    step=step,
    states=(),
    hyperparameters=Hyperparameters,
    spiking=False,
    max_timesteps=1,
)

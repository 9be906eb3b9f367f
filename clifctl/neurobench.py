"""A net as NeuroBench's harness reads it.

The harness finds activations by their class (`torch.nn.ReLU` is one), takes their outputs by
forward hooks, and wants tensors; a layer of clifctl gives spikes and states. `harness_net` makes a
copy of a net in which each layer hands its spikes on to a module that the harness finds:

    from neurobench.models import TorchModel
    model = TorchModel(harness_net(net))

NeuroBench itself is not needed here.
"""

import copy
from functools import partial
from typing import Any

from torch import Tensor, nn

from clifctl.models import SpikingNet, firing_modules


class Spikes(nn.ReLU):
    """What a layer of neurons gives, as it is: an activation to the harness."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class HarnessNet(nn.Module):
    """`net` with NeuroBench's layout: `[N, T, *]` in, logits `[N, T, classes]` out.

    `layers` has a module for each layer of neurons, named as the layer is, with _ for a dot; its
    outputs are the layer's spikes `[T, N, *]`.
    """

    def __init__(self, net: SpikingNet) -> None:
        super().__init__()
        self.net = net
        self.layers = nn.ModuleDict()
        for name, layer in firing_modules(net).items():
            spikes = Spikes()
            self.layers[name.replace(".", "_")] = spikes
            layer.register_forward_hook(partial(_hand_on, spikes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each sample and time step."""
        logits: Tensor = self.net(x.transpose(0, 1))[0]
        return logits.transpose(0, 1)


def harness_net(net: SpikingNet) -> HarnessNet:
    """A copy of `net` for NeuroBench's `TorchModel`, in evaluation mode; `net` stays as it is.

    Its batches are `[N, T, *]`. A static image is repeated T times: the harness counts what it
    sees, and so the first convolution at every step.
    """
    return HarnessNet(copy.deepcopy(net)).eval()


def _hand_on(
    spikes: Spikes, layer: nn.Module, inputs: Any, output: tuple[Tensor, tuple[Tensor, ...]]
) -> None:
    spikes(output[0].clone())  # which the net may add to in place

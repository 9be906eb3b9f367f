"""The nets of `bench train` and `bench eval` as plain PyTorch: the same connections and pools,
torch's own batch norm, and any activation. Nothing of clifctl's neurons or norms is in them, so a
contestant pays for nothing of ours."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from clifctl.models import (
    ResNet18,
    SequentialNet,
    Spiking,
    SpikingLayer,
    SpikingNet,
    SynapticLayer,
)
from clifctl.models.layers import Pool
from clifctl.models.own.net import OwnNet

# A layer of neurons and its channels -> what stands in its place.
Activation = Callable[[SpikingLayer, int], nn.Module]
# Around each module that knows no time.
Wrap = Callable[[nn.Module], nn.Module]


def plain_net(net: SpikingNet, activation: Activation, wrap: Wrap = lambda part: part) -> nn.Module:
    """`net` with `torch.nn.BatchNorm2d` and `activation` for its norms and neurons. It takes over
    the connections of `net`, weights and all, and what its norms hold, and has one input and one
    output: images and logits, with whatever leading axes `wrap` and `activation` can take.

    Dropout is left out: the benchmark's nets have none.
    """
    if isinstance(net, OwnNet):
        return _Own(net, activation)
    if isinstance(net, ResNet18):
        return _ResNet18(net, activation, wrap)
    if isinstance(net, SequentialNet):
        return nn.Sequential(*_in_a_row(net, activation, wrap))
    raise TypeError(f"no plain form of {type(net).__name__}")


class _Own(nn.Module):
    """A person's own net at T = 1 with activations for its layers of neurons, which know no
    channels: images `[N, *]` in, logits `[N, classes]` out."""

    def __init__(self, net: OwnNet, activation: Activation) -> None:
        super().__init__()
        self.net = net
        for name, module in list(net.named_modules()):
            if isinstance(module, Spiking):
                net.set_submodule(name, activation(module.neurons, module.channels or 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x[None])[0][0]
        return logits


def _norm(norm: Any, wrap: Wrap) -> nn.Module:
    plain = nn.BatchNorm2d(norm.channels, eps=norm.eps, momentum=norm.momentum)
    plain.load_state_dict(norm.state_dict())
    return wrap(plain)


class _Block(nn.Module):
    """Pre-activation block whose shortcut carries the first activation."""

    def __init__(self, block: Any, activation: Activation, wrap: Wrap) -> None:
        super().__init__()
        self.norm1 = _norm(block.norm1, wrap)
        self.activation1 = activation(block.neuron1, block.norm1.channels)
        self.conv1 = wrap(block.conv1)
        self.norm2 = _norm(block.norm2, wrap)
        self.activation2 = activation(block.neuron2, block.norm2.channels)
        self.conv2 = wrap(block.conv2)
        changes = not isinstance(block.shortcut, nn.Identity)
        self.shortcut = wrap(block.shortcut) if changes else block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        first = self.activation1(self.norm1(x))
        second = self.activation2(self.norm2(self.conv1(first)))
        out: Tensor = self.conv2(second) + self.shortcut(first)
        return out


class _ResNet18(nn.Sequential):
    def __init__(self, net: ResNet18, activation: Activation, wrap: Wrap) -> None:
        super().__init__(
            wrap(net.conv1),
            *(_Block(block, activation, wrap) for block in net.blocks),
            _norm(net.norm, wrap),
            activation(net.neuron, net.norm.channels),
            wrap(net.pool),
            wrap(nn.Flatten()),
            wrap(net.linear),
        )


def _in_a_row(net: SequentialNet, activation: Activation, wrap: Wrap) -> list[nn.Module]:
    parts: list[nn.Module] = []
    for layer in net.features:
        if isinstance(layer, SynapticLayer):
            if layer.neuron.recurrent is not None:
                raise TypeError("no plain form of a recurrent layer")
            parts += [wrap(layer.connection), _norm(layer.norm, wrap)]
            parts.append(activation(layer.neuron, layer.norm.channels))
        elif isinstance(layer, Pool):
            parts.append(wrap(layer.pool))
    return [*parts, wrap(nn.Flatten()), wrap(net.classifier)]

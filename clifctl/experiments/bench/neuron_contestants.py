"""Who takes part in `bench neurons`, and on which numbers."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor, nn

from clifctl.models import NeuronChoice
from clifctl.neurons import NEURONS


@dataclass(frozen=True)
class Contestant:
    """One way to run a neuron: `run` maps x to its output, from the initial state each time."""

    run: Callable[[Tensor], Tensor]
    leaves: tuple[Tensor, ...]

    def infer(self, x: Tensor) -> Tensor:
        """The output, nothing kept for backward."""
        with torch.no_grad():
            return self.run(x)

    def gradients(self, x: Tensor, g: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The output for x, and the gradients of x and the learnables for `g` at the output."""
        x = x.detach().requires_grad_()
        output = self.run(x)
        wanted = (x, *self.leaves)
        found = torch.autograd.grad(output, wanted, g, allow_unused=True, materialize_grads=True)
        return output.detach(), list(found)


@dataclass(frozen=True)
class Setting:
    """What is the same for every contestant of a run."""

    device: torch.device
    dtype: torch.dtype
    target: str
    repeats: int


def shape_of(name: str, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """`sizes`, with time folded into the batch for a neuron that has none (ReLU)."""
    most = NEURONS[name].max_timesteps
    return (1, sizes[0] * sizes[1], *sizes[2:]) if most == 1 else sizes


def _contestant(layer: nn.Module) -> Contestant:
    return Contestant(lambda x: layer(x)[0], tuple(layer.parameters()))


def ours(
    name: str, shape: tuple[int, ...], setting: Setting, dtype: torch.dtype
) -> tuple[Contestant, Contestant, nn.Module]:
    """The fused kernel and the plain loop, with equal learnables; and the layer of the first."""
    neuron = NEURONS[name]
    pair = []
    for target in (setting.target, "reference"):
        torch.manual_seed(0)
        choice = NeuronChoice(neuron, neuron.hyperparameters(), target=target)
        pair.append(choice.layer(shape[2], shape[0]).to(setting.device, dtype))
    return _contestant(pair[0]), _contestant(pair[1]), pair[0]


def peer(name: str, shape: tuple[int, ...], layer: nn.Module, x: Tensor) -> Contestant | str:
    """SpikingJelly's node for the neuron, with the learnables of `layer`; or why there is none."""
    if name in ("glif", "glif_channel") and len(shape) != 5:
        return "SpikingJelly's node takes images alone"
    node = peer_node(name, layer, timesteps=shape[0], channels=shape[2])
    if isinstance(node, str):
        return node
    node.to(x)
    reset = import_module("spikingjelly.activation_based.functional").reset_net

    def run(x: Tensor) -> Tensor:
        reset(node)
        output: Tensor = node(x)
        return output

    return Contestant(run, tuple(node.parameters()))


def peer_node(
    name: str, layer: nn.Module, *, timesteps: int, channels: int, multi_step: bool = True
) -> nn.Module | str:
    """SpikingJelly's node for the neuron of that name, with the learnables of `layer`; or why there
    is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = import_module("spikingjelly.activation_based.neuron")
        surrogate = import_module("spikingjelly.activation_based.surrogate").Rect(1.0)
    if name in ("glif", "glif_channel") and not multi_step:
        return "SpikingJelly's node has no single-step mode"
    shared = {"surrogate_function": surrogate, "step_mode": "m" if multi_step else "s"}
    same = {**shared, "v_reset": None, "decay_input": False}
    makers: dict[str, Callable[[], nn.Module]] = {
        "if": lambda: nodes.IFNode(**shared, v_reset=None),
        "lif": lambda: nodes.LIFNode(tau=2.0, **same),
        "plif": lambda: nodes.ParametricLIFNode(init_tau=2.0, **same),
        "klif": lambda: nodes.KLIFNode(tau=2.0, **same),
        "glif": lambda: nodes.GatedLIFNode(T=timesteps, **shared),
        "glif_channel": lambda: nodes.GatedLIFNode(T=timesteps, inplane=channels, **shared),
        "clif": lambda: nodes.ComplementaryLIFNode(tau=2.0, **shared),
    }
    if name not in makers:
        return "no node of SpikingJelly is set against it"
    node = makers[name]()
    with torch.no_grad():
        for parameter, tensor in node.named_parameters():
            tensor.copy_(layer.get_parameter(parameter))
    return node


def tensors(shape: tuple[int, ...], setting: Setting, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Input current and gradient of the output, the same numbers every time."""
    generator = torch.Generator().manual_seed(0)
    x = 0.6 + 0.8 * torch.randn(shape, generator=generator)
    g = torch.randn(shape, generator=generator)
    return x.to(setting.device, dtype), g.to(setting.device, dtype)

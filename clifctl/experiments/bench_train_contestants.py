"""Who takes part in `bench train`: one net in five forms, each with its training step."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.errors import RunFailed
from clifctl.experiments.bench_contestants import peer_node
from clifctl.experiments.bench_nets import plain_net
from clifctl.models import MODELS, ModelOptions, NeuronChoice, SpikingLayer, SpikingNet
from clifctl.models.norm import NormMode
from clifctl.neurons import NEURONS
from clifctl.training.precision import ArithmeticName, Precision

# contestant -> the memory formats of weights and images that it is timed in
CONTESTANTS: dict[str, tuple[str, ...]] = {
    "ours": ("channels_last",),
    "ours_plain": ("channels_last",),
    "relu": ("contiguous", "channels_last"),
    "sj_multi_step": ("contiguous", "channels_last"),
    "sj_step_by_step": ("contiguous", "channels_last"),
}
_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained: the same for every contestant."""

    model: str
    options: ModelOptions
    neuron: str
    input_shape: tuple[int, ...]
    classes: int
    timesteps: int
    batch_size: int
    batch_norm: NormMode
    precision: ArithmeticName
    device: torch.device
    connections: str = "auto"

    def net(self, *, fuse_norm: bool, batch_norm: NormMode | None = None) -> SpikingNet:
        """clifctl's net, with the same weights every time."""
        torch.manual_seed(0)
        model, neuron = MODELS[self.model], NEURONS[self.neuron]
        norm = {"fuse_norm": fuse_norm, "batch_norm": batch_norm or self.batch_norm}
        return model.build(
            self.options.model_copy(update=norm),
            input_shape=self.input_shape,
            classes=self.classes,
            timesteps=self.timesteps,
            neuron=NeuronChoice(neuron, neuron.hyperparameters(), connections=self.connections),
        )

    def images(self, count: int) -> Tensor:
        """`[count, C, H, W]`, the same numbers every time."""
        return torch.randn(count, *self.input_shape, generator=torch.Generator().manual_seed(0))

    def labels(self) -> Tensor:
        """`[N]`, the same every time."""
        generator = torch.Generator().manual_seed(1)
        return torch.randint(self.classes, (self.batch_size,), generator=generator)


@dataclass(frozen=True)
class Where:
    """Device, dtype and memory format of weights and images."""

    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format

    def put(self, images: Tensor) -> Tensor:
        """`[*, C, H, W]`."""
        return images.to(self.device, self.dtype).contiguous(memory_format=self.memory_format)

    def put_net(self, net: nn.Module) -> nn.Module:
        """In place, and returned."""
        return net.to(self.device, self.dtype).to(memory_format=self.memory_format)


@dataclass(frozen=True)
class Learner:
    """A net, and what runs it on the task's images: logits `[T, N, classes]`."""

    net: nn.Module
    logits: Callable[[], Tensor]
    labels: Tensor
    precision: Precision
    images: int

    def loss(self) -> Tensor:
        """Cross entropy of the mean of the logits over time, in float32 at least."""
        with self.precision.forward():
            logits = self.logits()
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(logits.mean(0), self.labels)

    def step(self) -> Tensor:
        """Forward and backward, no optimizer's step; the loss."""
        self.net.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        return loss.detach()

    def gradients(self) -> dict[str, Tensor]:
        """What `step` has left, in float64."""
        found = {
            name: parameter.grad.double()
            for name, parameter in self.net.named_parameters()
            if parameter.grad is not None
        }
        missing = [name for name, _ in self.net.named_parameters() if name not in found]
        if missing:
            raise RunFailed(f"no gradient reached {', '.join(missing)}")
        return found


def learner(
    who: str,
    task: Task,
    memory_format: str,
    *,
    dtype: torch.dtype = torch.float32,
    batch_norm: NormMode | None = None,
) -> Learner | str:
    """One contestant, in training mode; or why it cannot take part. `batch_norm` is for clifctl's
    own two, in place of the task's.

    - `ours`: clifctl's net as it is; `ours_plain`: norm and neuron one after the other.
    - `relu`: the same connections with `torch.nn.BatchNorm2d` and ReLU in place, on T * N images.
    - `sj_multi_step`: SpikingJelly's multi-step nodes; every other layer, batch norm too, sees all
      time steps as one batch (`SeqToANNContainer`).
    - `sj_step_by_step`: a loop over T with SpikingJelly's single-step nodes, batch norm at each
      call, as the authors run their nets.
    """
    where = Where(task.device, dtype, _FORMATS[memory_format])
    images = task.batch_size
    made: tuple[nn.Module, Callable[[], Tensor]] | str
    if who in ("ours", "ours_plain"):
        made = _ours(task, where, fuse_norm=who == "ours", batch_norm=batch_norm)
    elif who == "relu":
        made = _relu(task, where)
        images *= task.timesteps
    else:
        made = _peer(task, where, multi_step=who == "sj_multi_step")
    if isinstance(made, str):
        return made
    net, logits = made
    precision = Precision(task.precision if dtype == torch.float32 else "float32", task.device)
    return Learner(net.train(), logits, task.labels().to(task.device), precision, images)


def _ours(
    task: Task, where: Where, *, fuse_norm: bool, batch_norm: NormMode | None
) -> tuple[nn.Module, Callable[[], Tensor]]:
    net = where.put_net(task.net(fuse_norm=fuse_norm, batch_norm=batch_norm))
    image = where.put(task.images(task.batch_size))[None]
    return net, lambda: net(image, repeat=task.timesteps)[0]


def _relu(task: Task, where: Where) -> tuple[nn.Module, Callable[[], Tensor]]:
    source = task.net(fuse_norm=False)
    net = plain_net(source, lambda layer, channels: nn.ReLU(inplace=True))
    _require_equal_size(task.net(fuse_norm=False), net, [])
    net = where.put_net(net)
    images = where.put(task.images(task.timesteps * task.batch_size))
    return net, lambda: net(images).unflatten(0, (task.timesteps, task.batch_size))


def _peer(
    task: Task, where: Where, *, multi_step: bool
) -> tuple[nn.Module, Callable[[], Tensor]] | str:
    source = task.net(fuse_norm=False)
    nodes: list[nn.Module] = []
    reasons: list[str] = []

    def activation(layer: SpikingLayer, channels: int) -> nn.Module:
        node = peer_node(
            task.neuron, layer, timesteps=task.timesteps, channels=channels, multi_step=multi_step
        )
        if isinstance(node, str):
            reasons.append(node)
            return nn.Identity()
        nodes.append(node)
        return node

    net = plain_net(source, activation)
    if reasons:
        return reasons[0]
    functional = import_module("spikingjelly.activation_based.functional")
    if multi_step:
        nodes.clear()
        wrap = import_module("spikingjelly.activation_based.layer").SeqToANNContainer
        net = plain_net(source, activation, wrap)
    _require_equal_size(task.net(fuse_norm=False), net, nodes)
    net = where.put_net(net)
    image = task.images(task.batch_size)
    if multi_step:
        folded = where.put(image.repeat(task.timesteps, 1, 1, 1))
        sequence = folded.unflatten(0, (task.timesteps, task.batch_size))
    else:
        image = where.put(image)

    def logits() -> Tensor:
        functional.reset_net(net)
        if multi_step:
            return net(sequence)
        return torch.stack([net(image) for _ in range(task.timesteps)])

    return net, logits


def _require_equal_size(ours: SpikingNet, plain: nn.Module, nodes: list[nn.Module]) -> None:
    """Raise RunFailed unless both nets have as many parameters, those of neurons not counted."""
    neurons = [layer for layer in ours.modules() if isinstance(layer, SpikingLayer)]
    sizes = [
        _parameters(net) - sum(map(_parameters, own))
        for net, own in ((ours, neurons), (plain, nodes))
    ]
    if sizes[0] != sizes[1]:
        raise RunFailed(f"nets of {sizes[0]:,} and {sizes[1]:,} parameters cannot be compared")


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

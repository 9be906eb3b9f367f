"""Who takes part in `bench train` and `bench eval`: one net in several forms, each on the task's
input."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.errors import RunFailed
from clifctl.experiments.bench.neuron_contestants import peer_node
from clifctl.experiments.bench.plain_nets import plain_net
from clifctl.experiments.bench.task import Task
from clifctl.experiments.bench.timing import interleaved
from clifctl.experiments.run.connections import watched_connections
from clifctl.models import Spiking, SpikingLayer, SpikingNet
from clifctl.models.norm import NormMode
from clifctl.models.own.net import OwnNet
from clifctl.models.own.steps import AllSteps, StepSpiking
from clifctl.results.bench import memory_formats_of
from clifctl.results.connections import ConnectionPaths
from clifctl.training.precision import Precision

# contestant of `bench train` -> the memory formats of weights and images that it is timed in
CONTESTANTS = memory_formats_of("train")
OURS, PEERS = ("ours", "ours_dense", "ours_plain"), ("sj_multi_step", "sj_step_by_step")
Contestants = Mapping[str, tuple[str, ...]]
_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


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

    def infer(self) -> Tensor:
        """The logits, nothing kept for backward."""
        with torch.no_grad(), self.precision.forward():
            return self.logits()

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


def taking_part(contestants: Contestants, task: Task, missing: Mapping[str, str]) -> Contestants:
    """Those that are measured: but for the missing, for `ours_dense` where `ours` is dense,
    and for `ours_plain` of a person's own net."""
    left_out = {*missing, *(["ours_dense"] if task.connections == "dense" else [])}
    if task.row.own:  # whose norms and neurons are one after the other in any case
        left_out.add("ours_plain")
    return {who: formats for who, formats in contestants.items() if who not in left_out}


def learner(
    who: str,
    task: Task,
    memory_format: str,
    *,
    dtype: torch.dtype = torch.float32,
    batch_norm: NormMode | None = None,
    training: bool = True,
) -> Learner | str:
    """One contestant, in training or evaluation mode; or why it cannot take part. `batch_norm` is
    for clifctl's own, in place of the task's.

    - `ours`: clifctl's net, with the task's connections; `ours_dense`: with dense ones;
      `ours_plain`: with these, and norm and neuron one after the other.
    - `relu`: the same connections with `torch.nn.BatchNorm2d` and ReLU in place, on T * N images;
      `relu_one_step`: on N images, as an ANN is used.
    - `sj_multi_step`: SpikingJelly's multi-step nodes; every other layer, batch norm too, sees all
      time steps as one batch (`SeqToANNContainer`).
    - `sj_step_by_step`: a loop over T with SpikingJelly's single-step nodes, batch norm at each
      call, as the authors run their nets.
    """
    where = Where(task.device, dtype, _FORMATS[memory_format])
    images = task.batch_size
    made: tuple[nn.Module, Callable[[], Tensor]] | str
    if who in OURS:
        made = _ours(who, task, where, batch_norm=batch_norm)
    elif who == "relu":
        made = _relu(task, where)
        images *= task.timesteps
    elif who == "relu_one_step":
        made = _relu(replace(task, timesteps=1), where)
    else:
        made = _peer(task, where, multi_step=who == "sj_multi_step")
    if isinstance(made, str):
        return made
    net, logits = made
    precision = Precision(task.precision if dtype == torch.float32 else "float32", task.device)
    return Learner(net.train(training), logits, task.labels().to(task.device), precision, images)


@dataclass(frozen=True)
class Timed:
    """One contestant in the faster one of its memory formats: its times [ms], a round each."""

    learner: Learner
    memory_format: str
    times: list[float]


def timed(
    contestants: Contestants,
    task: Task,
    missing: Mapping[str, str],
    repeats: int,
    *,
    training: bool,
) -> dict[str, Timed]:
    """Those of `contestants` that take part, timed in turns: a training step, or an inference."""
    learners: dict[tuple[str, str], Learner] = {}
    for who, formats in taking_part(contestants, task, missing).items():
        for memory_format in formats:
            made = learner(who, task, memory_format, training=training)
            assert isinstance(made, Learner)  # as `missing_peers` has found
            learners[who, memory_format] = made
    jobs = {key: made.step if training else made.infer for key, made in learners.items()}
    times = interleaved(jobs, repeats=repeats, device=task.device)
    faster: dict[str, Timed] = {}
    for key in sorted(times, key=lambda key: -statistics.median(times[key])):
        faster[key[0]] = Timed(learners[key], key[1], times[key])
    return {who: faster[who] for who in contestants if who in faster}


def paths_of(task: Task, *, training: bool) -> tuple[ConnectionPaths, ...]:
    """How the connections of clifctl's net run in what is timed; nothing where all are dense."""
    if task.connections == "dense":
        return ()
    ours = learner("ours", task, CONTESTANTS["ours"][0], training=training)
    assert isinstance(ours, Learner)  # it takes part in any case
    with watched_connections(ours.net, ours.precision.name) as watched:
        if training:
            ours.step()
        else:
            ours.infer()
    return watched.rows()


def _ours(
    who: str, task: Task, where: Where, *, batch_norm: NormMode | None
) -> tuple[nn.Module, Callable[[], Tensor]]:
    connections = None if who == "ours" else "dense"
    fuse_norm = who != "ours_plain"
    net = where.put_net(
        task.net(fuse_norm=fuse_norm, batch_norm=batch_norm, connections=connections)
    )
    given = task.input()
    given = where.put(given.flatten(0, 1)).unflatten(0, given.shape[:2])
    return net, lambda: net(given, repeat=task.repeat)[0]


def _relu(task: Task, where: Where) -> tuple[nn.Module, Callable[[], Tensor]]:
    source = task.net(fuse_norm=False)
    net = plain_net(source, lambda layer, channels: nn.ReLU(inplace=True))
    _require_equal_size(task.net(fuse_norm=False), net, [])
    net = where.put_net(net)
    images = where.put(task.folded())
    return net, lambda: net(images).unflatten(0, (task.timesteps, task.batch_size))


def _peer(
    task: Task, where: Where, *, multi_step: bool
) -> tuple[nn.Module, Callable[[], Tensor]] | str:
    source = task.net(fuse_norm=False)
    if isinstance(source, OwnNet):
        return _own_peer(source, task, where, multi_step=multi_step)
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
    steps = [where.put(step) for step in task.input()] * task.repeat
    if multi_step:
        sequence = where.put(torch.cat(steps)).unflatten(0, (task.timesteps, task.batch_size))

    def logits() -> Tensor:
        functional.reset_net(net)
        if multi_step:
            return net(sequence)
        return torch.stack([net(step) for step in steps])

    return net, logits


def _own_peer(
    net: OwnNet, task: Task, where: Where, *, multi_step: bool
) -> tuple[nn.Module, Callable[[], Tensor]] | str:
    """A person's own net with SpikingJelly's nodes, which take the whole sequence, or step after
    step of it; everything else is as it is."""
    nodes = []
    for name, module in list(net.named_modules()):
        if not isinstance(module, Spiking):
            continue
        how = {"timesteps": task.timesteps, "channels": module.channels or 1}
        node = peer_node(task.neuron, module.neurons, multi_step=multi_step, **how)
        if isinstance(node, str):
            return node
        as_any: Any = node
        as_any.step_mode = "m"
        nodes.append(node)
        folded = isinstance(module, StepSpiking)
        net.set_submodule(name, AllSteps(node, net.clock) if folded else node)
    _require_equal_size(task.net(fuse_norm=False), net, nodes)
    functional = import_module("spikingjelly.activation_based.functional")
    net = where.put_net(net)  # type: ignore[assignment]
    given = task.input()
    given = where.put(given.flatten(0, 1)).unflatten(0, given.shape[:2])
    steps = [given[step : step + 1] for step in range(len(given))] * task.repeat

    def logits() -> Tensor:
        functional.reset_net(net)
        if multi_step:
            return net(given, repeat=task.repeat)[0]
        return torch.cat([net(step)[0] for step in steps])

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

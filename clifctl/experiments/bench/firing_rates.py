"""The firing rates that a benchmark's net runs at: those of fresh weights, or of a trained net.

Event-driven work grows with the spikes, and fresh nets fire more than trained ones. So each layer's
published rate (or a given one) is reached by the bias of the batch norm before it, the same for
every channel: layer by layer in forward order, since each depends on those before it.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clifctl import paper
from clifctl.convert.deployment import recalibrate
from clifctl.energy.rates import rates_of_layers
from clifctl.errors import UsageError, unknown_name
from clifctl.experiments.bench.layer_gate import of_layer
from clifctl.experiments.bench.task import Task
from clifctl.experiments.energy import given_json
from clifctl.models import FiringRates, SpikingLayer, SpikingNet, TemporalBatchNorm, norms_in
from clifctl.results.bench import BenchRate

FRESH, PAPER = "fresh", "paper"
# Net of a benchmark -> the data whose published rates it takes.
_DATA = {"resnet18": "cifar10", "vgg11": "cifar10_dvs"}
# Samples on which biases are found: more say little more of a layer's rate.
CALIBRATION_BATCH = 8
# A normalised input has a variance of 1: beyond these biases all neurons are silent, or all fire.
LEAST_BIAS, MOST_BIAS = -16.0, 16.0
HALVINGS, NEAR_ENOUGH = 24, 2e-3


def target_rates(reference: str, task: Task) -> dict[str, float] | None:
    """Layer of neurons -> the firing rate that `--rates REFERENCE` asks for; None for fresh
    weights as they are. Raises UsageError where the paper has none, EnergyError for a file that
    cannot be used."""
    if reference == FRESH:
        return None
    if task.row.own:
        raise UsageError(
            f"--rates {reference}: firing rates are set by the batch norms of clifctl's nets, and "
            f"'{task.model}' is another's",
            hint="leave --rates out: fresh weights as they are",
        )
    with torch.device("meta"):
        net = task.net(fuse_norm=True)
    layers = [name for name, part in net.named_modules() if isinstance(part, SpikingLayer)]
    if reference != PAPER:
        if not Path(reference).exists() and not Path(reference).suffix:
            raise UsageError(
                unknown_name("--rates", reference, (FRESH, PAPER)),
                hint=f"{FRESH}, {PAPER}, or a JSON file of firing rates",
            )
        return rates_of_layers(given_json(reference), layers, f"firing rates '{reference}'")
    found = paper.firing_rates(_DATA.get(task.model, ""), task.neuron)
    if found is None:
        raise UsageError(
            f"--rates {PAPER}: the paper has no firing rates for '{task.neuron}' in '{task.model}'",
            hint="it has those of lif and clif in resnet18 and vgg11; give others in a file: "
            '{"rates": [0.1, ...]}, a rate for each layer of neurons in forward order',
        )
    return dict(zip(layers, found.firing_rates, strict=True))


def at_rates(task: Task, targets: Mapping[str, float] | None, *, training: bool) -> Task:
    """The task with batch norms that make its layers fire at `targets`. In evaluation mode their
    running averages become those of the task's input, whatever the rates."""
    if training and targets is None:
        return task
    if task.row.own:
        return _with_averages(task)
    small = replace(task, batch_size=min(task.batch_size, CALIBRATION_BATCH))
    net = _ready(small, training=training)
    setter = _Setter(targets, training=training)
    layers = {name: part for name, part in net.named_modules() if isinstance(part, SpikingLayer)}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(setter.before(name))
    _run(small, net)
    kept = ("bias",) if training else ("bias", "running_mean", "running_var")
    norms = {
        name: tensor.detach().cpu()
        for name, tensor in net.state_dict().items()
        if name.rpartition(".")[2] in kept and setter.has_set(net.get_submodule(_owner(name)))
    }
    return replace(task, norms=norms)


def _with_averages(task: Task) -> Task:
    """The task with the running averages of its own input in the batch norms of its net, a person's
    own."""
    net = _ready(task, training=False)
    recalibrate(net, [task.input().to(task.device)], repeat=task.repeat)
    norms = {
        f"{name}.{kind}": getattr(norm, kind).cpu()
        for name, norm in norms_in(net).items()
        for kind in ("running_mean", "running_var")
    }
    return replace(task, norms=norms)


def reached_rates(
    task: Task, targets: Mapping[str, float] | None, *, training: bool
) -> tuple[BenchRate, ...]:
    """The firing rate of each layer on the task's own input, in forward order."""
    net = _ready(task, training=training)
    rates = FiringRates(net)
    with rates.recording():
        _run(task, net)
    return tuple(
        BenchRate(
            timesteps=task.timesteps,
            layer=layer,
            neurons=rates.neurons[layer],
            target_rate=None if targets is None else targets[layer],
            firing_rate=statistics.mean(per_step),
        )
        for layer, per_step in rates.per_step().items()
    )


def _ready(task: Task, *, training: bool) -> SpikingNet:
    net = task.net(fuse_norm=True, connections="dense").to(task.device)
    return net.to(memory_format=torch.channels_last).train(training)


@torch.no_grad()
def _run(task: Task, net: nn.Module) -> None:
    net(task.input().to(task.device), repeat=task.repeat)


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


@dataclass
class _Setter:
    """Sets the batch norm before each layer of neurons, when the layer is reached."""

    targets: Mapping[str, float] | None
    training: bool

    def __post_init__(self) -> None:
        self._norms: set[nn.Module] = set()

    def has_set(self, norm: nn.Module) -> bool:
        """Whether a module is one of the norms that were set."""
        return norm in self._norms

    def before(self, name: str) -> Any:
        """What is called before the layer `name` runs, with what it is given."""

        def set_norm(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            x, norm, repeat = of_layer(inputs)
            if norm is None:
                return
            self._norms.add(norm)
            if not self.training:
                _set_statistics(norm, x)
            if self.targets is not None:
                _set_rate(layer, norm, x, repeat, self.targets[name])

        return set_norm


def _set_statistics(norm: TemporalBatchNorm, x: Tensor) -> None:
    """Let the running averages be those of `x` `[T, N, C, *]`."""
    values = x.movedim(2, 0).flatten(1)
    norm.running_mean.copy_(values.mean(1))
    norm.running_var.copy_(values.var(1))


def _set_rate(
    layer: nn.Module, norm: TemporalBatchNorm, x: Tensor, repeat: int, target: float
) -> None:
    """Bisect the bias of the norm until the layer fires at `target` spikes per neuron and step."""
    assert norm.bias is not None
    low, high = LEAST_BIAS, MOST_BIAS
    for _ in range(HALVINGS):
        bias = (low + high) / 2
        norm.bias.fill_(bias)
        # The layer's own forward: to call the module would end here again.
        rate = float(layer.forward(x, None, norm, repeat)[0].mean())
        if abs(rate - target) <= NEAR_ENOUGH * target:
            return
        low, high = (bias, high) if rate < target else (low, bias)

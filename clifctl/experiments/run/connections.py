"""Which way the connections of a net go, event-driven or dense, in a training step."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.data import LoadedData
from clifctl.devices import CPU
from clifctl.experiments.bench.timing import cpu_threads
from clifctl.experiments.build import build_net, loss_of, repeat_of
from clifctl.experiments.grid.step_cost import LEAST_SAMPLES, shortened, size_of, smaller
from clifctl.kernels import Spikes, spike_value
from clifctl.kernels.cpu.paths import Path, recorded_paths
from clifctl.kernels.cpu.rule import (
    AUTOCAST,
    DIRECTIONS,
    NO_SPIKES,
    Choice,
    Direction,
    standing_for,
    too_few,
)
from clifctl.recipe.schema import Recipe
from clifctl.results.connections import ConnectionPaths
from clifctl.results.train import EpochRecord
from clifctl.training.device import seed_everything
from clifctl.training.loop import Event
from clifctl.training.precision import ArithmeticName, resolve_precision

# Multiply-accumulates of the forward pass of a step that is tried, at most: with two samples the
# largest nets of the catalog have 2e10. Of a larger one fewer time steps are run.
MOST_MACS = 4e10

_Connection = nn.Linear | nn.modules.conv._ConvNd


def may_be_event_driven(recipe: Recipe) -> bool:
    """Whether a connection of the recipe's net may be anything but dense. A compiled net's are not:
    the compiler sees floats."""
    return recipe.neuron.connections != "dense" and not recipe.train.compile


@dataclass
class _Seen:
    """A connection that ran: what it is, and the addresses that its weights had."""

    module: _Connection
    maps: tuple[int, ...]
    weights: set[int]
    directions: tuple[Direction, ...]  # that a step has
    unseen: Choice  # why it is dense, if nobody notes its way


@dataclass
class Watched:
    """The connections that ran, in their order, and the ways that they took. `unseen` is why those
    are dense that do not appear among `paths`; None: that depends on their inputs."""

    paths: list[Path]
    unseen: Choice | None
    seen: dict[str, _Seen] = field(default_factory=dict)

    def follow(self, name: str, module: _Connection) -> Iterator[Any]:
        """Two hooks that note what `module` does, to be removed."""
        before: list[int] = []

        def begins(module: Any, inputs: tuple[Tensor, ...]) -> None:
            x, weights = inputs[0], {module.weight.data_ptr()}
            maps = () if isinstance(module, nn.Linear) else tuple(x.shape[2:])
            directions = DIRECTIONS[: 1 + torch.is_grad_enabled() * (1 + x.requires_grad)]
            unseen = self.unseen or _unseen(x)
            self.seen.setdefault(name, _Seen(module, maps, weights, directions, unseen))
            before.append(len(self.paths))

        def ends(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            # What it multiplied by may have been made of its weights, as by a parametrization.
            ran = self.paths[before.pop() :]
            self.seen[name].weights.update(path.weight for path in ran)

        yield module.register_forward_pre_hook(begins)
        yield module.register_forward_hook(ends)

    def rows(self) -> tuple[ConnectionPaths, ...]:
        """A row for each connection that ran; what it did first, where it ran several times."""
        return tuple(self._row(name, seen) for name, seen in self.seen.items())

    def _row(self, name: str, seen: _Seen) -> ConnectionPaths:
        first: dict[str, Path] = {}
        for path in self.paths:
            if path.weight in seen.weights:
                first.setdefault(path.direction, path)
        if "forward" not in first:
            # Who takes note of ways has not seen it: its input was a tensor like any other.
            dense = Path("forward", 0, None, None, seen.unseen.event, seen.unseen.reason)
            first = dict.fromkeys(seen.directions, dense)
        found: dict[str, Any] = {}
        for direction in DIRECTIONS:
            ran = first.get(direction)
            how, _, why = ran.reason.partition(": ") if ran else (None, None, None)
            found |= {direction: how, f"{direction}_reason": why}
        return ConnectionPaths(
            layer=name,
            connection=_in_words(seen.module),
            maps=seen.maps,
            active_percent=_percent(first.get("forward")),
            open_percent=_percent(first.get("input_gradient")),
            **found,
        )


@contextmanager
def watched_connections(net: nn.Module, precision: ArithmeticName) -> Iterator[Watched]:
    """Within it, what the connections of `net` do, in the arithmetic `precision`, is noted."""
    with recorded_paths() as paths, ExitStack() as hooks:
        watched = Watched(paths, None if precision == "float32" else AUTOCAST)
        for name, module in net.named_modules():
            if isinstance(module, _Connection):
                for handle in watched.follow(name, module):
                    hooks.callback(handle.remove)
        yield watched


def first_step_noted(
    events: Iterator[Event],
    net: nn.Module,
    precision: ArithmeticName,
    note: Callable[[tuple[ConnectionPaths, ...]], None],
) -> Iterator[Event]:
    """The `events` of a training of `net`; `note` is called with the ways that the connections take
    in its first step."""
    event: Event | None = None
    # A run that goes on at the end of an epoch begins with a test.
    while event is None or isinstance(event, EpochRecord):
        with watched_connections(net, precision) as watched:
            event = next(events, None)
        if event is None:
            return
        if not isinstance(event, EpochRecord):
            note(watched.rows())
        yield event
    yield from events


def tried_step(
    recipe: Recipe, data: LoadedData | None, threads: int
) -> tuple[ConnectionPaths, ...]:
    """Which way the connections of the recipe's net go in a step with fresh weights, on the CPU: on
    two training samples, which stand for a batch, or on noise where there are no data. Torch's
    generator is left alone."""
    precision = resolve_precision(recipe.train.precision, torch.device(CPU)).name
    samples, timesteps = smaller(size_of(recipe, LEAST_SAMPLES), MOST_MACS)
    batches = recipe.train.batch_size * recipe.timesteps / (samples * timesteps)
    recipe = shortened(recipe, timesteps)
    # Under autocast all are dense, and on many CPUs so slow that nobody would wait for a step.
    where = torch.device(CPU if precision == "float32" else "meta")
    with torch.random.fork_rng(devices=[]), cpu_threads(threads):
        seed_everything(recipe.train.seed)
        with where:
            net = build_net(recipe).train()
        inputs, targets = (tensor.to(where) for tensor in _batch(recipe, data, samples))
        with watched_connections(net, precision) as watched, standing_for(batches):
            logits, _ = net(inputs, repeat=repeat_of(recipe))
            loss_of(recipe)(logits, targets).backward()
    return watched.rows()


def _batch(recipe: Recipe, data: LoadedData | None, samples: int) -> tuple[Tensor, Tensor]:
    """Inputs `[T or 1, N, *]` as the net sees them, and labels `[N]`."""
    steps = recipe.timesteps // repeat_of(recipe)
    if data is None or len(data.train) < samples:
        targets = torch.arange(samples) % recipe.data.classes
        return torch.rand(steps, samples, *recipe.data.input_shape), targets
    inputs, targets = next(iter(data.train.read([torch.arange(samples)])))
    return data.train.prepared(inputs)[:steps], targets


def _unseen(x: Tensor) -> Choice:
    """Why a connection of `x` is dense that does not look at bits."""
    if not isinstance(x, Spikes) and spike_value(x) is None:
        return NO_SPIKES
    return too_few(x.numel(), x.shape[1], maps=x.dim() > 3) or NO_SPIKES


def _percent(path: Path | None) -> float | None:
    return None if path is None or path.density is None else 100 * path.density


def _in_words(module: _Connection) -> str:
    """As in "3x3, 64 -> 128, stride 2"."""
    if isinstance(module, nn.Linear):
        return f"linear, {module.in_features} -> {module.out_features}"
    parts = [_times(module.kernel_size), f"{module.in_channels} -> {module.out_channels}"]
    parts += [f"stride {_each(module.stride)}"] if set(module.stride) != {1} else []
    parts += [f"dilation {_each(module.dilation)}"] if set(module.dilation) != {1} else []
    parts += [f"{module.groups} groups"] if module.groups > 1 else []
    return ", ".join(parts)


def _times(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _each(sizes: tuple[int, ...]) -> str:
    """One number where all are equal."""
    return str(sizes[0]) if len(set(sizes)) == 1 else _times(sizes)

"""What the benchmarks of nets run: one net, its input and its arithmetic, for every contestant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast, get_args

import torch
from torch import Tensor

from clifctl import trust
from clifctl.devices import device_name
from clifctl.errors import ArgumentError, UsageError, as_listed, unknown_name
from clifctl.experiments.build import parameter_count
from clifctl.experiments.run.execution import ON_CPU, Execution, ExecutionOptions
from clifctl.experiments.run.manifest import package_versions
from clifctl.models import MODELS, Model, NetOptions, NeuronChoice, SpikingNet
from clifctl.models.norm import NormMode
from clifctl.models.own.loading import FOREIGN_MODELS
from clifctl.neurons import NEURONS
from clifctl.recipe.load import load_recipe
from clifctl.training.memory import saved_for_backward
from clifctl.training.precision import ArithmeticName

CIFAR_SHAPE, CIFAR_TIMESTEPS, CLASSES = (3, 32, 32), 6, 10
# Frames of CIFAR10-DVS, and the time steps of the paper's Table 6.
FRAME_SHAPE, FRAME_TIMESTEPS = (2, 48, 48), 10
DIGITS_MODEL, DIGITS_RECIPE = "snn5", "digits_snn5"
NETS = ("resnet18", "vgg11", DIGITS_MODEL)
PRECISIONS = ("float32", "bfloat16")
MOST_STEPS, MOST_BATCH = 256, 4096


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is run: the same for every contestant.

    `frames_percent`: the input is event frames, others at each time step, of whose values so many
    percent are not zero; None: an image, the same at each step. `norms` are the tensors of the
    net's batch norms that are not those of a fresh net, by their names in its state dict.
    """

    model: str
    options: NetOptions
    neuron: str
    input_shape: tuple[int, ...]
    classes: int
    timesteps: int
    batch_size: int
    batch_norm: NormMode
    precision: ArithmeticName
    execution: Execution
    frames_percent: float | None = None
    norms: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the contestants run."""
        return self.execution.device

    @property
    def connections(self) -> str:
        """How the connections of clifctl's net run."""
        return self.execution.kernels.connections.name

    @property
    def row(self) -> Model:
        """The net: of the table, or a person's own."""
        return FOREIGN_MODELS.load(self.model, MODELS)

    @property
    def repeat(self) -> int:
        """How many equal time steps one step of the input stands for."""
        return self.timesteps if self.frames_percent is None else 1

    def net(
        self,
        *,
        fuse_norm: bool,
        batch_norm: NormMode | None = None,
        connections: str | None = None,
    ) -> SpikingNet:
        """clifctl's net, with the same weights every time; `batch_norm` and `connections` may be
        others than the task's."""
        torch.manual_seed(0)
        model, neuron = self.row, NEURONS[self.neuron]
        norm = {"fuse_norm": fuse_norm, "batch_norm": batch_norm or self.batch_norm}
        net: SpikingNet = model.build(
            self.options if model.own else self.options.model_copy(update=norm),
            input_shape=self.input_shape,
            classes=self.classes,
            timesteps=self.timesteps,
            neuron=NeuronChoice(
                neuron, neuron.hyperparameters(), connections=connections or self.connections
            ),
        )
        for name, tensor in self.norms.items():
            net.state_dict(keep_vars=True)[name].data.copy_(tensor)
        return net

    def input(self) -> Tensor:
        """What spiking nets are given, the same numbers every time: an image `[1, N, C, H, W]`, or
        frames `[T, N, C, H, W]`."""
        if self.frames_percent is None:
            return self._images(self.batch_size)[None]
        return self._frames()

    def folded(self) -> Tensor:
        """What the ReLU net is given: `[T * N, C, H, W]`, all of them different."""
        if self.frames_percent is None:
            return self._images(self.timesteps * self.batch_size)
        return self._frames().flatten(0, 1)

    def labels(self) -> Tensor:
        """`[N]`, the same every time."""
        generator = torch.Generator().manual_seed(1)
        return torch.randint(self.classes, (self.batch_size,), generator=generator)

    def _images(self, count: int) -> Tensor:
        return torch.randn(count, *self.input_shape, generator=torch.Generator().manual_seed(0))

    def _frames(self) -> Tensor:
        """Counts of events: 1 and more at places that are independent of each other."""
        assert self.frames_percent is not None
        generator = torch.Generator().manual_seed(0)
        shape = (self.timesteps, self.batch_size, *self.input_shape)
        active = torch.rand(shape, generator=generator) < self.frames_percent / 100
        return active * (1 + torch.poisson(torch.ones(shape), generator=generator))


@dataclass(frozen=True, kw_only=True)
class NetBenchOptions:
    """What `bench train` and `bench eval` are asked for. `timesteps` None: 6, 10 of event frames,
    the digits recipe's own for snn5; `rates`: `fresh`, `paper` or a file; `frames_percent` as in
    `Task`."""

    model: str = "resnet18"
    neuron: str = "clif"
    timesteps: Sequence[int] | None = None
    batch_size: int = 8
    precision: str = "float32"
    batch_norm: str = "per_step"
    rates: str = "fresh"
    frames_percent: float | None = None
    repeats: int = 7
    execution: ExecutionOptions = ON_CPU


def task_of(asked: NetBenchOptions, *, least_batch: int) -> Task:
    """The task that is asked for, at the net's own T. Raises UsageError."""
    asked = replace(
        asked, model=as_listed(asked.model, NETS), neuron=as_listed(asked.neuron, NEURONS)
    )
    model, frames_percent = asked.model, asked.frames_percent
    own = is_own(model)
    for kind, name, known in (
        ("model", model, (*NETS, *([model] if own else []))),
        ("neuron", asked.neuron, tuple(NEURONS)),
        ("precision", asked.precision, PRECISIONS),
        ("batch norm", asked.batch_norm, get_args(NormMode)),
    ):
        if name not in known:
            raise UsageError(unknown_name(kind, name, known), hint=f"one of {', '.join(known)}")
    if NEURONS[asked.neuron].max_timesteps == 1:
        raise UsageError(
            f"neuron '{asked.neuron}' has no time steps: it is what the others are measured "
            "against",
            hint="choose a spiking neuron, as clif",
        )
    if not least_batch <= asked.batch_size <= MOST_BATCH:
        raise ArgumentError(
            "batch_size",
            asked.batch_size,
            f"must be between {least_batch} and {MOST_BATCH}",
            hint="8 is the default" + ("; batch norm needs two" if least_batch == 2 else ""),
        )
    if frames_percent is not None and not 0 <= frames_percent <= 100:
        raise ArgumentError(
            "frames_percent",
            f"{frames_percent:g}",
            "must be between 0 and 100",
            hint="percent of the frames' values that are not zero; 5 to 10 are usual",
        )
    execution = asked.execution.resolve()
    row = FOREIGN_MODELS.load(model, MODELS)
    if own and asked.batch_norm != NetBenchOptions.batch_norm:
        raise UsageError(
            f"net '{model}' decides itself what its batch norm does", hint="leave --batch-norm out"
        )
    options = row.options()
    shape: tuple[int, ...] = CIFAR_SHAPE
    classes, timesteps = CLASSES, CIFAR_TIMESTEPS
    if frames_percent is not None:
        shape, timesteps = FRAME_SHAPE, FRAME_TIMESTEPS
    if model == DIGITS_MODEL:
        recipe = load_recipe(DIGITS_RECIPE).recipe
        options, timesteps = recipe.model.options, recipe.timesteps
        shape, classes = recipe.data.input_shape, recipe.data.classes
    return Task(
        model=model,
        options=options,
        neuron=asked.neuron,
        input_shape=shape,
        classes=classes,
        timesteps=timesteps,
        batch_size=asked.batch_size,
        batch_norm=cast(NormMode, asked.batch_norm),
        precision=cast(ArithmeticName, asked.precision),
        execution=execution,
        frames_percent=frames_percent,
    )


def is_own(model: str) -> bool:
    """Whether a person names a net of their own, FILE.py:NAME or of an installed package."""
    return trust.is_file_reference(model) or model in FOREIGN_MODELS.installed()


def steps_of(asked: NetBenchOptions, task: Task) -> tuple[int, ...]:
    """The T to measure, ascending. Raises UsageError."""
    asked_for = (task.timesteps,) if asked.timesteps is None else asked.timesteps
    steps = tuple(sorted(set(asked_for)))
    for count in steps:
        if not 1 <= count <= MOST_STEPS:
            raise ArgumentError("timesteps", count, f"must be between 1 and {MOST_STEPS}")
    return steps


def with_threads(task: Task, largest: int) -> Task:
    """The task with the CPU threads for its training step at T = `largest`."""
    whole = replace(task, timesteps=largest)
    with torch.device("meta"):
        net = whole.net(fuse_norm=True)
        steps = whole.timesteps // whole.repeat
        given = torch.empty(steps, whole.batch_size, *whole.input_shape)
    kept = saved_for_backward(net, given, repeat=whole.repeat)
    return replace(task, execution=task.execution.for_step(kept))


def described(asked: NetBenchOptions, task: Task) -> dict[str, Any]:
    """What a result says of its net, its input and where it was run."""
    return {
        "model": task.model,
        "neuron": task.neuron,
        "input_shape": task.input_shape,
        "classes": task.classes,
        "parameters": parameter_count(task.net(fuse_norm=True)),
        "batch_size": task.batch_size,
        "precision": task.precision,
        "rates": asked.rates,
        "frames_percent": task.frames_percent,
        "repeats": asked.repeats,
        "device": str(task.device),
        "machine": device_name(task.device),
        **task.execution.threads.facts,
        "target": task.execution.kernels.target.name,
        "connections": task.connections,
        "versions": package_versions("clifctl", "torch", "numba", "triton", "spikingjelly"),
    }

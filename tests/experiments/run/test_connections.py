"""Which way connections go: what is watched, and what is said of it."""

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from clifctl.experiments.build import build_net, run_on
from clifctl.experiments.run.connections import first_step_noted, tried_step, watched_connections
from clifctl.kernels import resolve_kernels
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.paths import record
from clifctl.kernels.cpu.rule import Direction, choose, too_few
from clifctl.models import MODELS, NeuronChoice, firing_modules
from clifctl.neurons import NEURONS
from clifctl.recipe.load import load_recipe
from clifctl.results.connections import ConnectionPaths

SHAPE = Geometry(2, 64, 4, 4, 64, kernel=(3, 3), padding=(1, 1))


def ran(direction: Direction, weight: Tensor, density: float) -> None:
    choice = choose(direction, SHAPE, density)
    record(direction, weight, choice, geometry=SHAPE, density=density)


class EventDriven(nn.Conv2d):
    """Says that it was, forward."""

    def forward(self, x: Tensor) -> Tensor:
        ran("forward", self.used(), 0.125)
        return super().forward(x)

    def used(self) -> Tensor:
        return self.weight.detach()


class OfCopies(EventDriven):
    """Multiplies by a copy of its weights, as a cast or a parametrization makes one."""

    def used(self) -> Tensor:
        self.copy = self.weight.detach().clone()
        return self.copy


def test_ways_are_known_by_the_weights_of_a_layer() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), EventDriven(4, 4, 3, padding=1), OfCopies(4, 4, 1),
        nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip
    with watched_connections(net, "float32") as watched:
        net(torch.zeros(1, 3, 3, 3)).sum().backward()
        ran("weight_gradient", net[1].weight.detach(), 0.125)
        ran("input_gradient", net[1].weight.detach(), 0.9)
        ran("weight_gradient", net[2].copy, 0.25)
        ran("forward", net[2].copy, 0.75)  # a second time
    first, second, third, last = watched.rows()
    assert [row.layer for row in (first, second, third, last)] == ["0", "1", "2", "4"]
    assert (first.forward, first.weight_gradient, first.input_gradient) == ("dense", "dense", None)
    assert first.in_words == (
        "3x3, 3 -> 4, stride 2: forward, weight gradient dense (its input is not spikes)"
    )
    assert (second.active_percent, second.open_percent, second.maps) == (12.5, 90.0, (1, 1))
    assert (second.forward, second.input_gradient) == ("event-driven", "dense")
    assert second.input_gradient_reason == (
        choose("input_gradient", SHAPE, 0.9).reason.removeprefix("dense: ")
    )
    assert (third.weight_gradient, third.input_gradient) == ("event-driven", None)
    assert third.active_percent == 12.5
    assert (last.connection, last.input_gradient) == ("linear, 4 -> 2", "dense")
    assert not any(module._forward_hooks for module in net.modules())


def test_the_first_step_is_noted_and_no_event_is_lost() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    noted: list[tuple[ConnectionPaths, ...]] = []

    def steps() -> Iterator[int]:
        for number in range(3):
            net(torch.zeros(1, 2))
            yield number

    assert list(first_step_noted(steps(), net, "bfloat16", noted.append)) == [0, 1, 2]
    ((path,),) = noted
    said = "linear, 2 -> 2: forward, weight gradient dense"
    assert path.in_words == f"{said} (autocast turns its input into numbers of 16 bits)"
    assert list(first_step_noted(iter(()), net, "float32", noted.append)) == []
    assert len(noted) == 1


def test_spikes_of_a_small_net_are_too_few() -> None:
    """As they are in a batch, of which a step is tried on two samples."""
    few = "{} spikes of {} are too few for events to pay"
    *convolutions, last = tried_step(load_recipe("digits_snn5").recipe, None, 1)
    assert [row.forward for row in convolutions] == ["dense", *["event-driven"] * 4]
    assert convolutions[0].forward_reason == "its input is not spikes"
    assert (last.forward, last.input_gradient) == ("dense", "dense")
    assert last.forward_reason == few.format("16,384", "128 features")
    smaller = load_recipe("digits_snn5", ["train.batch_size=8"]).recipe
    _, *rows = tried_step(smaller, None, 1)
    assert [row.forward for row in rows] == [
        "dense",
        "dense",
        "event-driven",
        "event-driven",
        "dense",
    ]
    assert rows[0].weight_gradient_reason == few.format("8,192", "4 channels")


def test_inference_needs_more_spikes_to_be_event_driven() -> None:
    recipe = load_recipe("digits_snn5").recipe
    net = build_net(recipe)
    given = torch.rand(1, 32, 1, 8, 8)

    def ways(*, training: bool) -> list[str]:
        with watched_connections(net, "float32") as watched, torch.set_grad_enabled(training):
            net(given, repeat=4)
        return [str(row.forward) for row in watched.rows()]

    # The same layers, prepared for either, take turns.
    for _ in range(2):
        assert ways(training=True) == ["dense", *["event-driven"] * 4, "dense"]
        assert ways(training=False) == ["dense"] * 6
    with watched_connections(net, "float32") as watched, torch.no_grad():
        net(given, repeat=4)
    reasons = [row.forward_reason for row in watched.rows()]
    assert reasons[2] == "16,384 spikes of 8 channels are too few for events to pay"


@pytest.mark.parametrize(
    ("model", "shape", "timesteps"),
    [("resnet18", (3, 32, 32), 6), ("vgg11", (2, 48, 48), 10)],
)
def test_layers_of_a_net_of_real_size_have_spikes_enough(
    model: str, shape: tuple[int, ...], timesteps: int
) -> None:
    clif, family = NEURONS["clif"], MODELS[model]
    choice = NeuronChoice(clif, clif.hyperparameters(), target="reference")
    outputs: list[torch.Size] = []
    with torch.device("meta"):
        net = family.build(
            family.options(), input_shape=shape, classes=10, timesteps=timesteps, neuron=choice
        )
        for layer in firing_modules(net).values():
            layer.register_forward_hook(lambda *given: outputs.append(given[2][0].shape))
        net(torch.empty(timesteps, 2, *shape))
    for size, training in product(outputs, (True, False)):
        with torch.set_grad_enabled(training):
            assert too_few(size.numel(), size[2], maps=True) is None, (size, training)


def test_a_step_is_tried_without_data_and_without_a_trace() -> None:
    small = ["model.channels=[2,2,2,2,4]", "timesteps=2"]
    recipe = run_on(load_recipe("digits_snn5", small).recipe, resolve_kernels("reference"))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    paths = tried_step(recipe, None, 1)
    assert torch.equal(torch.rand(3), expected)
    assert [path.layer for path in paths][-1] == "classifier"
    assert [path.maps for path in paths] == [(8, 8), (8, 8), (4, 4), (4, 4), (4, 4), ()]
    assert [path.input_gradient for path in paths] == [None, *["dense"] * 5]
    half = load_recipe("digits_snn5", [*small, "train.precision=float16"]).recipe
    reasons = {path.forward_reason for path in tried_step(half, None, 1)}
    assert reasons == {"autocast turns its input into numbers of 16 bits"}

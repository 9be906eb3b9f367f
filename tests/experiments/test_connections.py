"""Which way connections go: what is watched, and what is said of it."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from clifctl.experiments.build import run_on
from clifctl.experiments.run.connections import first_step_noted, tried_step, watched_connections
from clifctl.kernels import resolve_kernels
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.paths import record
from clifctl.kernels.cpu.rule import Direction, choose
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

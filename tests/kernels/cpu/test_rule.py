"""The rule of event-driven and dense connections, and the record of what ran."""

from typing import get_args

import pytest
import torch

from clifctl.kernels.cpu import rule
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.paths import record, recorded_paths
from clifctl.kernels.cpu.rule import (
    ALWAYS,
    CROSSOVERS,
    DIRECTIONS,
    NEVER,
    OBSERVED,
    Direction,
    Kind,
    choose,
    crossover,
    kind_of,
    standing_for,
    too_few,
    unsupported,
)
from clifctl.kernels.cpu.vectors import LANES

SPATIAL = Geometry(2, 64, 8, 8, 32, kernel=(3, 3), padding=(1, 1))
LINEAR = Geometry(2, 512, 1, 1, 100)


def test_a_kind_follows_from_the_shape() -> None:
    assert kind_of(SPATIAL) == "spatial"
    assert kind_of(Geometry(2, 256, 8, 8, 32, kernel=(1, 3))) == "deep spatial"
    assert kind_of(Geometry(2, 64, 8, 8, 128)) == "pointwise"
    assert kind_of(Geometry(2, 512, 2, 1, 128)) == "deep pointwise"
    assert kind_of(LINEAR) == kind_of(Geometry(2, 512, 1, 1, 10)) == "linear"
    assert kind_of(Geometry(2, 3, 8, 8, 64, kernel=(3, 3))) == "narrow"


@pytest.mark.parametrize("lanes", CROSSOVERS)
def test_every_kind_has_a_crossover_in_every_direction(lanes: int) -> None:
    for direction in DIRECTIONS:
        for kind in get_args(Kind):
            limit = crossover(direction, kind, lanes)
            assert NEVER <= limit <= ALWAYS
            assert crossover(direction, kind, lanes, values=True) <= limit


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_connection_is_event_driven_below_its_crossover_alone(direction: Direction) -> None:
    limit = crossover(direction, "spatial", LANES)
    below, at = choose(direction, SPATIAL, limit - 0.02), choose(direction, SPATIAL, limit)
    assert below.event
    assert below.reason.startswith("event-driven: ")
    assert choose(direction, SPATIAL, 1.0).event == (limit == ALWAYS)
    assert not at.event
    assert at.reason.startswith("dense: ")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("maps", [True, False])
def test_few_spikes_are_dense_whatever_their_density(
    training: bool, maps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = {True: 0, False: 0}
    monkeypatch.setattr(rule, "FEWEST_IN_MAPS", nothing | ({training: 8000} if maps else {}))
    monkeypatch.setattr(rule, "FEWEST_IN_VECTORS", nothing | ({} if maps else {training: 8000}))
    with torch.set_grad_enabled(training):
        few = too_few(1999, 4, maps=maps)
        assert few is not None
        assert not few.event
        what = "channels" if maps else "features"
        assert few.reason == f"dense: 1,999 spikes of 4 {what} are too few for events to pay"
        assert too_few(2000, 4, maps=maps) is None
        assert too_few(1999, 5, maps=maps) is None
        assert too_few(1, 1, maps=not maps) is None
        with standing_for(2.5):
            assert too_few(800, 4, maps=maps) is None
            with standing_for(0.5):
                assert too_few(3998, 4, maps=maps) == few
            assert too_few(799, 4, maps=maps) is not None
        assert too_few(1999, 4, maps=maps) == few
    with torch.set_grad_enabled(not training):
        assert too_few(1, 1, maps=maps) is None


def test_values_make_a_connection_dense_earlier() -> None:
    assert choose("forward", SPATIAL, 0.5).event
    assert not choose("forward", SPATIAL, 0.5, values=True).event
    assert choose("forward", SPATIAL, 0.2, values=True).event


def test_a_reason_says_what_was_counted_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[Direction, dict[Kind, float]] = {
        "forward": {"spatial": 0.63}, "weight_gradient": {"spatial": ALWAYS},
        "input_gradient": {"spatial": 0.65, "linear": NEVER},
    }  # fmt: skip
    monkeypatch.setattr(rule, "CROSSOVERS", {LANES: limits})
    rule._choice.cache_clear()
    assert choose("forward", SPATIAL, 0.1234).reason == (
        "event-driven: 12.3 % of the inputs are active, below 63 %"
    )
    assert choose("input_gradient", SPATIAL, 0.9).reason == (
        "dense: 90 % of the surrogate's windows are open, not below 65 %"
    )
    assert choose("weight_gradient", SPATIAL, 1.0).reason == (
        "event-driven: 100 % of the inputs are active"
    )
    assert choose("input_gradient", LINEAR, 0.1).reason == (
        "dense: that is faster in a linear connection"
    )
    rule._choice.cache_clear()


def test_a_kernel_of_more_taps_than_lists_can_number_is_dense() -> None:
    for direction in DIRECTIONS:
        most = choose(direction, Geometry(1, 16, 65, 64, 16, kernel=(65, 63)), 0.0)
        assert most.event
        more = choose(direction, Geometry(1, 16, 64, 64, 16, kernel=(64, 64)), 0.0)
        assert not more.event
        assert more.reason == "dense: a kernel of 64 x 64"


def test_what_has_no_kernels_says_so() -> None:
    assert unsupported() is None
    found = [
        unsupported(**kind).reason
        for kind in (
            {"groups": 4},
            {"dilation": (2, 1)},
            {"transposed": True},
            {"dtype": torch.bfloat16},
            {"device": "meta"},
        )
    ]
    assert found == [
        "dense: a convolution in 4 groups",
        "dense: a convolution with dilation 2 x 1",
        "dense: a transposed convolution",
        "dense: event-driven kernels compute in float32, not in bfloat16",
        "dense: event-driven kernels run on the CPU, not on 'meta'",
    ]


def test_paths_are_noted_for_everybody_who_asks_and_nobody_else() -> None:
    weight = torch.zeros(3)
    record("forward", weight, OBSERVED)
    with recorded_paths() as outer:
        with recorded_paths() as inner:
            record("forward", weight, choose("forward", SPATIAL, 0.5), geometry=SPATIAL)
        record("input_gradient", weight, OBSERVED, density=0.25)
    record("forward", weight, OBSERVED)
    assert [path.direction for path in inner] == ["forward"]
    assert [path.direction for path in outer] == ["forward", "input_gradient"]
    assert outer[0].weight == weight.data_ptr()
    assert (outer[0].event, outer[0].geometry) == (True, SPATIAL)
    assert (outer[1].event, outer[1].density) == (False, 0.25)
    assert outer[1].reason == "dense: the gradient of its input is observed"

"""The rule of event-driven and dense connections, and the record of what ran."""

import pytest
import torch

from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.paths import record, recorded_paths
from clifctl.kernels.cpu.rule import (
    ALWAYS,
    CROSSOVERS,
    DIRECTIONS,
    LOOKED_AT,
    choose,
    kind_of,
    unsupported,
)

SPATIAL = Geometry(2, 64, 8, 8, 32, kernel=(3, 3), padding=(1, 1))


def test_a_kind_follows_from_the_shape() -> None:
    assert kind_of(SPATIAL) == "spatial"
    assert kind_of(Geometry(2, 64, 8, 8, 128)) == "pointwise"
    assert kind_of(Geometry(2, 512, 1, 1, 100)) == "linear"
    assert kind_of(Geometry(2, 512, 1, 1, 10)) == "narrow"
    assert kind_of(Geometry(2, 3, 8, 8, 64, kernel=(3, 3))) == "narrow"


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_connection_is_event_driven_below_its_crossover_alone(direction) -> None:
    limit = CROSSOVERS[direction]["spatial"]
    below, at = choose(direction, SPATIAL, limit - 0.02), choose(direction, SPATIAL, limit)
    assert below.event
    assert below.reason.startswith("event-driven: ")
    assert choose(direction, SPATIAL, 1.0).event == (limit == ALWAYS)
    assert not at.event
    assert at.reason.startswith("dense: ")


def test_a_reason_says_what_was_counted_and_compared() -> None:
    assert choose("forward", SPATIAL, 0.1234).reason == (
        "event-driven: 12.3 % of the inputs are active, below 63 %"
    )
    assert choose("input_gradient", SPATIAL, 0.9).reason == (
        "dense: 90 % of the surrogate's windows are open, not below 65 %"
    )
    assert choose("weight_gradient", SPATIAL, 1.0).reason == (
        "event-driven: 100 % of the inputs are active"
    )


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
    record("forward", weight, LOOKED_AT)
    with recorded_paths() as outer:
        with recorded_paths() as inner:
            record("forward", weight, choose("forward", SPATIAL, 0.5), geometry=SPATIAL)
        record("input_gradient", weight, LOOKED_AT, density=0.25)
    record("forward", weight, LOOKED_AT)
    assert [path.direction for path in inner] == ["forward"]
    assert [path.direction for path in outer] == ["forward", "input_gradient"]
    assert outer[0].weight == weight.data_ptr()
    assert (outer[0].event, outer[0].geometry) == (True, SPATIAL)
    assert (outer[1].event, outer[1].density) == (False, 0.25)
    assert outer[1].reason == "dense: somebody looks at the gradient of its input"

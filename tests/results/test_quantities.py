"""Quantities are declared once, with the fields of results."""

import json
from dataclasses import dataclass
from typing import Annotated

import pytest

from clifctl.results.decoding import UnreadableResult, decode, encode
from clifctl.results.quantities import ACCURACY_LAST, Quantity, catalogue, quantities_of
from clifctl.results.statistics import Estimate
from clifctl.results.summary import ESTIMATES, Summary
from clifctl.results.trials import Measured, Quantities

# What a key says of its unit.
UNITS = {
    "_percent": "%",
    "_ms": "ms",
    "_s": "s",
    "_seconds": "s",
    "_mj": "mJ",
    "_uj": "uJ",
    "_pj": "pJ",
    "_bytes": "B",
}


def test_a_field_is_its_own_label_unless_it_declares_another() -> None:
    @dataclass(frozen=True)
    class Row:
        run_folder: str
        speed: Annotated[float | None, Quantity("training speed", "samples/s", 0)]

    assert quantities_of(Row) == {
        "run_folder": Quantity("run folder"),
        "speed": Quantity("training speed", "samples/s", 0),
    }
    assert quantities_of(Row)["speed"].heading == "training speed [samples/s]"


def test_percentages_differ_by_points() -> None:
    assert ACCURACY_LAST.difference_heading == "test accuracy, last epoch [points]"
    assert ACCURACY_LAST.title == "test accuracy (last epoch)"
    assert ACCURACY_LAST.signed(-0.001) == "+0.00"
    assert Quantity("loss", digits=4, fewer=1).signed(-0.0126) == "-0.013"


def test_every_declared_quantity_is_in_the_catalogue_with_the_unit_of_its_key() -> None:
    found = catalogue()
    assert len(found) > 80
    checked = 0
    for key, heading in found:
        unit = next((unit for ending, unit in UNITS.items() if key.endswith(ending)), None)
        if unit is not None and not heading.endswith(" per second"):
            assert heading.endswith(f" [{unit}]"), key
            checked += 1
    assert checked > 30
    places = found["accuracy_percent_last", "test accuracy, last epoch [%]"]
    assert {"clifctl.train", "clifctl.runs", "clifctl.compare-neurons", "clifctl.trial"} <= set(
        places
    )
    assert found["estimate_seconds", "estimate [s]"] == ["clifctl.trials.plan"]


def test_the_quantities_of_trials_are_fields_of_their_own_type() -> None:
    """As if each was declared in both classes: numbers of a trial, estimates over seeds."""
    numbers = dict.fromkeys(quantities_of(Quantities), 0.5)
    whole = ("epoch_best", "parameters", "steps_timed", "beside", "kept_for_backward_bytes")
    unknown = ("step_ms_median", "step_ms_quartile_low", "step_ms_quartile_high")
    others = {
        **dict.fromkeys(whole, 3),
        **dict.fromkeys((*unknown, "peak_memory_bytes")),
        **dict.fromkeys(("device", "target", "torch_version"), "x"),
        "train_seconds": 1.0,
    }
    measured = decode(Measured, {**numbers, **others})
    assert measured.test_loss == 0.5
    with pytest.raises(UnreadableResult, match="test_loss: must be a number"):
        decode(Measured, {**numbers, **others, "test_loss": {"mean": 1.0}})
    estimate = Estimate(mean=0.25, standard_error=None, n=1)
    summary = Summary(
        **dict.fromkeys(quantities_of(Quantities), estimate),
        seeds=(0,),
        step_ms=None,
        parameters=3,
        kept_for_backward_bytes=4,
        peak_memory_bytes=None,
        beside_most=1,
    )
    document = json.loads(json.dumps(encode(summary)))
    assert document["firing_rate"] == encode(estimate) | {"values": []}
    assert decode(Summary, document) == summary
    with pytest.raises(UnreadableResult, match="firing_rate"):
        decode(Summary, {**document, "firing_rate": 0.5})
    later = ["temporal_share_percent", "sop_energy_nj", "memory_energy_nj", "train_seconds"]
    assert [*ESTIMATES] == [*quantities_of(Quantities), "step_ms", *later]

"""Results from documents: what is filled in, and what is refused."""

import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from clifctl.files import plain
from clifctl.results.decoding import NewerResult, UnreadableResult, decode, encode


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Whole:
    schema: ClassVar[str] = "clifctl.whole/3"

    count: int
    loss: float
    parts: tuple[Part, ...]
    free: dict[str, Any]
    rate: float | None = None


WHOLE = Whole(count=2, loss=0.5, parts=(Part(name="a", value=1.0),), free={"x": [1, None]})
DOCUMENT = json.loads(json.dumps(encode(WHOLE)))


def test_a_result_comes_back() -> None:
    assert DOCUMENT["schema"] == "clifctl.whole/3"
    assert decode(Whole, DOCUMENT) == WHOLE
    assert decode(Part, {"name": "a", "value": 1}) == Part(name="a", value=1.0)


def test_an_older_one_is_filled() -> None:
    older = {key: value for key, value in DOCUMENT.items() if key != "rate"}
    assert decode(Whole, {**older, "schema": "clifctl.whole/1"}) == WHOLE


def test_what_is_not_finite_was_written_as_null() -> None:
    lost = Whole(count=1, loss=math.nan, parts=(Part(name="b", value=math.inf),), free={})
    read = decode(Whole, json.loads(json.dumps(plain(encode(lost)))))
    assert math.isnan(read.loss)
    assert math.isnan(read.parts[0].value)
    assert read.rate is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": "clifctl.whole/4"}, "clifctl.whole/4"),
        ({"new": 1}, "new"),
        ({"parts": [{"name": "a", "value": 1.0, "unit": "pJ"}]}, r"parts\[0\].unit"),
    ],
)
def test_a_newer_one_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(NewerResult, match=named):
        decode(Whole, {**DOCUMENT, **change})


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ([], "list"),
        ({}, "schema is null"),
        ({**DOCUMENT, "schema": "clifctl.part/1"}, "clifctl.part/1"),
        ({**DOCUMENT, "schema": "clifctl.whole/-1"}, "whole/-1"),
        ({**DOCUMENT, "count": "2"}, "count"),
        ({**DOCUMENT, "count": None}, "count"),
        ({**DOCUMENT, "count": 2.5}, "count"),
        ({**DOCUMENT, "parts": {}}, "parts"),
        ({key: DOCUMENT[key] for key in DOCUMENT if key != "loss"}, "loss: is missing"),
    ],
)
def test_anything_else_is_unreadable(document: Any, named: str) -> None:
    with pytest.raises(UnreadableResult, match=named) as caught:
        decode(Whole, document)
    assert not isinstance(caught.value, NewerResult)

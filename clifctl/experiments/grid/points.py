"""The points of a sweep: which values its keys take together, and what each point is called."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from clifctl.errors import ArgumentError, UsageError, unknown_name
from clifctl.experiments.run.resume import FREE, READING
from clifctl.recipe.yamlfile import parse_scalar

SEED = "train.seed"
# More points than this are drawn from, not listed.
MOST_POINTS = 100_000


@dataclass(frozen=True)
class Point:
    """The text of each key's value, in the order of the keys."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Axes:
    """The swept keys, and the values of each as they are typed."""

    values: Mapping[str, Sequence[str]]
    zipped: bool = False

    def __post_init__(self) -> None:
        for key in self.values:
            _require_sweepable(key)
        lengths = {key: len(values) for key, values in self.values.items()}
        if self.zipped and len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise UsageError(
                f"--zip takes as many values of every key: {told}",
                hint="without --zip every value meets every other",
            )

    @property
    def keys(self) -> tuple[str, ...]:
        """The swept keys."""
        return tuple(self.values)

    @property
    def count(self) -> int:
        """How many points there are."""
        if self.zipped:
            return min(map(len, self.values.values()), default=1)
        return math.prod(map(len, self.values.values()))

    def points(self) -> list[Point]:
        """All points: the last key runs fastest. Raises UsageError for far too many."""
        if self.count > MOST_POINTS:
            raise UsageError(
                f"these are {self.count:,} points, a sweep has {MOST_POINTS:,} at most",
                hint="draw some of them with --sample N",
            )
        together = zip(*self.values.values(), strict=True) if self.zipped else self._product()
        return list(map(Point, together)) or [Point(())]

    def sample(self, number: int, seed: int) -> list[Point]:
        """`number` different points, drawn at random; a larger number begins with the same ones.
        Raises ArgumentError for more than there are."""
        if not 1 <= number <= min(self.count, MOST_POINTS):
            raise ArgumentError(
                "sample",
                number,
                f"must be between 1 and {min(self.count, MOST_POINTS):,}",
                hint=f"the sweep has {self.count:,} points",
            )
        # Of Python's generator only random() gives the same numbers in every version.
        draw = random.Random(seed).random
        if self.zipped or self.count <= MOST_POINTS:
            return [one for _, one in sorted(((draw(), p) for p in self.points()), key=_drawn)][
                :number
            ]
        found: dict[Point, None] = {}
        while len(found) < number:
            texts = (values[int(draw() * len(values))] for values in self.values.values())
            found[Point(tuple(texts))] = None
        return list(found)

    def _product(self) -> Any:
        return product(*self.values.values())

    def overrides(self, point: Point) -> list[str]:
        """The overrides that make a recipe this point."""
        return [f"{key}={text}" for key, text in zip(self.keys, point.texts, strict=True)]

    def read(self, point: Point) -> dict[str, Any]:
        """The values of a point. Raises RecipeError for a text that is none."""
        pairs = zip(self.keys, point.texts, strict=True)
        return {key: parse_scalar(text, f"override {key}") for key, text in pairs}

    def title(self, point: Point) -> str:
        """A point in words: `lr = 0.1, neuron = lif`."""
        names = short_names(self.keys)
        return ", ".join(f"{names[key]} = {shown(v)}" for key, v in self.read(point).items())


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """What each key is called beside the others: by its last part where that is enough, a name by
    its section."""
    last = {key: key.removesuffix(".name").rpartition(".")[2] for key in keys}
    return {k: one if list(last.values()).count(one) == 1 else k for k, one in last.items()}


def shown(value: Any) -> str:
    """A value as a title has it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def partner(
    point: Point, axes: Axes, points: Mapping[str, Point], given: Mapping[str, Any]
) -> Point | None:
    """The point that differs from `point` in having the values `given`; None where the sweep has
    none. `points` are those of the sweep, by what `identity` says of them."""
    return points.get(identity({**axes.read(point), **given}))


def identity(values: Mapping[str, Any]) -> str:
    """What points of the same values have in common."""
    return json.dumps(values, sort_keys=True)


def distinct(axes: Axes, points: Sequence[Point]) -> dict[str, Point]:
    """The points by their identity, each once: 0.1 and 1e-1 are one value."""
    found: dict[str, Point] = {}
    for point in points:
        found.setdefault(identity(axes.read(point)), point)
    return found


def read_baseline(texts: Mapping[str, str], axes: Axes) -> dict[str, Any]:
    """The values of swept keys that a baseline has. Raises ArgumentError for other keys, and for
    values that the sweep has not."""
    found = {}
    for key, text in texts.items():
        if key not in axes.values:
            raise ArgumentError(
                "baseline",
                None,
                unknown_name("swept key", key, axes.keys or ["none"]),
                hint="the baseline is a point of the sweep: --baseline KEY=VALUE,...",
            )
        value = parse_scalar(text, f"--baseline {key}")
        known = [parse_scalar(one, key) for one in axes.values[key]]
        if identity({key: value}) not in [identity({key: one}) for one in known]:
            raise ArgumentError(
                "baseline",
                f"{key}={text}",
                "the sweep has no such value",
                hint=f"one of {', '.join(map(shown, known[:20]))}",
            )
        found[key] = value
    return found


def _drawn(pair: tuple[float, Point]) -> float:
    return pair[0]


def _require_sweepable(key: str) -> None:
    if key == SEED:
        raise UsageError(
            f"{SEED} cannot be swept: seeds are what a point is repeated with",
            hint=f"--seeds N takes N of them, from {SEED}=FIRST on",
        )
    if key in (*FREE, *READING):
        raise UsageError(
            f"{key} cannot be swept: it changes no result, all of its values would be one trial",
            hint=f"give it one value: {key}=VALUE",
        )

"""What a report shows, source by source, and what the command `report` returns."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from clifctl.results.activity import NetActivity
from clifctl.results.energy import EnergyResult
from clifctl.results.quantities import SECONDS, Quantity
from clifctl.results.result import Result
from clifctl.results.runs import RunShown
from clifctl.results.train import TrainResult


@dataclass(frozen=True, kw_only=True)
class Absent:
    """What a source does not have: why, and the command that makes it, if there is one."""

    what: str
    why: str
    command: str | None = None


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What there is of one source: the run that it is (or lies in), its result, the checkpoint that
    was looked at (`opened_with` these options) and what that showed; or a result that a command
    wrote. `recipe` is the resolved one of the checkpoint. `more` is what else could be shown, each
    with the command that makes it."""

    title: str
    source: str
    run: RunShown | None = None
    trained: TrainResult | None = None
    checkpoint: str | None = None
    opened_with: tuple[str, ...] = ()
    recipe: dict[str, Any] | None = None
    activity: NetActivity | None = None
    energy: EnergyResult | None = None
    result: Result | None = None
    command: str | None = None
    absent: tuple[Absent, ...] = ()
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShownSection:
    """A section of the page, or one that could not be filled: `missing` says why."""

    source: str
    section: str
    command: Annotated[str | None, Quantity("made by")]
    missing: Annotated[str | None, Quantity("not there because")]


@dataclass(frozen=True, kw_only=True)
class PageResult(Result):
    """`report`: the page that was written, and what it shows."""

    schema: ClassVar[str] = "clifctl.report/1"

    output: Annotated[str, Quantity("written")]
    bytes: int
    sections: tuple[ShownSection, ...]
    seconds: Annotated[float, SECONDS]

"""What the `paper` commands return."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from clifctl.results.quantities import Quantity
from clifctl.results.result import Result
from clifctl.results.trials import TrialStatus


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A table, a figure or a part of one. `data` are the data sets that it needs, `missing_data`
    those whose files are not here; `points` are its numbers that runs give, `measured` those of
    them that there is a run for."""

    name: str
    label: str
    title: Annotated[str, Quantity("what it shows")]
    place: Annotated[str, Quantity("discussed in")]
    data: tuple[str, ...]
    missing_data: Annotated[tuple[str, ...], Quantity("data not here")]
    points: int
    measured: int
    commands: Annotated[tuple[str, ...], Quantity("made by")]


@dataclass(frozen=True, kw_only=True)
class PaperList(Result):
    """`paper ls`. Runs were looked for below `runs_folder`."""

    schema: ClassVar[str] = "clifctl.paper/1"

    runs_folder: str
    runs: int
    items: tuple[PaperRow, ...]


@dataclass(frozen=True, kw_only=True)
class PaperColumn:
    """A column of a table of the paper. `digits`: as many as the paper prints behind the point of
    its numbers; None for a text, and for numbers that are shown as they are."""

    key: str
    heading: str
    digits: int | None = None
    measured: bool = False


@dataclass(frozen=True, kw_only=True)
class LineRun:
    """A run that a line was measured by."""

    run: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class PaperLine:
    """A line of a table of the paper: the paper's own, or one that was measured `here`.

    `cells` go by the key of the column: texts and numbers; a measured number is an Estimate over
    the seeds. `of` says which epoch or what else was measured, `on` the data set where it is not
    the paper's. `notes` are doubts, by the column of the cell.
    """

    row: str
    whose: Literal["paper", "here"]
    of: str | None = None
    on: str | None = None
    cells: dict[str, Any]
    runs: tuple[LineRun, ...] = ()
    notes: dict[str, str]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its runs, each once."""
        return tuple(sorted({one.seed for one in self.runs}))


@dataclass(frozen=True, kw_only=True)
class PaperShown(Result):
    """`paper show` and what `paper run` ends with: a table, or the numbers of a figure, as the
    paper has them, and what was measured below `runs_folder`."""

    schema: ClassVar[str] = "clifctl.paper.show/1"

    name: str
    label: str
    title: str
    place: str
    columns: tuple[PaperColumn, ...]
    lines: tuple[PaperLine, ...]
    notes: tuple[str, ...]
    commands: tuple[str, ...]
    runs_folder: str
    trials: tuple[TrialStatus, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlannedRuns:
    """The runs of one recipe. `data` is what they are trained on, and `instead_of` the paper's data
    where that is another, `problem` why the net does not take them; `there` of the `runs` are
    finished, wherever they lie."""

    recipe: str
    data: str
    instead_of: Annotated[str | None, Quantity("in the place of")]
    data_here: bool
    problem: str | None
    runs: int
    there: Annotated[int, Quantity("finished")]
    missing: Annotated[int, Quantity("to run")]
    epochs: int
    seeds: tuple[int, ...]
    results_folder: str
    titles: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PaperPlan(Result):
    """`paper run --dry-run`: what would be run. `computed` is what is computed without training."""

    schema: ClassVar[str] = "clifctl.paper.plan/1"

    name: str
    label: str
    title: str
    lots: tuple[PlannedRuns, ...]
    computed: tuple[str, ...]
    notes: tuple[str, ...]

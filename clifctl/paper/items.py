"""Every table and figure of the paper: what it shows, and the runs or commands that make it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from clifctl.paper.tables import figure_note, read, table

Layout = Literal[
    "table",
    "windows",
    "timesteps",
    "neurons",
    "exchange",
    "losses",
    "rates",
    "dynamics",
    "drawing",
]
# Whose numbers a figure prints.
_DRAWN_FROM = {"fig6": 3}


@dataclass(frozen=True, kw_only=True)
class PaperGrid:
    """Runs of the authors: a shipped recipe with every neuron (NAME or NAME(KEY=VALUE, ...)) at
    every T, the ANN at T = 1; or with every window of truncated BPTT at every tau. `exchange`: the
    neuron is exchanged for CLIF half way."""

    recipe: str
    neurons: tuple[str, ...]
    timesteps: tuple[int, ...]
    windows: tuple[int, ...] = ()
    taus: tuple[float, ...] = ()
    exchange: bool = False


@dataclass(frozen=True, kw_only=True)
class PaperItem:
    """A table, a figure or a part of one. `name` is what it is called at the prompt; `layout` says
    what its rows and columns are; `seeds` how many each point had; `commands` make or show it
    without training, and `parts` are those of a drawing."""

    name: str
    title: str
    place: str
    layout: Layout
    seeds: int = 1
    grids: tuple[PaperGrid, ...] = ()
    commands: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What the paper calls it: 'Table 1', 'Figure 2a'."""
        kind, number = re.fullmatch(r"([a-z]+)(.*)", self.name).groups()  # type: ignore[union-attr]
        return f"{'Table' if kind == 'table' else 'Figure'} {number}"

    @property
    def table(self) -> int | None:
        """The table whose rows it has; None for a figure that prints none."""
        if self.name.startswith("table"):
            return int(self.name.removeprefix("table"))
        return _DRAWN_FROM.get(self.name)


@cache
def paper_items() -> tuple[PaperItem, ...]:
    """All of them, each once: the tables, then the figures."""
    return tuple(_item(**document) for document in read("items.yaml"))


def _item(*, name: str, grids: list[dict[str, Any]] | None = None, **document: Any) -> PaperItem:
    notes = document.pop("notes", [])
    if name.startswith("table"):
        printed = table(int(name.removeprefix("table")))
        document |= {"title": printed.title, "place": printed.place}
        notes = [*filter(None, (printed.footnote, printed.note)), *notes]
    elif (note := figure_note(int(re.sub(r"\D", "", name)))) is not None:
        notes = [note, *notes]
    return PaperItem(
        name=name,
        grids=tuple(PaperGrid(**_with_tuples(grid)) for grid in grids or ()),
        notes=tuple(notes),
        **_with_tuples(document),
    )


def _with_tuples(document: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}

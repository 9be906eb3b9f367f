"""`runs watch` -> report, and the same on a terminal, drawn anew at every look."""

import dataclasses
import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from clifctl.amounts import counted, duration
from clifctl.report.render import Column, Report, Table, columns_of, document_of, drawn_table
from clifctl.results.runs_watch import STATES, RunWatch, WatchedRun

# What a screen has above and below the rows of its table, whose header may take two lines.
_FRAME_LINES = 7


def watch_report(watch: RunWatch) -> Report:
    """Every run, a line each."""
    return Report(document_of(watch), (_table(watch, watch.runs),), data=(_data_table(watch.runs),))


def watch_live(look: Callable[[], RunWatch], interval: float) -> None:
    """Show on the terminal what `look` finds, every `interval` seconds, until all of it has ended
    or Ctrl-C: as many runs as there is room for, those that run first."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            watch = look()
            live.update(_screen(watch, console.width, console.height), refresh=True)
            if watch.ended:
                return
            time.sleep(interval)


def _screen(watch: RunWatch, width: int, height: int) -> Any:
    """What a terminal of this size shows."""
    first = sorted(watch.runs, key=lambda run: STATES.index(run.state))
    notes = sum(run.problem is not None for run in watch.runs) + len(watch.damaged)
    room = max(1, height - _FRAME_LINES - min(notes, height // 4))
    table = _table(watch, first[:room], left=len(first[room:]), most=height // 4)
    return drawn_table(table, width, tells_left_out=False)


def _table(watch: RunWatch, runs: Any, *, left: int = 0, most: int | None = None) -> Table:
    columns = (
        Column("run", "run"),
        Column("state", "state"),
        Column("epochs_of", "epochs"),
        *columns_of(WatchedRun, "accuracy_percent_last", short=True),
        Column("for", "for"),
    )
    now = datetime.now().astimezone()
    rows = tuple(
        {
            **dataclasses.asdict(run),
            # The title names the folder.
            "run": os.path.relpath(run.run, watch.folder),
            "epochs_of": f"{run.epochs_done}/{'?' if run.epochs is None else run.epochs}",
            "for": run.since and _ago(run.since, now),
        }
        for run in runs
    )
    found = ", ".join(f"{watch.counts[state]:,} {state}" for state in STATES if watch.counts[state])
    notes = [f"{run.state}: '{run.run}': {run.problem}" for run in watch.runs if run.problem]
    notes += [f"damaged: '{one.run}': {one.problem}" for one in watch.damaged]
    if most is not None and len(notes) > most:
        notes = [*notes[: most - 1], f"and {counted(len(notes) - most + 1, 'more problem')}"]
    if left:
        notes.insert(0, f"and {left:,} more")
    title = f"{counted(len(watch.runs), 'run')} below '{watch.folder}'"
    return Table(
        f"{title}: {found}" if found else title,
        columns,
        rows,
        notes=tuple(notes),
        optional=("for", "epochs_of"),
    )


def _ago(since: str, now: datetime) -> str:
    return duration(max(0.0, (now - datetime.fromisoformat(since)).total_seconds()))


def _data_table(runs: tuple[WatchedRun, ...]) -> Table:
    """For a program: every field under its own name."""
    names = [field.name for field in dataclasses.fields(WatchedRun)]
    rows = tuple({name: getattr(run, name) for name in names} for run in runs)
    return Table("runs", tuple(Column(name, name) for name in names), rows)

"""What a person sees on stderr while recordings become frames."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from clifctl.amounts import clock, counted
from clifctl.commands import visible

# Where there is no terminal: the least time between two lines.
LINE_EVERY_S = 10.0


class PreparationProgress:
    """A bar on a terminal, a line now and then elsewhere, nothing when `quiet`."""

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console

        self._quiet = quiet
        self._clock = clock
        self._console = Console(stderr=True, highlight=False)
        console = self._console
        self._is_live = console.is_terminal and not console.is_dumb_terminal and not quiet
        self._progress: Any = None
        self._task: Any = None
        self._all = self._read = self._kept = 0
        self._first = self._next_line = 0.0

    def __enter__(self) -> "PreparationProgress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def started(self, recordings: int, kept: int) -> None:
        """`recordings` are to be read, of which `kept` were read before."""
        self._all, self._kept = recordings, kept
        self._next_line = self._clock() + LINE_EVERY_S
        before = f", {kept:,} of them read before" if kept else ""
        self._say(f"{counted(recordings, 'recording')}{before}")
        if not self._is_live:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._progress = Progress(
            "reading recordings",
            BarColumn(None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
        )
        self._task = self._progress.add_task("", total=recordings, completed=kept)
        self._progress.start()

    def done(self, path: Path) -> None:
        """The recording `path` is read."""
        self._read += 1
        if self._progress is not None:
            self._progress.update(self._task, advance=1)
            return
        now = self._clock()
        if self._read == 1:
            self._first = now
        if now < self._next_line:
            return
        self._next_line = now + LINE_EVERY_S
        fields = [f"{self._kept + self._read:,}/{self._all:,} recordings"]
        if now > self._first:
            # From the first one on: until then workers were starting.
            rate = (self._read - 1) / (now - self._first)
            left = self._all - self._kept - self._read
            fields += [f"{rate:,.1f}/s", f"{clock(left / rate)} left"]
        self._say("  ".join(fields))

    def assembling(self, part: str, samples: int) -> None:
        """All are read; the file of one split is written."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._say(f"writing the {part} split: {counted(samples, 'sample')}")

    def _say(self, line: str) -> None:
        if self._quiet:
            return
        # Whoever read stderr may have gone: that is no reason to end the work.
        with suppress(OSError):
            sys.stderr.write(visible(line) + "\n")
            sys.stderr.flush()

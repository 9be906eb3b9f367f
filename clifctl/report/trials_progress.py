"""What a person sees on stderr while the trials of a grid run."""

import sys
import time
from contextlib import ExitStack, suppress
from typing import Any

from clifctl.amounts import counted
from clifctl.commands import visible
from clifctl.notices import heard_by
from clifctl.results.events import (
    GridEvent,
    GridStarted,
    Notice,
    TrialElsewhere,
    TrialLost,
    TrialStarted,
)
from clifctl.results.trials import Epochs, TrialRecord

_NO_CURVES = Epochs(train_loss_train_mode=(), test_loss=(), test_accuracy_percent=())


class TrialsProgress:
    """A live table on a terminal, a line for each beginning and end elsewhere, nothing when
    `quiet`. Trials running here and in other processes are followed by their metrics files."""

    MOST_ROWS = 16

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        console = self._console
        self._is_live = console.is_terminal and not console.is_dumb_terminal and not quiet
        self._grid = GridStarted("", {}, {}, 0, curves=lambda trial: _NO_CURVES)
        self._began: dict[str, float] = {}
        self._records: list[TrialRecord] = []
        self._done = self._all = 0
        self._started = time.monotonic()
        self._listening = ExitStack()
        # It asks for its first table at once.
        self._live = Live(
            get_renderable=self._table,
            console=console,
            transient=True,
            refresh_per_second=2,
            auto_refresh=self._is_live,
        )

    def __enter__(self) -> "TrialsProgress":
        if self._is_live:
            self._live.start()
        self._listening.enter_context(heard_by(self.notice))
        return self

    def __exit__(self, *exception: object) -> None:
        self._listening.close()
        if self._is_live:
            self._live.stop()

    def __call__(self, event: GridEvent) -> None:
        place = f"[{self._done}/{self._all}]"
        match event:
            case GridStarted():
                self._grid = event
                self._done, self._all = event.finished, len(event.titles)
                kept = f", {event.finished} finished before" if event.finished else ""
                self._say(f"{counted(self._all, 'trial')} into {event.results_folder}{kept}")
            case TrialStarted(trial, attempt):
                self._began[trial] = time.monotonic()
                again = "" if attempt == 1 else f" (attempt {attempt})"
                self._say(f"{place} began {self._grid.titles[trial]}{again}")
            case TrialElsewhere(trial):
                self._say(f"{place} another process runs {self._grid.titles[trial]}")
            case TrialLost(trial, reason):
                self._began.pop(trial, None)
                self._say(
                    f"{place} lost {self._grid.titles[trial]}: {reason}; it is tried once more"
                )
            case TrialRecord():
                self._ended(event)
            case Notice():
                self.notice(event.line)

    def _ended(self, record: TrialRecord) -> None:
        began = self._began.pop(record.trial, None)
        self._records.append(record)
        self._done += record.state == "finished"
        place = f"[{self._done}/{self._all}]"
        if record.measured is None:
            self._say(f"{place} failed {record.title}: {record.problem}")
            return
        took = "" if began is None else f"  {time.monotonic() - began:.1f} s"
        self._say(
            f"{place} finished {record.title}  "
            f"test accuracy {record.measured.accuracy_percent_last:.2f} %  "
            f"test loss {record.measured.test_loss:.4f}{took}"
        )

    def notice(self, line: str) -> None:
        if self._quiet:
            return
        if self._is_live:
            self._live.console.print(line, markup=False)
        else:
            self._say(line)

    def _table(self) -> Any:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        spent = time.monotonic() - self._started
        table = Table(
            box=box.SIMPLE_HEAD,
            title=f"{self._done} of {self._all} trials finished, {spent:.0f} s",
            title_justify="left",
        )
        for label in ("trial", "epoch", "test accuracy [%]", "state"):
            table.add_column(label)
        room = max(2, min(self.MOST_ROWS, self._console.height - 6) - len(self._began))
        for record in self._records[-room:]:
            measured = record.measured
            shown = "" if measured is None else f"{measured.accuracy_percent_last:.2f}"
            table.add_row(Text(visible(record.title)), "", shown, record.state)
        for name, began in list(self._began.items()):
            seen = self._grid.curves(name).test_accuracy_percent
            table.add_row(
                Text(visible(self._grid.titles[name])),
                f"{len(seen)}/{self._grid.epochs[name]}",
                f"{seen[-1]:.2f}" if seen else "",
                f"running, {time.monotonic() - began:.0f} s",
            )
        return table

    def _say(self, line: str) -> None:
        # The live table says the same.
        if self._quiet or self._is_live:
            return
        # Whoever read stderr may have gone: that is no reason to end a run.
        with suppress(OSError):
            sys.stderr.write(visible(line) + "\n")
            sys.stderr.flush()

"""What a person sees on stderr while a run goes on."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from clifctl.amounts import clock, counted
from clifctl.commands import visible
from clifctl.notices import heard_by
from clifctl.report.pace import Pace
from clifctl.results.events import Notice, RunEvent, RunStarted, StepDone
from clifctl.results.train import EpochRecord, Running, StepRecord, TrainPlan

if TYPE_CHECKING:
    from rich.live import Live

# How often the sums of the epoch are read, which waits for a GPU, and shown.
READ_EVERY_S = 0.25
# Where there is no terminal: the least time between two lines within an epoch.
LINE_EVERY_S = 30.0


class TrainProgress:
    """Two live lines on a terminal; elsewhere one line an epoch, and one every 30 seconds of a long
    one; nothing when `quiet`."""

    def __init__(
        self, *, quiet: bool, verbose: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from rich.console import Console

        self._quiet = quiet
        self._verbose = verbose
        self._clock = clock
        self._console = Console(stderr=True, highlight=False)
        self._is_live = (
            self._console.is_terminal and not self._console.is_dumb_terminal and not quiet
        )
        self._live = self._new_live()
        self._listening = ExitStack()
        self._epochs = self._steps = 0
        self._pace = Pace(epochs=0, steps=0, now=0.0)
        self._running: Running | None = None
        self._next_read = self._next_line = 0.0

    def __enter__(self) -> "TrainProgress":
        self._listening.enter_context(heard_by(self.notice))
        return self

    def __exit__(self, *exception: object) -> None:
        self._listening.close()
        self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within it the live lines are gone: something else may write to the terminal."""
        was_started = self._live.is_started
        self._live.stop()
        try:
            yield
        finally:
            if was_started:
                # A new one: the old one would go up over what has been written since.
                self._live = self._new_live()
                self._live.start()

    def _new_live(self) -> "Live":
        """Drawn when a step tells of itself: no thread that would take time from the run. stdout
        carries the result and is left alone."""
        from rich.live import Live

        return Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False
        )

    def __call__(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self._started(event.plan, event.epochs, event.steps)
            case StepDone():
                self._stepped(event.epoch, event.step, event.running)
            case StepRecord():
                self._logged(event)
            case EpochRecord():
                self._finished_epoch(event)
            case Notice():
                self.notice(event.line)

    def _started(self, plan: TrainPlan, epochs: int, steps: int) -> None:
        now = self._clock()
        self._epochs, self._steps = epochs, steps
        self._pace = Pace(epochs=epochs, steps=steps, now=now)
        self._next_line = now + LINE_EVERY_S
        self._say([f"training {plan.recipe} into {plan.run_folder} on {plan.device}"])
        if plan.continues_after:
            self._say([f"resuming after {plan.continues_after}"])
        if self._verbose:
            self._say([f"kernel target {plan.target} ({plan.target_reason})"])
            self._say([f"connections {plan.connections} ({plan.connections_reason})"])
            self._say([f"{counted(plan.threads, 'CPU thread')} ({plan.threads_reason})"])
            memory = f"about {plan.memory_bytes:,} bytes of memory"
            self._say([f"{plan.parameters:,} parameters, {memory}"])
        if self._is_live:
            self._live.start()
            self._draw([f"epoch 1/{epochs}", "loading kernels"], 0, [])

    def _logged(self, record: StepRecord) -> None:
        if self._verbose:
            self._say(
                [
                    f"epoch {record.epoch}/{self._epochs}",
                    f"step {record.step}/{self._steps}",
                    f"train loss {record.train_loss_train_mode:.4f}",
                    f"{record.samples_per_second:.0f} samples/s",
                ]
            )

    def notice(self, line: str) -> None:
        """Something that the person should know."""
        self._say([f"note: {line}"])

    def _stepped(self, epoch: int, step: int, running: Running) -> None:
        """`running` is read a few times a second."""
        if self._quiet:
            return
        now = self._clock()
        self._pace.stepped(now, epoch, step)
        self._running = running
        if now < self._next_read and not (self._is_live and step == self._steps):
            return
        self._next_read = now + READ_EVERY_S
        self._pace.mark(int(running.samples))
        if not self._is_live and now < self._next_line:
            return
        self._next_line = now + LINE_EVERY_S
        place = [f"epoch {epoch}/{self._epochs}"]
        place.append("testing" if step == self._steps else f"step {step}/{self._steps}")
        numbers = [
            f"loss {running.mean_loss():.4f}",
            f"accuracy {running.accuracy_percent():.2f} %",
            *self._speed(),
        ]
        if self._is_live:
            self._draw(place, (epoch - 1) * self._steps + step, numbers)
        elif step < self._steps:
            self._say([*place, *numbers, *self._left()])

    def _finished_epoch(self, record: EpochRecord) -> None:
        if self._quiet:
            return
        now = self._clock()
        if self._running is not None:
            samples = int(self._running.samples)
            self._pace.mark(samples)
            self._pace.finished_epoch(now, samples)
        self._next_line = now + LINE_EVERY_S
        held_out = record.validation_accuracy_percent
        fields = [
            f"epoch {record.epoch}/{self._epochs}",
            f"train loss {record.train_loss_train_mode:.4f}",
            f"train accuracy {record.train_accuracy_percent_train_mode:.2f} %",
            f"test loss {record.test_loss:.4f}",
            f"test accuracy {record.test_accuracy_percent:.2f} %",
            *([] if held_out is None else [f"validation accuracy {held_out:.2f} %"]),
            # On a terminal the live lines show the speed and the time left.
            *([] if self._is_live else self._speed()),
            f"{record.seconds:.1f} s",
        ]
        more = record.epoch < self._epochs and not self._is_live
        self._say([*fields, *(self._left() if more else [])])

    def _speed(self) -> list[str]:
        speed = self._pace.samples_per_second
        return [] if speed is None else [f"{speed:,.{0 if speed >= 10 else 1}f} images/s"]

    def _left(self) -> list[str]:
        seconds = self._pace.left_s
        return [] if seconds is None else [f"{clock(seconds)} left"]

    def _draw(self, place: Sequence[str], completed: int, numbers: Sequence[str]) -> None:
        """The two live lines: where the run stands, and its numbers."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        bar = ProgressBar(total=self._epochs * self._steps, completed=completed)
        first = Table.grid(expand=True, padding=(0, 2, 0, 0))
        first.add_column(no_wrap=True)
        first.add_column(ratio=1)
        first.add_column(no_wrap=True)
        first.add_row(Text("  ".join(place)), bar, Text("".join(self._left())))
        lines: list[Any] = [first, Text("  ".join(numbers), no_wrap=True, overflow="ellipsis")]
        self._live.update(Group(*lines), refresh=True)

    def _say(self, fields: Sequence[str]) -> None:
        """One line of `fields`; on a terminal as many as they need, broken between two fields."""
        if self._quiet:
            return
        fields = list(map(visible, fields))
        if self._is_live:
            for line in _packed(fields, self._console.width):
                self._console.print(line, markup=False, soft_wrap=True)
            return
        # Whoever read stderr may have gone: that is no reason to end a run.
        try:
            sys.stderr.write("  ".join(fields) + "\n")
            sys.stderr.flush()
        except OSError:
            self._quiet = True


def _packed(fields: Sequence[str], width: int) -> list[str]:
    lines = [fields[0]]
    for field in fields[1:]:
        longer = f"{lines[-1]}  {field}"
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(f"  {field}")
    return lines

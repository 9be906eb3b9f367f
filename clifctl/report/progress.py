"""What a person sees on stderr while a run goes on."""

import sys

from clifctl.results import EpochRecord, StepRecord, TrainPlan


class TrainProgress:
    """A live line on a terminal, one line an epoch elsewhere, nothing when `quiet`."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._quiet = quiet
        self._verbose = verbose
        self._console = Console(stderr=True, highlight=False)
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal and not quiet
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._task = self._progress.add_task("training", total=None)
        self._epochs = self._steps = 0

    def __enter__(self) -> "TrainProgress":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def started(self, plan: TrainPlan, epochs: int, steps: int) -> None:
        self._epochs, self._steps = epochs, steps
        self._progress.update(self._task, total=epochs * steps)
        self._say(f"training {plan.recipe} into {plan.run_folder} on {plan.device}")
        if plan.continues_after:
            self._say(f"going on after {plan.continues_after}")
        if self._verbose:
            self._say(f"kernel target {plan.target} ({plan.target_reason})")
            self._say(f"{plan.threads} CPU threads ({plan.threads_reason})")
            self._say(
                f"{plan.parameters:,} parameters, about {plan.memory_bytes:,} bytes of memory"
            )

    def stepped(self, epoch: int, step: int) -> None:
        self._progress.update(
            self._task,
            completed=(epoch - 1) * self._steps + step,
            description=f"epoch {epoch}/{self._epochs}",
        )

    def logged(self, record: StepRecord) -> None:
        if self._verbose:
            self._say(
                f"epoch {record.epoch}/{self._epochs}  step {record.step}/{self._steps}  "
                f"train loss {record.train_loss_train_mode:.4f}  "
                f"{record.samples_per_second:.0f} samples/s"
            )

    def notice(self, line: str) -> None:
        self._say(f"note: {line}")

    def finished_epoch(self, record: EpochRecord) -> None:
        self._say(
            f"epoch {record.epoch}/{self._epochs}  train loss {record.train_loss_train_mode:.4f}  "
            f"test loss {record.test_loss:.4f}  "
            f"test accuracy {record.test_accuracy_percent:.2f} %  {record.seconds:.1f} s"
        )

    def _say(self, line: str) -> None:
        if self._quiet:
            return
        if self._live:
            self._console.print(line, markup=False, soft_wrap=True)
            return
        # Whoever read stderr may have gone: that is no reason to end a run.
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except OSError:
            self._quiet = True

"""`train --plots`: a run draws itself into its folder."""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from clifctl.cli.options import Output, losing_no_result
from clifctl.errors import Interrupted, RunFailed
from clifctl.results.events import RunEvent, RunStarted

if TYPE_CHECKING:
    from clifctl.results.train import TrainResult


class RunPictures:
    """Observes a run, and draws it when it ends: its curves where it is stopped or fails, for which
    its folder has to be known, and its firing rates too where it is finished (`draw`)."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._folder: Path | None = None

    def __enter__(self) -> "RunPictures":
        from clifctl.experiments.run.plan import CURVES
        from clifctl.report.pictures import require_picture_possible

        require_picture_possible(Path(CURVES))
        return self

    def __call__(self, event: RunEvent) -> None:
        if isinstance(event, RunStarted) and event.plan.run_folder is not None:
            self._folder = Path(event.plan.run_folder)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._folder is None or not isinstance(error, Interrupted | RunFailed):
            return
        try:
            self._draw_curves(self._folder)
        except RunFailed as failed:  # what ends the run is worse
            self._output.notice(failed.message)

    def draw(self, result: "TrainResult") -> None:
        """Draw a finished run. Raises RunFailed where that fails."""
        from clifctl.experiments.run.plan import RATES
        from clifctl.report.train_picture import write_firing_rates

        assert result.run_folder is not None
        folder = Path(result.run_folder)
        self._draw_curves(folder)
        if result.firing_rates:
            with losing_no_result():
                write_firing_rates(folder / RATES, result)

    def _draw_curves(self, folder: Path) -> None:
        from clifctl.experiments.run.plan import CURVES, RATES
        from clifctl.experiments.runs import show_run
        from clifctl.report.train_picture import write_curves

        with losing_no_result():
            (folder / RATES).unlink(missing_ok=True)  # they may be of fewer epochs
            run = show_run(folder)
            if run.row.epochs_done:
                write_curves(folder / CURVES, run)

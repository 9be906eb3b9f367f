"""`train`: the training loop as a generator of its epochs."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from clifctl.api.recipe import Recipe, as_recipe
from clifctl.api.session import LOG, Session
from clifctl.errors import UsageError
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.experiments.run.plan import Resume, RunOptions
from clifctl.experiments.train import training
from clifctl.models import SpikingNet
from clifctl.results.events import RunStarted
from clifctl.results.train import EpochRecord, TrainResult
from clifctl.training.run_folder import LAST


class Training(Iterator[EpochRecord]):
    """A training that goes on whenever its next epoch is asked for: see `train`.

    `net` is the net itself, as it stands; `recipe` what it is trained by, `epochs` the records so
    far, `result` that of the run once it has ended (None before). Between two epochs the net may be
    looked at and run; whoever changes it changes the run. To leave off, `close()`; within `with`
    that is done at its end.
    """

    def __init__(self, recipe: Recipe, options: RunOptions) -> None:
        self.recipe = recipe
        self.epochs: tuple[EpochRecord, ...] = ()
        self.result: TrainResult | None = None
        self._out = options.out
        self._net: SpikingNet | None = None
        self._session = Session(recipe.trusted)
        self._run = training(recipe.loaded, options, LOG.warning, begun=self._begun)
        self._next(RunStarted)

    def _begun(self, net: SpikingNet) -> None:
        self._net = net

    @property
    def net(self) -> SpikingNet:
        """The net, on the run's device. Raises UsageError for a run that was finished before: its
        checkpoint has it."""
        if self._net is None:
            raise UsageError(
                f"the run in '{self._out}' was finished before, and its net is not here",
                hint=f"clifctl.load('{self._out}/{LAST}').net",
            )
        return self._net

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> EpochRecord:
        record = self._next(EpochRecord)
        if not isinstance(record, EpochRecord):
            raise StopIteration
        self.epochs = (*self.epochs, record)
        return record

    def finish(self) -> TrainResult:
        """Train to the end, and give the result. Raises UsageError where it was left off before."""
        for _ in self:
            pass
        if self.result is None:
            raise UsageError("this training was left off before its end", hint="begin it anew")
        return self.result

    def close(self) -> None:
        """Leave off: what was saved stays, and torch is the caller's."""
        with self._session.going_on():
            self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _next(self, kind: type[object]) -> object | None:
        """The next event of a kind; None at the end, which gives the result."""
        with self._session.going_on():
            while True:
                try:
                    event = next(self._run)
                except StopIteration as ended:
                    if ended.value is not None:
                        self.result = ended.value
                    return None
                if isinstance(event, kind):
                    return event


def train(
    recipe: Recipe | str | os.PathLike[str],
    /,
    *,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: Resume = "never",
    keep: int | None = None,
    init: str | os.PathLike[str] | None = None,
    device: str = "auto",
    target: str = "auto",
    connections: str = "auto",
    threads: int | None = None,
    trust: Sequence[str] = (),
    changed_file: bool = False,
) -> Training:
    """Train a recipe, an epoch whenever the next one is asked for; the numbers are those of
    `clifctl train`, bit for bit.

    Nothing is written, unless `out` names a run folder: it is then what the command writes, with
    `overwrite`, `resume` ("never", "auto", "always"), `keep` and `changed_file` as there. `init` is
    a checkpoint whose weights the net starts from. Everything is checked and built before this
    returns. Ctrl-C ends the run at once: one with a folder is resumed from its last checkpoint.

    Raises RecipeError, DataError, UsageError, OutputError before anything is written; while it
    trains RunFailed, and Interrupted for Ctrl-C with `out`.

    >>> import clifctl
    >>> tiny = {"model.channels": [2, 2, 2, 2, 4], "train.batch_size": 256, "train.epochs": 2}
    >>> run = clifctl.train(clifctl.load_recipe("digits_snn5", timesteps=2, **tiny))
    >>> for epoch in run:
    ...     print(epoch.epoch, epoch.lr, epoch.test_accuracy_percent > 5)
    1 0.1 True
    2 0.05 True
    >>> run.result.accuracy_percent_last == epoch.test_accuracy_percent
    True
    """
    chosen = as_recipe(recipe, trust)
    options = RunOptions(
        ExecutionOptions(device, target, connections, threads),
        out=None if out is None else Path(out),
        recorded=out is not None,
        overwrite=overwrite,
        resume=resume,
        keep=keep,
        init=None if init is None else Path(init),
        changed_file=changed_file,
    )
    return Training(chosen, options)

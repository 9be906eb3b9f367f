"""Run by test_distributed.py as one of several processes: rank, count and a folder for everything.

The processes take part in one run after the other; what each got goes to `<rank>.pt`.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from clifctl.errors import ClifctlError, DataError
from clifctl.experiments.checkpoints import CheckpointOptions
from clifctl.experiments.eval import evaluate_checkpoint
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.experiments.run.plan import RunOptions
from clifctl.experiments.train import train
from clifctl.recipe.load import load_recipe
from clifctl.results.events import RunEvent, StepDone
from clifctl.training.distributed import Processes
from clifctl.training.step import TrainingStep

# No compiled kernels. Batches of 433 make odd parts; 1,297 samples leave a last batch of 431.
RECIPE = [
    *("model.name=mlp", "model.hidden=[9]", "timesteps=2", "train.epochs=2"),
    *("train.batch_size=433", "data.random_crop_padding=1", "train.log_every=1"),
]
STEPS = 3  # of an epoch
# What a run that goes on could forget.
DRAWN = ["model.dropout=0.2", "train.precision=bfloat16", "train.save_every=2steps"]


class Watcher:
    """Does something after so many steps."""

    def __init__(self, at: int = 0, do: Callable[[], object] = lambda: None) -> None:
        self.at, self.do, self.steps = at, do, 0

    def __call__(self, event: RunEvent) -> None:
        if isinstance(event, StepDone):
            self.steps += 1
            if self.steps == self.at:
                self.do()


def run(out: Path, *overrides: str, watcher: Watcher | None = None) -> Any:
    """A run in `out`, begun or gone on with."""
    loaded = load_recipe("digits_snn5", [*RECIPE, *overrides])
    options = RunOptions(out=out, resume="auto", execution=ExecutionOptions(target="reference"))
    return asdict(train(loaded, options, watcher or Watcher()))


class Meeting:
    """The scenarios of one of the processes."""

    def __init__(self, rank: int, count: int, folder: Path) -> None:
        self.rank, self.count, self.folder = rank, count, folder
        self.found: dict[str, Any] = {}
        numbers = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
        os.environ |= {name: str(number) for name, number in numbers.items()}
        os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}  # a file is used instead

    def take_part(self, name: str, scenario: Callable[[], Any]) -> None:
        """Meet for `scenario`; keep what it gives, or how it failed."""
        store = f"file://{self.folder / f'store-{name}'}"
        torch.distributed.init_process_group(
            "gloo", init_method=store, rank=self.rank, world_size=self.count
        )
        try:
            self.found[name] = scenario()
        except ClifctlError as error:
            kind = type(error).__name__
            self.found[name] = (kind, error.message, error.hint, error.exit_code)
        torch.save(self.found, self.folder / f"{self.rank}.pt")
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def only(self, rank: int, do: Callable[[], object]) -> Callable[[], object]:
        """`do` for the process `rank`, nothing for the others."""
        return do if self.rank == rank else lambda: None


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def interrupt_at_once() -> None:
    raise KeyboardInterrupt  # what a second signal comes to


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def poison() -> None:
    """From its third step on this process trains on numbers that are none."""
    forward, calls = TrainingStep._forward, [0]

    def poisoned(step: TrainingStep, net: Any, inputs: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return forward(step, net, inputs * (1.0 if calls[0] < 3 else float("nan")))

    TrainingStep._forward = poisoned  # type: ignore[assignment, method-assign]


def agreements(rank: int, count: int) -> Any:
    """What processes agree on, told by each in the order of the ranks."""
    processes = Processes(rank, count)

    def fails() -> int:
        if rank == 1:
            raise DataError("no file", hint="get it")
        return rank

    told: list[Any] = []
    for attempt in (lambda: processes.agree(fails), lambda: processes.from_main(lambda: 7 + rank)):
        try:
            told.append(attempt())
        except ClifctlError as error:
            told.append((type(error).__name__, error.message, error.hint, error.exit_code))
    tensors = [torch.full((2, 3), 1.0 + rank), torch.tensor(10.0 * rank)]
    processes.add_up(tensors)
    return told, processes.largest(rank, -rank), processes.gather(rank), tensors


def main(rank: int, count: int, folder: Path) -> None:
    """Every scenario in turn."""
    torch.set_num_threads(1)
    meeting = Meeting(rank, count, folder)
    meet, only, forward = meeting.take_part, meeting.only, TrainingStep._forward
    meet("agreements", lambda: agreements(rank, count))
    meet("plain", lambda: run(folder / "plain"))
    meet("parts", lambda: run(folder / "parts", "train.accumulate=3", "train.clip_norm=0.1"))
    meet("apart", lambda: run(folder / "apart", "train.sync_batch_norm=false"))
    reference = CheckpointOptions(execution=ExecutionOptions(target="reference"))
    meet("eval", lambda: asdict(evaluate_checkpoint(folder / "plain/last.pt", reference)))
    meet("too few", lambda: run(folder / "few", "train.batch_size=1296"))
    meet("whole", lambda: run(folder / "whole", *DRAWN))
    only(1, poison)()
    meet("poisoned", lambda: run(folder / "poisoned"))
    TrainingStep._forward = forward  # type: ignore[method-assign]
    # One process alone is asked to stop; all do, and go on.
    stops = Watcher(4, only(1, interrupt))
    meet("stopped", lambda: run(folder / "drawn", *DRAWN, watcher=stops))
    meet("went on", lambda: run(folder / "drawn", *DRAWN))
    twice = Watcher(4, only(1, interrupt_at_once))
    meet("at once", lambda: run(folder / "at once", *DRAWN, watcher=twice))
    meet("dies", lambda: run(folder / "dies", *DRAWN, watcher=Watcher(6, only(1, die))))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

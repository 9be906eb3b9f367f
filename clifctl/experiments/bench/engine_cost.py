"""How much the training engine adds to the bare training step, and what a save costs."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from clifctl.data import shuffled_batches
from clifctl.devices import wait_for
from clifctl.experiments.build import build_net, loss_of, optimizer_of, repeat_of
from clifctl.experiments.run.plan import Prepared, RunOptions, prepare
from clifctl.experiments.train import train
from clifctl.recipe.load import LoadedRecipe
from clifctl.results.bench_train import EngineCost
from clifctl.results.events import Observer, RunEvent, RunStarted, StepDone
from clifctl.results.train import EpochRecord
from clifctl.training import run_folder
from clifctl.training.checkpoint import load_checkpoint, save_checkpoint
from clifctl.training.device import determinism, tf32
from clifctl.training.precision import Precision

WARM_UP = 3
SAVES = 5
PERIOD_SECONDS = 60.0
GROUP = 16
# A group of steps that takes so many medians was held up by something else on the machine.
DISTURBED = 1.5


def measure_engine(loaded: LoadedRecipe, options: RunOptions, observe: Observer) -> EngineCost:
    """Train `loaded` for its epochs into a folder that is thrown away, a bare step after each of
    its steps, and compare the two. `observe` gets the events of that run: what it does counts.

    Raises what `train` raises.
    """
    prepared = prepare(
        loaded, replace(options, out=None, resume="never"), options.execution.resolve()
    )
    recipe = prepared.recipe
    with determinism(recipe.train.deterministic), tf32(recipe.train.tf32):
        turns = _Turns(observe, _bare_step(prepared), prepared.execution.device)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        result = train(loaded, replace(options, out=out, resume="never"), turns)
        save_seconds = _save_seconds(out / run_folder.LAST)
    taken = turns.bare[WARM_UP:], turns.engine[WARM_UP:]
    groups = _undisturbed(*taken)
    bare, engine = (statistics.mean(seconds) for seconds in zip(*groups, strict=True))
    return EngineCost(
        recipe=loaded.name,
        batch_size=recipe.train.batch_size,
        timesteps=recipe.timesteps,
        steps=len(groups) * min(GROUP, len(taken[0])),
        bare_step_seconds=bare,
        engine_step_seconds=engine,
        overhead_percent=100 * (engine / bare - 1),
        save_seconds=save_seconds,
        save_percent=100 * save_seconds / PERIOD_SECONDS,
        samples_per_second=recipe.train.batch_size / engine,
        device=result.device,
        target=result.target,
    )


class _Turns:
    """Passes on the events of a run; between two steps of the run it times a bare one."""

    def __init__(self, observe: Observer, step: Callable[[], None], device: torch.device) -> None:
        self.engine: list[float] = []
        self.bare: list[float] = []
        self._observe = observe
        self._step = step
        self._device = device
        self._since = 0.0

    def __call__(self, event: RunEvent) -> None:
        self._observe(event)
        if isinstance(event, RunStarted | EpochRecord):
            self._since = self._now()  # evaluation and the save are no part of the next step
        elif isinstance(event, StepDone):
            now = self._now()
            self._step()
            after = self._now()
            self.engine.append(now - self._since)
            self.bare.append(after - now)
            self._since = after

    def _now(self) -> float:
        wait_for(self._device)
        return time.perf_counter()


def _undisturbed(bare: list[float], engine: list[float]) -> list[tuple[float, float]]:
    """Seconds of a bare step and of the engine's, in groups of GROUP pairs (of all, where there are
    fewer), without the groups that something else held up.

    Groups are compared, not single steps: what the engine does at every 16th step is in each.
    """
    size = min(GROUP, len(bare))
    groups = [
        (statistics.mean(bare[first : first + size]), statistics.mean(engine[first : first + size]))
        for first in range(0, len(bare) - size + 1, size)
    ]
    longest = [DISTURBED * statistics.median(means) for means in zip(*groups, strict=True)]
    return [group for group in groups if group[0] < longest[0] and group[1] < longest[1]]


def _bare_step(prepared: Prepared) -> Callable[[], None]:
    """Forward, backward and optimizer of a net of its own, on one batch: what a script would do."""
    recipe = prepared.recipe
    device = prepared.execution.device
    data = prepared.data.to(device)
    generator = torch.Generator().manual_seed(recipe.train.seed)
    batch_size = recipe.train.batch_size
    inputs, targets = next(shuffled_batches(data.train, batch_size, generator, data.augment))
    net = build_net(recipe).to(device).train()
    optimizer, _ = optimizer_of(recipe, net)
    loss, repeat = loss_of(recipe), repeat_of(recipe)
    precision = Precision(prepared.precision.name, device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision.forward():
            logits, _ = net(inputs, repeat=repeat)
        precision.backward(loss(logits.float(), targets))
        precision.step(optimizer)

    return step


def _save_seconds(last: Path) -> float:
    """Median seconds of writing the checkpoint `last` again, to the disk."""
    checkpoint = load_checkpoint(last)
    seconds = []
    for number in range(SAVES):
        start = time.perf_counter()
        save_checkpoint(checkpoint, last.with_name(f"again-{number}.pt"))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)

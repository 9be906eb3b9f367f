"""The state of a run between two steps, as a checkpoint carries it, and going on from it.

Beside the weights a run is decided by the optimizer, the schedule, the scale of float16, the
position in the epoch (with the order of its data and its sums) and the random generators: one of
the run for order and augmentation, torch's own for dropout. All of them are captured, so a run that
goes on is bit for bit the run that was never interrupted, on the same machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from clifctl.devices import GPU, is_gpu
from clifctl.errors import CheckpointError, RunFailed
from clifctl.training.loop import Position
from clifctl.training.optimizer import STATES
from clifctl.training.step import Sums, TrainingStep
from clifctl.training.timing import PHASES


@dataclass(frozen=True)
class InProgress:
    """The moving parts of a run: together with the weights, its whole state."""

    step: TrainingStep
    schedule: LRScheduler
    position: Position
    generator: torch.Generator  # of order and augmentation

    @property
    def device(self) -> torch.device:
        """Where the net is."""
        return next(self.step.net.parameters()).device


def capture(running: InProgress) -> dict[str, Any]:
    """The state of a run after a step (or between two epochs), in types that a checkpoint may hold.
    Waits for a GPU. Raises RunFailed where something is not finite: that is never kept."""
    step, position = running.step, running.position
    step.health.check()
    weights = [*step.net.parameters(), *step.net.buffers()]
    if not all(bool(tensor.isfinite().all()) for tensor in weights):
        raise RunFailed(
            f"weights are not finite after step {position.step} of epoch {position.epoch}",
            hint="lower train.lr, or set train.clip_norm",
        )
    cuda = torch.cuda.get_rng_state(running.device) if is_gpu(running.device) else None
    sums = position.sums
    return {
        "optimizer": step.optimizer.state_dict(),
        "schedule": running.schedule.state_dict(),
        "scaler": step.precision.state_dict(),
        "precision": step.precision.name,
        "generators": {
            "data": running.generator.get_state(),
            "torch": torch.get_rng_state(),
            GPU: cuda,
        },
        "position": {
            "epoch": position.epoch,
            "step": position.step,
            "order": position.order,
            "loss_sum": float(sums.loss),
            "correct": int(sums.correct),
            "samples": int(sums.samples),
            "skipped": int(step.health.skipped),
            "skipped_in_a_row": int(step.health.in_a_row),
            "seconds": position.seconds,
            "phase_seconds": dict(step.clock.read()),
        },
    }


def restore(
    running: InProgress,
    state: Mapping[str, Any],
    *,
    samples: int,
    steps: int,
    epochs: int,
    where: str,
) -> None:
    """Bring `running`, freshly made, to `state` in an epoch of `samples` samples and `steps` steps.

    Raises CheckpointError (with `where`, the file) for a state that is not of such a run. The
    weights are not part of it.
    """
    try:
        _restore(running, state, samples=samples, steps=steps, epochs=epochs)
    except _Misfit as misfit:
        raise CheckpointError(f"the training state of '{where}': {misfit}", hint=_HINT) from None
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as broken:
        reason = (str(broken).splitlines() or [type(broken).__name__])[0]
        raise CheckpointError(
            f"the training state of '{where}' cannot be used: {reason[:100]}", hint=_HINT
        ) from broken


_HINT = "the file was changed after training: resume from another one, or start again"


# Of an optimizer and a schedule, what is no option: how far they have come.
_PROGRESS = {"lr", "initial_lr", "last_epoch", "_step_count", "_last_lr", "base_lrs"}


class _Misfit(Exception):
    """What does not fit, in words."""


def _restore(
    running: InProgress, state: Mapping[str, Any], *, samples: int, steps: int, epochs: int
) -> None:
    step, generators, given = running.step, state["generators"], state["position"]
    _require(state["precision"] == step.precision.name, "it is of another arithmetic")
    # Options that an older torch did not write are as in a run that begins.
    schedule = _filled(running.schedule.state_dict(), state["schedule"])
    optimizer = dict(state["optimizer"])
    groups = step.optimizer.state_dict()["param_groups"]
    optimizer["param_groups"] = _filled(groups, optimizer["param_groups"])
    _require_like(step.precision.state_dict(), state["scaler"], "scaler")
    _require_like(running.schedule.state_dict(), schedule, "schedule")
    _require_optimizer_state(step.optimizer, optimizer)
    epoch, done = given["epoch"], given["step"]
    counts = ("epoch", "step", "correct", "samples", "skipped", "skipped_in_a_row")
    for name in counts:
        _require(type(given[name]) is int and given[name] >= 0, f"{name} is not a count")
    for name in ("loss_sum", "seconds"):
        _require(type(given[name]) is float, f"{name} is no number")
    _require(1 <= epoch <= epochs + 1, f"epoch {epoch} of {epochs}")
    _require(done <= steps, f"step {done} of {steps}")
    _require(schedule["last_epoch"] == epoch - 1, "its schedule is at another epoch")
    phases = {**dict.fromkeys(PHASES, 0.0), **given["phase_seconds"]}
    _require(sorted(phases) == sorted(PHASES), "phase_seconds has other phases")
    _require(all(type(value) is float for value in phases.values()), "phase_seconds: not numbers")
    cuda = generators[GPU]
    _require(cuda is None or isinstance(cuda, Tensor), "generators.cuda is not a state")
    order = given["order"]
    _require((order is None) == (done == 0), "the order of the data is missing, or one too many")
    if order is not None:
        whole = torch.arange(samples)
        # Its shape first: what is expanded from one number may be larger than any memory.
        fits = isinstance(order, Tensor) and order.shape == whole.shape
        fits = fits and order.dtype == whole.dtype
        _require(fits and torch.equal(order.sort().values, whole), "order is not a permutation")

    step.precision.load_state_dict(state["scaler"])
    step.optimizer.load_state_dict(optimizer)
    running.schedule.load_state_dict(schedule)
    step.health.skipped.fill_(given["skipped"])
    step.health.in_a_row.fill_(given["skipped_in_a_row"])
    step.clock.seconds = dict(phases)
    device = running.device
    position = running.position
    position.epoch, position.step, position.order = epoch, done, order
    position.seconds = given["seconds"]
    position.sums = Sums()
    if done:
        loss = torch.tensor(given["loss_sum"], dtype=torch.float64, device=device)
        correct = torch.tensor(given["correct"], device=device)
        position.sums = Sums(loss, correct, given["samples"])
    # The generators last: nothing may draw from them any more.
    running.generator.set_state(generators["data"])
    torch.set_rng_state(generators["torch"])
    if is_gpu(device) and cuda is not None:
        torch.cuda.set_rng_state(cuda, device)


def _filled(own: Any, given: Any) -> Any:
    """`given` with the options that it lacks of `own`, in mappings and in lists of mappings."""
    if isinstance(own, dict) and isinstance(given, dict):
        options = {key: value for key, value in own.items() if key not in _PROGRESS}
        return {**options, **{key: _filled(own.get(key), value) for key, value in given.items()}}
    if isinstance(own, list) and isinstance(given, list) and len(own) == len(given):
        return [_filled(*pair) for pair in zip(own, given, strict=True)]
    return given


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _Misfit(otherwise)


def _require_like(own: Any, given: Any, what: str) -> None:
    """Raise _Misfit unless `given` is built as `own`: keys, lengths, types, shapes."""
    number = (int, float)
    same = type(own) is type(given) or (type(own) in number and type(given) in number)
    if not same:
        raise _Misfit(f"{what} is a {type(given).__name__}, not a {type(own).__name__}")
    if isinstance(own, dict):
        _require(own.keys() == given.keys(), f"{what} has other keys")
        for key in own:
            _require_like(own[key], given[key], f"{what}.{key}")
    elif isinstance(own, list | tuple):
        _require(len(own) == len(given), f"{what} has another length")
        for number_, (one, other) in enumerate(zip(own, given, strict=True)):
            _require_like(one, other, f"{what}[{number_}]")
    elif isinstance(own, Tensor):
        _require(own.shape == given.shape and own.dtype == given.dtype, f"{what} does not fit")


def _require_optimizer_state(optimizer: Optimizer, given: Mapping[str, Any]) -> None:
    """Raise _Misfit unless `given` is a state of `optimizer`: tensors of the parameters' shapes,
    and its options but for the learning rate."""
    own = optimizer.state_dict()
    _require_like(own["param_groups"], given["param_groups"], "optimizer")
    for one, other in zip(own["param_groups"], given["param_groups"], strict=True):
        for key in one.keys() - {"lr", "initial_lr", "foreach", "fused"}:
            _require(one[key] == other[key], f"optimizer.{key} is {other[key]}, not {one[key]}")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    allowed = STATES[type(optimizer)]
    _require(isinstance(given["state"], dict), "optimizer.state is not a mapping")
    for number, entries in given["state"].items():
        _require(type(number) is int and 0 <= number < len(parameters), "optimizer.state: keys")
        _require(set(entries) == allowed, f"optimizer.state[{number}] has other keys")
        for name, value in entries.items():
            if value is None and name == "momentum_buffer":
                continue  # of SGD without momentum
            shape = () if name == "step" else parameters[number].shape
            fits = isinstance(value, Tensor) and value.shape == shape and value.is_floating_point()
            _require(fits and bool(value.isfinite().all()), f"{name} of parameter {number}")

"""Which GPUs of this machine the workers of a grid have, one each."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from clifctl.amounts import size_in_words
from clifctl.devices import gpu_missing, gpus, is_gpu, memory_bytes
from clifctl.errors import UsageError
from clifctl.experiments.run.memory import require_memory

OPTION = "--devices"


@dataclass(frozen=True)
class Gpus:
    """The GPUs that workers take in turn; none where the trials run on the CPU."""

    devices: tuple[torch.device, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.devices)

    @property
    def names(self) -> tuple[str, ...]:
        """Each as `--device` takes it."""
        return tuple(map(str, self.devices))

    def of_workers(self, count: int) -> tuple[str, ...]:
        """The device of each of `count` workers; empty without GPUs."""
        return tuple(self.names[at % len(self.names)] for at in range(count)) if self else ()

    def require(self, need_bytes: int, workers: int) -> None:
        """Raise RecipeError where a trial of `need_bytes` fits on one of the GPUs not even alone,
        UsageError where those of so many `workers` that share a GPU do not."""
        for device in self.devices:
            require_memory(device, need_bytes, "a trial")
        shared = -(-workers // len(self.devices))
        least = min(map(memory_bytes, self.devices))
        if shared * need_bytes > least:
            fitting = len(self.devices) * (least // need_bytes)
            raise UsageError(
                f"--workers {workers}: {shared} trials at a time on a GPU need about "
                f"{size_in_words(shared * need_bytes)}, and it has {size_in_words(least)}",
                hint=f"--workers {fitting} fits",
            )


def gpus_of(numbers: Sequence[int] | None, requested: str, device: torch.device) -> Gpus:
    """The GPUs `numbers`; None: the one that `requested`, a --device that came to `device`, names,
    or every one of this machine where it names none.

    Raises UsageError for numbers that contradict `requested` or that this machine does not have.
    """
    if numbers is None:
        if not is_gpu(device):
            return Gpus()
        return Gpus((device,) if device.index is not None else tuple(gpus()))
    given = f"{OPTION} {','.join(map(str, numbers))}"
    if requested != "auto" and (not is_gpu(device) or device.index is not None):
        raise UsageError(
            f"{given} and --device {requested} contradict each other",
            hint=f"leave one of the two out: {OPTION} lists GPUs by their numbers",
        )
    found = gpus()
    if not found:
        raise UsageError(
            f"{given}: this machine has no usable CUDA GPU: {gpu_missing()}",
            hint=f"without {OPTION} the trials run on the CPU",
        )
    unknown = [number for number in numbers if not 0 <= number < len(found)]
    if unknown:
        known = [number for number in numbers if number not in unknown] or range(len(found))
        has = "one GPU, number 0" if len(found) == 1 else f"GPUs 0 to {len(found) - 1}"
        raise UsageError(
            f"{given}: there is no GPU {unknown[0]} here, this machine has {has}",
            hint=f"{OPTION} {','.join(map(str, known))}",
        )
    return Gpus(tuple(found[number] for number in numbers))

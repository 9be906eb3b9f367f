"""Images that stay in their files: decoded at every use, by workers that run ahead."""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from clifctl.data.decoding import decode
from clifctl.data.images import Place
from clifctl.errors import DataError


@dataclass(frozen=True)
class ImageFiles:
    """The images of one split in their files, see `clifctl.data.contract.Streamed`."""

    paths: tuple[Path, ...]
    place: Place
    channels: int
    size: int
    workers: int

    def read(self, orders: Sequence[Tensor]) -> Iterator[Tensor]:
        """uint8 `[1, n, C, size, size]` for each list of n sample numbers, in order.

        Raises DataError naming a file that is no image, is cut off, or is of another size.
        """
        # A generator of its own: a loader would draw its workers' seed from the run's.
        loader = DataLoader(
            _Batches(self, orders),
            batch_size=None,
            num_workers=self.workers,
            generator=torch.Generator(),
            worker_init_fn=_leave_signals_to_the_run,
        )
        with _signals_held_back():  # a worker is born with them held back
            stream = iter(loader)
        for pixels in stream:
            if isinstance(pixels, DataError):
                raise pixels
            yield pixels

    def select(self, numbers: Tensor) -> "ImageFiles":
        """Some of the images."""
        return replace(self, paths=tuple(self.paths[i] for i in numbers.tolist()))

    def digest(self) -> bytes:
        """A hash of every file's bytes, in order."""
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.digest()


# Whether a process can see who sent it a signal; not on macOS and Windows.
_SENDER_IS_KNOWN = hasattr(signal, "sigwaitinfo")
_HELD_BACK = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Within it SIGINT and SIGTERM wait."""
    if not _SENDER_IS_KNOWN:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_the_run(worker: int) -> None:
    """A terminal gives Ctrl-C to the workers too, a scheduler SIGTERM. They end with the run, which
    saves first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _SENDER_IS_KNOWN:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)  # where it was not forked
        threading.Thread(target=_end_with_the_run, daemon=True).start()


def _end_with_the_run() -> None:
    """Wait for the SIGTERM of the run itself, which has no more use for this worker."""
    run = multiprocessing.parent_process()
    while run is not None and signal.sigwaitinfo({signal.SIGTERM}).si_pid != run.pid:
        pass
    os._exit(0)


class _Batches(TorchDataset[Any]):
    """One item a batch. What goes wrong is handed on: a worker's traceback helps nobody."""

    def __init__(self, files: ImageFiles, orders: Sequence[Tensor]) -> None:
        self._files = files
        self._orders = [order.tolist() for order in orders]

    def __len__(self) -> int:
        return len(self._orders)

    def __getitem__(self, number: int) -> Tensor | DataError:
        files = self._files
        paths = [files.paths[i] for i in self._orders[number]]
        try:
            pixels = decode(paths, files.place, channels=files.channels, size=files.size, threads=1)
        except DataError as refused:
            return refused
        return pixels.unsqueeze(0)


def samples_of(
    paths: Sequence[Path], place: Place, *, channels: int, size: int, in_memory: bool, workers: int
) -> "Tensor | ImageFiles":
    """The images as one uint8 tensor `[N, C, size, size]`, or left in their files."""
    if in_memory:
        return decode(paths, place, channels=channels, size=size)
    return ImageFiles(tuple(paths), place, channels, size, workers)

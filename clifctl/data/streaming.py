"""Images that stay in their files: decoded at every use."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from clifctl.data.decoding import MOST_BYTES, Fit, decode
from clifctl.data.images import Place
from clifctl.reading import read_bytes


@dataclass(frozen=True)
class ImageFiles:
    """The images of one split in their files, see `clifctl.data.contract.Streamed`. `fit` brings
    each to its size, None: they are of that size."""

    paths: tuple[Path, ...]
    place: Place
    channels: int
    size: int
    fit: Fit | None = None

    threads: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, numbers: Sequence[int]) -> Tensor:
        """uint8 `[1, n, C, size, size]` of the images `numbers`.

        Raises DataError naming a file that is no image, is cut off, or is of another size.
        """
        return self.decoded(numbers, None if self.fit is None else [self.fit] * len(numbers))

    def decoded(self, numbers: Sequence[int], fits: Sequence[Fit] | None) -> Tensor:
        """As `take`, each image brought to its size by one of `fits`, None: as it is."""
        paths = [self.paths[number] for number in numbers]
        pixels = decode(
            paths, self.place, channels=self.channels, size=self.size, threads=1, fits=fits
        )
        return pixels.unsqueeze(0)

    def select(self, numbers: Tensor) -> "ImageFiles":
        """The images of these numbers."""
        return replace(self, paths=tuple(self.paths[i] for i in numbers.tolist()))

    def digest(self) -> bytes:
        """A hash of every file's bytes, in order. Raises DataError for one that cannot be read."""
        digest = hashlib.sha256()
        for path in self.paths:
            try:
                content = read_bytes(path, MOST_BYTES)
            except OSError as refused:
                why = refused.strerror or str(refused)
                raise self.place.error(f"'{path}' cannot be read: {why}") from None
            digest.update(hashlib.sha256(content).digest())
        return digest.digest()


def samples_of(
    paths: Sequence[Path], place: Place, *, channels: int, size: int, in_memory: bool
) -> "Tensor | ImageFiles":
    """The images as one uint8 tensor `[N, C, size, size]`, or left in their files."""
    if in_memory:
        return decode(paths, place, channels=channels, size=size)
    return ImageFiles(tuple(paths), place, channels, size)

"""Samples without labels, which a net is asked about: what a data set has to say of their files."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

# A file and the most samples at once -> its samples as stored batches `[T, n, *]`, `[1, n, *]`
# where every time step is equal. Raises DataError, which names the file.
Reader = Callable[[Path, int], Iterator[Tensor]]


@dataclass(frozen=True)
class Unlabelled:
    """How samples come out of files that a person names.

    `readers`: by the ending of a file, in small letters, what reads it. `prepare` makes a stored
    batch what the net sees, as that of a Split. `class_names` are in the order of the labels, where
    they are known. `at_once`: how many files are read at once. `unread`: endings of files that
    would be samples too but cannot be read, and must not be passed over.
    """

    readers: Mapping[str, Reader]
    prepare: Callable[[Tensor], Tensor] | None
    class_names: tuple[str, ...] | None = None
    at_once: int = 1
    unread: frozenset[str] = field(default_factory=frozenset)


def changed(reader: Reader, change: Callable[[Tensor], Tensor]) -> Reader:
    """`reader`, whose stored batches are changed."""

    def read(path: Path, most: int) -> Iterator[Tensor]:
        yield from map(change, reader(path, most))

    return read

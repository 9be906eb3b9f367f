"""How amounts are written for a person: durations, memory, differences with their sign."""

from typing import overload

from clifctl.reading import MIB

_UNITS = (("GiB", 2**30), ("MiB", MIB), ("KiB", 2**10))
# How many of each are a millijoule, largest unit first.
ENERGIES = {"mJ": 1.0, "uJ": 1e3, "nJ": 1e6, "pJ": 1e9}


def signed(value: float, digits: int) -> str:
    """A number with its sign; what rounds to nothing has a plus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """So many of something: `1 seed`, `2,000 samples`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """About how long: `45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """A duration that is counted down, to the second: `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def size_in_words(size_bytes: float) -> str:
    """A size in the largest unit of which it has one at least: `1,730.3 GiB`, `12.5 MiB`."""
    for name, unit in _UNITS:
        if size_bytes >= unit:
            return f"{size_bytes / unit:,.1f} {name}"
    return f"{size_bytes:,.0f} bytes"


def energy_unit(largest_mj: float) -> str:
    """The unit in which the largest of some energies is at least 1."""
    return next((unit for unit, of_a_mj in ENERGIES.items() if largest_mj * of_a_mj >= 1.0), "pJ")


@overload
def mebibytes(size_bytes: int) -> float: ...
@overload
def mebibytes(size_bytes: None) -> None: ...
@overload
def mebibytes(size_bytes: int | None) -> float | None: ...
def mebibytes(size_bytes: int | None) -> float | None:
    """A size in MiB, for a column of a table; None stays None."""
    return None if size_bytes is None else size_bytes / MIB

"""How durations, sizes and differences are written."""

from clifctl.amounts import (
    clock,
    counted,
    duration,
    energy_unit,
    mebibytes,
    signed,
    size_in_words,
)


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 89.4, 90, 5399, 5400)] == [
        *("0 s", "89 s", "2 min", "90 min", "1.5 h")
    ]
    assert [clock(s) for s in (0, 59.6, 3723)] == ["0:00:00", "0:01:00", "1:02:03"]


def test_counts() -> None:
    assert [counted(n, "seed") for n in (0, 1, 2000)] == ["0 seeds", "1 seed", "2,000 seeds"]
    assert [counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]


def test_the_largest_energy_is_at_least_one_of_its_unit() -> None:
    energies = (2000.0, 1.0, 0.5, 2e-5, 3e-8, 1e-12)
    assert [*map(energy_unit, energies)] == ["mJ", "mJ", "uJ", "nJ", "pJ", "pJ"]


def test_sizes() -> None:
    sizes = (1023, 2048, 5.5 * 2**20, 1730.25 * 2**30)
    assert [*map(size_in_words, sizes)] == ["1,023 bytes", "2.0 KiB", "5.5 MiB", "1,730.2 GiB"]
    assert mebibytes(3 * 2**19) == 1.5
    assert mebibytes(None) is None


def test_what_rounds_to_nothing_has_a_plus() -> None:
    assert [signed(value, 1) for value in (-0.04, 0.04, -0.06)] == ["+0.0", "+0.0", "-0.1"]

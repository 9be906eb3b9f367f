"""How durations, sizes and differences are written."""

from clifctl.amounts import clock, duration, mebibytes, signed, size_in_words


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 89.4, 90, 5399, 5400)] == [
        *("0 s", "89 s", "2 min", "90 min", "1.5 h")
    ]
    assert [clock(s) for s in (0, 59.6, 3723)] == ["0:00:00", "0:01:00", "1:02:03"]


def test_sizes() -> None:
    sizes = (1023, 2048, 5.5 * 2**20, 1730.25 * 2**30)
    assert [*map(size_in_words, sizes)] == ["1,023 bytes", "2.0 KiB", "5.5 MiB", "1,730.2 GiB"]
    assert mebibytes(3 * 2**19) == 1.5
    assert mebibytes(None) is None


def test_what_rounds_to_nothing_has_a_plus() -> None:
    assert [signed(value, 1) for value in (-0.04, 0.04, -0.06)] == ["+0.0", "+0.0", "-0.1"]

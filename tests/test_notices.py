"""Notices from deep inside."""

from clifctl.notices import tell, told_to


def test_the_nearest_listener_is_told() -> None:
    outer: list[str] = []
    inner: list[str] = []
    tell("nobody")
    with told_to(outer.append):
        tell("one")
        with told_to(inner.append):
            tell("two")
        tell("three")
    tell("nobody")
    assert (outer, inner) == (["one", "three"], ["two"])

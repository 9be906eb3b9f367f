"""Notices from deep inside."""

from clifctl.notices import heard_by, tell


def test_the_nearest_listener_is_told() -> None:
    outer: list[str] = []
    inner: list[str] = []
    tell("nobody")
    with heard_by(outer.append):
        tell("one")
        with heard_by(inner.append):
            tell("two")
        tell("three")
    tell("nobody")
    assert (outer, inner) == (["one", "three"], ["two"])

"""Notices from deep inside."""

from clifctl.notices import heard_by, tell, tell_once


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


def test_what_goes_on_can_be_heard_by_another_than_what_should_be_known() -> None:
    known: list[str] = []
    going_on: list[str] = []
    with heard_by(known.append, going_on.append):
        tell("one")
        tell_once("two")
        with heard_by(known.append):
            tell_once("two")
            tell("three")
    assert (known, going_on) == (["two", "three"], ["one"])

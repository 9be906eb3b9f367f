"""What is printed to be pasted comes back as it was."""

import codecs
import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clifctl.commands import command_line, override, visible, visible_lines, without_a_sign
from clifctl.errors import RecipeError
from clifctl.recipe.yamlfile import dump_document, parse_document, parse_scalar

# Text as a path or a title may hold it; files are UTF-8, so halves of surrogate pairs are not text.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
LIKE_NUMBERS = st.from_regex(r"[-+]?[0-9_.:]{0,5}([eE][-+]?[0-9]{0,4})?", fullmatch=True)
LIKE_OTHERS = st.sampled_from(
    [*("08", "1e3", "1234e56", "+.5", "1e400", "0x1F", "1:30", "2024-01-01", "1_000", ".inf"),
     *("null", "~", "Null", "yes", "No", "on", "true", "False", "=", "<<", "-", "- a", "a: b"),
     *("set #2", "#", "[a", "{", "'", '"', "*a", "&a", "!t", "|", ">", "%", "@", "`", "?", " a "),
     *("", " ", "\t", "\x85", "\u2028", "\ufeff", "a\nb", "\r", "é", "\x07", "---", "...")]
)  # fmt: skip
STRINGS = TEXT | LIKE_NUMBERS | LIKE_OTHERS
SCALARS = st.none() | st.booleans() | NUMBERS | STRINGS
DOCUMENTS = st.dictionaries(
    STRINGS, st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(STRINGS, inner))
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1 is neither 1.0 nor true."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@settings(max_examples=20)  # each is a document of many values
@given(DOCUMENTS.filter(bool))
def test_every_document_reads_back(document: dict[str, Any]) -> None:
    assert same(parse_document(dump_document(document), "it"), document)


@given(st.none() | st.booleans() | NUMBERS | STRINGS | st.lists(SCALARS, max_size=3))
def test_an_override_can_be_pasted(value: Any) -> None:
    (_, word) = shlex.split(command_line("train", override("data.root", value)))[1:]
    key, _, text = word.partition("=")
    assert key == "data.root"
    assert same(parse_scalar(text, "it"), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("set #2", "set #2"),
        (" a ", " a "),
        ("note: this", "note: this"),
        ("- x", "- x"),
        ("*a", "*a"),
        ("!!python/object:x", "!!python/object:x"),
        ("1e-3", 1e-3),
        ("5", 5),
        (" 5 ", 5),
        ("08", 8),
        ("true", True),
        ("null", None),
        ("", None),
        ("[1, 2]", [1, 2]),
        ("{epoch: 2, to: clif}", {"epoch": 2, "to": "clif"}),
        ("'2024'", "2024"),
        ('"set #2"', "set #2"),
    ],
)
def test_an_override_is_taken_whole(text: str, value: Any) -> None:
    assert same(parse_scalar(text, "it"), value)


@pytest.mark.parametrize("text", ["[1] #c", '"a" #c', "[1", "'a'b", "{a: 1} x", "[*a]"])
def test_what_begins_as_a_list_or_in_quotes_must_end_so(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_scalar(text, "override k")
    assert caught.value.hint is not None
    (quoted,) = shlex.split(caught.value.hint.removeprefix("as text it is "))
    assert parse_scalar(quoted, "it") == text


def test_what_is_nested_without_measure_is_refused() -> None:
    for text in ("[" * 100_000 + "]" * 100_000, "{a: " * 50_000 + "1" + "}" * 50_000):
        with pytest.raises(RecipeError):
            parse_scalar(text, "override k")
    for depth in (300, 400, 500):  # by the parser in C, not by the one in Python
        with suppress(RecipeError):
            parse_scalar("[" * depth + "]" * depth, "override k")


def test_commands_are_quoted() -> None:
    assert command_line("train", "--resume", "my runs/a'b") == (
        "clifctl train --resume 'my runs/a'\"'\"'b'"
    )


def test_what_is_shown_hides_nothing_and_steers_no_terminal() -> None:
    hostile = "a\x1b]0;title\x07\nerror: b\u202ec\u2028d\x85e\udc80f"
    assert visible(hostile) == ("a\\x1b]0;title\\x07\\nerror: b\\u202ec\\u2028d\\x85e\\udc80f")
    plain = "Röntgen ± 5 µJ · 12\u202f345 ✓ 脉冲"
    assert visible(plain) == plain
    assert visible("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"
    assert visible_lines("2 problems\n  one\n  two\nthree") == "2 problems\n  one\n  two\\nthree"


def test_tables_errors_and_notes_show_names_escaped(
    clifctl: Callable[..., Any], tmp_path: Path
) -> None:
    name = "evil\x1b[2J\nhint: rm -rf\x07"
    recipe = {
        "title": name,
        "data": {"name": "digits"},
        "model": {"name": "mlp", "hidden": [6]},
        "neuron": {"name": "lif"},
        "timesteps": 2,
        "train": {"epochs": 1},
    }
    (tmp_path / f"{name}.yaml").write_text(json.dumps(recipe))
    for arguments in (
        ["recipes", "check", f"{name}.yaml"],
        ["recipes", "check", f"{name}.yaml", "--format", "md"],
        ["recipes", "check", f"{name}.yaml", f"{name}=1"],
        ["recipes", "show", f"{name}.yaml", "--resolved"],
        ["train", f"{name}.yaml", "--dry-run", "--target", "reference"],
        ["train", name],
        ["eval", f"{name}.pt"],
        ["runs", "show", name],
    ):
        done = clifctl(*arguments)
        assert "evil\\" in done.out + done.err, arguments
        assert "\x1b" not in done.out + done.err
        assert "\x07" not in done.out + done.err
        assert len(done.err.splitlines()) <= 2, done.err


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("latin-1", b"\xb1 -- - \\u03c4"), ("ascii", b"+- -- - \\u03c4"), ("utf-8", None)],
)
def test_a_stream_without_a_sign_gets_another(encoding: str, shown: bytes | None) -> None:
    codecs.register_error("clifctl", without_a_sign)
    text = "± ── ╭ τ"
    assert text.encode(encoding, errors="clifctl") == (shown or text.encode())

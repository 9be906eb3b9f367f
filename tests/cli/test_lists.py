"""Lists as they are typed, and what a person is told of an argument that an option gave."""

import pytest

from clifctl.cli.error_text import hint_of, message_of
from clifctl.cli.lists import names, numbers, shape, shard, whole_numbers
from clifctl.errors import ArgumentError, UntrustedFile, UsageError
from clifctl.experiments.grid.dispatch import Shard


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("lif, clif ,lif", ["lif", "clif"]),
        ("lif,", ["lif"]),
        ("lif,mine.py:Foo(tau=8, reset='a,b')", ["lif", "mine.py:Foo(tau=8, reset='a,b')"]),
        ("f(a=[1,2],b={3,4}),g", ["f(a=[1,2],b={3,4})", "g"]),
        ("'a, b.py:Foo',\"c,d\"", ["a, b.py:Foo", "c,d"]),
        ("'a(b',c", ["a(b", "c"]),
        ("bob's.py:A,ann's.py:B", ["bob's.py:A", "ann's.py:B"]),
        ("'a'b',c", ["'a'b'", "c"]),
    ],
)
def test_commas_in_brackets_and_quotes_divide_nothing(text: str, entries: list[str]) -> None:
    assert names("--neurons", text) == entries


@pytest.mark.parametrize("text", ["", " , ", "''"])
def test_an_empty_list_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--neurons '{text}': the list is empty"):
        names("--neurons", text)


@pytest.mark.parametrize(
    ("text", "missing"), [("lif,f(1,2", r"\)"), ("'lif,clif", "'"), ("f([1)]", r"\)")]
)
def test_what_is_open_is_closed(text: str, missing: str) -> None:
    with pytest.raises(UsageError, match=f": {missing} is missing"):
        names("--neurons", text)


def test_numbers_are_numbers() -> None:
    assert whole_numbers("--k", " 3, 1,3 ") == [3, 1]
    assert numbers("--tau", "0,-0.02, -1e-1,-0.02") == [0.0, -0.02, -0.1]
    for text, part in (("1.5", "1.5"), ("1,x", "x"), ("9" * 5000, "9+")):
        with pytest.raises(UsageError, match=f"--k {text}: '{part}' is not a whole number"):
            whole_numbers("--k", text)
    for text, part in (("0,zero", "zero"), ("nan", "nan"), ("1,inf", "inf")):
        with pytest.raises(UsageError, match=f"--tau {text}: '{part}' is not a number"):
            numbers("--tau", text)


def test_sizes_have_an_x_between() -> None:
    assert shape("--shape", "6x16x3") == (6, 16, 3)
    for text in ("", "x", "6x", "6xax3", "6X16", "-1x2", "\u0663x2"):
        with pytest.raises(UsageError, match=f"--shape '{text}': must be whole numbers"):
            shape("--shape", text)


def test_a_shard_is_i_of_n() -> None:
    assert shard("--shard", "2/3") == Shard(2, 3)
    for text in ("", "1", "0/2", "3/2", "a/b", "-1/2", "1/0", "1/2/3"):
        with pytest.raises(UsageError, match=f"--shard {text}: must be i/n"):
            shard("--shard", text)


def test_a_shard_of_a_slurm_array(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ID", "MIN", "COUNT", "STEP"):
        monkeypatch.delenv(f"SLURM_ARRAY_TASK_{name}", raising=False)
    with pytest.raises(UsageError, match="no job of a Slurm array"):
        shard("--shard", "slurm")

    def array(**values: str) -> Shard:
        for name, value in values.items():
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
        return shard("--shard", "slurm")

    assert array(ID="0", MIN="0", COUNT="3") == Shard(1, 3)
    assert array(ID="2", MIN="0", COUNT="3", STEP="1") == Shard(3, 3)
    assert array(ID="9", MIN="1", COUNT="3", STEP="4") == Shard(3, 3)
    # A list of tasks with holes has no parts: --array=1,7.
    with pytest.raises(UsageError, match="--shard slurm: must be i/n"):
        array(ID="7", MIN="1", COUNT="2", STEP="1")


def test_an_argument_is_told_as_the_option_that_gave_it() -> None:
    refused = ArgumentError("windows", 9, "must be between 1 and T = 8")
    assert refused.message == "windows = 9: must be between 1 and T = 8"
    assert message_of(refused) == "--k 9: must be between 1 and T = 8"
    assert message_of(ArgumentError("batch_norm", None, "why")) == "--batch-norm: why"
    assert message_of(UsageError("as it is")) == "as it is"


def test_hints_about_options_are_the_command_lines() -> None:
    refused = UntrustedFile("recipe 'x'", "neuron", "my neurons.py:Foo", {})
    assert refused.hint is None
    assert hint_of(refused) == "if you trust that file, add --trust 'my neurons.py:Foo'"
    assert hint_of(UsageError("why", hint="what")) == "what"
    assert hint_of(UsageError("why")) == "--help shows what is allowed, with an example"

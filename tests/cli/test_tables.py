"""Which table is written, and into what kind of file."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from clifctl.cli.app import app
from clifctl.report.energy import _fitting
from clifctl.report.render import Column, Table

Run = Callable[..., Any]
DYNAMICS = ("dynamics", "--timesteps", "4", "--seeds", "1", "--target", "reference")


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_says_what_it_leaves_out(clifctl: Run) -> None:
    done = clifctl("neurons", "show", "plif", "--format", "csv")
    assert "csv holds the table 'result' alone, not hyperparameters: --table NAME" in done.err
    assert [row["neuron"] for row in rows(done.out)] == ["plif"]
    assert clifctl("neurons", "show", "plif", "--format", "csv", "-q").err == ""
    assert clifctl("neurons", "ls", "--format", "csv").err == ""


def test_a_table_is_chosen_by_its_name(clifctl: Run) -> None:
    show = ("neurons", "show", "plif", "--table", "hyperparameters")
    done = clifctl(*show, "--format", "csv")
    assert {"name", "default"} <= set(rows(done.out)[0])
    assert done.err == ""
    assert clifctl(*show, "--format", "md").out.startswith("**hyperparameters**")
    assert clifctl(*show).out.startswith("hyperparameters\n")
    Path("x.csv").unlink(missing_ok=True)
    clifctl(*show, "-o", "x.csv")
    assert Path("x.csv").read_text() == done.out


def test_every_table_for_a_program_can_be_chosen(clifctl: Run) -> None:
    for table in ("rates", "autocorrelations", "currents", "traces"):
        found = rows(clifctl(*DYNAMICS, "--table", table, "--format", "csv").out)
        assert found[0]["neuron"] == "lif"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--table", "nothing"), ("--table nothing", "there are: result, hyperparameters")),
        (("--table", "result", "--json"), ("JSON has every table",)),
        (("--table", "operations"), ("this result has none", "it has: result, hyperparameters")),
        (("-o", "x.docx"), ("no format has the ending .docx", ".csv (csv)")),
        (("-o", "x.xlsx", "--table", "result"), ("ending .xlsx",)),
        (("-o", "dry.csv", "--json"), ("contradict each other", "-o dry.json")),
        (("-o", "x.md", "--format", "csv"), ("contradict each other", "-o x.csv")),
    ],
)
def test_what_contradicts_itself_is_refused(
    clifctl: Run, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    done = clifctl("neurons", "show", "plif", *arguments)
    assert done.code == 2
    assert done.out == ""
    for part in parts:
        assert part in done.err
    assert not any(Path(name).exists() for name in ("x.docx", "x.xlsx", "dry.csv", "x.md"))


def test_a_text_has_its_own_endings(clifctl: Run) -> None:
    assert clifctl("recipes", "show", "digits_snn5", "-o", "own.yaml").code == 0
    assert "timesteps: 4" in Path("own.yaml").read_text()
    # An ending of its own choice is taken where the format is said.
    assert clifctl("neurons", "ls", "--format", "csv", "-o", "own.data").code == 0
    assert Path("own.data").read_text().startswith("neuron,")


def test_energies_of_a_table_share_a_unit_and_digits_within_a_column() -> None:
    columns = (
        *(Column("source", "source"), Column("in_out_mj", "in/out [mJ]", 4)),
        *(Column("addressing_uj", "addressing [uJ]", 4), Column("total_mj", "total [mJ]", 4)),
    )
    lines = (
        {"source": "a", "in_out_mj": 2e-8, "addressing_uj": 5.1063e-3, "total_mj": 5.4831e-4},
        {"source": "b", "in_out_mj": 2.2e-4, "addressing_uj": None, "total_mj": 1.7765e-4},
    )
    fitted = _fitting(Table("costs", columns, lines))
    assert [one.label for one in fitted.columns[1:]] == [
        *("in/out [nJ]", "addressing [nJ]", "total [nJ]")
    ]
    assert fitted.rows[0]["total_mj"] == pytest.approx(548.31)
    assert fitted.rows[0]["addressing_uj"] == pytest.approx(5.1063)
    assert fitted.rows[1]["addressing_uj"] is None
    assert [one.digits for one in fitted.columns] == [None, 1, 3, 1]
    # A net of the paper keeps the paper's unit and digits.
    large = _fitting(Table("costs", columns[3:], ({"total_mj": 111.6619},)))
    assert large.columns[0] == Column("total_mj", "total [mJ]", 4)


def commands(group: Any) -> list[Any]:
    if not hasattr(group, "commands"):
        return [group]
    return [found for one in group.commands.values() for found in commands(one)]


def test_flags_have_no_value_in_the_help(clifctl: Run) -> None:
    texts = [clifctl(*words, "--help").out for words in ((), ("runs",), ("train",), ("runs", "ls"))]
    assert not any("<bool>" in text for text in texts)
    replaced = "Replace an existing run folder"
    helps = [
        (one.name, option.help)
        for one in commands(typer.main.get_command(app))
        for option in one.params
        if "--overwrite" in option.opts
    ]
    assert [name for name, text in helps if text.startswith(replaced)] == ["train"]
    assert len(helps) > 15


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare-neurons", "--seeds", "x"), "'--seeds': must be a whole number"),
        (("dynamics", "--seed", "-1"), "'--seed': must be at least 0"),
        (("train", "digits_snn5", "model.channels=5"), "model.channels = 5: must be a list"),
        (("train", "digits_snn5", "train.epochs=1.5"), "train.epochs = 1.5: must be a whole"),
        (("train", "digits_snn5", "train.deterministic=3"), "must be true or false"),
        (("train", "digits_snn5", "data.random_crop_padding=-1"), "= -1: must be at least 0"),
    ],
)
def test_validators_speak_our_words(clifctl: Run, arguments: tuple[str, ...], said: str) -> None:
    done = clifctl(*arguments)
    assert done.code == 2
    assert said in done.err
    assert "Input should" not in done.err

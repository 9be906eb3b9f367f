"""`neurons cp`: a file of one's own to begin with, which is right as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clifctl.kernels.ir.trace import trace
from clifctl.kernels.parity import check, covering_cases
from clifctl.neurons import NEURONS, template
from clifctl.neurons.loading import load_neuron

Run = Callable[..., Any]


def cases() -> list[Any]:
    """Every case of `neurons check`; all but the first on request."""
    count = len(covering_cases([template.NEURON]))
    return [pytest.param(n, marks=[pytest.mark.exhaustive] if n else []) for n in range(count)]


@pytest.mark.parametrize("number", cases())
def test_the_template_passes_check_as_it_is(clifctl: Run, number: int) -> None:
    done = clifctl("neurons", "cp", "--template", "mine.py")
    assert (done.code, done.out) == (0, "")
    assert "check it with: clifctl neurons check mine.py:NEURON" in done.err
    own = load_neuron("mine.py:NEURON", NEURONS)
    neuron, case = covering_cases([own])[number]
    outcome = check(neuron, case)
    assert outcome.passed, outcome


def test_the_template_trains_and_takes_its_keys(clifctl: Run, tiny: list[str]) -> None:
    assert clifctl("neurons", "cp", "--template", "mine.py").code == 0
    keys = ("neuron.name=mine.py:NEURON", "neuron.tau_a=6.0", "--target", "reference", "--json")
    done = clifctl("train", "digits_snn5", *tiny, "train.epochs=1", *keys)
    assert done.code == 0, done.err
    assert done.json["neuron"] == "mine.py:NEURON"
    assert done.json["firing_rate"] > 0


@pytest.mark.parametrize("name", NEURONS)
def test_a_copy_is_the_neuron(clifctl: Run, tmp_path: Path, name: str) -> None:
    done = clifctl("neurons", "cp", name, "mine.py")
    assert done.code == 0, done.err
    reference = done.err.split()[-1]
    copied, original = load_neuron(str(tmp_path / reference), NEURONS), NEURONS[name]
    defaults = original.with_values()
    assert copied.with_values().model_dump() == defaults.model_dump()
    assert str(trace(copied, copied.with_values())) == str(trace(original, defaults))


def test_a_file_is_not_overwritten_unasked(clifctl: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("mine")
    assert clifctl("neurons", "cp", "clif", "mine.py").code == 2
    assert (tmp_path / "mine.py").read_text() == "mine"
    assert clifctl("neurons", "cp", "clif", "mine.py", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["clif"], "needs a neuron, or --template, and the file to write"),
        (["--template"], "needs a neuron, or --template, and the file to write"),
        (["--template", "clif", "mine.py"], "needs a neuron, or --template"),
        (["cliff", "mine.py"], "did you mean 'clif'"),
        (["clif", "mine.txt"], "'mine.txt': a neuron's file ends in .py"),
        (["clif", "none/mine.py"], "no folder 'none'"),
    ],
)
def test_wrong_input(clifctl: Run, arguments: list[str], part: str) -> None:
    done = clifctl("neurons", "cp", *arguments)
    assert (done.code, done.out) == (2, "")
    assert part in done.err
    assert done.err.splitlines()[-1].startswith("hint: ")

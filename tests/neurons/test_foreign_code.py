"""Other people's code: neuron files and installed packages that print, and fail in every way."""

import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl import foreign_code
from clifctl.errors import NeuronError
from clifctl.kernels import scan
from clifctl.kernels.ir.trace import trace
from clifctl.neurons import (
    NEURONS,
    Hyperparameters,
    LeakyHyperparameters,
    Learnable,
    Neuron,
    State,
)
from clifctl.neurons.loading import FOREIGN_NEURONS, load_neuron

Run = Callable[..., Any]


def raising(problem: BaseException) -> Callable[..., Any]:
    def step(x: Any, state: Any, p: Any) -> Any:
        raise problem

    return step


def made(step: Any, **changes: Any) -> Neuron:
    parts: dict[str, Any] = {"states": (State("v", ""),), "hyperparameters": LeakyHyperparameters}
    return Neuron("odd", "", "", step, **{**parts, **changes})


@pytest.mark.parametrize(
    ("step", "part"),
    [
        (raising(KeyError("a")), "KeyError: 'a'"),
        (raising(ZeroDivisionError("division by zero")), "ZeroDivisionError: division by zero"),
        (raising(AssertionError()), r"traced: AssertionError|step: AssertionError"),
        (raising(RuntimeError("boom")), "RuntimeError: boom"),
        (raising(SystemExit(0)), "SystemExit: 0"),
        (raising(StopIteration()), "StopIteration"),
        (raising(MemoryError()), "MemoryError"),
        (lambda x, state: (x, state), "TypeError: .* takes 2 positional arguments"),
        (lambda x, state, p: (state[3], state), "IndexError"),
        (lambda x, state, p: None, r"step must return \(output, states\)"),
        (lambda x, state, p: x, r"step must return \(output, states\)"),
        (lambda x, state, p: (x, list(state)), r"step must return \(output, states\)"),
        (lambda x, state, p: (1.0, state), "step returned 1.0, which is not a tensor"),
        (lambda x, state, p: (x, (0.0,)), "step returned 0.0, which is not a tensor"),
    ],
)
def test_a_broken_step_is_told_by_kernels_and_by_the_reference(step: Any, part: str) -> None:
    neuron = made(step)
    with pytest.raises(NeuronError, match=part):
        trace(neuron, neuron.hyperparameters())
    for target in ("reference", "numba"):
        with pytest.raises(NeuronError, match=part):
            scan(torch.zeros(2, 1, 3), None, neuron.parameters(), target=target)


def test_an_attribute_that_no_tensor_has_is_told() -> None:
    neuron = made(lambda x, state, p: (x.nothing, state))
    with pytest.raises(NeuronError, match=r"step uses x\.nothing"):
        trace(neuron, neuron.hyperparameters())
    with pytest.raises(NeuronError, match="no attribute 'nothing'"):
        scan(torch.zeros(2, 1, 3), None, neuron.parameters(), target="reference")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"states": (State("v", "", lambda p: p.nothing),)}, "the initial value of state 'v'"),
        ({"states": (State("v", "", "a"),)}, "the initial value of state 'v'"),
        (
            {"learnables": (Learnable("g", "", "scalar", lambda p, T: 1 / 0),)},
            "the initial value of parameter 'g': ZeroDivisionError",
        ),
        (
            {"learnables": (Learnable("g", "", "scalar", lambda p, T: 1, lambda raw: raw.no),)},  # type: ignore[attr-defined]
            "the transform of parameter 'g': AttributeError",
        ),
    ],
)
def test_a_broken_declaration_is_told_where_it_is_used(changes: dict[str, Any], part: str) -> None:
    neuron = made(lambda x, state, p: (x, state), **changes)

    def run() -> None:
        learnables = {
            p.name: p.start(neuron.hyperparameters(), channels=1, timesteps=2)
            for p in neuron.learnables
        }
        scan(torch.zeros(2, 1, 3), None, neuron.parameters(learnables), target="numba")

    with pytest.raises(NeuronError, match=part):
        run()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"step": None}, "step must be a function"),
        ({"hyperparameters": dict}, "must be a subclass of clifctl.neurons.Hyperparameters"),
        ({"learnables": (Learnable("g", "", "row", lambda p, T: 1.0),)}, "scalar, channel, step"),
        ({"max_timesteps": 0}, "max_timesteps must be at least 1"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(NeuronError, match=part):
        made(**{"step": lambda x, state, p: (x, state), **changes})


FILE = """
import sys
print("loaded")
from clifctl.neurons import LeakyHyperparameters, Neuron, Hyperparameters
def step(x, state, p):
    print("stepped")
    sys.exit(0)
class Needs(Hyperparameters):
    a: float
NEURON = Neuron("exits", "", "", step, (), LeakyHyperparameters)
NEEDS = Neuron("needs", "", "", step, (), Needs)
from clifctl.neurons.lif import NEURON as FINE
"""


def test_check_and_train_say_the_same_and_print_on_stderr(clifctl: Run, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FILE)
    checked = clifctl("neurons", "check", "own.py:NEURON", "--json")
    assert checked.code == 1
    (row,) = json.loads(checked.out)["cases"]
    trained = clifctl("train", "digits_rows_mlp", "neuron.name=own.py:NEURON", "--out", "run")
    assert (trained.code, trained.out) == (2, "")
    for told in (row["quantity"], trained.err):
        assert "step cannot be traced: SystemExit: 0" in told
    assert "loaded\n" in checked.err
    assert "stepped\n" in checked.err
    needs = clifctl("neurons", "check", "own.py:NEEDS")
    assert (needs.code, needs.out) == (2, "")
    assert "neuron 'own.py:NEEDS': hyperparameter 'a' has no default" in needs.err


def test_a_file_that_exits_is_an_error(clifctl: Run, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import sys\nsys.exit(0)\n")
    done = clifctl("neurons", "show", "own.py:NEURON")
    assert (done.code, done.out) == (2, "")
    assert "'own.py' cannot be loaded: SystemExit: 0" in done.err


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three packages that offer a neuron: one works, one fails, one is not there."""
    (tmp_path / "offers_neurons.py").write_text(FILE)
    (tmp_path / "exits_at_once.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    offered = [
        EntryPoint("mine", "offers_neurons:FINE", FOREIGN_NEURONS.group),
        EntryPoint("exiting", "exits_at_once:NEURON", FOREIGN_NEURONS.group),
        EntryPoint("missing", "there_is_no_such_module:NEURON", FOREIGN_NEURONS.group),
        EntryPoint("number", "offers_neurons:sys", FOREIGN_NEURONS.group),
    ]
    monkeypatch.setattr(foreign_code, "entry_points", lambda group: offered)
    FOREIGN_NEURONS.forget()
    yield
    FOREIGN_NEURONS.forget()
    for name in ("offers_neurons", "exits_at_once"):
        sys.modules.pop(name, None)


def test_a_broken_entry_point_is_named_and_left_out(
    installed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    # A neuron of the table needs no package.
    assert load_neuron("clif", NEURONS) is NEURONS["clif"]
    with pytest.warns(RuntimeWarning) as said:
        assert list(FOREIGN_NEURONS.installed()) == ["mine"]
    told = [str(warning.message) for warning in said]
    assert len(told) == 3
    assert "the neuron 'exiting' (exits_at_once:NEURON) cannot be loaded: SystemExit: 0" in told[0]
    assert "there_is_no_such_module" in told[1]
    assert "is a module, not a Neuron" in told[2]
    assert all(line.endswith(": it is left out") for line in told)
    assert capsys.readouterr().out == ""
    assert load_neuron("mine", NEURONS).name == "lif"
    with pytest.raises(NeuronError, match=r"the neuron 'missing' .* cannot be loaded"):
        load_neuron("missing", NEURONS)
    with pytest.raises(NeuronError, match=r"unknown neuron 'min'.*did you mean 'mine'"):
        load_neuron("min", NEURONS)


def test_hyperparameters_without_a_default_are_told() -> None:
    class Needs(Hyperparameters):
        a: float

    with pytest.raises(NeuronError, match="neuron 'odd': hyperparameter 'a' has no default"):
        made(lambda x, state, p: (x, state), hyperparameters=Needs).with_values()

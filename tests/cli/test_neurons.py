from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clifctl.neurons import NEURONS

Run = Callable[..., Any]

# A neuron that nobody has seen: three states, a learnable parameter of each channel, a `where`.
OWN = '''
"""Somebody's own neuron."""
import torch
from clifctl.neurons import Hyperparameters, LeakyHyperparameters, Learnable, Neuron, State, spike


class Fixed(Hyperparameters):
    v_threshold: float = 1.0


def step(x, state, p):
    v, w, b = state
    u = (1 - 1 / p.tau) * v + p.gain * x - b
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    w = torch.where(u > 0, 0.9 * w + u / p.tau, 0.5 * w)
    return s, (u - s * p.v_threshold, w, 0.5 * b + 0.1 * s + 0.05 * torch.tanh(w))


FOO = Neuron(
    name="foo",
    title="a neuron that nobody has seen",
    paper="none",
    step=step,
    states=(State("v", "membrane"), State("w", "trace", 0.25), State("b", "adaptation")),
    hyperparameters=LeakyHyperparameters,
    learnables=(Learnable("gain", "input gain", "channel", lambda p, T: 1.0),),
)
# Its surrogate gradient is no choice: three kernels instead of twelve go through the check.
FIXED = Neuron(
    name="fixed",
    title="one state, one surrogate",
    paper="none",
    step=lambda x, state, p: (
        (s := spike(p.gain * x + 0.5 * state[0] - p.v_threshold)),
        (0.5 * state[0] + p.gain * x - s * p.v_threshold,),
    ),
    states=(State("v", "membrane"),),
    hyperparameters=Fixed,
    learnables=(Learnable("gain", "input gain", "channel", lambda p, T: 1.0),),
)
SINE = Neuron("sine", "", "", lambda x, s, p: (torch.sin(x), s), (), LeakyHyperparameters)
LIST = [1]
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_ls_lists_the_table(clifctl: Run) -> None:
    rows = clifctl("neurons", "ls", "--json").json["neurons"]
    assert [row["neuron"] for row in rows] == list(NEURONS)
    clif = next(row for row in rows if row["neuron"] == "clif")
    assert clif["states"] == ["v", "m"]
    assert {h["name"]: h["default"] for h in clif["hyperparameters"]}["tau"] == 2.0


def test_show_prints_what_is_generated(clifctl: Run) -> None:
    source = clifctl("neurons", "show", "clif", "--kernel", "numba").out
    compile(source, "generated", "exec")
    assert "def windowed(" in source
    kernels = clifctl("neurons", "show", "clif", "--kernel", "triton", "--timesteps", "3").out
    compile(kernels, "generated", "exec")
    assert "x_2 = tl.load" in kernels
    assert "x_3" not in kernels
    program = clifctl("neurons", "show", "clif", "--kernel", "adjoint").out
    assert "output  next_m" in program
    assert "output  g_m" in program
    assert "membrane time constant" in clifctl("neurons", "show", "clif").out


def test_registers_are_counted_without_a_gpu(clifctl: Run, own: Path) -> None:
    arguments = ["--kernel", "triton", "--registers", "--timesteps", "2", "--json"]
    result = clifctl("neurons", "show", "own.py:FOO", *arguments).json
    assert result["schema"] == "clifctl.neurons.registers/1"
    rows = result["kernels"]
    kernels = {(row["kernel"], row["dtype"], row["gpu"]) for row in rows}
    assert len(kernels) == len(rows) == 3 * 3 * 2
    assert result["spills"] == 0
    assert all(8 <= row["registers"] <= 255 for row in rows)
    assert result["compile_s_largest"] == max(row["compile_s"] for row in rows) > 0.0


def test_a_neuron_of_ones_own_goes_through_check(clifctl: Run, own: Path) -> None:
    done = clifctl("neurons", "check", "own.py:FIXED", "--json")
    assert done.code == 0, done.err
    result = done.json
    assert result["passed"] is True
    assert f"checking {len(result['cases'])} cases of 'own.py:FIXED'" in done.err
    chosen = [row["case"].split("-") for row in result["cases"]]
    assert {case[1] for case in chosen} == {"float64", "float32", "bfloat16", "float16"}
    windows = {case[3] for case in chosen}
    assert windows == {"full", "sliding:1", "sliding:2", "sliding:5", "chunked:2", "prefix:2"}
    assert all(row["error"] <= row["allowed"] for row in result["cases"])


def test_a_neuron_that_does_not_hold_exits_1(clifctl: Run, own: Path) -> None:
    done = clifctl("neurons", "check", "own.py:SINE")
    assert done.code == 1
    assert "uses sin, which has no derivative rule" in done.out
    assert "error: neuron 'own.py:SINE': 1 of 1 cases do not hold" in done.err


def test_a_neuron_of_ones_own_trains_and_is_run_by_eval_only_when_trusted(
    clifctl: Run, tiny: list[str], own: Path
) -> None:
    name = "neuron.name=own.py:FOO"
    done = clifctl("train", "digits_snn5", *tiny, name, "--out", "run", "--json")
    assert done.code == 0, done.err
    assert done.json["neuron"] == "own.py:FOO"
    refused = clifctl("eval", "run/last.pt")
    assert refused.code == 2
    assert "is not run unasked" in refused.err
    assert "add --trust own.py:FOO" in refused.err
    other = clifctl("eval", "run/last.pt", "--neuron", "lif")
    assert (other.code, other.out) == (2, "")
    assert "--neuron lif: must be FILE.py:NAME" in other.err
    trusted = clifctl("eval", "run/last.pt", "--neuron", "own.py:FOO", "--json")
    assert trusted.json["accuracy_percent"] == done.json["accuracy_percent_last"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["show", "cliff"], "did you mean 'clif'"),
        (["show", "none.py:FOO"], "no file 'none.py'"),
        (["show", "own.py:BAR"], "it offers: FOO, FIXED, SINE"),
        (["show", "own.py:LIST"], "is a list, not a Neuron"),
        (["show", "broken.py:FOO"], "cannot be loaded: ZeroDivisionError"),
        (["show", "clif", "--kernel", "cuda"], "unknown kernel 'cuda'"),
        (["show", "clif", "--registers"], "--registers needs the GPU kernel"),
        (["show", "clif", "--timesteps", "3", "--kernel", "numba"], "--timesteps needs the GPU"),
        (["show", "clif", "--timesteps", "0", "--kernel", "triton"], "must be between 1 and 4096"),
        (["check", "own.py:BAR"], "has no 'BAR'"),
    ],
)
def test_wrong_input(
    clifctl: Run, own: Path, tmp_path: Path, arguments: list[str], part: str
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    done = clifctl("neurons", *arguments)
    assert done.code == 2
    assert part in done.err
    assert done.err.splitlines()[-1].startswith("hint: ")
    assert "Traceback" not in done.err


def test_a_window_and_its_reading_are_keys_of_a_recipe(clifctl: Run, tiny: list[str]) -> None:
    losses = []
    for reading in ("sliding", "chunked", "prefix"):
        overrides = [*tiny, "timesteps=4", "neuron.window=2", f"neuron.window_reading={reading}"]
        done = clifctl("train", "digits_snn5", *overrides, "--json")
        assert done.json["window"] == 2
        losses.append(done.json["train_loss_train_mode"])
    assert len(set(losses)) == 3
    wrong = clifctl("train", "digits_snn5", "neuron.window=2", "neuron.window_reading=slide")
    assert wrong.code == 2
    assert "must be 'sliding', 'chunked' or 'prefix'" in wrong.err

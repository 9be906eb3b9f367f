"""`clifctl dynamics` through the command line."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]
QUICK = ["--target", "reference"]


def test_the_papers_experiment(clifctl: Run) -> None:
    done = clifctl("dynamics", *QUICK, "--rate", "0.3", "--weight", "1", "--json")
    assert (done.code, done.err) == (0, "")
    result = done.json
    assert result["schema"] == "clifctl.dynamics/1"
    assert (result["rate"], result["weight"], result["trials"]) == (0.3, 1.0, 20)
    lif, clif = result["neurons"]
    for neuron, expected in ((lif, 0.297), (clif, 0.149)):
        assert [row["timesteps"] for row in neuron["rates"]] == [64, 128, 256, 512]
        last = neuron["rates"][-1]
        assert abs(last["rate"]["mean"] - expected) < 2 * last["rate"]["standard_error"]
        assert last["interval_95_low"] < last["rate"]["mean"] < last["interval_95_high"]
        assert len(neuron["traces"]["spikes"]) == len(result["x"]) == 512
        assert len(neuron["rates_of_currents"]) == len(result["currents"]) == 21
    # With an input weight of one threshold nothing is left after LIF's reset.
    v = [one for one in lif["autocorrelations"] if one["signal"] == "v"]
    assert {value for one in v for value in one["mean_removed"]} == {None}
    m = [one for one in clif["autocorrelations"] if one["signal"] == "m"][-1]
    assert m["mean_removed"][0] == 1.0
    assert m["mean_removed"][1] == pytest.approx(0.33, abs=0.05)
    assert m["raw"][1] / m["raw"][0] == pytest.approx(m["normalised"][1], rel=0.02)


def test_the_input_without_options_lets_the_membrane_potential_add_up(clifctl: Run) -> None:
    result = clifctl("dynamics", *QUICK, "--timesteps", "64", "--seeds", "1", "--json").json
    assert (result["rate"], result["weight"]) == (0.5, 0.8)
    for neuron in result["neurons"]:
        # Below the threshold, and yet not at rest: not every input spike makes the neuron fire.
        left = [v for v in neuron["traces"]["states"]["v"] if v != 0.0]
        assert len({round(v, 3) for v in left}) > 10
        assert 0 < sum(neuron["traces"]["spikes"]) < sum(x != 0.0 for x in result["x"])


def test_constant_input_has_the_rate_of_the_curve(clifctl: Run) -> None:
    arguments = ["--input", "constant", "--weight", "1.2", "--timesteps", "100", *QUICK, "--json"]
    result = clifctl("dynamics", *arguments, "neuron.tau=3").json
    assert result["timesteps"] == [100]
    for neuron in result["neurons"]:
        assert neuron["hyperparameters"]["tau"] == 3
        (row,) = neuron["rates"]
        mean = row["rate"]["mean"]
        assert row["rate"] == {"mean": mean, "standard_error": None, "n": 1, "values": [mean]}
        assert row["interval_95_low"] is None
        at = result["currents"].index(1.2)
        assert neuron["rates_of_currents"][at] == pytest.approx(row["rate"]["mean"])


def test_traces_of_a_file_and_a_neuron_of_a_persons_own(clifctl: Run) -> None:
    np.save("x.npy", np.array([[0.4, 0.0], [0.8, 0.0], [1.5, 0.0], [0.1, 2.0]]))
    Path("mine.py").write_text(
        "from clifctl.neurons import LeakyHyperparameters, Neuron, State, spike\n\n\n"
        "def step(x, state, p):\n"
        "    v = state[0] + x\n"
        "    s = spike(v - 2.0 * p.v_threshold)\n"
        "    return s, (v * (1 - s),)\n\n\n"
        "Foo = Neuron('foo', 'foo', 'none', step, (State('v', 'sum'),), LeakyHyperparameters)\n"
    )
    chosen = ["--neurons", "lif,mine.py:Foo", "--input", "x.npy", "--lags", "1", *QUICK]
    done = clifctl("dynamics", *chosen, "--table", "traces", "--format", "csv", "--plot", "d.svg")
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    mine = [row for row in rows if row["neuron"] == "mine.py:Foo"]
    assert len(rows) == 8
    assert [float(row["u"]) for row in mine] == pytest.approx([0.4, 1.2, 2.7, 0.1])
    assert [row["spike"] for row in mine] == ["0", "0", "1", "0"]
    assert [float(row["threshold"]) for row in mine] == [2.0] * 4
    assert [float(row["v"]) for row in mine] == pytest.approx([0.4, 1.2, 0.0, 0.1])
    assert "<svg" in Path("d.svg").read_text()
    table = clifctl("dynamics", *chosen).out
    assert "Input: x.npy, 2 trials." in table


def test_a_step_that_hides_nothing_is_named_apart(clifctl: Run) -> None:
    """A state called u that is not the membrane potential before reset; the default of --lags; a
    hyperparameter that one neuron has not."""
    Path("mine.py").write_text(
        "from clifctl.neurons import LeakyHyperparameters, Neuron, State, spike\n\n\n"
        "def step(x, state, p):\n"
        "    u = 0.5 * state[0] + x\n"
        "    s = spike(u - p.v_threshold)\n"
        "    return s, (u - s,)\n\n\n"
        "Foo = Neuron('foo', 'foo', 'none', step, (State('u', 'after'),), LeakyHyperparameters)\n"
    )
    np.save("x.npy", np.array([0.75, 0.75, 0.0]))
    chosen = ["--neurons", "mine.py:Foo,lif", "neuron.reset=hard"]
    chosen += ["--input", "x.npy", *QUICK]
    done = clifctl("dynamics", *chosen, "--table", "traces", "--format", "csv")
    assert done.code == 0, done.err
    rows = [row for row in csv.DictReader(io.StringIO(done.out)) if row["neuron"] == "mine.py:Foo"]
    assert [float(row["u"]) for row in rows] == [0.75, 1.125, 0.0625]
    assert [float(row["u_state"]) for row in rows] == [0.75, 0.125, 0.0625]
    result = clifctl("dynamics", *chosen, "--json").json
    described = {
        one["signal"]: one["description"] for one in result["neurons"][0]["autocorrelations"]
    }
    assert described == {"u": "membrane potential before reset", "u_state": "after"}
    assert len(result["neurons"][0]["autocorrelations"][0]["raw"]) == 3
    assert result["notes"][0].startswith("neuron.reset=hard is not for mine.py:Foo")


def test_a_step_that_cannot_be_traced_shows_its_states(clifctl: Run) -> None:
    Path("mine.py").write_text(
        "from clifctl.neurons import LeakyHyperparameters, Neuron, State, spike\n\n\n"
        "def step(x, state, p):\n"
        "    v = state[0] + x if bool((x > 0).any()) else state[0]\n"
        "    s = spike(v - p.v_threshold)\n"
        "    return s, (v - s,)\n\n\n"
        "Foo = Neuron('foo', 'foo', 'none', step, (State('v', 'sum'),), LeakyHyperparameters)\n"
    )
    np.save("x.npy", np.array([0.75, 0.5]))
    chosen = ["--neurons", "mine.py:Foo", "--input", "x.npy", "--plot", "p.png"]
    done = clifctl("dynamics", *chosen, *QUICK, "--json")
    assert done.code == 0, done.err
    traces = done.json["neurons"][0]["traces"]
    assert traces == {
        "spikes": [0, 1], "u": None, "threshold": None, "states": {"v": [0.75, 0.25]}
    }  # fmt: skip
    assert "shows no membrane potential" in done.json["notes"][-1]
    refused = clifctl("dynamics", *chosen[:-2], "--target", "numba")
    assert (refused.code, refused.out) == (2, "")
    assert "decides by the value of a tensor" in refused.err


def test_rows_of_csv(clifctl: Run) -> None:
    chosen = ["--timesteps", "6,9", "--seeds", "3", "--lags", "2", *QUICK]
    result = clifctl("dynamics", *chosen, "--json").json
    text = clifctl("dynamics", *chosen, "--table", "autocorrelations", "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == (2 + 3) * 2 * 3
    m = [one for one in result["neurons"][1]["autocorrelations"] if one["signal"] == "m"][1]
    of_m = [row for row in rows if (row["signal"], row["timesteps"]) == ("m", "9")]
    assert [float(row["raw"]) for row in of_m] == m["raw"]
    text = clifctl("dynamics", *chosen, "--table", "currents", "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * 21
    assert (rows[20]["neuron"], rows[20]["current"], rows[20]["rate"]) == ("lif", "2.0", "1.0")


WRONG = [
    (["--neurons", "lif,clfi"], "did you mean 'clif'?"),
    (["--neurons", "relu"], "does not spike"),
    (["--neurons", ","], "the list is empty"),
    (["--rate", "1.5"], "between 0 and 1"),
    (["--seeds", "0"], "between 1 and"),
    (["--timesteps", "64,1"], "between 2 and"),
    (["--lags", "64"], "between 0 and 63"),
    (["--input", "noise"], "poisson, constant or a .npy file"),
    (["--input", "constant", "--rate", "0.5"], "the input is constant"),
    (["--input", "gone.npy"], "cannot read 'gone.npy'"),
    (["neuron.beta=1"], "unknown hyperparameter"),
    (["neuron.tau=0.5"], "tau"),
    (["tau=2"], "is not a hyperparameter"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[said for _, said in WRONG])
def test_wrong_input(clifctl: Run, arguments: list[str], said: str) -> None:
    done = clifctl("dynamics", *arguments, *QUICK)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "hint: " in done.err
    assert not list(Path().iterdir())


@pytest.mark.parametrize(("steps", "said"), [(1, "1 time step:"), (4097, "4097 time steps:")])
def test_a_file_too_short_or_too_long(clifctl: Run, steps: int, said: str) -> None:
    np.save("x.npy", np.zeros(steps))
    done = clifctl("dynamics", "--input", "x.npy", *QUICK)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 2)), np.array([1.0, np.nan]), np.array(["a"]), np.zeros(0)]
)
def test_a_file_that_is_no_input(clifctl: Run, array: Any) -> None:
    np.save("x.npy", array)
    done = clifctl("dynamics", "--input", "x.npy", *QUICK)
    assert (done.code, done.out) == (2, "")
    assert "x.npy" in done.err


def test_figures_7_and_8_have_no_numbers_and_it_says_so(clifctl: Run) -> None:
    words = ["dynamics", "--timesteps", "4", "--seeds", "1", "--target", "reference"]
    done = clifctl(*words)
    for figure in (7, 8):
        assert f"The paper's Figure {figure} has no published numbers" in done.out
    # They have random input.
    assert "Figure 7" not in clifctl(*words[:3], *words[5:], "--input", "constant").out


def test_one_neuron_is_shown_with_hyperparameters_of_its_own(clifctl: Run) -> None:
    chosen = ["--neurons", "lif,lif(tau=8)", "neuron.tau=3", *QUICK, "--json"]
    rows = clifctl("dynamics", *chosen).json["neurons"]
    assert [row["neuron"] for row in rows] == ["lif", "lif(tau=8)"]
    assert [row["hyperparameters"]["tau"] for row in rows] == [3, 8]
    wrong = clifctl("dynamics", "--neurons", "lif(tua=8)", *QUICK)
    assert wrong.code == 2
    assert "unknown hyperparameter 'tua' (did you mean 'tau'?)" in wrong.err

"""--columns: a name that no result has is refused before any work; one that a result of the command
may have, and this one lacks, is left out and told."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clifctl.results.filled import filled
from clifctl.results.quantities import documents

Run = Callable[..., Any]
NET = ("digits_rows_mlp", "model.hidden=[4]", "train.epochs=1")
GRID = ("--seeds", "1", "--workers", "1", "--out", "grid")

# A command with the column that it is asked for, what was meant, and what does its work.
REFUSED = [
    (("train", *NET), "acuracy_percent_last", "accuracy_percent_last", "train.train"),
    (("compare-neurons", *NET, *GRID), "neuon", "neuron", "compare_neurons.compare_neurons"),
    (("truncate-bptt", *NET, *GRID), "windw", "window", "truncate_bptt.truncate_bptt"),
    (("sweep", *NET, "train.lr=0.1,0.2", *GRID), "train.lrr", "key0", "sweep.sweep"),
    (("eval", "no.pt"), "cros_entropy", "cross_entropy", "eval.evaluate_checkpoint"),
    (("energy", "digits_snn5"), "total_mjj", "total_mj", "energy.energy"),
    (("gradients", "digits_snn5"), "distanc", "distance", "gradients.gradients"),
    (("dynamics",), "intervall_95", "interval_95", "dynamics.dynamics"),
    (("convert", "no.pt"), "chosen", "chosen_on", "exports.lif.deploy"),
    (("convert", "no.pt", "--to", "nir"), "verdct", "verdict", "exports.nir.export"),
    (("bench", "neurons"), "ours_forward", "ours_forward_ms", "bench_neurons.bench_neurons"),
    (("bench", "train"), "steep_ms", "step_ms", "bench_train.bench_train"),
    (("bench", "eval"), "inferenc_ms", "inference_ms", "bench_eval.bench_eval"),
    (("data", "check", "digits"), "fille", "file", "data.check_data"),
    (("data", "show", "digits"), "maximun", "maximum", "data.show_sample"),
    (("data", "prepare", "dvs_gesture"), "event", "events", "data_prepare.prepare_data"),
    (("paper", "run", "fig2b", "--data", "digits"), "timestep", "timesteps", "paper.run_paper"),
    (("predict", "no.pt", "x.npy"), "probabilty", "probability", "predict.Predictor"),
    (("doctor",), "sate", "state", "doctor.examine"),
    (("neurons", "check", "lif"), "eror", "error", "neurons.check_neuron"),
    (("models", "check", "mlp"), "layr", "layer", "models.check_model"),
    (("recipes", "check", "digits_snn5"), "datta", "data", "recipes.check_recipes"),
]


ALWAYS = ("train", "sweep", "energy", "predict", "doctor")  # the others are more of the same kind
CASES = [
    pytest.param(*case, marks=() if case[0][0] in ALWAYS else pytest.mark.exhaustive)
    for case in REFUSED
]


@pytest.mark.parametrize(("command", "asked", "meant", "work"), CASES)
def test_an_unknown_column_is_refused_before_the_work(
    clifctl: Run,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    asked: str,
    meant: str,
    work: str,
) -> None:
    module, _, name = f"clifctl.experiments.{work}".rpartition(".")

    def begun(*_: Any, **__: Any) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(importlib.import_module(module), name, begun)
    done = clifctl(*command, "--columns", asked)
    assert done.code == 2, done.err
    said = f"--columns {asked}: there is no such column; did you mean {meant}?"
    assert said in " ".join(done.err.split()), done.err
    assert done.out == ""
    assert not Path("grid").exists()
    assert not Path("runs").exists()


def dynamics(clifctl: Run, *arguments: str) -> Any:
    return clifctl(
        *("dynamics", "--neurons", "lif", "--timesteps", "4", "--seeds", "1"),
        *("--target", "reference", "--format", "csv", *arguments),
    )


def test_what_a_result_lacks_is_left_out_and_told(clifctl: Run) -> None:
    done = clifctl(
        *("gradients", *NET, "neuron.name=lif", "--samples", "2", "--input", "noise"),
        *("--no-windows", "--columns", "layer,lag_1,lag_64,m1", "--format", "md"),
    )
    assert done.code == 0, done.err
    assert "note: this result has no column lag_64" in done.err
    assert "lag 1 |" in done.out


def test_columns_that_depend_on_what_is_asked_for_are_known(clifctl: Run) -> None:
    done = dynamics(clifctl, "--columns", "time_step,v,spike")
    assert done.code == 0, done.err
    assert done.out.startswith("time_step,v,spike\n1,")
    assert dynamics(clifctl, "--table", "rates", "--columns", "v").code == 2


def test_a_heading_needs_no_unit(clifctl: Run) -> None:
    asked = ("--table", "sop", "--columns", "neuron,energy", "--format", "md")
    done = clifctl("energy", "digits_snn5", *asked)
    assert done.code == 0, done.err
    assert "| neuron | energy [" in done.out


def parts(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        value = [*value.values()]
    elif hasattr(value, "__dataclass_fields__"):
        value = [getattr(value, name) for name in value.__dataclass_fields__]
    if isinstance(value, list | tuple):
        for one in value:
            yield from parts(one)


def test_a_filled_result_has_something_in_every_field() -> None:
    kinds = dict(documents())
    assert len(kinds) > 30
    for kind in kinds.values():
        found = [one for one in parts(filled(kind)) if one is None or one in ((), {}, "")]
        assert not found, kind
    assert filled(kinds["clifctl.dynamics"], raw=(2.0,)).neurons[0].autocorrelations[0].raw == (
        2.0,
    )

"""Results become figures by name: how each kind is read and rounded."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def quoted(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package of benchmarks/ that makes figures of results, with its modules."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    importlib.import_module("quoted.names")  # which imports all that read results
    importlib.import_module("quoted.formats")
    return importlib.import_module("quoted")


def test_how_figures_are_rounded(quoted: ModuleType) -> None:
    assert quoted.formats.estimate({"mean": 97.036, "standard_error": 0.174}, 2) == "97.04 ± 0.17"
    assert quoted.formats.estimate({"mean": 97.036, "standard_error": None}, 1) == "97.0"
    difference = {"mean": -0.2, "standard_error": 0.31, "ties": 0, "n": 5}
    assert quoted.formats.difference(difference, 2) == "-0.20 ± 0.31"
    assert quoted.formats.difference({**difference, "ties": 5}, 2) == "the same in every seed"
    assert quoted.formats.equation(quoted.formats.probability(0.0004)) == "p < 0.001"
    assert quoted.formats.equation(quoted.formats.probability(0.0351)) == "p = 0.035"
    assert quoted.formats.span([14.2, 6.4, 9.0]) == "6 to 14"
    assert quoted.formats.exponent([0.0243, 0.0401]) == "2.4e-2 to 4.0e-2"
    assert quoted.formats.number(11176906) == "11,176,906"


def summary(accuracy: float, error: float) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(
        ["train_loss_train_mode", "train_loss_eval_mode", "test_loss", "accuracy_percent_best"]
    )
    return found | {
        "accuracy_percent_last": {"mean": accuracy, "standard_error": error, "n": 5},
        "firing_rate": {"mean": 0.25, "standard_error": 0.003, "n": 5},
        "parameters": 9906,
        "kept_for_backward_bytes": 3 * 2**19,
    }


def test_a_comparison_has_its_figures_by_neuron(quoted: ModuleType) -> None:
    difference = {"mean": 0.4, "standard_error": 0.64, "n": 5, "wins": 4, "ties": 0}
    difference |= {"interval_95_low": -1.11, "interval_95_high": 1.91}
    difference |= {"p_value": 0.4, "p_value_holm": 0.551}
    row = {"batch_norm": "per_step", "timesteps": 4, "paired_timesteps": 4}
    row |= {"train_loss_curve": None, "test_loss_curve": {"mean": [0.5, 0.25]}}
    result = {
        "rows": [
            {**row, "neuron": "lif", "summary": summary(96.5, 0.3), "differences": None},
            {
                **(row | {"neuron": "clif", "summary": summary(96.9, 0.2)}),
                "differences": {"accuracy_percent_last": difference},
            },
        ],
        "conclusions": ["Test accuracy (last epoch) against lif: nothing."],
    }
    found = quoted.compared.neurons(result)
    expected = {
        "lif.accuracy": "96.50 ± 0.30",
        "clif.rate": "0.250 ± 0.003",
        "clif.kept_mib": "1.50",
        "clif.parameters": "9,906",
        "clif.test_loss_curve.2": "0.250",
        "clif.over.accuracy": "+0.40 ± 0.64",
        "clif.over.accuracy.interval": "-1.11 to +1.91",
        "clif.over.accuracy.told": "+0.40 ± 0.64 (p = 0.551)",
        "clif.over.accuracy.wins": "4 of 5",
        "concluded.accuracy": "Test accuracy (last epoch) against lif: nothing.",
    }
    assert {name: found[name] for name in expected} == expected


def test_an_inference_has_its_figures_by_batch_and_contestant(quoted: ModuleType) -> None:
    row = {"timesteps": 6, "batch_size": 8, "contestant": "ours", "missing": None}
    row |= {"inference_ms": 24.26, "relu_ratio": 0.3449, "relu_one_step_ratio": 2.04}
    row |= {"relu_lower_quartile_ratio": 0.3311, "relu_upper_quartile_ratio": 0.357}
    operations = {"timesteps": 6, "batch_size": 8, "theoretical_relu_ratio": 0.113}
    operations |= {"theoretical_relu_one_step_ratio": 0.68, "saving_share_percent": 73.6}
    operations |= {"spiking_acs": 375.2e6, "spiking_macs": 1.77e6, "relu_macs": 555.42e6}
    rates = [{"timesteps": 6, "firing_rate": rate} for rate in (0.1, 0.14)]
    found = quoted.timed.inference(
        {
            "timesteps": [6],
            "rows": [row, {**row, "contestant": "sj_multi_step", "missing": "not here"}],
            "operations": [operations],
            "firing_rates": rates,
        }
    )
    assert found == {
        "t6.rate": "0.12",
        "t6.n8.ours.ms": "24.3",
        "t6.n8.ours.relu": "0.34",
        "t6.n8.ours.quartiles": "0.33 to 0.36",
        "t6.n8.ours.relu_one_step": "2.0",
        "t6.n8.theory": "0.11",
        "t6.n8.theory_one_step": "0.7",
        "t6.n8.saved": "74",
        "t6.n8.acs": "375.20",
        "t6.n8.macs": "1.77",
        "t6.n8.relu_macs": "555.42",
    }


def test_energy_is_of_an_inference_and_beside_the_ann(quoted: ModuleType) -> None:
    def row(neuron: str, synaptic: float, published: dict[str, float] | None) -> dict[str, Any]:
        cost = {"acs": 1.85e6, "macs": 0.126e6, "sop_energy_uj": synaptic, "total_mj": 0.0724}
        return {"neuron": neuron, "timesteps": 4, "corrected": cost, "published": published}

    rows = [row("relu", 8.26, None), row("lif", 2.25, {"sop_energy_uj": 110.0})]
    found = quoted.looked_into.energy({"rows": rows})
    expected = {"acs": "1.85", "macs": "0.13", "corrected_uj": "2.2", "ratio": "0.27"}
    expected |= {"memory_uj": "72", "published_uj": "440"}
    assert {name: found[f"lif.{name}"] for name in expected} == expected
    assert found["relu.ratio"] == "1.00"
    assert "relu.published_uj" not in found


def test_a_deployment_is_a_mean_over_seeds(quoted: ModuleType) -> None:
    def run(given: float, reset: float) -> dict[str, Any]:
        setting = {"reset": "hard", "v_reset": -0.06, "recalibrated": False, "firing_rate": 0.2}
        setting |= {"accuracy_percent_test": reset, "accuracy_percent_choice": reset}
        settings = [{**setting, "cross_entropy_choice": 1.0}]
        told = {"trained_neuron": "clif", "accuracy_percent_test_given": given}
        return told | {"firing_rate_given": 0.25, "settings": settings}

    found = quoted.looked_into.conversions([run(85.0, 80.0), run(86.0, 82.0)])
    assert found["clif.given"] == "85.5 ± 0.5"
    assert found["clif.at.-0.06"] == "81.0 ± 1.0"
    assert not any(name.startswith("lif") for name in found)


def test_estimates_are_in_proportion_to_what_was_timed(quoted: ModuleType) -> None:
    epochs = {"fashion.images.epoch": "90", "fashion.rows.epoch": "18"}
    night = quoted.estimates.night(epochs)
    assert night["night.pair"] == "1.0"  # 8 runs of 5 epochs of 90 s
    assert night["night.rows"] == "0.2"  # 8 runs of 10 epochs of 18 s, two at a time
    assert night["night.exchange"] == "0.5"
    assert quoted.estimates.night({}) == {}


def test_a_twin_has_its_ratios(quoted: ModuleType) -> None:
    ratio = {"median": 1.0449, "low": 1.02, "high": 1.066}
    document = {"best_twin": {}, "compiler": "g++ 12", "ratios": {"forward_and_backward": ratio}}
    assert quoted.names._figures(document) == {
        "compiler": "g++ 12",
        "forward_and_backward": "1.04",
        "forward_and_backward.quartiles": "1.02 to 1.07",
    }


def test_crossovers_are_those_of_a_kind_and_a_direction(quoted: ModuleType) -> None:
    rows = [
        {"kind": "spatial", "direction": "forward", "crossover": crossover}
        | {"rates": [{"rate": 0.05, "ratio": 9.0}, {"rate": 0.1, "ratio": ratio}]}
        for crossover, ratio in ((0.63, 6.0), (0.7, 4.0))
    ]
    assert quoted.timed.crossovers({"rows": rows}) == {
        "forward.spatial": "63 to 70",
        "forward.spatial.fast": "4.0 to 6.0",
    }

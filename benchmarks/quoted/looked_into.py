"""Figures of nets and neurons that are looked into: gradients, dynamics, energy, conversion."""

import statistics
from collections.abc import Sequence
from typing import Any

from quoted.formats import estimate, exponent, number, span

MILLION = 1e6

# The columns of the paper's Table 8.
PAPERS_RESETS = ("soft", "0", "-0.02", "-0.04", "-0.06", "-0.08", "-0.1")


def gradients(document: dict[str, Any]) -> dict[str, str]:
    """`temporal` [%] of the first layer, `vanished.LAG` [%] there, `complementary.LAG` [%] over
    layers, `reach.LAG` of the first layer, `window.K`: cosine, and `split`: errors over layers."""
    layers = document["layers"]
    first = layers[0]
    figures = {
        "temporal": number(100 * document["temporal_share"], 1),
        "first.temporal": number(100 * first["temporal_share"]),
    }
    for lag in range(1, document["timesteps"]):
        figures[f"reach.{lag}"] = number(first["reach"][lag], 3)
        rows = [layer["lags"][lag] for layer in layers]
        if rows[0]["vanished_share"] is not None:
            figures[f"vanished.{lag}"] = number(100 * rows[0]["vanished_share"])
        if rows[0]["complementary_norm"] is not None:
            shares = [100 * row["complementary_norm"] / row["norm"] for row in rows]
            figures[f"complementary.{lag}"] = span(shares)
    for window in document["windows"]:
        figures[f"window.{window['window']}"] = number(window["cosine"], 3)
    if splits := [layer["split"]["error_relative"] for layer in layers if layer["split"]]:
        figures |= {
            "split": exponent(splits),
            "split.most": exponent([max(splits)]),
            "split.percent": span([100 * error for error in splits]),
        }
    return figures


def dynamics(document: dict[str, Any]) -> dict[str, str]:
    """Of each neuron over the longest time: `rate`, and of each signal `u.LAG`, raw relative to
    lag 0, and `u.centred.LAG`, with the mean removed."""
    figures: dict[str, str] = {}
    longest = max(document["timesteps"])
    for neuron in document["neurons"]:
        name = neuron["neuron"]
        for rate in neuron["rates"]:
            if rate["timesteps"] == longest:
                low, high = rate["interval_95_low"], rate["interval_95_high"]
                figures[f"{name}.rate"] = f"{rate['rate']['mean']:.3f} ({low:.3f} to {high:.3f})"
        for signal in neuron["autocorrelations"]:
            if signal["timesteps"] == longest:
                for lag in (1, 2):
                    at = f"{name}.{signal['signal']}"
                    figures[f"{at}.{lag}"] = number(signal["normalised"][lag], 3)
                    figures[f"{at}.centred.{lag}"] = number(signal["mean_removed"][lag], 3)
    return figures


def energy(document: dict[str, Any]) -> dict[str, str]:
    """Of each neuron of the table, of an inference: `acs` and `macs` [millions], `corrected_uj` in
    synaptic operations and `memory_uj` with memory accesses, and `published_uj`, the paper's own
    cell, which is of one time step, times T. `ratio`: `corrected_uj` over the ANN's."""
    figures: dict[str, str] = {}
    rows = {row["neuron"]: row for row in document["rows"]}
    for neuron, row in rows.items():
        corrected = row["corrected"]
        synaptic = corrected["sop_energy_uj"]
        figures[f"{neuron}.acs"] = number(corrected["acs"] / MILLION, 2)
        figures[f"{neuron}.macs"] = number(corrected["macs"] / MILLION, 2)
        figures[f"{neuron}.corrected_uj"] = number(synaptic, 0 if synaptic > 100 else 1)
        if corrected["total_mj"] is not None:
            figures[f"{neuron}.memory_uj"] = number(1000 * corrected["total_mj"])
        if "relu" in rows:
            figures[f"{neuron}.ratio"] = number(
                synaptic / rows["relu"]["corrected"]["sop_energy_uj"], 2
            )
        if row["published"] is not None:
            published = row["published"]["sop_energy_uj"] * row["timesteps"]
            figures[f"{neuron}.published_uj"] = number(published)
    return figures


def conversions(converted: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Over seeds, of nets trained with `clif` and `lif`: `given`, as trained; `at.RESET` and
    `anew.RESET` (with batch norm estimated anew); `chosen` and `chosen_anew`, the choice among the
    paper's resets; `rate.given` and `rate.RESET`."""
    figures: dict[str, str] = {}
    for neuron in ("clif", "lif"):
        runs = [run for run in converted if run["trained_neuron"] == neuron]
        if not runs:
            continue
        at = {
            "given": [run["accuracy_percent_test_given"] for run in runs],
            "chosen": [_choice(run, anew=False)["accuracy_percent_test"] for run in runs],
            "chosen_anew": [_choice(run, anew=True)["accuracy_percent_test"] for run in runs],
        }
        rates = {"given": [run["firing_rate_given"] for run in runs]}
        for run in runs:
            for row in run["settings"]:
                name = f"{'anew' if row['recalibrated'] else 'at'}.{_reset(row)}"
                at.setdefault(name, []).append(row["accuracy_percent_test"])
                if not row["recalibrated"]:
                    rates.setdefault(_reset(row), []).append(row["firing_rate"])
        figures |= {f"{neuron}.{name}": _mean(values) for name, values in at.items()}
        figures |= {
            f"{neuron}.mean.{name}": number(statistics.mean(values), 1)
            for name, values in at.items()
        }
        figures |= {
            f"{neuron}.rate.{name}": number(statistics.mean(values), 2)
            for name, values in rates.items()
        }
    return figures


def _reset(row: dict[str, Any]) -> str:
    return "soft" if row["reset"] == "soft" else f"{row['v_reset'] or 0:g}"


def _choice(run: dict[str, Any], *, anew: bool) -> dict[str, Any]:
    """What `convert` would have chosen among the paper's resets, with and without the estimate."""
    rows = [
        row
        for row in run["settings"]
        if _reset(row) in PAPERS_RESETS and (anew or not row["recalibrated"])
    ]
    return max(rows, key=lambda row: (row["accuracy_percent_choice"], -row["cross_entropy_choice"]))


def _mean(values: list[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return estimate({"mean": statistics.mean(values), "standard_error": error}, 1)

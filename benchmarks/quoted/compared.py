"""Figures of comparisons over seeds."""

from typing import Any

from quoted.formats import difference, equation, estimate, interval, number, probability

MIB = 2**20

# name -> key of a summary and of differences, digits
QUANTITIES = {
    "accuracy": ("accuracy_percent_last", 2),
    "best": ("accuracy_percent_best", 2),
    "train_loss": ("train_loss_train_mode", 3),
    "train_loss_eval": ("train_loss_eval_mode", 3),
    "test_loss": ("test_loss", 3),
    "rate": ("firing_rate", 3),
    "temporal": ("temporal_share_percent", 1),
}


# name -> how the sentence begins in which the command says what can be concluded
_CONCLUSIONS = {
    "accuracy": "Test accuracy",
    "test_loss": "Test loss",
    "temporal": "Temporal share",
}


def neurons(document: dict[str, Any]) -> dict[str, str]:
    """Of each neuron (`clif`, and with several T or batch norms `clif.t4`, `clif.folded`): its
    summary, and under `over` the difference to the baseline. `concluded.accuracy` and the like are
    the command's own sentences, so that a page claims what the interval bears."""
    rows = document["rows"]
    several_t = len({row["paired_timesteps"] for row in rows}) > 1
    several_norms = len({row["batch_norm"] for row in rows}) > 1
    figures = {
        f"concluded.{name}": sentence
        for name, start in _CONCLUSIONS.items()
        for sentence in document["conclusions"]
        if sentence.startswith(start)
    }
    for row in rows:
        parts = [row["neuron"]]
        parts += [f"t{row['paired_timesteps']}"] * several_t + [row["batch_norm"]] * several_norms
        found = _summary(row["summary"])
        if row["differences"]:
            found |= {f"over.{k}": text for k, text in _differences(row["differences"]).items()}
        for curve in ("train_loss_curve", "test_loss_curve"):
            means = (row[curve] or {"mean": []})["mean"]
            found |= {f"{curve}.{i}": number(mean, 3) for i, mean in enumerate(means, 1)}
        figures |= {".".join([*parts, name]): text for name, text in found.items()}
    return figures


def windows(document: dict[str, Any]) -> dict[str, str]:
    """`tau2.0.k3.accuracy`, and from one window to the next `tau2.0.k2to3.accuracy`."""
    figures: dict[str, str] = {}
    for row in document["rows"]:
        at = f"tau{row['tau']}.k{row['window']}"
        figures |= {f"{at}.{name}": text for name, text in _summary(row["summary"]).items()}
    for step in document["steps"]:
        at = f"tau{step['tau']}.k{step['window_from']}to{step['window_to']}"
        figures |= {
            f"{at}.{name}": text for name, text in _differences(step["differences"]).items()
        }
    return figures


def run(document: dict[str, Any]) -> dict[str, str]:
    """The `accuracy` of one training run."""
    return {"accuracy": number(document["accuracy_percent_last"], 2)}


def baseline(document: dict[str, Any]) -> dict[str, str]:
    """`accuracy` of a linear model, and the number of its training samples, `train`."""
    return {
        "accuracy": number(document["test_accuracy_percent"], 2),
        "train": number(document["train_samples"]),
    }


def _summary(summary: dict[str, Any]) -> dict[str, str]:
    found = {
        name: estimate(summary[key], digits)
        for name, (key, digits) in QUANTITIES.items()
        if summary.get(key)
    }
    found.setdefault("rate", "-")  # an ANN has none
    kept = summary["kept_for_backward_bytes"]
    return found | {
        "rate_mean": number((summary["firing_rate"] or {"mean": None})["mean"], 3),
        "parameters": number(summary["parameters"]),
        "kept_mib": number(kept and kept / MIB, 2),
    }


def _differences(differences: dict[str, Any]) -> dict[str, str]:
    figures: dict[str, str] = {}
    for name, (key, digits) in QUANTITIES.items():
        if found := differences.get(key):
            corrected = probability(found["p_value_holm"])
            figures |= {
                name: difference(found, digits),
                f"{name}.interval": interval(found, digits),
                f"{name}.p": corrected,
                f"{name}.told": f"{difference(found, digits)} ({equation(corrected)})",
                f"{name}.is": equation(corrected),
                f"{name}.p_alone": probability(found["p_value"]),
                f"{name}.wins": f"{found['wins']} of {found['n']}",
            }
    return figures

"""The tables of the paper's claims: on the digits (docs/digits.md) and on Fashion-MNIST
(docs/experiments.md)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from quoted.formats import table
from quoted.looked_into import PAPERS_RESETS

_LOSSES = {
    "test_loss": "test loss",
    "train_loss": "training loss, train mode",
    "train_loss_eval": "training loss, evaluation mode",
}
_COMPARED = {"accuracy": "accuracy [points]", **_LOSSES, "rate": "firing rate"}
_COLUMNS = {
    "accuracy": "accuracy, last [%]",
    "best": "best [%]",
    "train_loss": "train loss, train mode",
    "train_loss_eval": "train loss, eval. mode",
    "test_loss": "test loss",
    "rate": "firing rate",
    "parameters": "parameters",
}


def digits() -> dict[str, str]:
    """Those of group `experiments`."""
    e = "experiments"
    curves = {
        "LIF": f"{e}.plain.lif",
        "LIF, from epoch 21 on CLIF": f"{e}.exchange.lif",
        "CLIF": f"{e}.plain.clif",
    }
    compared = [("plif", "accuracy"), ("glif", "accuracy"), ("clif", "accuracy")]
    compared += [("glif", "train_loss"), ("clif", "train_loss")]
    compared += [("glif", "test_loss"), ("clif", "test_loss"), ("clif", "rate")]
    by_neuron = {"LIF": f"{e}.windows_lif", "CLIF": f"{e}.windows_clif"}
    return {
        "neurons": _neurons(f"{e}.neurons", ("lif", "plif", "glif", "clif")),
        "neurons-compared": _differences(f"{e}.neurons", compared),
        "timesteps": _timesteps(f"{e}.timesteps", (1, 2, 4, 8)),
        "eight": _pairs(f"{e}.eight", (2, 4), "eight seeds"),
        "norms": _norms(f"{e}.norms"),
        "exchange": _exchange(curves, (20, 21, 22, 40)),
        "windows": _windows(by_neuron, ("1.5", "2.0"), (1, 2, 3, 8)),
        "windows-compared": _window_steps(by_neuron, ("1.5", "2.0"), (1, 2, 3, 8)),
    }


def fashion() -> dict[str, str]:
    """Those of groups `fashion-hour`, `fashion-night`, `mnist1d`, `sequences` and `linear`."""
    h = "fashion-hour"
    sets = {
        "`fashion_mnist_snn5`": "fashion-night.pair",
        "`fashion_mnist_rows_mlp`, the size of an hour": f"{h}.rows",
        "`mnist1d_mlp`": "mnist1d.recurrent",
    }
    sequences = {
        "MNIST-1D, T = 40, eight seeds": "mnist1d.recurrent",
        "adding, T = 50": "sequences.adding",
        "digits pixel by pixel, permuted, T = 64": "sequences.permuted",
    }
    curves = {
        "LIF": f"{h}.pair.lif",
        "LIF, in epoch 3 CLIF": f"{h}.exchange.lif",
        "CLIF": f"{h}.pair.clif",
    }
    of_clif = [("clif", quantity) for quantity in _COMPARED]
    windows = {"LIF": f"{h}.windows_lif"}
    return {
        "readme": _sets(sets),
        "baselines": _baselines(),
        "fashion-full": _neurons("fashion-night.pair", ("lif", "clif")),
        "fashion-full-pair": _differences("fashion-night.pair", of_clif),
        "sequences": _sets(sequences, "task"),
        "mnist1d": _differences("mnist1d.recurrent", of_clif),
        "fashion-rows": _differences(f"{h}.rows", of_clif),
        "fashion-pair": _neurons(f"{h}.pair", ("lif", "clif")),
        "fashion-pair-compared": _differences(f"{h}.pair", of_clif),
        "fashion-neurons": _neurons(
            f"{h}.neurons", ("lif", "plif", "klif", "glif", "clif", "relu")
        ),
        "fashion-timesteps": _timesteps(f"{h}.timesteps", (1, 2, 4, 8)),
        "fashion-exchange": _exchange(curves, (1, 2, 3)),
        "fashion-windows": _windows(windows, ("1.5", "2.0"), (1, 2, 4, 28)),
        "fashion-windows-compared": _window_steps(windows, ("1.5", "2.0"), (1, 2, 4, 28)),
        "fashion-deployment": _deployment(h),
        "fashion-energy": _energy(f"{h}.energy"),
    }


def _sets(sets: Mapping[str, str], what: str = "recipe") -> str:
    difference = ("accuracy", "accuracy.interval", "accuracy.p", "accuracy.wins")
    return table(
        f"{what} | CLIF [%] | LIF [%] | CLIF - LIF [points] | 95 % interval | p | higher in",
        [
            [name, f"{{{at}.clif.accuracy}}", f"{{{at}.lif.accuracy}}"]
            + [f"{{{at}.clif.over.{part}}}" for part in difference]
            for name, at in sets.items()
        ],
    )


# What others published for Fashion-MNIST: test accuracy [%], and where it stands.
_PUBLISHED = {
    "two convolutions, 113,000 parameters, ReLU": ("92.2", "the data set's README, Benchmark"),
    "GRU and SVM, row by row": ("88.8", "the data set's README, Benchmark"),
    "two convolutions of 128 channels, PLIF, T = 8": ("94.38", "Fang et al., arXiv 2007.05785"),
}


def _baselines() -> str:
    rows = [
        ["logistic regression, 10,000 images", "{linear.hour.accuracy}", "measured"],
        ["ReLU, the net above", "{fashion-hour.ann.relu.accuracy}", "measured, four seeds"],
        ["CLIF, the net above", "{fashion-hour.ann.clif.accuracy}", "measured, four seeds"],
        ["CLIF, full size", "{fashion-night.pair.clif.accuracy}", "measured, four seeds"],
        *([net, *found] for net, found in _PUBLISHED.items()),
    ]
    return table("net | test accuracy [%] | from", rows)


def _neurons(at: str, neurons: Sequence[str]) -> str:
    return table(
        f"neuron | {' | '.join(_COLUMNS.values())}",
        [[neuron, *(f"{{{at}.{neuron}.{column}}}" for column in _COLUMNS)] for neuron in neurons],
    )


def _differences(at: str, compared: Sequence[tuple[str, str]]) -> str:
    parts = ("", ".interval", ".p", ".wins")
    rows = [
        [f"{neuron}, {_COMPARED[quantity]}"]
        + [f"{{{at}.{neuron}.over.{quantity}{part}}}" for part in parts]
        for neuron, quantity in compared
    ]
    return table("against lif | difference | 95 % interval | p, corrected | higher in", rows)


def _timesteps(at: str, counts: Sequence[int]) -> str:
    return table(
        "T | LIF [%] | CLIF [%] | CLIF - LIF [points] | firing rate LIF | CLIF",
        [
            [
                str(t),
                *(f"{{{at}.{neuron}.t{t}.accuracy}}" for neuron in ("lif", "clif")),
                f"{{{at}.clif.t{t}.over.accuracy}}",
                *(f"{{{at}.{neuron}.t{t}.rate_mean}}" for neuron in ("lif", "clif")),
            ]
            for t in counts
        ],
    )


def _pairs(at: str, counts: Sequence[int], seeds: str) -> str:
    told = {"accuracy": "accuracy [points]", **_LOSSES}
    return table(
        f"CLIF - LIF, {seeds} | {' | '.join(f'T = {t}' for t in counts)}",
        [
            [text, *(f"{{{at}.clif.t{t}.over.{quantity}.told}}" for t in counts)]
            for quantity, text in told.items()
        ],
    )


def _norms(at: str) -> str:
    rows = []
    for norm in ("per_step", "folded"):
        rows.append(
            [
                norm,
                *(f"{{{at}.{neuron}.{norm}.accuracy}}" for neuron in ("lif", "clif")),
                f"{{{at}.clif.{norm}.over.accuracy}}",
                *(f"{{{at}.{neuron}.{norm}.test_loss}}" for neuron in ("lif", "clif")),
                f"{{{at}.clif.{norm}.over.test_loss.told}}",
            ]
        )
    heading = "batch norm | LIF [%] | CLIF [%] | CLIF - LIF [points] | test loss LIF | CLIF"
    return table(f"{heading} | CLIF - LIF", rows)


def _exchange(curves: Mapping[str, str], epochs: Sequence[int]) -> str:
    shown = " | ".join(map(str, epochs))
    return table(
        f" | training loss, train mode: epoch {shown} | test loss: {shown}",
        [
            [name]
            + [f"{{{at}.train_loss_curve.{epoch}}}" for epoch in epochs]
            + [f"{{{at}.test_loss_curve.{epoch}}}" for epoch in epochs]
            for name, at in curves.items()
        ],
    )


def _windows(neurons: Mapping[str, str], taus: Sequence[str], ks: Sequence[int]) -> str:
    shown = {"train_loss": "loss", "accuracy": "accuracy [%]"}
    return table(
        f"neuron | tau | k = {' | '.join(map(str, ks))} (full)",
        [
            [f"{neuron}, {text}", tau, *(f"{{{at}.tau{tau}.k{k}.{quantity}}}" for k in ks)]
            for quantity, text in shown.items()
            for neuron, at in neurons.items()
            for tau in taus
        ],
    )


def _window_steps(neurons: Mapping[str, str], taus: Sequence[str], ks: Sequence[int]) -> str:
    columns = {
        f"{neuron}, tau {tau.removesuffix('.0')}": f"{at}.tau{tau}"
        for neuron, at in neurons.items()
        for tau in taus
    }
    return table(
        f"one window to the next, training loss | {' | '.join(columns)}",
        [
            [
                f"k = {one} to {other}",
                *(f"{{{at}.k{one}to{other}.train_loss.told}}" for at in columns.values()),
            ]
            for one, other in pairwise(ks)
        ],
    )


def _deployment(at: str) -> str:
    return table(
        f"trained with | as trained | {' | '.join(PAPERS_RESETS)}",
        [
            [neuron.upper(), f"{{{at}.{neuron}.given}}"]
            + [f"{{{at}.{neuron}.at.{reset}}}" for reset in PAPERS_RESETS]
            for neuron in ("clif", "lif")
        ],
    )


def _energy(at: str) -> str:
    columns = ("acs", "macs", "corrected_uj", "ratio", "memory_uj")
    heading = "net | ACs [millions] | MACs [millions] | synaptic operations [uJ] | over the ANN's"
    return table(
        f"{heading} | with memory accesses [uJ]",
        [
            [name, *(f"{{{at}.{neuron}.{column}}}" for column in columns)]
            for neuron, name in (("relu", "ReLU, one step"), ("lif", "LIF"), ("clif", "CLIF"))
        ],
    )

"""The tables of the pages, and the lines of the recipes' headers: text with {NAME} for a figure."""

from collections.abc import Sequence

from clifctl.paper.accuracy import deployment
from quoted import claim_tables, many, timed_tables
from quoted.formats import table
from quoted.looked_into import PAPERS_RESETS
from quoted.names import figures_of
from quoted.store import Stored

DIGITS = {"images": "digits_snn5", "events": "digits_events_snn5", "rows": "digits_rows_mlp"}


def templates(files: Sequence[Stored]) -> dict[str, str]:
    """Every table by its name."""
    return {
        "expect": _expect(),
        "machines": _machines(files),
        **_analysis(),
        **_convert(),
        **claim_tables.digits(),
        **claim_tables.fashion(),
        **timed_tables.training(),
        **timed_tables.connections(),
        **many.tables(),
    }


def _expect() -> str:
    rows = []
    for label, recipe in DIGITS.items():
        at = f"digits.{label}"
        difference = f"{{{at}.clif.over.accuracy}}"
        interval = f"{{{at}.clif.over.accuracy.interval}}"
        rows.append(
            [
                *(f"`{recipe}`", f"{{{at}.clif.accuracy}}", f"{{{at}.lif.accuracy}}"),
                *(difference, interval, f"{{{at}.clif.over.accuracy.p}}", f"{{{at}.takes}}"),
            ]
        )
    heading = "recipe | CLIF [%] | LIF [%] | CLIF - LIF [points] | 95 % interval | p"
    return table(f"{heading} | a run [core-seconds]", rows)


def _machines(files: Sequence[Stored]) -> str:
    """The same command wherever it was run: one row a file."""
    rows = []
    for label, recipe in DIGITS.items():
        for stored in files:
            figures = figures_of(stored)
            if stored.group == "digits" and f"{label}.clif.accuracy" in figures:
                accuracies = [figures[f"{label}.{neuron}.accuracy"] for neuron in ("clif", "lif")]
                rows.append([f"`{recipe}`", figures["from"], *accuracies])
    return table("recipe | where | CLIF [%] | LIF [%]", rows)


def _analysis() -> dict[str, str]:
    rates = {"half": "p = 0.5, weight 0.8 (the default)", "whole": "p = 0.3, weight 1"}
    over = "clif.over"
    return {
        "dynamics": table(
            "input | rate of LIF [spikes/step] | rate of CLIF",
            [
                [text, *(f"{{dynamics.{label}.{neuron}.rate}}" for neuron in ("lif", "clif"))]
                for label, text in rates.items()
            ],
        ),
        "temporal": table(
            " | lif | clif | difference [points] | test loss, CLIF - LIF",
            [
                [
                    f"`{recipe}`",
                    f"{{digits.{label}.lif.temporal}}",
                    f"{{digits.{label}.clif.temporal}}",
                    f"{{digits.{label}.{over}.temporal.told}}",
                    f"{{digits.{label}.{over}.test_loss.told}}",
                ]
                for label, recipe in DIGITS.items()
            ],
        ),
        "split": table(
            "distance of P + M1 + M2 from autograd's gradient, relative | exact | exact-xi | paper",
            [
                [
                    text,
                    f"at most {{gradients.split_{net}_exact.split.most}}",
                    f"at most {{gradients.split_{net}_exact_xi.split.most}}",
                    f"{{gradients.split_{net}_paper.split}}",
                ]
                for net, text in (
                    ("fresh", "fresh net, five layers"),
                    ("trained", "trained CLIF net (above)"),
                )
            ],
        ),
    }


def _convert() -> dict[str, str]:
    resets = [*PAPERS_RESETS, "-0.15", "-0.2", "-0.3"]
    rows = []
    for kind, text in (("at", ""), ("anew", ", norm estimated anew")):
        for neuron in ("clif", "lif"):
            given = "" if text else f"{{convert.{neuron}.given}}"
            cells = [f"{{convert.{neuron}.{kind}.{reset}}}" for reset in resets]
            rows.append([f"{neuron.upper()}{text}", given, *cells])
    for neuron in ("clif", "lif"):
        published = deployment("cifar10", neuron)
        assert published is not None
        percents = [published.pretrained_accuracy_percent, *published.accuracy_percent.values()]
        cells = [f"{percent:.2f}" for percent in percents]
        empty = [""] * (1 + len(resets) - len(cells))
        rows.append([f"the paper, CIFAR-10, {neuron.upper()}", *cells, *empty])
    nets = {
        "mlp": "MLP 128-128 (`digits_rows_mlp`), hard reset to -0.06",
        "snn5": "5 convolutions (`digits_snn5`, T = 6), hard reset to -0.04",
        "snn5_500": "the same net on all 500 test samples (`--samples 500`)",
        "resnet18": "ResNet-18 of width 8, T = 4, hard reset to 0",
        "resnet18_full": "random weights: CIFAR-10's ResNet-18 at full size, T = 6, 2 samples of "
        "noise",
        "vgg13_full": "random weights: Tiny-ImageNet's VGG-13 at full size, T = 6, 2 samples of "
        "noise",
    }
    columns = ("positions", "spikes", "own", "spikingjelly", "snntorch")
    return {
        "convert": table(f"trained with | as trained | {' | '.join(resets)}", rows),
        "nir": table(
            "net (trained on the digits, but for the last two) | neurons x steps x samples "
            "| spikes | clifctl's interpreter | SpikingJelly 2.0.0 | snnTorch 1.0.0",
            [
                [text, *(f"{{nir.{net}.{column}}}" for column in columns)]
                for net, text in nets.items()
            ],
        ),
    }


def _header(label: str) -> dict[str, str]:
    at = f"digits.{label}"
    return {
        "Expect": f"test accuracy {{{at}.clif.accuracy}} % (mean and standard error of seeds 0 to "
        f"4, last epoch); with neuron.name=lif {{{at}.lif.accuracy}} %.",
        "Takes": f"about {{{at}.takes}} s of one core ({{digits.machine}}; {{digits.state}}).",
    }


# recipe -> first word of a line of its header -> what follows it
HEADERS = {recipe: _header(label) for label, recipe in DIGITS.items()}
HEADERS["dvs_gesture_sdt"] = {
    "On a CPU": "{transformer.core_seconds} core-seconds a sample and step (float32, "
    "{transformer.machine}), {transformer.core_hours} core-hours in all without tests; "
    "{transformer.kept_mib} MiB a sample."
}
HEADERS["fashion_mnist_snn5"] = {
    "Expect": "test accuracy {fashion-night.pair.clif.accuracy} % (mean and standard error of "
    "seeds 0 to 3, last epoch); with neuron.name=lif {fashion-night.pair.lif.accuracy} %.",
    "Takes": "about {fashion.images.epoch} s an epoch of two cores, the test images included "
    "({fashion.machine}).",
}
HEADERS["fashion_mnist_rows_mlp"] = {
    "Expect": "test accuracy {fashion.rows.clif.accuracy} % (seed 0, last epoch); with "
    "neuron.name=lif {fashion.rows.lif.accuracy} %.",
    "Takes": "about {fashion.rows.epoch} s an epoch of one core ({fashion.machine}).",
}
HEADERS["fashion_mnist_pixels"] = {
    "Expect": "test accuracy {sequences.pixels.accuracy} % of five epochs of 10,000 images, as "
    "above (seed 0, last epoch).",
    "Takes": "about {sequences.pixels.core_minutes} core-minutes for so much, tests included "
    "({sequences.machine}; {sequences.state}).",
}
HEADERS["mnist1d_mlp"] = {
    "Expect": "test accuracy {mnist1d.recurrent.clif.accuracy} % (mean and standard error of seeds "
    "0 to 7, last epoch); with neuron.name=lif {mnist1d.recurrent.lif.accuracy} %; without "
    "recurrence {recurrent.clif.without} and {recurrent.lif.without} % (seed 0).",
    "Takes": "about {mnist1d.recurrent.takes} s of one core ({mnist1d.machine}; {mnist1d.state}).",
}

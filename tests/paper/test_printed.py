"""Every published cell against a transcription that was made by itself: printed.txt."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clifctl.paper import TABLES, table

DATA = {
    **{"CIFAR-10": "cifar10", "CIFAR10": "cifar10", "CIFAR-100": "cifar100"},
    **{"CIFAR100": "cifar100", "Tiny-ImageNet": "tiny_imagenet", "Tiny ImageNet": "tiny_imagenet"},
    **{"TinyImagenet": "tiny_imagenet", "DVS-Gesture": "dvs_gesture", "DVSGesture": "dvs_gesture"},
    **{"CIFAR10-DVS": "cifar10_dvs", "DVSCIFAR10": "cifar10_dvs"},
}
# clifctl's names of the nets of the authors' own runs.
NETS = {
    **{"ResNet-18": "resnet18", "ResNet18": "resnet18", "Spiking ResNet18": "resnet18"},
    **{"VGG-13": "vgg13", "VGG13": "vgg13", "Spiking-Vgg11": "vgg11", "VGG11": "vgg11"},
    **{"Spiking Vgg11": "vgg11", "Spike-Driven-Transformer": "spike_driven_transformer"},
    **{"VGGSNN": "vggsnn"},
}
# Where the bibliography says that these appeared.
VENUES = {
    **{"Li et al., 2021b": "NIPS", "Fang et al., 2021b": "ICCV", "Meng et al., 2022": "CVPR"},
    **{"Yao et al., 2022": "NIPS", "Jiang & Zhang, 2023": "ArXiv", "Fang et al., 2024": "NIPS"},
    **{"Deng et al., 2023": "ICML", "Wang et al., 2023": "ICML", "Yang et al., 2022": "NIPS"},
    **{"Guo et al., 2023": "Pattern Recognit"},
}
Rows = list[list[Any]]


def lines(number: int) -> list[list[str]]:
    """The cells of each line of a table."""
    text = (Path(__file__).parent / "printed.txt").read_text(encoding="utf-8")
    part = text.split(f"\n= {number}\n")[1].split("\n= ")[0]
    return [[c.strip() for c in line.rstrip("| ").split("|")] for line in part.splitlines()]


def accuracies(number: int) -> Iterator[list[Any]]:
    """Rows of Tables 1 and 2: what a row leaves out is that of the row above."""
    data = method = network = neuron = timesteps = ""
    for cells in lines(number):
        if cells[0] in DATA:
            data, *cells = cells
        *rest, printed = cells
        if rest and (re.search(r"et al|& ", rest[0]) or rest[0].rstrip(" /") in ("ANN", "Ours")):
            method, *rest = rest
        if rest and rest[-1].isdigit():
            *rest, timesteps = rest
        if rest:
            *rest, neuron = rest
        if rest:
            (network,) = rest
        name, citation = re.fullmatch(r"(.*?)\*?(?: \((.*)\))?", method.rstrip(" /")).groups()
        network = network.rstrip("12") if network.startswith(("Spike-", "VGGSNN")) else network
        own = citation is None
        numbers = [float(one) for one in printed.split(" / ")]
        plain, starred = [None, *numbers] if "*" in method else [*numbers, None][:2]
        row = [DATA[data], name, citation, VENUES[citation] if citation else None, network]
        row += [NETS[network] if own else None, neuron, int(timesteps)]
        yield [*row, plain, *([starred] if number == 1 else [])]


def truncations() -> Rows:
    header, *rows = lines(3)
    assert [float(one) for one in header] == [1.1, 1.3, 1.5, 1.8, 2.0] * 2
    found = []
    for at, (data, net, timesteps) in (
        (0, ("cifar10", "resnet18", 6)),
        (6, ("dvs_gesture", "vgg11", 20)),
    ):
        for row in rows:
            window, *numbers = row[at : at + 6]
            found.append([data, net, "LIF", timesteps, int(window), *map(float, numbers)])
    return found


def settings() -> Rows:
    found = []
    for column in list(zip(*lines(4), strict=True))[1:]:
        data, net, timesteps, epochs, batch, optimizer, *numbers = column
        row = [DATA[data.replace("DVS ", "DVS")], NETS[net], int(timesteps), int(epochs)]
        found.append([*row, int(batch), optimizer, *map(float, numbers)])
    return found


def defaults() -> Rows:
    return [
        [DATA[data], optimizer, float(decay), int(batch), int(epochs), float(lr)]
        for data, optimizer, decay, batch, epochs, lr in lines(5)
    ]


def operations() -> Rows:
    """The name of the task stands in the last row of its block."""
    found: Rows = []
    block: Rows = []
    for cells in lines(6):
        named = re.fullmatch(r"(.*) \((.*)\)", cells[0])
        neuron, timesteps, *numbers = cells[1:] if named else cells
        block.append([neuron, int(timesteps), *map(float, numbers)])
        if named:
            data, net = DATA[named[1]], NETS[named[2]]
            found += [[data, net, *row] for row in block]
            block = []
    assert not block
    return found


def memory() -> Rows:
    """Rows without a neuron: the authors' script gives them in the order ReLU, LIF, CLIF, and event
    data have no ReLU."""
    found: Rows = []
    for cells in lines(7):
        if cells[0] in DATA:
            data, *cells = DATA[cells[0]], *cells[1:]
            neurons = ["ReLU", "LIF", "CLIF"][1 if "dvs" in data else 0 :]
        found.append([data, neurons.pop(0), *map(float, cells)])
    return found


def deployments() -> Rows:
    found: Rows = []
    for cells in lines(8):
        if "Soft Reset" in cells:
            data = DATA[cells[0]]
        elif cells[0] == "Reset Value":
            assert cells[1:] == ["None", "0", "-0.02", "-0.04", "-0.06", "-0.08", "-0.1"]
        else:
            neuron, trained = re.fullmatch(r"(\w+) pretrained \((.*)%\)", cells[0]).groups()
            numbers = [float(one.rstrip(" %")) for one in (trained, *cells[1:])]
            found.append([data, "resnet18", 6, neuron, *numbers])
    return found


PRINTED = {
    **{1: list(accuracies(1)), 2: list(accuracies(2)), 3: truncations(), 4: settings()},
    **{5: defaults(), 6: operations(), 7: memory(), 8: deployments()},
}
CELLS = {1: 27 * 10, 2: 14 * 9, 3: 12 * 10, 4: 2 * 9, 5: 5 * 6, 6: 13 * 8, 7: 13 * 8, 8: 4 * 12}


@pytest.mark.parametrize("number", TABLES)
def test_every_cell_is_what_was_printed(number: int) -> None:
    published = [list(row.cells.values()) for row in table(number).rows]
    assert published == PRINTED[number]
    assert sum(map(len, published)) == CELLS[number]

"""Published costs: Tables 6 and 7, and the firing rates and layers that Table 7 was made from."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from clifctl.paper.tables import read, table


@dataclass(frozen=True, kw_only=True)
class PublishedEnergy:
    """One row of Table 6. A spiking net's row is one time step, the ANN's one inference."""

    data: str
    model: str
    neuron: str
    timesteps: int
    parameters_millions: float
    ac_millions: float
    mac_millions: float
    energy_uj: float
    table: int
    row: str
    note: str | None


@dataclass(frozen=True, kw_only=True)
class PublishedMemory:
    """One row of Table 7."""

    data: str
    neuron: str
    potential_mj: float
    parameters_mj: float
    in_out_mj: float
    operations_mj: float
    addressing_uj: float
    total_mj: float
    table: int
    row: str
    note: str | None


@dataclass(frozen=True, kw_only=True)
class PublishedFiringRates:
    """Spikes per neuron and time step of every spiking layer, in forward order, as fractions: the
    numbers of Figure 11, from the script that the authors released for Table 7."""

    data: str
    model: str
    neuron: str
    timesteps: int
    firing_rates: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class MemoryLayer:
    """A layer that the authors' script walks for Table 7; shapes are (channels, height, width), or
    (features,) for the last one, which has neither kernel nor stride."""

    kind: Literal["conv", "linear"]
    input: tuple[int, ...]
    output: tuple[int, ...]
    kernel: int | None
    stride: int | None


@dataclass(frozen=True, kw_only=True)
class ExactCounts:
    """Not the paper's: integers, per image and time step, that round to what Table 6 prints.

    The bias of the last layer counts once per image in `macs` and `ann_operations`; Table 6
    charges it once per batch of `evaluation_batch`, over `test_images`.
    """

    data: str
    model: str
    input: tuple[int, ...]
    classes: int
    timesteps: int
    test_images: int
    evaluation_batch: int
    parameters: int
    neurons: int
    convolution_macs: int
    ann_operations: int
    lif_macs: int
    clif_macs: int


def energy(data: str) -> dict[str, PublishedEnergy]:
    """Table 6 for one data set, by neuron (`relu`, `clif`, `lif`); empty for others."""
    rows = [row for row in table(6).rows if row["data"] == data]
    return {
        row["neuron"].lower(): PublishedEnergy(
            **{**row.cells, "neuron": row["neuron"].lower()}, table=6, row=row.label, note=row.note
        )
        for row in rows
    }


def memory(data: str) -> dict[str, PublishedMemory]:
    """Table 7 for one data set, by neuron (`relu`, `lif`, `clif`); empty for others."""
    rows = [row for row in table(7).rows if row["data"] == data]
    return {
        row["neuron"].lower(): PublishedMemory(
            **{**row.cells, "neuron": row["neuron"].lower()}, table=7, row=row.label, note=row.note
        )
        for row in rows
    }


def firing_rates(data: str, neuron: str) -> PublishedFiringRates | None:
    """The published firing rates of a trained net; None for a task that has none."""
    task = _tasks().get(data)
    if task is None or neuron not in task["firing_rates"]:
        return None
    return PublishedFiringRates(
        data=data,
        model=task["model"],
        neuron=neuron,
        timesteps=task["timesteps"],
        firing_rates=tuple(task["firing_rates"][neuron]),
    )


def memory_layers(data: str) -> tuple[MemoryLayer, ...]:
    """The layers behind Table 7, in forward order; empty for a task that it does not have."""
    layers = _tasks()[data]["memory_layers"] if data in _tasks() else []
    return tuple(
        MemoryLayer(
            kind=layer["kind"],
            input=tuple(layer["input"]),
            output=tuple(layer["output"]),
            kernel=layer.get("kernel"),
            stride=layer.get("stride"),
        )
        for layer in layers
    )


def counts(data: str) -> ExactCounts | None:
    """The exact counts behind the rounded columns of Table 6; None for other tasks."""
    task = _tasks().get(data)
    if task is None:
        return None
    exact = dict(task["counts"])
    macs = exact.pop("macs")
    return ExactCounts(
        data=data,
        model=task["model"],
        input=tuple(task["input"]),
        classes=task["classes"],
        timesteps=task["timesteps"],
        ann_operations=macs["relu"],
        lif_macs=macs["lif"],
        clif_macs=macs["clif"],
        **exact,
    )


@cache
def _tasks() -> dict[str, Any]:
    return dict(read("tasks.yaml"))

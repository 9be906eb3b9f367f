"""Published accuracies, looked up by clifctl's names: Tables 1, 2, 3 and 8, and the text."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clifctl.paper.tables import PublishedRow, read, table

# What tau is wherever the paper does not vary it (Appendix I).
_DEFAULT_TAU = 2.0
_HARD_RESET = "v_reset_"


@dataclass(frozen=True, kw_only=True)
class PublishedAccuracy:
    """An accuracy that the paper printed, on the test data and at the best epoch there. `table` is
    None for one that only the text gives; `source` names either."""

    accuracy_percent: float
    table: int | None
    source: str
    row: str
    column: str
    page: int | None
    note: str | None


@dataclass(frozen=True, kw_only=True)
class PublishedTruncation:
    """One half of Table 3: accuracies under truncated BPTT, by (tau, window)."""

    data: str
    model: str
    neuron: str
    timesteps: int
    taus: tuple[float, ...]
    windows: tuple[int, ...]
    accuracy_percent: Mapping[tuple[float, int], float]
    table: int
    note: str | None


@dataclass(frozen=True, kw_only=True)
class PublishedDeployment:
    """One row of Table 8: a trained net that runs with LIF neurons. `accuracy_percent` goes by the
    value of the hard reset; None is the soft reset."""

    data: str
    model: str
    timesteps: int
    pretrained_neuron: str
    pretrained_accuracy_percent: float
    accuracy_percent: Mapping[float | None, float]
    table: int
    row: str
    note: str | None

    @property
    def best(self) -> float | None:
        """The reset with the highest accuracy, None for the soft one. Chosen on the test data."""
        return max(self.accuracy_percent, key=self.accuracy_percent.__getitem__)


def accuracies(
    *, data: str, model: str, neuron: str, timesteps: int, strong: bool = False
) -> tuple[PublishedAccuracy, ...]:
    """What the paper printed for one run of its authors, best source first; () for nothing.

    Names are clifctl's; `relu` is the ANN, with one time step. `strong` asks for the number of the
    stronger augmentation (a star in Table 1). LIF baselines of the image nets stand in Tables 3
    (tau = 2, full window) and 8 only. The paper gives some runs twice: a second number is listed
    where it differs, a mere repetition is not.
    """
    found: list[PublishedAccuracy] = []
    for candidate in _candidates(data, model, neuron, timesteps, strong):
        if candidate.accuracy_percent not in [known.accuracy_percent for known in found]:
            found.append(candidate)
    return tuple(found)


def _candidates(
    data: str, model: str, neuron: str, timesteps: int, strong: bool
) -> Iterator[PublishedAccuracy]:
    def is_run(row: PublishedRow, neuron_column: str = "neuron") -> bool:
        run = (row["data"], row["model"], row[neuron_column].lower(), row["timesteps"])
        return run == (data, model, neuron, timesteps)

    starred = "accuracy_percent_starred"
    for row in table(1).rows:
        column = starred if strong else "accuracy_percent"
        if is_run(row) and row[column] is not None:
            yield _cell(1, row, column)
    if strong:
        return
    for row in table(2).rows:
        if is_run(row):
            yield _cell(2, row, "accuracy_percent")
    for row in table(8).rows:
        if is_run(row, "pretrained_neuron"):
            yield _cell(8, row, "pretrained_accuracy_percent")
    for row in table(3).rows:
        if is_run(row) and row["window"] == timesteps:
            yield _cell(3, row, f"tau_{_DEFAULT_TAU}")
    yield from _of_the_text(data, model, neuron, timesteps)


def _of_the_text(data: str, model: str, neuron: str, timesteps: int) -> Iterator[PublishedAccuracy]:
    for entry in read("section5.yaml"):
        neurons = [name.lower() for name in entry["neurons"]]
        key = (entry["data"], entry["model"], entry["timesteps"])
        if neuron in neurons and key == (data, model, timesteps):
            yield PublishedAccuracy(
                accuracy_percent=entry["accuracy_percent"],
                table=None,
                source=entry["place"],
                row=f"{data} / {' and '.join(entry['neurons'])} / {timesteps}",
                column=f"text on Figure {entry['figure']}",
                page=None,
                note=entry["note"],
            )


def _cell(number: int, row: PublishedRow, column: str) -> PublishedAccuracy:
    return PublishedAccuracy(
        accuracy_percent=row[column],
        table=number,
        source=f"Table {number}",
        row=row.label,
        column=column,
        page=table(number).page,
        note=row.note,
    )


def truncation() -> tuple[PublishedTruncation, ...]:
    """Table 3, one entry a data set."""
    published = table(3)
    columns = [name for name in published.columns if name.startswith("tau_")]
    taus = {column: float(column.removeprefix("tau_")) for column in columns}
    halves = []
    for data in dict.fromkeys(row["data"] for row in published.rows):
        rows = [row for row in published.rows if row["data"] == data]
        grid = {(taus[name], row["window"]): row[name] for row in rows for name in columns}
        halves.append(
            PublishedTruncation(
                data=data,
                model=rows[0]["model"],
                neuron=rows[0]["neuron"].lower(),
                timesteps=rows[0]["timesteps"],
                taus=tuple(taus.values()),
                windows=tuple(row["window"] for row in rows),
                accuracy_percent=grid,
                table=published.number,
                note=published.note,
            )
        )
    return tuple(halves)


def deployment(data: str, pretrained_neuron: str) -> PublishedDeployment | None:
    """The row of Table 8 for a data set and the neuron of the training; None without one."""
    published = table(8)
    for row in published.rows:
        if (row["data"], row["pretrained_neuron"].lower()) != (data, pretrained_neuron):
            continue
        by_reset: dict[float | None, float] = {None: row["soft"]}
        for column in published.columns:
            if column.startswith(_HARD_RESET):
                by_reset[float(column.removeprefix(_HARD_RESET))] = row[column]
        return PublishedDeployment(
            data=data,
            model=row["model"],
            timesteps=row["timesteps"],
            pretrained_neuron=pretrained_neuron,
            pretrained_accuracy_percent=row["pretrained_accuracy_percent"],
            accuracy_percent=by_reset,
            table=published.number,
            row=row.label,
            note=row.note,
        )
    return None

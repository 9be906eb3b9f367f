"""The rows and columns of a table or figure, and which of the paper's runs gives which number."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from clifctl.experiments.reproduce.cells import Cell, cells_of
from clifctl.paper import PaperItem, accuracies, firing_rates, paper_recipe, paper_recipes, table
from clifctl.results.paper import PaperColumn
from clifctl.results.quantities import LAYER_RATE, TRAIN_LOSS_TRAIN_MODE

Quantity = Literal["accuracy", "loss", "rates"]
# The columns of a table that are numbers, by how their keys begin, and their digits.
_NUMBERS: Mapping[str, int | None] = {
    **{"accuracy": 2, "tau_": 2, "pretrained_acc": 2, "soft": 2, "v_reset": 2},
    **{"ac_": None, "mac_": None, "energy_": None, "parameters_m": None},
    **{"potential_": 4, "in_out_": 4, "operations_": 4, "addressing_": 4, "total_": 4},
    **{"epochs": None, "batch_size": None, "lr": None, "weight_decay": None, "dropout": None},
}
_PARAMETERS_MJ = "parameters_mj"
# Heads of columns that are too long as the tables' files describe them.
_HEADINGS = {
    "data": "data set",
    "citation": "after",
    "network": "network",
    "model": "net",
    "method": "method",
    "venue": "venue",
    "timesteps": "T",
    "window": "k",
    "accuracy_percent": "accuracy [%]",
    "accuracy_percent_starred": "accuracy* [%]",
    "pretrained_neuron": "trained with",
    "pretrained_accuracy_percent": "so trained [%]",
    "soft": "soft reset [%]",
    "parameters_millions": "parameters [10^6]",
    "ac_millions": "ACs [10^6]",
    "mac_millions": "MACs [10^6]",
    "energy_uj": "energy [uJ]",
    "potential_mj": "potential [mJ]",
    _PARAMETERS_MJ: "parameters [mJ]",
    "in_out_mj": "in/out [mJ]",
    "operations_mj": "operations [mJ]",
    "addressing_uj": "addressing [uJ]",
    "total_mj": "total [mJ]",
    "batch_size": "batch size",
    "weight_decay": "weight decay",
}


@dataclass(frozen=True)
class Slot:
    """A place for a number: what the paper printed there (None: nothing), and the run that gives it
    (None: none does). `layer` is that of a firing rate."""

    printed: Any = None
    cell: Cell | None = None
    layer: int | None = None


@dataclass(frozen=True)
class Line:
    """A row: what heads it by column, its places by column, and doubts by column."""

    row: str
    heads: Mapping[str, Any]
    slots: Mapping[str, Slot]
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Skeleton:
    """A table of the paper with its printed numbers, and what its runs are measured by."""

    columns: tuple[PaperColumn, ...]
    lines: tuple[Line, ...]
    quantity: Quantity = "accuracy"

    @property
    def slots(self) -> Iterator[Slot]:
        """Every place for a number."""
        for line in self.lines:
            yield from line.slots.values()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The runs that it shows, each once."""
        return tuple(dict.fromkeys(slot.cell for slot in self.slots if slot.cell is not None))


def skeleton_of(item: PaperItem) -> Skeleton:
    """The rows and columns of a table or figure."""
    if item.table is not None:
        return _of_table(item, item.table)
    return _FIGURES[item.layout](item)


def _of_table(item: PaperItem, number: int) -> Skeleton:
    printed = table(number)
    runs: dict[tuple[Any, ...] | None, Cell] = {_key(cell): cell for cell in _cells(item)}
    columns = tuple(
        PaperColumn(key=key, heading=_heading(key), digits=_digits(key), measured=_is_number(key))
        for key in printed.columns
    )
    lines = []
    for row in printed.rows:
        heads = {key: value for key, value in row.cells.items() if not _is_number(key)}
        slots = {
            key: Slot(value, runs.get(_run(number, row.cells, key)))
            for key, value in row.cells.items()
            if _is_number(key)
        }
        lines.append(Line(row.label, heads, slots, row.notes))
    return Skeleton(columns, tuple(lines))


def _heading(key: str) -> str:
    if key.startswith("tau_"):
        return f"tau = {key.removeprefix('tau_')} [%]"
    if key.startswith("v_reset_"):
        return f"reset to {float(key.removeprefix('v_reset_')):g} [%]"
    return _HEADINGS.get(key, key.replace("_", " "))


def _is_number(key: str) -> bool:
    return key == _PARAMETERS_MJ or any(key.startswith(start) for start in _NUMBERS)


def _digits(key: str) -> int | None:
    if key == _PARAMETERS_MJ:
        return 4
    return next((digits for start, digits in _NUMBERS.items() if key.startswith(start)), None)


def _cells(item: PaperItem) -> Iterator[Cell]:
    for grid in item.grids:
        yield from cells_of(grid)


def _key(cell: Cell) -> tuple[Any, ...]:
    return cell.recipe, cell.spec.neuron.name, cell.timesteps, cell.window, cell.tau


def _run(number: int, row: Mapping[str, Any], column: str) -> tuple[Any, ...] | None:
    """The key of the run behind a cell of a table; None where no training is behind it."""
    if row.get("model") is None:
        return None
    strong = column == "accuracy_percent_starred"
    recipe = paper_recipe(row["data"], row["model"], strong=strong)
    if recipe is None:
        return None
    neuron = (row.get("neuron") or row.get("pretrained_neuron", "")).lower()
    if number == 3:
        return recipe.recipe, neuron, row["timesteps"], row["window"], float(column[4:])
    if number in (1, 2) or column == "pretrained_accuracy_percent":
        return recipe.recipe, neuron, row["timesteps"], None, None
    return None


def _windows(item: PaperItem) -> Skeleton:
    cells = list(_cells(item))
    taus = dict.fromkeys(cell.tau for cell in cells)
    columns = (
        PaperColumn(key="window", heading="k"),
        *(_numbers(f"tau_{tau}", _heading(f"tau_{tau}"), 2) for tau in taus),
    )
    by_window: dict[int | None, dict[str, Slot]] = {}
    for cell in cells:
        by_window.setdefault(cell.window, {})[f"tau_{cell.tau}"] = Slot(None, cell)
    lines = (Line(f"k = {k}", {"window": k}, slots) for k, slots in by_window.items())
    return Skeleton(columns, tuple(lines))


def _timesteps(item: PaperItem) -> Skeleton:
    cells = list(_cells(item))
    neurons = dict.fromkeys(cell.neuron for cell in cells)
    columns = (
        PaperColumn(key="timesteps", heading="T"),
        *(_numbers(name, f"{name} [%]", 2) for name in neurons),
    )
    by_steps: dict[int, dict[str, Slot]] = {}
    notes: dict[int, dict[str, str]] = {}
    for cell in cells:
        slot, note = _with_number(cell)
        by_steps.setdefault(cell.timesteps, {})[cell.neuron] = slot
        if note:
            notes.setdefault(cell.timesteps, {})[cell.neuron] = note
    lines = (
        Line(f"T = {steps}", {"timesteps": steps}, slots, notes.get(steps, {}))
        for steps, slots in by_steps.items()
    )
    return Skeleton(columns, tuple(lines))


def _with_number(cell: Cell) -> tuple[Slot, str | None]:
    """The place of a run whose figure prints no number, with the number that a table or the text
    has for it, and where that is."""
    recipe = next((one for one in paper_recipes() if one.recipe == cell.recipe), None)
    if recipe is None:
        return Slot(None, cell), None
    key: Any = {"data": recipe.data, "model": recipe.model, "strong": recipe.starred}
    found = accuracies(**key, neuron=cell.neuron, timesteps=cell.timesteps)
    if not found:
        return Slot(None, cell), None
    also = [f"{one.accuracy_percent:.2f} in {one.source}" for one in found[1:]]
    note = f"The number of {found[0].source}" + "".join(f"; {one}" for one in also) + "."
    return Slot(found[0].accuracy_percent, cell), note


def _neurons(item: PaperItem) -> Skeleton:
    columns = (
        PaperColumn(key="neuron", heading="neuron"),
        PaperColumn(key="timesteps", heading="T"),
        _numbers("accuracy_percent", "accuracy [%]", 2),
    )
    lines = []
    for cell in _cells(item):
        slot, note = _with_number(cell)
        heads = {"neuron": cell.neuron, "timesteps": cell.timesteps}
        notes = {"accuracy_percent": note} if note else {}
        lines.append(Line(cell.neuron, heads, {"accuracy_percent": slot}, notes))
    return Skeleton(columns, tuple(lines))


def _exchange(item: PaperItem) -> Skeleton:
    columns = (
        PaperColumn(key="curve", heading="curve"),
        PaperColumn(key="timesteps", heading="T"),
        _numbers("train_loss", TRAIN_LOSS_TRAIN_MODE.heading, TRAIN_LOSS_TRAIN_MODE.digits),
    )
    lines = []
    for cell in _cells(item):
        curve = f"{cell.neuron}, exchanged for clif" if cell.exchanged else cell.neuron
        heads = {"curve": curve, "timesteps": cell.timesteps}
        lines.append(Line(curve, heads, {"train_loss": Slot(None, cell)}))
    return Skeleton(columns, tuple(lines), "loss")


def _losses(item: PaperItem) -> Skeleton:
    digits = TRAIN_LOSS_TRAIN_MODE.digits
    columns = (
        *_TASK_COLUMNS,
        *(_numbers(name, f"{name}, training loss", digits) for name in ("lif", "clif")),
    )
    lines = []
    for grid in item.grids:
        heads = _task_heads(grid.recipe, grid.timesteps[0])
        slots = {cell.neuron: Slot(None, cell) for cell in cells_of(grid)}
        lines.append(Line(heads["data"], heads, slots))
    return Skeleton(columns, tuple(lines), "loss")


def _rates(item: PaperItem) -> Skeleton:
    columns = (
        *_TASK_COLUMNS,
        PaperColumn(key="layer", heading="layer"),
        *(_numbers(name, f"{name}, firing rate", LAYER_RATE.digits) for name in ("lif", "clif")),
    )
    lines = []
    for grid in item.grids:
        heads = _task_heads(grid.recipe, grid.timesteps[0])
        cells = {cell.neuron: cell for cell in cells_of(grid)}
        printed = {name: firing_rates(heads["data"], name) for name in cells}
        layers = max(len(one.firing_rates) for one in printed.values() if one is not None)
        for at in range(layers):
            slots = {
                name: Slot(one.firing_rates[at], cells[name], at)
                for name, one in printed.items()
                if one is not None
            }
            row = f"{heads['data']} / {at + 1}"
            lines.append(Line(row, {**heads, "layer": at + 1}, slots))
    return Skeleton(columns, tuple(lines), "rates")


_TASK_COLUMNS = (
    PaperColumn(key="data", heading="data set"),
    PaperColumn(key="model", heading="net"),
    PaperColumn(key="timesteps", heading="T"),
)


def _task_heads(recipe: str, timesteps: int) -> dict[str, Any]:
    task = next(one for one in paper_recipes() if one.recipe == recipe)
    return {"data": task.data, "model": task.model, "timesteps": timesteps}


def _dynamics(item: PaperItem) -> Skeleton:
    """The axes of Figures 7 and 8: `computed` fills them."""
    if item.name == "fig7":
        heads = tuple(PaperColumn(key=key, heading=key) for key in ("T",))
        rates = (_numbers(name, f"{name}, firing rate", 4) for name in ("lif", "clif"))
        steps = (64, 128, 256, 512)
        empty = {"lif": Slot(), "clif": Slot()}
        return Skeleton((*heads, *rates), tuple(Line(f"T = {t}", {"T": t}, empty) for t in steps))
    lags = (0, 1, 2, 4, 8, 16, 32)
    signals = (("lif", "u"), ("clif", "u"), ("clif", "m"))
    columns = (
        PaperColumn(key="neuron", heading="neuron"),
        PaperColumn(key="signal", heading="signal"),
        *(_numbers(f"lag_{lag}", f"lag {lag}", 3) for lag in lags),
    )
    lines = (
        Line(
            f"{neuron} / {signal}",
            {"neuron": neuron, "signal": signal},
            {f"lag_{lag}": Slot() for lag in lags},
        )
        for neuron, signal in signals
    )
    return Skeleton(columns, tuple(lines))


def _drawing(item: PaperItem) -> Skeleton:
    columns = (
        PaperColumn(key="part", heading="part"),
        PaperColumn(key="shows", heading="shows"),
    )
    lines = (
        Line(part or item.label, {"part": part or None, "shows": shows}, {})
        for part, shows in item.parts.items()
    )
    return Skeleton(columns, tuple(lines))


def _numbers(key: str, heading: str, digits: int | None) -> PaperColumn:
    return PaperColumn(key=key, heading=heading, digits=digits, measured=True)


_FIGURES: Mapping[str, Callable[[PaperItem], Skeleton]] = {
    "windows": _windows,
    "timesteps": _timesteps,
    "neurons": _neurons,
    "exchange": _exchange,
    "losses": _losses,
    "rates": _rates,
    "dynamics": _dynamics,
    "drawing": _drawing,
}

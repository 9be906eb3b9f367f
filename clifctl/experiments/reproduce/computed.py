"""Numbers of the paper that need no training: settings, energies and single neurons; and what a
deployment of trained nets gave."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clifctl.experiments.checkpoints import CheckpointOptions
from clifctl.experiments.convert import ConvertOptions
from clifctl.experiments.dynamics import DynamicsOptions, dynamics
from clifctl.experiments.energy import EnergyOptions, energy
from clifctl.experiments.exports.lif import DeployOptions, deploy
from clifctl.experiments.reproduce.found import FoundRun
from clifctl.experiments.reproduce.layout import Line, Skeleton
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.files import to_json, write_text
from clifctl.paper import PaperItem, paper_recipe
from clifctl.reading import read_json
from clifctl.recipe.load import load_recipe
from clifctl.results.convert import DeployResult
from clifctl.results.decoding import decode, encode
from clifctl.results.energy import EnergyRow
from clifctl.results.paper import PaperLine
from clifctl.training.run_folder import BEST

# Beside the folders of runs.
DEPLOYED = "paper-deployed"
# The column of a table -> the key of a recipe that is it.
_SETTINGS = {
    "epochs": ("train", "epochs"),
    "batch_size": ("train", "batch_size"),
    "lr": ("train", "lr"),
    "weight_decay": ("train", "weight_decay"),
    "dropout": ("model", "dropout"),
}
_MILLION = 1_000_000


def recipe_lines(item: PaperItem, skeleton: Skeleton) -> Mapping[str, PaperLine]:
    """What clifctl's recipes set where Tables 4 and 5 print settings, by the row."""
    if item.table not in (4, 5):
        return {}
    found = {}
    for line in skeleton.lines:
        recipe = next(
            command.split()[-1]
            for command in item.commands
            if command.split()[-1].startswith(f"{line.heads['data']}_")
        )
        document = load_recipe(recipe).recipe.document
        cells = {key: document[section][name] for key, (section, name) in _SETTINGS.items()}
        of = f"recipe {recipe}"
        found[line.row] = _line(line, of, {key: cells[key] for key in line.slots})
    return found


def computes(item: PaperItem) -> bool:
    """Whether an item is computed without training."""
    return item.table in (6, 7) or item.layout == "dynamics"


def computed_lines(item: PaperItem, skeleton: Skeleton) -> Mapping[str, PaperLine]:
    """The numbers of an item that is computed, by the row."""
    if item.table in (6, 7):
        return dict(_energies(item.table, skeleton))
    result = dynamics(DynamicsOptions(neurons=("lif", "clif")))
    neurons = {one.neuron: one for one in result.neurons}
    found = {}
    of = f"{result.trials} trials, rate {result.rate:g}, weight {result.weight:g}"
    for line in skeleton.lines:
        if "T" in line.heads:
            values: dict[str, Any] = {
                name: rate.rate
                for name, one in neurons.items()
                for rate in one.rates
                if rate.timesteps == line.heads["T"]
            }
        else:
            raw = next(
                one.raw
                for one in neurons[line.heads["neuron"]].autocorrelations
                if one.signal == line.heads["signal"] and one.timesteps == max(result.timesteps)
            )
            values = {key: raw[int(key.removeprefix("lag_"))] for key in line.slots}
        found[line.row] = _line(line, of, values)
    return found


def _energies(number: int, skeleton: Skeleton) -> Iterator[tuple[str, PaperLine]]:
    """Tables 6 and 7 as their accounting gives them, from the published firing rates."""
    rows: dict[tuple[str, str], EnergyRow] = {}
    methods = ("sop",) if number == 6 else ("memory",)
    for data, timesteps in _TASKS.items():
        recipe = paper_recipe(data, _NETS[data])
        assert recipe is not None
        options = EnergyOptions(rates="paper", methods=methods, timesteps=timesteps)
        for row in energy([recipe.recipe], options).rows:
            rows[data, row.neuron] = row
    for line in skeleton.lines:
        row = rows[line.heads["data"], str(line.heads["neuron"]).lower()]
        cost = row.paper
        values: dict[str, Any] = {
            "parameters_millions": row.parameters / _MILLION,
            "ac_millions": None if cost.acs is None else cost.acs / _MILLION,
            "mac_millions": None if cost.macs is None else cost.macs / _MILLION,
            "energy_uj": cost.sop_energy_uj,
            **{
                key: getattr(cost, key)
                for key in line.slots
                if key.endswith(("_mj", "addressing_uj"))
            },
        }
        of = "from the published firing rates"
        yield line.row, _line(line, of, {key: values[key] for key in line.slots})


# The tasks of Tables 6 and 7.
_TASKS = {"cifar10": 6, "cifar100": 6, "tiny_imagenet": 6, "dvs_gesture": 20, "cifar10_dvs": 10}
_NETS = {
    **{"cifar10": "resnet18", "cifar100": "resnet18", "tiny_imagenet": "vgg13"},
    **{"dvs_gesture": "vgg11", "cifar10_dvs": "vgg11"},
}


def _line(line: Line, of: str, values: Mapping[str, Any]) -> PaperLine:
    return PaperLine(row=line.row, whose="here", of=of, cells={**line.heads, **values}, notes={})


def deployed(folder: Path, run: FoundRun) -> DeployResult | None:
    """What a deployment of a run on LIF neurons gave, by the file of `deploy_run`; None without."""
    try:
        result = decode(DeployResult, read_json(_file_of(folder, run)))
    except (OSError, ValueError):
        return None
    return result if Path(result.checkpoint) == Path(run.row.run) / BEST else None


def deploy_run(
    folder: Path, run: FoundRun, execution: ExecutionOptions, say: Callable[[str], None]
) -> None:
    """Try the resets of Table 8 on the best epoch of a run, and keep what they gave. Raises
    ClifctlError where that cannot be."""
    file = _file_of(folder, run)
    file.parent.mkdir(parents=True, exist_ok=True)
    options = ConvertOptions(
        out=file.with_suffix(".pt"),
        overwrite=True,
        checkpoint=CheckpointOptions(execution=execution),
        say=say,
    )
    result = deploy(Path(run.row.run) / BEST, options, DeployOptions(choose_on="test"))
    write_text(file, to_json(encode(result), indent=2) + "\n")


def _file_of(folder: Path, run: FoundRun) -> Path:
    return folder / DEPLOYED / f"{Path(run.row.run).name}.json"


def deployed_values(line: Line, result: DeployResult) -> dict[str, float]:
    """The numbers of a row of Table 8 that a deployment gave, by the column."""
    by_reset = {one.v_reset: one.accuracy_percent_test for one in result.settings}
    found = {}
    for key in line.slots:
        if key == "soft":
            found[key] = by_reset[None]
        elif key.startswith("v_reset_"):
            found[key] = by_reset[float(key.removeprefix("v_reset_"))]
    return found

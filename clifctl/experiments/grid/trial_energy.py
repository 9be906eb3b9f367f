"""The energy of an inference with the nets of finished trials, kept in `energies/` of the results
folder: it is measured once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import clifctl
from clifctl.errors import EnergyError, OutputError
from clifctl.experiments.checkpoints import CheckpointOptions
from clifctl.experiments.energy import EnergyOptions, energy
from clifctl.experiments.grid.grid import Grid
from clifctl.files import cannot_write
from clifctl.reading import read_json
from clifctl.results.events import GridObserver, Notice
from clifctl.training.run_folder import LAST, write_json
from clifctl.trust import is_file_reference

FOLDER = "energies"
# The name of a quantity of Summary -> that of the corrected accounting, and its unit in nJ.
ENERGIES = {"sop_energy_nj": ("sop_energy_uj", 1e3), "memory_energy_nj": ("total_mj", 1e6)}
_NAMES = ENERGIES.keys()


def energies(
    grid: Grid, names: Sequence[str], observe: GridObserver
) -> Mapping[str, Mapping[str, float]]:
    """Quantity -> trial -> energy of an inference on the test data, by the corrected accounting,
    with the weights of the last epoch. A trial whose net has an operation without a rule is not
    there, and is told. Raises CheckpointError for one that cannot be read."""
    found: dict[str, dict[str, float]] = {quantity: {} for quantity in ENERGIES}
    told = False
    for trial in grid.trials:
        if trial.name not in names:
            continue
        file = grid.folder.path / FOLDER / f"{trial.name}.json"
        checkpoint = grid.folder.run_folder(trial.name) / LAST
        known = _kept(file, checkpoint)
        if known is None:
            if not told:
                observe(Notice("measuring the energy of the trained nets on their test data"))
                told = True
            try:
                known = dict(_measured(grid, trial.loaded.recipe.document, checkpoint))
            except EnergyError as refused:
                observe(Notice(f"{trial.title}: no energy: {refused.message}"))
                continue
            _keep(file, checkpoint, known)
        for quantity, value in known.items():
            found[quantity][trial.name] = value
    return found


def _measured(
    grid: Grid, document: Mapping[str, Any], checkpoint: Path
) -> Iterator[tuple[str, float]]:
    neuron = document["neuron"]["name"]
    options = CheckpointOptions(
        neuron=neuron if is_file_reference(neuron) else None, execution=grid.options.execution
    )
    cost = energy([str(checkpoint)], EnergyOptions(checkpoint=options)).rows[-1].corrected
    for quantity, (name, nanojoules) in ENERGIES.items():
        value = getattr(cost, name)
        if value is not None:
            yield quantity, float(value) * nanojoules


def _identity(checkpoint: Path) -> dict[str, Any]:
    """What the energy of a checkpoint depends on."""
    status = checkpoint.stat()
    return {
        "clifctl": clifctl.__version__,
        "numerics_version": clifctl.NUMERICS_VERSION,
        "bytes": status.st_size,
        "changed_ns": status.st_mtime_ns,
    }


def _kept(file: Path, checkpoint: Path) -> dict[str, float] | None:
    try:
        document = read_json(file)
        known = {name: float(value) for name, value in document["energies"].items()}
        return known if document["of"] == _identity(checkpoint) and known.keys() <= _NAMES else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _keep(file: Path, checkpoint: Path, known: Mapping[str, float]) -> None:
    # Where nothing can be written, it is measured again.
    with suppress(OutputError):
        try:
            file.parent.mkdir(exist_ok=True)
        except OSError as refused:
            raise cannot_write(file, refused) from None
        write_json(file, {"of": _identity(checkpoint), "energies": dict(known)})

"""The temporal share of the gradients of finished trials."""

from collections.abc import Mapping, Sequence

import torch

from clifctl.data import LoadedData
from clifctl.experiments.build import load_data
from clifctl.experiments.checkpoints import CheckpointOptions
from clifctl.experiments.gradients import temporal_share
from clifctl.experiments.grid.grid import Grid
from clifctl.training.run_folder import LAST
from clifctl.trust import is_file_reference


def temporal_shares(grid: Grid, names: Sequence[str]) -> Mapping[str, float]:
    """Trial -> temporal share of its last checkpoint's net [%], on the same training samples for
    all; a trial whose neurons do not spike is not there. Raises CheckpointError for one that cannot
    be read."""
    data: dict[str, LoadedData] = {}
    found = {}
    for trial in grid.trials:
        if trial.name not in names:
            continue
        recipe = trial.loaded.recipe
        source = f"{recipe.document['data']} {recipe.timesteps}"
        if source not in data:
            data[source] = load_data(recipe)
        kept = grid.sizes[trial.name].kept_bytes
        torch.set_num_threads(grid.execution.for_step(kept).threads.count)
        name = recipe.document["neuron"]["name"]
        share = temporal_share(
            grid.folder.run_folder(trial.name) / LAST,
            data[source],
            CheckpointOptions(
                neuron=name if is_file_reference(name) else None,
                execution=grid.options.execution,
            ),
        )
        if share is not None:
            found[trial.name] = 100 * share
    return found

"""`train --init`: the weights of a checkpoint as the start of another run."""

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clifctl.devices import CPU
from clifctl.errors import UsageError
from clifctl.experiments.build import unfilled_net
from clifctl.recipe.schema import Recipe
from clifctl.training import run_folder
from clifctl.training.checkpoint import Checkpoint, load_checkpoint, load_weights


@dataclass(frozen=True)
class Start:
    """Weights and running averages that a run starts from; nothing else of the checkpoint is used:
    neither its recipe nor its optimizer's state."""

    path: Path
    checkpoint: Checkpoint

    def fill(self, net: torch.nn.Module) -> None:
        """Put them into `net`. Raises CheckpointError where they do not fit."""
        load_weights(
            net,
            self.checkpoint,
            self.path,
            of="the recipe",
            hint="--init needs a checkpoint of the same net; its neuron may be another",
        )

    @property
    def document(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"checkpoint": str(self.path), "sha256": _digest(self.path)}


def start_from(path: Path | None, recipe: Recipe) -> Start | None:
    """The start of a run of `recipe`, once it is sure that the weights of `path` fit its net.

    Raises CheckpointError.
    """
    if path is None:
        return None
    start = Start(path, load_checkpoint(path))
    start.fill(unfilled_net(recipe, torch.device(CPU)))
    return start


def require_same_start(folder: Path, init: Path | None) -> None:
    """Raise UsageError where the run in `folder`, which is to go on, began with other weights than
    those of `init` (None: it may only go on from its own last ones)."""
    manifest = run_folder.read_manifest(folder)
    began = manifest.get("init")
    if "init" not in manifest or not (began is None or _is_start(began)):
        return  # nothing is known of how it began
    if init is None:
        if began and not (folder / run_folder.LAST).is_file():
            raise UsageError(
                f"the run in '{folder}' began with the weights of '{began['checkpoint']}' and has "
                "saved none of its own",
                hint=f"add --init {shlex.quote(str(began['checkpoint']))}",
            )
        return
    load_checkpoint(init)
    if not began or began["sha256"] != _digest(init):
        what = f"with the weights of '{began['checkpoint']}'" if began else "without --init"
        raise UsageError(
            f"--init {init}: the run in '{folder}' began {what}",
            hint="leave --init out to resume it, or choose another --out",
        )


def _is_start(began: Any) -> bool:
    return isinstance(began, dict) and {"checkpoint", "sha256"} <= began.keys()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

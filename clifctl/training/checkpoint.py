"""Checkpoints: one file with the weights and the resolved recipe. Nothing in it is executed."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.errors import CheckpointError
from clifctl.files import write_atomically

FORMAT = "clifctl.checkpoint/1"
_HINT = "give a last.pt or best.pt that clifctl train wrote"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds. `recipe` is the resolved document, `model` the state dict."""

    recipe_name: str
    recipe: dict[str, Any]
    epoch: int
    accuracy_percent: float
    model: dict[str, Tensor]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` atomically. Raises OutputError where the file cannot be written."""
    document = {"format": FORMAT, **vars(checkpoint)}
    # torch reports a full disk as an internal error of its own: it writes to memory instead.
    buffer = io.BytesIO()
    torch.save(document, buffer)
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU, with `weights_only=True`: a file cannot run code.

    Raises CheckpointError for a file that is missing, truncated, foreign or hostile.
    """
    document = read_document(path)
    hint = _HINT
    if document.get("format") != FORMAT:
        raise CheckpointError(
            f"'{path}' is not a checkpoint of clifctl ({FORMAT})",
            hint="a state dict of the authors' code loads with --recipe, or --model and --data",
        )
    fields = Checkpoint.__dataclass_fields__
    missing = [name for name in fields if name not in document]
    if missing:
        raise CheckpointError(f"checkpoint '{path}' lacks {', '.join(missing)}", hint=hint)
    checkpoint = Checkpoint(**{name: document[name] for name in fields})
    types = {"recipe_name": str, "recipe": dict, "epoch": int, "accuracy_percent": float}
    for name, expected in types.items():
        if type(getattr(checkpoint, name)) is not expected:
            raise CheckpointError(f"checkpoint '{path}': {name} is not a {expected.__name__}")
    if not isinstance(checkpoint.model, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor)
        for key, value in checkpoint.model.items()
    ):
        raise CheckpointError(f"checkpoint '{path}': model is not a state dict", hint=hint)
    return checkpoint


def read_document(path: Path) -> dict[Any, Any]:
    """The mapping in a file of torch, on the CPU, read so that it cannot run code.

    Raises CheckpointError for a file that is missing, truncated or hostile.
    """
    hint = _HINT
    if not path.is_file():
        kind = "does not exist"
        if path.exists():
            kind = "is a folder, not a checkpoint" if path.is_dir() else "is not a regular file"
        inside = path / "last.pt"
        raise CheckpointError(
            f"checkpoint '{path}' {kind}", hint=f"try {inside}" if inside.is_file() else hint
        )
    try:
        document = torch.load(path, map_location=CPU, weights_only=True)
    except Exception as unreadable:
        # torch.load raises whatever the broken bytes make it raise; the file is refused as a whole.
        raise CheckpointError(
            f"'{path}' is not a checkpoint, or not one that can be loaded safely", hint=hint
        ) from unreadable
    if not isinstance(document, dict):
        raise CheckpointError(f"'{path}' holds no mapping, it is not a checkpoint", hint=hint)
    return document


def load_weights(net: torch.nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    """Put the checkpoint's weights into `net`. Raises CheckpointError where they do not fit."""
    for name, tensor in net.state_dict().items():
        given = checkpoint.model.get(name)
        if given is not None and given.dtype != tensor.dtype:
            raise CheckpointError(
                f"the weights of '{path}' do not fit its own recipe ({name} is {given.dtype})",
                hint="take one that clifctl train wrote",
            )
    try:
        net.load_state_dict(checkpoint.model)
    except (RuntimeError, AttributeError, TypeError) as unfit:
        lines = str(unfit).strip().splitlines()
        raise CheckpointError(
            f"the weights of '{path}' do not fit its own recipe ({_short(lines[-1].strip())})",
            hint="the file was changed after training: take one that clifctl train wrote",
        ) from unfit


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."

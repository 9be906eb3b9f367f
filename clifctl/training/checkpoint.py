"""Checkpoints: one file with the weights, the resolved recipe, and what a run needs to go on.

Nothing in it is executed. A file is a sealed zip archive of torch: one that was cut off or has
changed in a single bit is refused.
"""

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clifctl.devices import CPU, available_memory_bytes
from clifctl.errors import CheckpointError
from clifctl.files import Writer, write_atomically
from clifctl.models import set_folded
from clifctl.reading import read_bytes
from clifctl.training.archive import misfit
from clifctl.training.seal import bears_seal, seal_holds, sealed
from clifctl.training.stand_ins import STAND_INS

FORMAT = "clifctl.checkpoint/2"
# Without a checksum, and without what a run needs to go on.
_OLD_FORMAT = "clifctl.checkpoint/1"
_HINT = "give a last.pt or best.pt that clifctl train wrote"
_FOREIGN_HINT = "give a file in which torch.save wrote a state dict"
_SAVE_ALONE = "where that code is, save the weights alone: torch.save(net.state_dict(), FILE)"
_SHOWN = 3


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds. `recipe` is the resolved document, `model` the state dict.

    `epoch` epochs are finished, and `step` steps of the next. `accuracy_percent` is the test
    accuracy after those epochs, None before the first. `training` is the state from which
    `clifctl.training.resume` goes on; None in a file of an earlier version. `trained_neuron` is the
    neuron that a converted net was trained with, None of any other net. `folded_norms` names the
    batch norms that a conversion has folded into the weights; None where the file does not say.
    `neuron_sources` is the SHA-256 of each file of a person's own that the recipe names, None where
    it was not kept.
    """

    recipe_name: str
    recipe: dict[str, Any]
    epoch: int
    accuracy_percent: float | None
    model: dict[str, Tensor]
    step: int = 0
    training: dict[str, Any] | None = None
    trained_neuron: str | None = None
    folded_norms: tuple[str, ...] | None = None
    neuron_sources: dict[str, str] | None = None

    @property
    def epoch_of_weights(self) -> int:
        """The epoch that the last step was of, 0 before the first step."""
        return self.epoch + (self.step > 0)


_TYPES: dict[str, tuple[type, ...]] = {
    "recipe_name": (str,),
    "recipe": (dict,),
    "epoch": (int,),
    "accuracy_percent": (float, type(None)),
    "step": (int,),
    "training": (dict, type(None)),
    "trained_neuron": (str, type(None)),
    "folded_norms": (tuple, type(None)),
    "neuron_sources": (dict, type(None)),
}


def save_checkpoint(
    checkpoint: Checkpoint,
    *paths: Path,
    write: Callable[[Path, Writer], None] = write_atomically,
) -> None:
    """Write `checkpoint` to each path, in the way of `clifctl.files` that `write` is. Raises
    OutputError where that fails."""
    # torch reports a full disk as an internal error of its own: it writes to memory instead.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **vars(checkpoint)}, buffer)
    content = sealed(buffer.getbuffer())
    for path in paths:
        write(path, lambda file: file.writelines(content))


def load_checkpoint(path: Path, *, foreign: str = _HINT) -> Checkpoint:
    """Read a checkpoint onto the CPU, with `weights_only=True`: a file cannot run code.

    Raises CheckpointError for a file that is missing, truncated, changed or hostile, or of other
    code, of which `foreign` says what to do with it.
    """
    document, is_sealed = _read(path, _HINT, foreign)
    if document.get("format") not in (FORMAT, _OLD_FORMAT):
        raise CheckpointError(f"'{path}' is not a checkpoint of clifctl ({FORMAT})", hint=foreign)
    if document["format"] == FORMAT and not is_sealed:
        raise CheckpointError(
            f"checkpoint '{path}' was changed after clifctl wrote it: its checksum is missing",
            hint=_HINT,
        )
    fields = Checkpoint.__dataclass_fields__
    # What an older version did not write has its default.
    missing = [n for n, field in fields.items() if n not in document and field.default is MISSING]
    if missing:
        raise CheckpointError(f"checkpoint '{path}' lacks {', '.join(missing)}", hint=_HINT)
    unknown = [str(name) for name in document if name not in fields and name != "format"]
    if unknown:
        raise CheckpointError(
            f"checkpoint '{path}' holds what this clifctl does not know: {', '.join(unknown)}",
            hint="it is of a newer clifctl, or was changed",
        )
    checkpoint = Checkpoint(**{name: document[name] for name in fields if name in document})
    for name, expected in _TYPES.items():
        if type(getattr(checkpoint, name)) not in expected:
            wanted = expected[0].__name__
            raise CheckpointError(f"checkpoint '{path}': {name} is not a {wanted}", hint=_HINT)
    sources = checkpoint.neuron_sources or {}
    if not all(isinstance(text, str) for pair in sources.items() for text in pair):
        raise CheckpointError(f"checkpoint '{path}': neuron_sources is not of texts", hint=_HINT)
    if checkpoint.epoch < 0 or checkpoint.step < 0:
        raise CheckpointError(f"checkpoint '{path}': epoch or step is negative", hint=_HINT)
    if checkpoint.training is not None and checkpoint.trained_neuron is not None:
        raise CheckpointError(
            f"checkpoint '{path}' is a run's and a conversion's at once", hint=_HINT
        )
    if not isinstance(checkpoint.model, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor)
        for key, value in checkpoint.model.items()
    ):
        raise CheckpointError(f"checkpoint '{path}': model is not a state dict", hint=_HINT)
    return checkpoint


def read_document(path: Path) -> dict[Any, Any]:
    """The mapping in a file of torch of other code, on the CPU, read so that it cannot run code:
    of what is beside tensors, numbers, texts and containers, nothing is kept (see `stand_ins`).

    Raises CheckpointError for a file that is missing, truncated, changed or hostile.
    """
    return _read(path, _FOREIGN_HINT, _SAVE_ALONE)[0]


def _read(path: Path, hint: str, of_others: str) -> tuple[dict[Any, Any], bool]:
    """The mapping in a file of torch, and whether it carries a checksum (which is right). `hint`
    says what should have been given, `of_others` what to do with objects of other code."""
    if not path.is_file():
        kind = "does not exist"
        if path.exists():
            kind = "is a folder, not a checkpoint" if path.is_dir() else "is not a regular file"
        inside = path / "last.pt"
        raise CheckpointError(
            f"checkpoint '{path}' {kind}", hint=f"try {inside}" if inside.is_file() else hint
        )
    free = available_memory_bytes()
    try:
        # Beside the content there are the tensors that are made of it.
        whole = read_bytes(path, sys.maxsize if free is None else free // 2)
        content = memoryview(whole)
    except OSError as refused:
        raise CheckpointError(f"cannot read '{path}': {refused.strerror}", hint=hint) from None
    holds = seal_holds(content)
    if holds is False:
        raise CheckpointError(
            f"checkpoint '{path}' is damaged: its checksum does not fit its content",
            hint=f"take {_other_than(path)}",
        )
    wrong = misfit(whole)
    if wrong is not None:
        raise CheckpointError(
            f"'{path}' is not a checkpoint, or not one that can be loaded safely: {wrong}",
            hint=hint,
        )
    with torch.serialization.safe_globals(STAND_INS):
        try:
            document = torch.load(io.BytesIO(whole), map_location=CPU, weights_only=True)
        except Exception as unreadable:
            # It raises whatever broken bytes make it raise; the file is refused as a whole.
            raise _refusal(path, whole, hint, of_others) from unreadable
    if not isinstance(document, dict):
        raise CheckpointError(f"'{path}' holds no mapping, it is not a checkpoint", hint=hint)
    return document, holds is not None


def _refusal(path: Path, content: bytes, hint: str, of_others: str) -> CheckpointError:
    """Why a file is not loaded: the classes that it would have made, or that it is broken."""
    unknown: list[str] = []
    with suppress(Exception):  # broken here too
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(content))
    if not unknown:
        return CheckpointError(
            f"'{path}' is not a checkpoint, or not one that can be loaded safely", hint=hint
        )
    names = sorted(name if name.isprintable() else repr(name) for name in unknown)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = ", ".join(map(_short, names[:_SHOWN]))
    return CheckpointError(
        f"'{path}' holds objects of other code, which is not run: {shown}{more}",
        hint=of_others,
    )


def _other_than(path: Path) -> str:
    """Which checkpoint to take instead of a damaged one: one beside it that is sealed."""
    others = [path.with_name(name) for name in ("last.pt", "best.pt") if name != path.name]
    there = next((f"'{other}'" for other in others if bears_seal(other)), None)
    return there or "another one of that run, best.pt or one that --keep kept"


def load_weights(
    net: torch.nn.Module,
    checkpoint: Checkpoint,
    path: Path,
    *,
    of: str = "its own recipe",
    hint: str = "the file was changed after training: take one that clifctl train wrote",
) -> None:
    """Put the checkpoint's weights into `net`, the net `of` a recipe. Raises CheckpointError, with
    `hint`, where they do not fit."""
    for name, tensor in net.state_dict().items():
        given = checkpoint.model.get(name)
        if given is not None and given.dtype != tensor.dtype:
            raise CheckpointError(
                f"the weights of '{path}' do not fit {of} ({name} is {given.dtype})",
                hint="take one that clifctl train wrote",
            )
    try:
        net.load_state_dict(checkpoint.model)
    except (RuntimeError, AttributeError, TypeError) as unfit:
        lines = str(unfit).strip().splitlines()
        raise CheckpointError(
            f"the weights of '{path}' do not fit {of} ({_short(lines[-1].strip())})", hint=hint
        ) from unfit
    set_folded(net, checkpoint.folded_norms)


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."

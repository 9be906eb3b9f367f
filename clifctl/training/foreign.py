"""Checkpoints of the authors' code, and plain state dicts: other names, the same numbers.

Theirs is a dict with `net` (the state dict), `epoch` and `max_test_acc`; neurons without learnable
parameters leave nothing in it, so LIF, CLIF and ReLU nets have the same keys.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from clifctl.errors import CheckpointError, nearest
from clifctl.models import SpikingNet
from clifctl.training.checkpoint import read_document

# Where a state dict may lie in a file; "" is the file itself.
_PLACES = ("net", "state_dict", "model", "")
_PREFIX = "module."  # of torch's DataParallel
_SHOWN = 4


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A state dict under its own names, and what else the file says."""

    state: dict[str, Tensor]
    epoch: int | None
    accuracy_percent: float | None


def load_foreign(path: Path) -> ForeignCheckpoint:
    """Read a file that is not of clifctl, with `weights_only=True`: it cannot run code.

    Raises CheckpointError where it holds no state dict.
    """
    document = read_document(path)
    for place in _PLACES:
        state = document.get(place) if place else document
        if isinstance(state, dict) and state and all(isinstance(v, Tensor) for v in state.values()):
            epoch, accuracy = document.get("epoch"), document.get("max_test_acc")
            return ForeignCheckpoint(
                {str(key).removeprefix(_PREFIX): value for key, value in state.items()},
                epoch if isinstance(epoch, int) else None,
                100.0 * float(accuracy) if isinstance(accuracy, float) else None,
            )
    raise CheckpointError(
        f"'{path}' holds no state dict of tensors",
        hint="a checkpoint of the authors' code has one under 'net'",
    )


def load_foreign_weights(net: SpikingNet, foreign: ForeignCheckpoint, path: Path) -> None:
    """Put the weights into `net`, under our names or the authors'.

    Raises CheckpointError naming every kind of misfit: keys that are missing, unexpected (with the
    nearest known name) or of another shape. Nothing is loaded then.
    """
    own = net.state_dict()
    theirs = {_authors_key(net, key): key for key in own}
    given = {
        theirs.get(key, key): value
        for key, value in foreign.state.items()
        if key not in net.authors_unused
    }
    shown = {key: name for name, key in theirs.items()} if set(theirs) & set(foreign.state) else {}
    problems = []
    missing = [shown.get(key, key) for key in own if key not in given]
    unexpected = [key for key in given if key not in own]
    if missing:
        problems.append(_listed("missing", missing))
    if unexpected:
        free = missing or [shown.get(key, key) for key in own]
        guesses = [
            key + (f" (near '{near}')" if (near := nearest(key, free)) else "")
            for key in unexpected
        ]
        problems.append(_listed("unexpected", guesses))
    misshapen = [
        f"{shown.get(key, key)} is {list(given[key].shape)}, the net has {list(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    if misshapen:
        problems.append(_listed("of another shape", misshapen))
    if problems:
        raise CheckpointError(
            f"the weights of '{path}' do not fit the net: {'; '.join(problems)}",
            hint=_hint(own, given),
        )
    net.load_state_dict({key: value.to(own[key].dtype) for key, value in given.items()})


def _authors_key(net: SpikingNet, key: str) -> str:
    module, _, leaf = key.rpartition(".")
    return f"{net.authors_names[module]}.{leaf}" if module in net.authors_names else key


def _listed(what: str, entries: list[str]) -> str:
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return f"{len(entries)} {what}: {', '.join(entries[:_SHOWN])}{more}"


def _hint(own: dict[str, Any], given: dict[str, Tensor]) -> str:
    """What the file says of the data that it was trained on."""
    heads = [key for key in own if key.endswith(".weight") and own[key].dim() == 2]
    if heads and heads[-1] in given and given[heads[-1]].shape[0] != own[heads[-1]].shape[0]:
        return (
            f"the file has {given[heads[-1]].shape[0]} classes, the data set "
            f"{own[heads[-1]].shape[0]}: choose the data set that it was trained on"
        )
    first = next((key for key in own if own[key].dim() == 4), None)
    if first in given and given[first].dim() == 4 and given[first].shape[1] != own[first].shape[1]:
        return f"the file is of a net for images of {given[first].shape[1]} channels"
    return "choose the model and the neuron that the file was trained with"

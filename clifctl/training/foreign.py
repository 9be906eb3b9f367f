"""Checkpoints of the authors' code, and plain state dicts: other names, the same numbers.

Theirs is a dict with `net` (the state dict), `epoch` and `max_test_acc`; neurons without learnable
parameters leave nothing in it, so LIF, CLIF and ReLU nets have the same keys.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clifctl.errors import CheckpointError, nearest
from clifctl.models import SpikingNet
from clifctl.training.checkpoint import read_document
from clifctl.training.key_map import KeyMap, as_hint, proposals

# Where a state dict lies in a file of the authors, of timm and Lightning, and of many others.
_PLACES = ("net", "state_dict", "model", "model_state_dict")
# What torch.compile adds to the name of each module that it has compiled.
_COMPILED = "_orig_mod."
_DEEPEST = 4  # modules that a net is wrapped in
# Counts that old versions of torch did not keep, and that a trained net has no use for.
_COUNTS = ".num_batches_tracked"
_SHOWN = 4


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A state dict under its own names, and what else the file says."""

    state: dict[str, Tensor]
    epoch: int | None
    accuracy_percent: float | None


class KeysDiffer(CheckpointError):
    """Weights whose keys are not the net's: `missing` are ours, `unexpected` the file's."""

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        missing: Mapping[str, Tensor],
        unexpected: Mapping[str, Tensor],
    ) -> None:
        super().__init__(message, hint=hint)
        self.missing = missing
        self.unexpected = unexpected


def load_foreign(path: Path) -> ForeignCheckpoint:
    """Read a file that is not of clifctl, with `weights_only=True`: it cannot run code.

    Raises CheckpointError where it holds no state dict, or several under names of their own.
    """
    document = read_document(path)
    state = _state_dict(document, path)
    epoch, accuracy = document.get("epoch"), document.get("max_test_acc")
    return ForeignCheckpoint(
        {str(key): value for key, value in state.items()},
        epoch if isinstance(epoch, int) else None,
        100.0 * float(accuracy) if isinstance(accuracy, float) else None,
    )


def _state_dict(document: dict[Any, Any], path: Path) -> dict[Any, Tensor]:
    if _is_state_dict(document):
        return document
    found = {key: value for key, value in document.items() if _is_state_dict(value)}
    known = [place for place in _PLACES if place in found] or list(found)
    if known and (known[0] in _PLACES or len(known) == 1):
        state: dict[Any, Tensor] = found[known[0]]
        return state
    if known:
        raise CheckpointError(
            f"'{path}' holds several state dicts: {_listed('keys', [str(key) for key in known])}",
            hint=f"save one of them alone, or under '{_PLACES[0]}'",
        )
    keys = _listed("keys", [str(key) for key in document]) if document else "nothing"
    raise CheckpointError(
        f"'{path}' holds no state dict of tensors; it holds {keys}",
        hint=f"save net.state_dict() alone, or under '{_PLACES[0]}'",
    )


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(entry, Tensor) for entry in value.values())
    )


def load_foreign_weights(
    net: SpikingNet, foreign: ForeignCheckpoint, path: Path, key_map: KeyMap | None = None
) -> None:
    """Put the weights into `net`, under our names or the authors', behind whatever prefix, or
    under those that `key_map` gives them.

    Raises CheckpointError naming every kind of misfit: keys that are missing, unexpected (with the
    nearest known name, or what their shapes propose) or of another shape; KeysDiffer where a map
    could help. Nothing is loaded then.
    """
    own = net.state_dict()
    theirs = {_authors_key(net, key): key for key in own}
    renamed, rest = ({}, foreign.state) if key_map is None else key_map.applied(foreign.state)
    mapped = {theirs.get(key, key) for key in renamed}
    needed = sum(not key.endswith(_COUNTS) for key in own if key not in mapped)
    state = _unwrapped(rest, {*own, *theirs}, needed, path) if needed else rest
    given: dict[str, Tensor] = {}
    for key, value in (*renamed.items(), *state.items()):
        ours = theirs.get(key, key)
        if ours in given:
            raise CheckpointError(
                f"'{path}' has a key '{key}', and the key map gives that name to another",
                hint="map it too: to a name of its own, or to null, which leaves it out",
            )
        if key not in net.authors_unused and (ours in own or not key.endswith(_COUNTS)):
            given[ours] = value
    for key in own:
        if key.endswith(_COUNTS):
            given.setdefault(key, torch.zeros((), dtype=own[key].dtype))
    shown = {key: name for name, key in theirs.items()} if set(theirs) & {*state, *renamed} else {}
    problems = []
    lacking = [key for key in own if key not in given]
    missing = [shown.get(key, key) for key in lacking]
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
        told = f"the weights of '{path}' do not fit the net: {'; '.join(problems)}"
        in_file = _as_in_file(unexpected, given, foreign.state)
        hint = _hint(own, given, lacking, in_file)
        if not lacking or not in_file:
            raise CheckpointError(told, hint=hint)
        of_ours = {key: own[key] for key in lacking}
        raise KeysDiffer(told, hint=hint, missing=of_ours, unexpected=in_file)
    net.load_state_dict({key: value.to(own[key].dtype) for key, value in given.items()})


def _unwrapped(
    state: dict[str, Tensor], known: Collection[str], needed: int, path: Path
) -> dict[str, Tensor]:
    """`state` without the prefix that most of the net's `known` keys stand behind: `module.` of
    DataParallel, `_orig_mod.` of torch.compile, `model.` of Lightning, or any other. Where all keys
    that are `needed` stand behind it, those outside are none of the net's.

    Raises CheckpointError where the whole net is there under several prefixes.
    """
    found: Counter[str] = Counter()
    for key in state:
        modules = key.split(".", _DEEPEST + 1)
        for depth in range(min(len(modules), _DEEPEST + 1)):
            prefix = "".join(f"{module}." for module in modules[:depth])
            name = key.removeprefix(prefix)
            if name.startswith(_COMPILED) or name.endswith(_COUNTS):
                continue
            found[prefix] += name.replace(_COMPILED, "") in known
    whole = [prefix for prefix, count in found.items() if count >= needed]
    if len(whole) > 1:
        raise CheckpointError(
            f"'{path}' holds the net {_listed('times', [repr(one) for one in whole])}",
            hint="save one of them alone: torch.save(net.state_dict(), FILE)",
        )
    prefix = max(found, key=lambda one: (found[one], -len(one)), default="")
    inside = {key: value for key, value in state.items() if not whole or key.startswith(prefix)}
    named = {
        key.removeprefix(prefix).replace(_COMPILED, ""): value for key, value in inside.items()
    }
    # Where two keys would become one, names are left as they are, and told as they are.
    return named if len(named) == len(inside) else state


def _authors_key(net: SpikingNet, key: str) -> str:
    module, _, leaf = key.rpartition(".")
    if module not in net.authors_names:
        return key
    return f"{net.authors_names[module]}.{leaf}".removeprefix(".")  # "": the net itself


def _listed(what: str, entries: list[str]) -> str:
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return f"{len(entries)} {what}: {', '.join(entries[:_SHOWN])}{more}"


def _as_in_file(
    unexpected: list[str], given: dict[str, Tensor], state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """What is `unexpected`, under the names that the file has, which a key map takes."""
    found = {}
    for key in unexpected:
        behind = [name for name in state if f".{name.replace(_COMPILED, '')}".endswith(f".{key}")]
        name = key if key in state else behind[0] if len(behind) == 1 else None
        if name is not None:
            found[name] = given[key]
    return found


def _hint(
    own: dict[str, Any], given: dict[str, Tensor], missing: list[str], unexpected: dict[str, Tensor]
) -> str:
    """What the file says of the data that it was trained on, or how its keys are renamed."""
    heads = [key for key in own if key.endswith(".weight") and own[key].dim() == 2]
    if heads and heads[-1] in given and given[heads[-1]].shape[0] != own[heads[-1]].shape[0]:
        return (
            f"the file has {given[heads[-1]].shape[0]} classes, the data set "
            f"{own[heads[-1]].shape[0]}: choose the data set that it was trained on"
        )
    first = next((key for key in own if own[key].dim() == 4), None)
    if first in given and given[first].dim() == 4 and given[first].shape[1] != own[first].shape[1]:
        return f"the file is of a net for images of {given[first].shape[1]} channels"
    trained = "choose the model and the neuron that the file was trained with"
    if not missing or not unexpected:
        return trained
    return f"{trained}; or {as_hint(proposals(missing, own, unexpected))}"

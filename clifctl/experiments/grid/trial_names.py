"""Trials and their names: one run of one resolved recipe each, named by what decides its result."""

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import clifctl
from clifctl.errors import UsageError
from clifctl.experiments.run.execution import Execution
from clifctl.experiments.run.resume import FREE, READING, decisive, without
from clifctl.recipe.defaults import completed, defaults_of, without_defaults
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.old_names import with_new_names, with_old_names
from clifctl.recipe.own_files import file_sources, with_identities
from clifctl.recipe.schema import NEURON_KEYS

# Of the hash: in a readable name, and where it is the whole name.
_SHORT, _LONG = 8, 16
# What a comparison varies: two trials may differ in these and still belong to one folder.
AXES = (("neuron",), ("timesteps",), ("model", "batch_norm"), ("train", "seed"))
# What every neuron's section held when names hashed all keys.
_NEURON_KEYS_THEN = ("window", "window_reading", "exchange")


@dataclass(frozen=True)
class Numerics:
    """Where a trial computes, and how: device type, kernel target and connections. Runs of one
    recipe on two of them differ in rounding, and after some epochs in everything."""

    device: str
    target: str
    connections: str = "dense"

    @classmethod
    def of(cls, execution: Execution) -> "Numerics":
        """Those of a net that is run so."""
        kernels = execution.kernels
        return cls(execution.device.type, kernels.target.name, kernels.connections.name)

    @property
    def named(self) -> dict[str, str]:
        """What a trial's name says of it: dense connections, which all were once, go unsaid."""
        found = asdict(self)
        if self.connections == "dense":
            del found["connections"]
        return found


@dataclass(frozen=True)
class Trial:
    """One run of a grid. `title` says in words what sets it apart, `long_name` is the name with
    more of its hash."""

    name: str
    title: str
    loaded: LoadedRecipe
    numerics: Numerics
    long_name: str = field(default="", compare=False)

    @property
    def seed(self) -> int:
        """The seed of weights, order and augmentation."""
        return self.loaded.recipe.train.seed


def trial_of(loaded: LoadedRecipe, title: str, numerics: Numerics) -> Trial:
    """`loaded` as a trial, named by its neuron, its place in a grid, and the hash of what decides
    its result: `clif-T4-seed2-1a2b3c4d`.

    Hashed is: the resolved recipe but for keys that change no result or stand at their default (a
    key that is added later then renames no trial); `clifctl.NUMERICS_VERSION`, which is raised with
    every change of clifctl that can change a result (the version of the package would make every
    release forget what is finished); the device type, the kernel target and the connections. A
    net or a neuron of a person's file counts as what the file holds, wherever it lies. Versions of
    torch, number of threads and machine are recorded with the run and not part of the name.
    """
    document, plainest = _plainest(loaded)
    digest = _digest(with_identities(plainest), numerics, {})
    words = _in_words(document, plainest.get("neuron", {}))
    return Trial(
        f"{words}-{digest[:_SHORT]}", title, loaded, numerics, long_name=f"{words}-{digest}"
    )


def _plainest(loaded: LoadedRecipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """What decides of a recipe, with and without the keys that stand at their default."""
    document = decisive(loaded.recipe.document)
    return document, without_defaults(document, defaults_of(document))


def _in_words(document: dict[str, Any], not_default: dict[str, Any]) -> str:
    """What may set a trial apart from others of its folder. `not_default`: of its neuron's keys."""
    neuron = document["neuron"]
    words = [_word(neuron["name"])]
    words += [
        f"{key}{value:g}" if type(value) in (int, float) else f"{key}-{_word(str(value))}"
        for key, value in not_default.items()
        if key != "name" and key not in NEURON_KEYS
    ]
    if neuron.get("exchange"):
        words.append(f"to-{_word(neuron['exchange']['to'])}")
    words.append(f"T{document['timesteps']}")
    if neuron.get("window") is not None:
        words.append(f"k{neuron['window']}")
    norm = document["model"].get("batch_norm", "per_step")  # which a person's own net may not have
    if norm != "per_step":
        words.append(_word(str(norm)))
    return "-".join([*words, f"seed{document['train']['seed']}"])


def _word(name: str) -> str:
    """A name as part of a file's name; of `FILE.py:NAME` the last part."""
    return re.sub(r"[^\w.]+", "-", name.rpartition(":")[2], flags=re.ASCII)[:24]


def told_apart(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """`trials`, where two that differ have one name under their long names: in a grid of 10,000
    trials of the same words that comes about once in a hundred."""
    known: dict[str, set[str]] = {}
    for trial in trials:
        known.setdefault(trial.name, set()).add(trial.long_name)
    return tuple(
        trial if len(known[trial.name]) == 1 else replace(trial, name=trial.long_name)
        for trial in trials
    )


def named_by_hash(trial: Trial) -> Trial:
    """`trial` under the name that it has in a folder of before names could be read."""
    _, plainest = _plainest(trial.loaded)
    return replace(trial, name=_digest(with_identities(plainest), trial.numerics, {}))


def named_with_old_names(trial: Trial) -> Trial:
    """`trial` under the name that it had when names hashed the path of a neuron's own file, too,
    and keys as they were called then."""
    document, plainest = _plainest(trial.loaded)
    plainest = with_old_names(plainest)
    return replace(trial, name=_digest(plainest, trial.numerics, file_sources(document)))


def named_with_defaults(trial: Trial, base: dict[str, Any]) -> Trial:
    """`trial` under the name that it has in a folder whose names hash every key that clifctl then
    had, the defaults too: those of `base`, which all its trials have in common, and the axes."""
    document = trial.loaded.recipe.document
    known = _known(without(document, FREE), base, ())
    # Those names hashed how data are read, too.
    known["data"] |= {k: base["data"][k] for k in known["data"] if f"data.{k}" in READING}
    younger = set(NEURON_KEYS) - set(_NEURON_KEYS_THEN)
    known["neuron"] = {k: v for k, v in document["neuron"].items() if k not in younger}
    known = with_old_names(known)
    return replace(trial, name=_digest(known, trial.numerics, file_sources(document)))


def _digest(decides: dict[str, Any], numerics: Numerics, sources: dict[str, str]) -> str:
    whole = {
        "recipe": decides,
        "numerics_version": clifctl.NUMERICS_VERSION,
        "numerics": numerics.named,
        "neuron_sources": sources,
    }
    text = json.dumps(whole, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_LONG]


def _known(document: dict[str, Any], base: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The keys of `document` that are in `base`, or axes."""
    found = {}
    for key, value in document.items():
        theirs = base.get(key)
        if isinstance(value, dict) and isinstance(theirs, dict):
            found[key] = _known(value, theirs, (*path, key))
        elif key in base or (*path, key) in AXES:
            found[key] = value
    return found


def base_of(
    trial: Trial, keys: Collection[str] = (), earlier: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What all trials of a folder have in common: the recipe of `trial` without the axes, which are
    AXES and `keys`; or the `earlier` one of a folder, with what `trial`'s may leave out and it
    lacks. With the name of a data set or a net goes all of its section."""
    document = decisive(trial.loaded.recipe.document)
    if earlier is not None:
        document = completed(decisive(with_new_names(earlier)), decisive(defaults_of(document)))
    for *sections, key in AXES:
        place: Any = document
        for section in sections:
            place = place.get(section)
        if isinstance(place, dict):
            place.pop(key, None)
    for one in keys:
        _drop(document, one.removesuffix(".name").split("."))
    return document


def _drop(document: dict[str, Any], path: Sequence[str]) -> None:
    """Take out what is at `path`; of a section its keys."""
    *sections, key = path
    place: Any = document
    for section in sections:
        place = place.get(section) if isinstance(place, dict) else None
    if isinstance(place, dict) and isinstance(place.get(key), dict):
        place[key] = {}
    elif isinstance(place, dict):
        place.pop(key, None)


def without_repetition(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Each trial once, in order. Raises UsageError for no trial at all."""
    found = tuple({trial.name: trial for trial in trials}.values())
    if not found:
        raise UsageError("the grid is empty", hint="give each axis at least one value")
    return found

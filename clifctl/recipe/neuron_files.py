"""The files of a person's own that a recipe's neurons come from: known again by their content,
wherever they lie now.

A run and a checkpoint keep the SHA-256 of each such file. What they call FILE.py:NAME is then any
file that a person names and that has this content and a neuron NAME.
"""

import copy
import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clifctl import notices, trust
from clifctl.errors import NeuronError
from clifctl.reading import MOST_GIVEN_BYTES, read_bytes
from clifctl.recipe.schema import neuron_places
from clifctl.trust import is_file_reference, name_in_file

# The file that a neuron is taken from may be another one than it was.
CHANGED_FILE = "--changed-file"


def neuron_sources(document: dict[str, Any]) -> dict[str, str]:
    """The SHA-256 of every file of a person's own that the resolved recipe `document` names, by
    FILE.py:NAME. Raises NeuronError where one cannot be read."""
    names = [name for _, _, name in neuron_places(document) if is_file_reference(name)]
    return {name: _read_digest(name) for name in names}


def with_identities(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with each FILE.py:NAME as NAME and the SHA-256 of its file, whatever its path."""
    found = copy.deepcopy(document)
    for section, key, name in neuron_places(found):
        if is_file_reference(name):
            section[key] = f"{name_in_file(name)} {_read_digest(name)}"
    return found


def located(
    document: dict[str, Any], sources: Mapping[str, str], where: str, *, changed_file: bool
) -> dict[str, Any]:
    """A `document` of clifctl's own with each FILE.py:NAME where that file lies now: where a person
    has named one with that content (`sources`: FILE.py:NAME -> SHA-256), else where it was.

    Where its content is not known the name decides, which is told. Raises NeuronError for a file
    that is not there, or, unless `changed_file`, has another content.
    """
    found = copy.deepcopy(document)
    for section, key, name in neuron_places(found):
        if is_file_reference(name):
            section[key] = _place(name, _known(sources, name), where, changed_file)
    return found


def named_alike(
    earlier: dict[str, Any],
    sources: Mapping[str, str],
    *,
    own: dict[str, Any],
    where: str,
    changed_file: bool,
) -> dict[str, Any]:
    """What clifctl kept as `earlier`, with each neuron of a file called as the recipe `own` calls
    it, if it is the same one. Raises NeuronError as `located`."""
    found = copy.deepcopy(earlier)
    mine = {key: name for _, key, name in neuron_places(own)}
    for section, key, name in neuron_places(found):
        new = mine.get(key, "")
        both = is_file_reference(name) and is_file_reference(new)
        if both and name_in_file(name) == name_in_file(new):
            _require_unchanged(new, name, _known(sources, name), where, changed_file)
            section[key] = new
    return found


def _place(name: str, known: str | None, where: str, changed_file: bool) -> str:
    """The reference under which the neuron `name` is found now."""
    offered = [one for one in trust.named() if name_in_file(one) == name_in_file(name)]
    for one in offered:
        if known is not None and _digest(one) == known:
            return one
    place = offered[0] if offered else name
    if _digest(place) is None:
        file = shlex.quote(f"DIR/{Path(trust.file_of(name)).name}:{name_in_file(name)}")
        raise NeuronError(
            f"{where}: it uses the neuron '{name}' of a file, and there is no file "
            f"'{place.rpartition(':')[0]}'",
            hint=f"name it where it lies now: --trust {file}",
        )
    _require_unchanged(place, name, known, where, changed_file)
    return place


def _require_unchanged(
    place: str, name: str, known: str | None, where: str, changed_file: bool
) -> None:
    """Raise NeuronError where the file of `place`, as which `name` is taken, is not what it was."""
    file = place.rpartition(":")[0]
    if known is None:
        notices.tell_once(
            f"{where}: '{place}' is taken for its neuron by the name alone: what the file held "
            "was not kept"
        )
    elif _digest(place) != known:
        changed = f"'{file}' is not what the file of its neuron '{name}' was: it has changed"
        if not changed_file:
            raise NeuronError(
                f"{where}: {changed}",
                hint=f"put it back as it was, or take it as it is: add {CHANGED_FILE}",
            )
        notices.tell_once(f"{where}: {changed}, and is taken as it is")


def _known(sources: Mapping[str, str], name: str) -> str | None:
    """What is known of the file of `name`, which may be called by another path there."""
    alike = {digest for one, digest in sources.items() if name_in_file(one) == name_in_file(name)}
    return sources.get(name) or (alike.pop() if len(alike) == 1 else None)


def _digest(reference: str) -> str | None:
    """The SHA-256 of the file of FILE.py:NAME; None where it cannot be read."""
    try:
        content = read_bytes(Path(trust.file_of(reference)), MOST_GIVEN_BYTES)
    except OSError:
        return None
    return hashlib.sha256(content).hexdigest()


def _read_digest(reference: str) -> str:
    digest = _digest(reference)
    if digest is None:
        raise NeuronError(
            f"the file of the neuron '{reference}' cannot be read", hint="was it moved meanwhile?"
        )
    return digest

"""The files of a person's own that a recipe's net and neurons come from: known again by their
content, wherever they lie now.

A run and a checkpoint keep the SHA-256 of each such file. What they call FILE.py:NAME is then any
file that a person names and that has this content and a net or neuron NAME.
"""

import copy
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clifctl import notices, trust
from clifctl.errors import ClifctlError
from clifctl.reading import MOST_GIVEN_BYTES, read_bytes
from clifctl.recipe.schema import FOREIGN, KINDS, foreign_places, named_files
from clifctl.trust import is_file_reference, name_in_file

# The file that a net or a neuron is taken from may be another one than it was.
CHANGED_FILE = "--changed-file"


def file_sources(document: dict[str, Any]) -> dict[str, str]:
    """The SHA-256 of every file of a person's own that the resolved recipe `document` names, by
    FILE.py:NAME. Raises ModelError, NeuronError where one cannot be read."""
    return {name: _read_digest(section, name) for section, name in named_files(document)}


def with_identities(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with each FILE.py:NAME as NAME and the SHA-256 of its file, whatever its path."""
    found = copy.deepcopy(document)
    for place in foreign_places(found):
        if is_file_reference(place.name):
            digest = _read_digest(place.section, place.name)
            place.mapping[place.key] = f"{name_in_file(place.name)} {digest}"
    return found


def located(
    document: dict[str, Any], sources: Mapping[str, str], where: str, *, changed_file: bool
) -> dict[str, Any]:
    """A `document` of clifctl's own with each FILE.py:NAME where that file lies now: where a person
    has named one with that content (`sources`: FILE.py:NAME -> SHA-256), else where it was.

    Where its content is not known the name decides, which is told. Raises ModelError, NeuronError
    for a file that is not there, or, unless `changed_file`, has another content.
    """
    found = copy.deepcopy(document)
    for place in foreign_places(found):
        if is_file_reference(place.name):
            wanted = _Wanted(place.section, place.name, _known(sources, place.name), where)
            place.mapping[place.key] = wanted.now(changed_file)
    return found


def named_alike(
    earlier: dict[str, Any],
    sources: Mapping[str, str],
    *,
    own: dict[str, Any],
    where: str,
    changed_file: bool,
) -> dict[str, Any]:
    """What clifctl kept as `earlier`, with each net and neuron of a file called as the recipe `own`
    calls it, if it is the same one. Raises ModelError, NeuronError as `located`."""
    found = copy.deepcopy(earlier)
    mine = {place.path: place.name for place in foreign_places(own)}
    for place in foreign_places(found):
        new = mine.get(place.path, "")
        both = is_file_reference(place.name) and is_file_reference(new)
        if both and name_in_file(place.name) == name_in_file(new):
            wanted = _Wanted(place.section, place.name, _known(sources, place.name), where)
            wanted.require_unchanged(new, changed_file)
            place.mapping[place.key] = new
    return found


@dataclass(frozen=True)
class _Wanted:
    """What `where` calls `name`, of a file that had the SHA-256 `known` (None: it was not kept)."""

    section: str
    name: str
    known: str | None
    where: str

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return KINDS[self.section]

    def refused(self, message: str, *, hint: str) -> ClifctlError:
        return FOREIGN[self.section].error(message, hint=hint)

    def now(self, changed_file: bool) -> str:
        """The reference under which it is found now."""
        name = self.name
        offered = [one for one in trust.named() if name_in_file(one) == name_in_file(name)]
        for one in offered:
            if self.known is not None and _digest(one) == self.known:
                return one
        place = offered[0] if offered else name
        if _digest(place) is None:
            file = shlex.quote(f"DIR/{Path(trust.file_of(name)).name}:{name_in_file(name)}")
            raise self.refused(
                f"{self.where}: it uses the {self.kind} '{name}' of a file, and there is no file "
                f"'{place.rpartition(':')[0]}'",
                hint=f"name it where it lies now: --trust {file}",
            )
        self.require_unchanged(place, changed_file)
        return place

    def require_unchanged(self, place: str, changed_file: bool) -> None:
        """Raise an error where the file of `place`, as which it is taken, is not what it was."""
        file = place.rpartition(":")[0]
        if self.known is None:
            notices.tell_once(
                f"{self.where}: '{place}' is taken for its {self.kind} by the name alone: what the "
                "file held was not kept"
            )
        elif _digest(place) != self.known:
            changed = (
                f"'{file}' is not what the file of its {self.kind} '{self.name}' was: it has "
                "changed"
            )
            if not changed_file:
                raise self.refused(
                    f"{self.where}: {changed}",
                    hint=f"put it back as it was, or take it as it is: add {CHANGED_FILE}",
                )
            notices.tell_once(f"{self.where}: {changed}, and is taken as it is")


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


def _read_digest(section: str, reference: str) -> str:
    digest = _digest(reference)
    if digest is None:
        raise FOREIGN[section].error(
            f"the file of the {KINDS[section]} '{reference}' cannot be read",
            hint="was it moved meanwhile?",
        )
    return digest

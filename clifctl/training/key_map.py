"""A map of keys, by which the state dict of other code fits a net: their key -> our key.

A key that ends in a dot stands for all that begin with it, and so does what it becomes. The longest
rule that fits a key counts; None leaves a key out, and a key without a rule keeps its name.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from clifctl.errors import CheckpointError, nearest

_SHOWN = 12
_PLAIN = re.compile(r"(?!(?i:null|true|false|yes|no|on|off|y|n)$)[A-Za-z_][\w.]*")
HOW = "rename keys with --key-map map.yaml, a file of lines 'their key: our key'"


@dataclass(frozen=True)
class KeyMap:
    """The rules of the file `name`."""

    name: str
    rules: Mapping[str, str | None]

    def __post_init__(self) -> None:
        for key, ours in self.rules.items():
            if ours is not None and key.endswith(".") and ours and not ours.endswith("."):
                raise CheckpointError(
                    f"key map '{self.name}': '{key}' stands for all keys that begin with it, "
                    f"'{ours}' for one",
                    hint=f"end both in a dot: '{ours}.'",
                )

    def applied(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The entries of `state` that have a rule, under our keys, and those that have none, under
        their own. Raises CheckpointError for a rule that no key has, and for two keys that become
        one."""
        renamed: dict[str, Tensor] = {}
        rest: dict[str, Tensor] = {}
        origin: dict[str, str] = {}
        used = set()
        for key, value in state.items():
            rule = self._rule_of(key)
            if rule is None:
                rest[key] = value
                continue
            used.add(rule)
            ours = self.rules[rule]
            if ours is None:
                continue
            name = ours + key.removeprefix(rule)
            if name in renamed:
                raise CheckpointError(
                    f"key map '{self.name}': '{origin[name]}' and '{key}' both become '{name}'",
                    hint="give one of them another key, or null, which leaves it out",
                )
            renamed[name], origin[name] = value, key
        for rule in self.rules:
            if rule not in used:
                near = nearest(rule, state)
                raise CheckpointError(
                    f"key map '{self.name}': no key of the file is "
                    + (f"'{rule}', or begins with it" if rule.endswith(".") else f"'{rule}'"),
                    hint=f"did you mean '{near}'?" if near else "take the line out",
                )
        return renamed, rest

    def _rule_of(self, key: str) -> str | None:
        if key in self.rules:
            return key
        ends = [end for end in range(len(key), 0, -1) if key[end - 1] == "."]
        return next((key[:end] for end in ends if key[:end] in self.rules), None)


def proposals(
    missing: Collection[str], own: Mapping[str, Tensor], unexpected: Mapping[str, Tensor]
) -> dict[str, str]:
    """Rules of a map, by shapes: where one module alone that is `missing` has the entries and
    shapes that one alone that is `unexpected` has, and of other keys where one alone has its last
    name (`weight`) and shape."""
    lacking = {key: own[key] for key in missing}
    rules = _paired(_modules(lacking), _modules(unexpected))
    done = (*rules, *rules.values())
    ours, theirs = (
        {key: _kind(key, value) for key, value in keys.items() if _module(key) not in done}
        for keys in (lacking, unexpected)
    )
    return rules | _paired(ours, theirs)


def _paired(ours: Mapping[str, object], theirs: Mapping[str, object]) -> dict[str, str]:
    """Their name -> our name where one of each alone is of a kind."""
    counts, given = Counter(ours.values()), Counter(theirs.values())
    by_kind = {kind: name for name, kind in ours.items()}
    return {
        name: by_kind[kind] for name, kind in theirs.items() if counts[kind] == given[kind] == 1
    }


def _modules(keys: Mapping[str, Tensor]) -> dict[str, object]:
    """Each module, with a dot behind it -> the kinds of its entries."""
    found: dict[str, set[object]] = {}
    for key, value in keys.items():
        if module := _module(key):
            found.setdefault(module, set()).add(_kind(key, value))
    return {module: frozenset(kinds) for module, kinds in found.items()}


def _module(key: str) -> str:
    return key[: key.rfind(".") + 1]


def _kind(key: str, value: Tensor) -> tuple[str, tuple[int, ...]]:
    return key.removeprefix(_module(key)), tuple(value.shape)


def as_file(
    missing: Mapping[str, Tensor],
    unexpected: Mapping[str, Tensor],
    rules: Mapping[str, str | None],
    about: str,
) -> str:
    """A map to edit: the `rules` that there are and what shapes alone propose, as lines that hold;
    where several are of a shape, the pairs in their order, as comments; and what nothing fits."""
    lacking = dict(missing)
    proposed = proposals(lacking, lacking, unexpected)
    lines = [
        f"# {about}.",
        "# Their key: our key. A key that ends in a dot stands for all that begin with it; null",
        "# leaves a key out. Look it through, and give it with --key-map.",
        *(f"{_scalar(key)}: {'null' if to is None else _scalar(to)}" for key, to in rules.items()),
        *(f"{_scalar(key)}: {_scalar(to)}" for key, to in proposed.items()),
    ]
    done = (*proposed, *proposed.values())
    theirs, ours = (
        {key: value for key, value in keys.items() if not {key, _module(key)} & set(done)}
        for keys in (unexpected, lacking)
    )
    by_order = list(_in_order(theirs, ours))
    if by_order:
        lines.append("# Several are of these shapes. In their order they are as follows: take out")
        lines.append("# the first # of a line that is right.")
        lines += [f"# {_scalar(one)}: {_scalar(to)}  # {of}" for one, to, of in by_order]
    paired = {name for one, to, _ in by_order for name in (one, to)}
    for title, keys in (("Theirs, which fit nothing", theirs), ("Ours, which lack", ours)):
        left = [key for key in keys if not {key, _module(key)} & paired]
        if left:
            lines.append(f"# {title}:")
            lines += [f"# {_scalar(key)}: null  # {list(keys[key].shape)}" for key in left]
    return "\n".join(lines) + "\n"


def _in_order(
    theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> Iterator[tuple[str, str, str]]:
    """Modules, then keys, of the same entries and shapes: the first with the first, and so on."""
    ours_left = _modules(ours)
    given = _modules(theirs)
    for name, kind in given.items():
        match = next((one for one, other in ours_left.items() if other == kind), None)
        if match is not None:
            del ours_left[match]
            shapes = [
                f"{key.removeprefix(name)} {list(value.shape)}"
                for key, value in theirs.items()
                if _module(key) == name
            ]
            yield name, match, ", ".join(shapes)


def _scalar(key: str) -> str:
    """A key as YAML reads it back."""
    return key if _PLAIN.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def as_hint(proposed: Mapping[str, str]) -> str:
    """How a map is written, with what is `proposed` for it."""
    if not proposed:
        return f"{HOW} (their shapes alone do not tell which is which)"
    pairs = [f"'{key}: {ours}'" for key, ours in proposed.items()]
    more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    return f"{HOW}; by their shapes: {', '.join(pairs[:_SHOWN])}{more}"

"""Every key that a recipe may hold, for each data set, net and neuron that it may name."""

from collections.abc import Iterable
from dataclasses import replace

from clifctl.errors import ClifctlError, UsageError, as_listed, nearest, unknown_name
from clifctl.recipe.keys import Key, keys_in
from clifctl.recipe.schema import TABLES, row_of, schema_for


def every_key(*own: str) -> tuple[Key, ...]:
    """The keys of every section; those of `data`, `model` and `neuron` for each row of their table,
    and for the nets and neurons of a person's `own` files, FILE.py:NAME. What several rows have in
    the same way is one key."""
    found: dict[Key, list[str]] = {}
    for key in keys_in(schema_for({}, [])):
        if key.path not in TABLES:
            found[key] = []
    for section, table in TABLES.items():
        for name in [*table, *(one for one in own if section in _sections_of(one))]:
            for key in keys_in(schema_for({section: {"name": name}}, [])):
                if key.section == section:
                    found.setdefault(key, []).append(name)
    return tuple(replace(key, variants=tuple(names)) for key, names in found.items())


def chosen_keys(keys: Iterable[Key], start: str, variant: str | None) -> tuple[Key, ...]:
    """Those of `keys` that begin with `start`, and that a section has which names the data set, net
    or neuron `variant`. Raises UsageError where there are none."""
    found = tuple(keys)
    if variant is not None:
        variant = as_listed(variant, [name for table in TABLES.values() for name in table])
        section = _section_of(variant)
        found = tuple(key for key in found if variant in key.variants and key.section == section)
    known = found
    found = tuple(key for key in found if key.path.startswith(start))
    if not found and variant is None and _sections_of(start):
        raise UsageError(
            f"no key begins with '{start}'", hint=f"its keys: clifctl recipes keys --of {start}"
        )
    if not found:
        of = "" if variant is None else f" of '{variant}'"
        near = nearest(start, [key.path for key in known])
        guess = f" (did you mean '{near}'?)" if near else ""
        raise UsageError(
            f"no key{of} begins with '{start}'{guess}",
            hint="clifctl recipes keys lists every key",
        )
    return found


def _section_of(variant: str) -> str:
    sections = _sections_of(variant)
    if not sections:
        known = [name for table in TABLES.values() for name in table]
        raise UsageError(
            unknown_name("data set, model or neuron", variant, known),
            hint="a net or a neuron of your own is FILE.py:NAME",
        )
    return sections[0]


def _sections_of(variant: str) -> list[str]:
    """The sections whose row `variant` is. Raises what is wrong with a file of a person's own that
    holds neither a net nor a neuron of that name."""
    found, refused = [], None
    for section in TABLES:
        try:
            if row_of(section, variant) is not None:
                found.append(section)
        except ClifctlError as problem:  # of a file, and of the other kind
            refused = problem
    if refused is not None and not found:
        raise refused
    return found

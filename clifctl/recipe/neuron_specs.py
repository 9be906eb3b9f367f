"""A neuron with hyperparameters of its own in a list at the prompt: `lif(tau=4, reset=hard)`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clifctl.commands import override
from clifctl.errors import ArgumentError
from clifctl.neurons import NEURONS, Neuron
from clifctl.neurons.loading import load_neuron
from clifctl.recipe.yamlfile import parse_scalar

# A comma ends a value where the next KEY= begins: lists and texts hold commas too.
_NEXT = re.compile(r",(?=\s*\w+\s*=)")
_HINT = "as in lif(tau=4, reset=hard), with quotes around the whole list"


@dataclass(frozen=True)
class NeuronSpec:
    """A neuron, how it was called, and the keys of a recipe's section `neuron` that it is given."""

    reference: str
    neuron: Neuron
    keys: dict[str, Any]

    @property
    def label(self) -> str:
        """What it is called everywhere: name and hyperparameters."""
        return _label(self.neuron.name, self.keys)

    @property
    def overrides(self) -> list[str]:
        """What makes a recipe's neuron this one."""
        own = [override(f"neuron.{key}", value) for key, value in self.keys.items()]
        return [override("neuron.name", self.reference), *own]


def read_specs(texts: Sequence[str]) -> dict[str, NeuronSpec]:
    """The neurons that a person lists, NAME or NAME(KEY=VALUE, ...), by their labels; their files
    are trusted. One that is given twice is there once.

    Raises NeuronError for a neuron that is not known, ArgumentError for what cannot be read.
    """
    found: dict[str, NeuronSpec] = {}
    for text in texts:
        reference, keys = _parted(text)
        spec = NeuronSpec(reference, load_neuron(reference, NEURONS), keys)
        if any(spec.neuron is one.neuron and keys == one.keys for one in found.values()):
            continue
        # Two files of one name in two folders go by where they lie.
        label = spec.label if spec.label not in found else _label(reference, keys)
        found[label] = spec
    return found


def label_of(text: str, specs: Mapping[str, NeuronSpec]) -> str:
    """The label of one of `specs` that a person names, however it is written; `text` if none."""
    reference, keys = _parted(text)
    alike = (label for label, s in specs.items() if s.reference == reference and s.keys == keys)
    return next(alike, text)


def _label(name: str, keys: dict[str, Any]) -> str:
    given = ", ".join(override(key, value) for key, value in keys.items())
    return f"{name}({given})" if given else name


def _parted(text: str) -> tuple[str, dict[str, Any]]:
    """A neuron's name, and the keys in the brackets behind it."""
    if not text.endswith(")") or "(" not in text:
        return text, {}
    name, _, inside = text[:-1].partition("(") if text.count("(") == 1 else _outermost(text)
    keys: dict[str, Any] = {}
    for pair in filter(str.strip, _NEXT.split(inside)):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (equals and key.isidentifier() and value) or key in ("name", *keys):
            raise ArgumentError("neurons", text, f"'{pair.strip()}' is not KEY=VALUE", hint=_HINT)
        keys[key] = parse_scalar(value, f"{text}: {key}")
    return name.strip(), keys


def _outermost(text: str) -> tuple[str, str, str]:
    """`text` parted at the bracket that its last one closes."""
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[place], 0)
        if depth == 0:
            return text[:place], "(", text[place + 1 : -1]
    return text[:-1].partition("(")

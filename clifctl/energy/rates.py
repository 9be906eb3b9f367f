"""Firing rates that are given instead of measured, checked against the layers of a net."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clifctl.errors import EnergyError, unknown_name

_FORMS = 'a file holds {"rates": [0.1, ...]} in forward order, or {"layer": 0.1, ...}'


def rates_of_layers(
    document: Any, layers: Sequence[str], where: str, *, highest: int = 1
) -> dict[str, float]:
    """Layer -> firing rate (spikes per neuron and step), from a list in forward order under
    `rates`, or from a mapping by layer. Raises EnergyError for a rate outside 0 to `highest`, for
    too few or too many, and for a layer that the net does not have."""
    if isinstance(document, Mapping) and isinstance(document.get("rates"), list | tuple):
        others = [key for key in document if key != "rates"]
        if others:
            raise EnergyError(f"{where}: unknown key '{others[0]}' beside rates", hint=_FORMS)
        return _of_list(document["rates"], layers, where, highest)
    if not isinstance(document, Mapping) or "rates" in document:
        raise EnergyError(f"{where}: holds no firing rates", hint=_FORMS)
    for name in document:
        if name not in layers:
            raise EnergyError(
                f"{where}: {unknown_name('layer of neurons', name, layers)}", hint=_FORMS
            )
    missing = [name for name in layers if name not in document]
    if missing:
        raise EnergyError(
            f"{where}: {len(document)} of {len(layers)} layers of neurons have a rate, "
            f"{', '.join(missing[:3])}{' and others have' if len(missing) > 3 else ' has'} none",
            hint="give one for each layer of neurons",
        )
    return {
        name: _checked(document[name], f"{where}: rate of '{name}'", highest) for name in layers
    }


def _of_list(
    given: Sequence[Any], layers: Sequence[str], where: str, highest: int
) -> dict[str, float]:
    if len(given) != len(layers):
        too = "few" if len(given) < len(layers) else "many"
        raise EnergyError(
            f"{where}: too {too} firing rates: {len(given)} for {len(layers)} layers of neurons",
            hint=f"the layers are, in forward order: {', '.join(layers)}",
        )
    return {
        name: _checked(rate, f"{where}: rate {number} ('{name}')", highest)
        for number, (name, rate) in enumerate(zip(layers, given, strict=True), 1)
    }


def _checked(rate: Any, where: str, highest: int) -> float:
    number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not number or not math.isfinite(rate) or not 0.0 <= rate <= highest:
        raise EnergyError(
            f"{where} = {rate!r}: must be a number from 0 to {highest}",
            hint="a firing rate is spikes per neuron and time step; 12.5 % is 0.125",
        )
    return float(rate)

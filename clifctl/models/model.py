"""A net as a row of the MODELS table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clifctl.models.layers import SpikingNet
from clifctl.models.options import NetOptions


@dataclass(frozen=True)
class Model:
    """A network: one row of the MODELS table. `own_neuron`: constants of the LIF that its authors
    built it of, where those are not the usual ones. `own`: it is a person's own module, which may
    hold more than its state dict says."""

    name: str
    title: str
    options: type[NetOptions]
    build: Callable[..., SpikingNet]
    own_neuron: Mapping[str, Any] | None = None
    own: bool = False

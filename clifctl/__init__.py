"""clifctl: train, evaluate, compare, cost and deploy spiking neuron models.

From Python, `help()` of each says more, docs/python.md is the tour:

- `load_recipe`, `build_net`, `load`: a recipe, a net with fresh weights, a net of a checkpoint
- `train`, `evaluate`, `energy_of`, `compare`: what the commands do, as functions
- `clifctl.nn`: layers of neurons for anybody's module; `scan`: a neuron over a sequence
- `clifctl.errors`: what is raised
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clifctl import errors, nn
    from clifctl.api.comparison import compare
    from clifctl.api.energy import energy_of
    from clifctl.api.evaluation import evaluate
    from clifctl.api.nets import Checkpoint, build_net, load
    from clifctl.api.recipe import Recipe, load_recipe
    from clifctl.api.training import Training, train
    from clifctl.kernels.scan import scan

__version__ = "0.1.0"

# Raised by one whenever a change can change the result of a run (the CHANGELOG's heading Numerics
# says what). Finished trials of another number are not taken for those of this one.
NUMERICS_VERSION = 6

# A public name -> the module that has it, imported when it is first used: `import clifctl` imports
# nothing.
_HOMES = {
    "Checkpoint": "clifctl.api.nets",
    "Recipe": "clifctl.api.recipe",
    "Training": "clifctl.api.training",
    "build_net": "clifctl.api.nets",
    "compare": "clifctl.api.comparison",
    "energy_of": "clifctl.api.energy",
    "evaluate": "clifctl.api.evaluation",
    "load": "clifctl.api.nets",
    "load_recipe": "clifctl.api.recipe",
    "scan": "clifctl.kernels.scan",
    "train": "clifctl.api.training",
}
_MODULES = ("errors", "nn")

__all__ = [
    "Checkpoint",
    "Recipe",
    "Training",
    "build_net",
    "compare",
    "energy_of",
    "errors",
    "evaluate",
    "load",
    "load_recipe",
    "nn",
    "scan",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"clifctl.{name}")
    raise AttributeError(f"module 'clifctl' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

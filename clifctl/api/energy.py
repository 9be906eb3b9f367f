"""`energy_of`: what an inference costs, of a recipe, a checkpoint, a net, or anybody's module."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from clifctl.api.evaluation import Source, as_opened, trusted_by
from clifctl.api.module_energy import ModuleCost
from clifctl.api.recipe import Recipe, as_recipe
from clifctl.api.session import LOG, Trusted, in_pythons_words, session
from clifctl.errors import ArgumentError
from clifctl.experiments.checkpoints import CheckpointOptions, for_timesteps, is_checkpoint
from clifctl.experiments.energy import EnergyOptions, NetSource, Rates, energy
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.results.energy import EnergyResult

Inputs = Tensor | Iterable[Tensor]


def energy_of(
    source: Recipe | Source,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    /,
    *,
    input_shape: Sequence[int] | None = None,
    timesteps: int | None = None,
    inputs: Inputs | None = None,
    rates: Rates | Literal["paper"] | None = None,
    methods: Sequence[Literal["sop", "memory"]] = ("sop", "memory"),
    per_layer: bool = False,
    constants: str | None = None,
    root: str | os.PathLike[str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    dt: float | None = None,
    trust: Sequence[str] = (),
    changed_file: bool = False,
) -> EnergyResult:
    """Operations, memory accesses and energy of an inference, by both accountings: what
    `clifctl energy` gives. There is a row of the ANN of the same net, and one of the net itself;
    `per_layer` adds what each operation costs.

    `source` is one of

    - a recipe, or the name or path of one: its operations, and energies where `rates` are given;
    - a checkpoint (its path, or what `load` gives), or a net with its `recipe`: firing rates are
      measured on the test data, those in the folder `root`;
    - any module `[T, N, *input_shape]` -> tensor whose layers of neurons are those of `clifctl.nn`
      or of SpikingJelly (or `[N, *]` of single-step nodes), with `timesteps` = T: rates are
      measured on `inputs`, a tensor or batches `[T, N, *input_shape]`, where those are given.

    `rates` are spikes per neuron and time step: a list in forward order, a mapping by layer, or
    "paper" for the published ones. `constants` are energies in pJ: "45nm", "7nm", or a JSON file.

    An operation without a price is named in `unpriced` of each row, and no total has it. Raises
    EnergyError for rates or constants that are not usable, ClifctlError for what cannot be opened.

    >>> import clifctl, torch
    >>> from torch import nn
    >>> from clifctl.nn import LIF, FoldTime
    >>> net = nn.Sequential(FoldTime(nn.Linear(12, 5)), LIF(), FoldTime(nn.Linear(5, 3)))
    >>> result = clifctl.energy_of(net, input_shape=[12], timesteps=4, rates=[0.25])
    >>> ann, own = result.rows
    >>> ann.neuron, ann.corrected.acs, ann.corrected.macs
    ('relu', 13.0, 75)
    >>> own.neuron, own.timesteps, own.rates
    ('lif', 4, 'given')
    >>> measured = clifctl.energy_of(net, inputs=torch.rand(4, 7, 12))
    >>> measured.rows[1].rates, len(measured.rows[1].firing_rates)
    ('measured', 1)
    """
    chosen = None if recipe is None else as_recipe(recipe)
    if isinstance(source, nn.Module) and chosen is None:
        with session():
            module = ModuleCost.of(source, input_shape, timesteps, inputs)
            return module.result(rates, tuple(methods), constants, per_layer=per_layer)
    with in_pythons_words():
        for name, value in (("input_shape", input_shape), ("inputs", inputs)):
            if value is not None:
                raise ArgumentError(name, None, "the recipe says what its data are")
    if isinstance(source, str | os.PathLike) and not is_checkpoint(os.fspath(source)):
        source = as_recipe(source)
    options = EnergyOptions(
        rates=rates,
        methods=tuple(methods),
        per_layer=per_layer,
        constants=constants,
        timesteps=timesteps if isinstance(source, str | os.PathLike) else None,
        checkpoint=CheckpointOptions(
            foreign_recipe=None if chosen is None else chosen.loaded,
            root=None if root is None else Path(root),
            execution=ExecutionOptions(device, threads=threads),
            dt=dt,
            changed_file=changed_file,
        ),
        say=LOG.info,
    )
    with session(_trusted(source, chosen).also(trust)):
        return energy([_as_source(source, chosen, timesteps)], options)


def _trusted(source: Recipe | Source, recipe: Recipe | None) -> Trusted:
    return source.trusted if isinstance(source, Recipe) else trusted_by(source, recipe)


def _as_source(source: Recipe | Source, recipe: Recipe | None, timesteps: int | None) -> NetSource:
    """What `energy` takes, with another T in its recipe where that is not the path of a file."""
    if isinstance(source, Recipe):
        changed = source if timesteps is None else source.with_overrides(timesteps=timesteps)
        return changed.loaded
    opened = as_opened(source, recipe)
    if isinstance(opened, Path):
        return str(opened)
    return for_timesteps(opened, timesteps, f"recipe '{opened.name}'")

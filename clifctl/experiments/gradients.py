"""`gradients`: how much temporal gradient reaches how far back in a net."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from clifctl.analysis.layer import LayerAnalysis
from clifctl.analysis.splits import FORMULAS, can_split
from clifctl.analysis.temporal import TemporalGradients, analyse
from clifctl.data import LoadedData, draw_order
from clifctl.errors import ArgumentError, DataError, UsageError, unknown_name
from clifctl.experiments.build import (
    build_net,
    load_data,
    loss_of,
    repeat_of,
    run_on,
    step_activations_bytes,
)
from clifctl.experiments.checkpoints import (
    CheckpointOptions,
    OpenedCheckpoint,
    is_checkpoint,
    open_checkpoint,
    refused_override,
)
from clifctl.experiments.grid.seeds import require_seed
from clifctl.experiments.published import figure_of_windows
from clifctl.models import (
    SpikingNet,
    batch_statistics,
    firing_modules,
    is_folded,
    is_recurrent,
    norms_in,
)
from clifctl.models.own.net import OwnNet
from clifctl.recipe.load import load_recipe
from clifctl.recipe.schema import Recipe
from clifctl.results.gradients import (
    GradientsResult,
    LagRow,
    LayerGradients,
    SplitResult,
    WindowRow,
)
from clifctl.training.device import seed_everything, tf32

DEFAULT_SAMPLES = 64


@dataclass(frozen=True)
class GradientsOptions:
    """What is looked at, and how. `layers` None: all; `noise`: normal noise and random labels in
    the place of data; `float64`: that arithmetic, slower; `windows`: compare windows too."""

    overrides: Sequence[str] = ()
    layers: Sequence[str] | None = None
    samples: int = DEFAULT_SAMPLES
    seed: int = 0
    noise: bool = False
    formula: str = "exact"
    float64: bool = False
    windows: bool = True
    checkpoint: CheckpointOptions = field(default_factory=CheckpointOptions)
    say: Callable[[str], None] = field(default=lambda line: None)


@dataclass(frozen=True)
class _Source:
    """A recipe, the name that it bears, and the weights that are to be put into its net."""

    name: str
    recipe: Recipe
    weights: OpenedCheckpoint | None


def gradients(source: str, options: GradientsOptions) -> GradientsResult:
    """The temporal gradients of the net of a checkpoint, or of a recipe with fresh weights.

    The gradient is that of training: the loss of the recipe, on training samples without
    augmentation, batch norm with the statistics of the batch; but without dropout. Raises
    ClifctlError for a source, layer or number of samples that cannot be used. Nothing is written.
    """
    started = time.perf_counter()
    dtype = torch.float64 if options.float64 else torch.float32
    execution = options.checkpoint.execution.resolve(dtype)
    where, kernels = execution.device, execution.kernels
    opened = _opened(source, options)
    recipe = run_on(opened.recipe, kernels)
    _check(recipe, options)
    inputs, targets = _batch(recipe, options, where)
    kept = step_activations_bytes(recipe, None) // recipe.train.batch_size * options.samples
    torch.set_num_threads(execution.for_step(kept).threads.count)
    net = _net(recipe, opened.weights, where).to(dtype)
    require_lags(net, source)
    names = _layers(net, options.layers)
    found = _analysed(net, recipe, inputs.to(dtype), targets, names, options)
    splits = can_split(recipe.neuron.neuron)
    return GradientsResult(
        source=source,
        trained=opened.weights is not None,
        recipe=opened.name,
        data=recipe.data.dataset.name,
        input="noise" if options.noise else "data",
        model=recipe.model.model.name,
        neuron=recipe.neuron.neuron.name,
        timesteps=recipe.timesteps,
        epoch=opened.weights.epoch if opened.weights else None,
        samples=options.samples,
        seed=options.seed,
        batch_norm=recipe.model.options.norm_mode,
        dtype=str(dtype).removeprefix("torch."),
        formula=options.formula if splits else None,
        temporal_share=found.temporal_share,
        layers=tuple(map(_layer_row, found.layers)),
        windows=tuple(
            WindowRow(
                window=row.window,
                cosine=row.cosine,
                distance_relative=row.distance,
                cosine_of_weights=row.cosine_of_weights,
            )
            for row in found.windows
        ),
        seconds=time.perf_counter() - started,
        device=str(where),
        target=kernels.target.name,
        connections=kernels.connections.name,
        notes=(*_notes(opened, recipe, net, options), *_silent(found)),
    )


def require_lags(net: SpikingNet, source: str) -> None:
    """Raise UsageError for a net of which `gradients` cannot say what comes from which step."""
    if is_recurrent(net):
        raise UsageError(
            f"'{source}' has recurrent layers: a lag goes through their matrix too, and the split "
            "by lags knows the neuron's states alone",
            hint="model.recurrent=false has a net that can be looked at",
        )


def temporal_share(checkpoint: Path, data: LoadedData, how: CheckpointOptions) -> float | None:
    """The temporal share of the net of `checkpoint` on the first batch of training samples that
    `gradients` draws; None for a neuron that does not
    spike, and for recurrent layers. Raises CheckpointError."""
    options = GradientsOptions(checkpoint=how, windows=False)
    opened = open_checkpoint(checkpoint, how)
    if not opened.recipe.neuron.neuron.spiking:
        return None
    execution = how.execution.resolve()
    where = execution.device
    recipe = run_on(opened.recipe, execution.kernels)
    options = replace(options, samples=min(options.samples, len(data.train)))
    inputs, targets = _drawn(data.to(where), options)
    net = _net(recipe, opened, where)
    if is_recurrent(net):
        return None
    return _analysed(
        net, recipe, inputs, targets, list(firing_modules(net)), options
    ).temporal_share


def _opened(source: str, options: GradientsOptions) -> _Source:
    if not is_checkpoint(source):
        loaded = load_recipe(source, options.overrides)
        for notice in loaded.notices:
            options.say(notice)
        name, recipe, weights = loaded.name, loaded.recipe, None
    else:
        if options.overrides and options.checkpoint.foreign_recipe is None:
            raise refused_override(
                options.overrides[0], f"the checkpoint '{source}' is taken as it was trained"
            )
        weights = open_checkpoint(Path(source), options.checkpoint)
        name, recipe = weights.name, weights.recipe
    return _Source(name, options.checkpoint.placed(recipe), weights)


def require_spiking(recipe: Recipe) -> None:
    """Raise UsageError for a neuron that has no gradient over time."""
    neuron = recipe.neuron.neuron
    if not neuron.spiking:
        raise UsageError(
            f"neuron '{neuron.name}' does not spike: there is no gradient over time to look at",
            hint="choose a spiking neuron, as in neuron.name=lif",
        )


def _check(recipe: Recipe, options: GradientsOptions) -> None:
    require_spiking(recipe)
    if options.samples < 2:
        raise ArgumentError(
            "samples",
            options.samples,
            "must be 2 or more",
            hint="batch norm takes its statistics over the samples",
        )
    require_seed("seed", options.seed)
    if options.formula not in FORMULAS:
        raise UsageError(unknown_name("formula", options.formula, FORMULAS))
    if options.formula != "exact" and not can_split(recipe.neuron.neuron):
        raise ArgumentError(
            "formula",
            options.formula,
            f"the split is known for lif and clif, this is a net of '{recipe.neuron.neuron.name}'",
            hint="leave it out: the lags are those of any neuron",
        )


def _batch(recipe: Recipe, options: GradientsOptions, where: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs `[T or 1, N, *]` as the net sees them, and labels `[N]`."""
    if options.noise:
        generator = torch.Generator().manual_seed(options.seed)
        shape = (recipe.timesteps // repeat_of(recipe), options.samples, *recipe.data.input_shape)
        noise = torch.randn(shape, generator=generator)
        labels = torch.randint(recipe.data.classes, (options.samples,), generator=generator)
        return noise.to(where), labels.to(where)
    try:
        data = load_data(recipe).to(where)
    except DataError as missing:
        hint = "--input noise looks at the net without data"
        raise DataError(
            missing.message, hint=f"{missing.hint}; {hint}" if missing.hint else hint
        ) from None
    return _drawn(data, options)


def _drawn(data: LoadedData, options: GradientsOptions) -> tuple[Tensor, Tensor]:
    if options.samples > len(data.train):
        raise ArgumentError(
            "samples",
            options.samples,
            f"there are {len(data.train)} training samples",
            hint="give fewer" if len(data.train) > 1 else "--input noise needs no samples",
        )
    order = draw_order(data.train, torch.Generator().manual_seed(options.seed))
    chosen = order[: options.samples].to(data.train.targets.device)
    inputs, targets = next(iter(data.train.read([chosen])))
    return data.train.prepared(inputs), targets


def _net(recipe: Recipe, weights: OpenedCheckpoint | None, where: torch.device) -> SpikingNet:
    if weights is None:
        seed_everything(recipe.train.seed)
        return build_net(recipe).to(where)
    return weights.net(recipe, where)


def _layers(net: SpikingNet, asked: Sequence[str] | None) -> list[str]:
    """The layers asked for, by their names; `.neuron` at the end may be left out."""
    known = list(firing_modules(net))
    if asked is None:
        return known
    for name in asked:
        if name not in known and f"{name}.neuron" not in known:
            raise ArgumentError(
                "layers", None, unknown_name("layer", name, known), hint="without it: all layers"
            )
    return [name for name in known if name in asked or name.removesuffix(".neuron") in asked]


def _analysed(
    net: SpikingNet,
    recipe: Recipe,
    inputs: Tensor,
    targets: Tensor,
    names: Sequence[str],
    options: GradientsOptions,
) -> TemporalGradients:
    loss = loss_of(recipe)
    net.eval()
    with batch_statistics(net), tf32(recipe.train.tf32):
        return analyse(
            net,
            inputs,
            lambda logits: loss(logits, targets),
            repeat=repeat_of(recipe),
            layers=names,
            formula=options.formula,
            windows=options.windows,
        )


def _layer_row(layer: LayerAnalysis) -> LayerGradients:
    nearest = layer.reach[0]
    found = layer.split
    return LayerGradients(
        layer=layer.layer,
        neurons=layer.neurons,
        norm=layer.norm,
        temporal_share=layer.temporal_share,
        lags=tuple(
            LagRow(
                lag=lag.lag,
                norm=lag.norm,
                share=share,
                projection=lag.projection,
                membrane_norm=lag.membrane_norm,
                complementary_norm=lag.complementary_norm,
                vanished_share=lag.vanished_share,
            )
            for lag, share in zip(layer.lags, layer.shares, strict=True)
        ),
        reach=tuple(norm / nearest if nearest else None for norm in layer.reach),
        split=None
        if found is None
        else SplitResult(
            spatial_norm_per_step=found.spatial,
            m1_norm_per_step=found.m1,
            m2_norm_per_step=found.m2,
            whole_norm_per_step=found.whole,
            error_max=found.error_max,
            error_relative=found.error_norm / found.whole_norm if found.whole_norm else None,
        ),
    )


def _silent(found: TemporalGradients) -> tuple[str, ...]:
    """A note where no gradient passes."""
    names = [layer.layer for layer in found.layers if layer.temporal_share is None]
    if not names:
        return ()
    return (f"No gradient passes {', '.join(names)}: there is nothing to share out.",)


def _notes(
    opened: _Source, recipe: Recipe, net: SpikingNet, options: GradientsOptions
) -> tuple[str, ...]:
    notes = []
    if opened.weights is None:
        notes.append(f"Fresh weights (seed {recipe.train.seed}): this net has not been trained.")
    if options.noise:
        notes.append(
            "The input is normal noise with random labels, as asked for with --input noise: it "
            "shows what the net does to a gradient, not what happens on its data."
        )
    if recipe.neuron.window is not None and recipe.neuron.window < recipe.timesteps:
        notes.append(
            f"The recipe trains with truncated BPTT, window {recipe.neuron.window} "
            f"({recipe.neuron.window_mode}): the gradient looked at is that of full BPTT, and "
            "the windows compared are sliding ones."
        )
    if isinstance(net, OwnNet) and not net.logits_of_steps:
        notes.append(
            "The net gives logits of the whole sequence alone: reach is that of its loss, and not "
            "of the last step's."
        )
    norms = list(norms_in(net).values())
    if any(map(is_folded, norms)):
        notes.append(
            "Batch norm that was folded into the weights is held as it is: no statistics of the "
            "batch."
        )
    if any(getattr(norm, "mode", "folded") == "folded" and not is_folded(norm) for norm in norms):
        notes.append(
            "Folded batch norm takes its statistics over all time steps: some gradient passes "
            "between steps through them, with every window."
        )
    if options.windows:
        notes += filter(None, (figure_of_windows(recipe),))
    if can_split(recipe.neuron.neuron):
        notes.append(f"Formula {options.formula}: {FORMULAS[options.formula]}.")
    else:
        notes.append(
            "Part II and the split into spatial part, M1 and M2 are known for lif and clif alone; "
            f"for '{recipe.neuron.neuron.name}' there are lags, reach and windows."
        )
    return tuple(notes)

"""From a recipe to the things that run: data, net and loss."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from clifctl.data import LoadedData
from clifctl.data.images import ImageFileOptions
from clifctl.data.streaming import ImageFiles
from clifctl.devices import CPU, is_gpu
from clifctl.errors import ArgumentError, RecipeError
from clifctl.experiments.run.memory import require_net_fits
from clifctl.kernels import Kernels
from clifctl.models import SpikingNet, TemporalBatchNorm, TorchNorm, put_neuron
from clifctl.models.shared_norm import share_statistics
from clifctl.notices import tell_once
from clifctl.recipe.schema import Recipe
from clifctl.training.distributed import ALONE, Processes
from clifctl.training.loss import tet_loss
from clifctl.training.memory import saved_for_backward
from clifctl.training.optimizer import optimizer_and_schedule
from clifctl.training.precision import Precision
from clifctl.training.step import TrainingStep

# Beyond any T in use, what a step keeps is found from this many steps, and twice as many.
_MANY_STEPS, _FEW_STEPS = 256, 64


def build_net(recipe: Recipe) -> SpikingNet:
    """The recipe's net with fresh weights from torch's global generator, on the default device.

    Weights of convolutions have their channels innermost, and so have the maps: on a CPU a ReLU
    ResNet-18's step takes 0.87 of the time then, and a tiny spiking net's the same. Raises
    RecipeError for a net that memory cannot hold.
    """
    if torch.get_default_device().type != "meta":
        with torch.device("meta"):
            require_net_fits(build_net(recipe), torch.device(CPU))
    net = recipe.model.model.build(
        recipe.model.options,
        input_shape=recipe.data.input_shape,
        classes=recipe.data.classes,
        timesteps=recipe.timesteps,
        neuron=recipe.neuron,
    )
    return net.to(memory_format=torch.channels_last)


def unfilled_net(recipe: Recipe, where: torch.device) -> SpikingNet:
    """The recipe's net on `where`, for weights that are put into it. Raises RecipeError for one
    that memory cannot hold."""
    if recipe.model.model.own:  # which may hold more than its state dict says
        with torch.device(CPU):
            net = build_net(recipe)
        return net.to(where)
    with torch.device("meta"):
        net = build_net(recipe)
    require_net_fits(net, where)
    return net.to_empty(device=where)


def exchange_neurons(recipe: Recipe, net: SpikingNet, epoch: int) -> None:
    """Give `net` the neuron of `epoch`, where the recipe exchanges it."""
    if recipe.exchange is not None:
        put_neuron(net, recipe.neuron_at(epoch))


def load_data(recipe: Recipe, *, download: bool = False) -> LoadedData:
    """The recipe's data on the CPU.

    Nothing is downloaded without `download`, whatever the recipe says: it may be of a checkpoint
    that somebody else made. Only who trains by a recipe has asked for what it says.
    """
    options = recipe.data.options
    if not download and "download" in type(options).model_fields:
        options = options.model_copy(update={"download": False})
    return recipe.data.dataset.load(options, recipe.timesteps)


def list_data(recipe: Recipe) -> tuple[LoadedData, int]:
    """The recipe's data for a dry run, which needs their number alone: images that a run decodes
    into memory stay in their files. And the bytes that the run itself will hold."""
    options = recipe.data.options
    if not (isinstance(options, ImageFileOptions) and options.in_memory):
        data = load_data(recipe)
        return data, sum(split.held_bytes for split in data.splits)
    in_files = options.model_copy(update={"in_memory": False, "workers": 0})
    data = load_data(replace(recipe, data=replace(recipe.data, options=in_files)))
    held = 0
    for split in data.splits:
        image, _ = next(iter(split.read([torch.zeros(1, dtype=torch.int64)])))  # or DataError
        held += split.held_bytes
        if isinstance(split.inputs, ImageFiles):
            held += len(split) * image.nbytes
    return data, held


def require_trainable(recipe: Recipe, data: LoadedData, processes: int = 1) -> None:
    """Raise RecipeError for a batch size with which so many processes cannot train."""
    batch_size, samples = recipe.train.batch_size, len(data.train)
    if samples < 2:
        raise RecipeError(
            f"data set '{recipe.data.dataset.name}' has {samples} training sample: batch norm "
            "needs two in each batch",
            hint="more training samples are needed, whatever train.batch_size is",
        )
    if processes > 1:
        _require_parts(recipe, data, processes)
        if recipe.train.compile:
            raise RecipeError(
                f"train.compile = true in {processes} processes: a compiled net has not been tried "
                "in several",
                hint="train.compile=false, or one process",
            )
    if recipe.train.accumulate > batch_size // 2:
        raise RecipeError(
            f"train.accumulate = {recipe.train.accumulate}: a batch of {batch_size} has at most "
            f"{batch_size // 2} parts of two samples",
            hint="choose a larger train.batch_size or a smaller train.accumulate",
        )
    if steps_of(recipe, data) == 0:
        fewer_parts = " train.accumulate=1" if recipe.train.accumulate > samples // 2 else ""
        raise RecipeError(
            f"train.batch_size = {batch_size}: {samples} training samples are not one "
            "batch, and train.drop_last leaves out a smaller one",
            hint=f"train.batch_size={samples}{fewer_parts} takes them all",
        )
    if batch_size > samples:
        tell_once(
            f"train.batch_size = {batch_size} is more than the {samples} training samples: one "
            "batch is all of them"
        )
    if samples % batch_size == 1 and not recipe.train.drop_last:
        larger = range(batch_size + 1, samples + 1)
        good = next(size for size in larger if samples % size != 1)
        raise RecipeError(
            f"train.batch_size = {batch_size}: {samples} training samples leave a last "
            "batch of one, and batch norm needs two",
            hint=f"train.batch_size={good} leaves none",
        )


def _require_parts(recipe: Recipe, data: LoadedData, processes: int) -> None:
    """Raise RecipeError where a batch has no part for each process that batch norm can use."""
    least = 1 if recipe.train.sync_batch_norm else 2
    batch_size = recipe.train.batch_size
    rest = len(data.train) % batch_size
    smallest = rest if rest and not recipe.train.drop_last else batch_size
    needed = processes * least * recipe.train.accumulate
    if batch_size < needed or smallest < processes * least:
        last = "" if smallest == batch_size else f", the last batch has {smallest}"
        raise RecipeError(
            f"train.batch_size = {batch_size} over {processes} processes in "
            f"{recipe.train.accumulate} parts each{last}: each part needs {least} or more samples",
            hint="choose another train.batch_size, train.drop_last=true, or fewer processes",
        )


def prepare_net(recipe: Recipe, net: SpikingNet, processes: Processes) -> None:
    """Make `net` the same in all processes, with statistics over all of them where the recipe says
    so."""
    processes.copy_from_main([*net.parameters(), *net.buffers()])
    for module in net.modules():
        if isinstance(module, TemporalBatchNorm):
            module.processes = processes.several and recipe.train.sync_batch_norm
        elif isinstance(module, TorchNorm) and processes.several and recipe.train.sync_batch_norm:
            if module.running_mean is not None:
                share_statistics(module)
            else:
                tell_once(
                    "batch norm of torch without running averages takes its statistics in each "
                    "process alone"
                )


def steps_of(recipe: Recipe, data: LoadedData) -> int:
    """Optimizer steps of an epoch."""
    whole, rest = divmod(len(data.train), recipe.train.batch_size)
    return whole if recipe.train.drop_last else whole + (rest > 0)


def at_root(recipe: Recipe, root: Path) -> Recipe:
    """`recipe` with its data below `root`. Raises UsageError where its data has no files."""
    options = recipe.data.options
    if "root" not in type(options).model_fields:
        raise ArgumentError(
            "root",
            root,
            f"data set '{recipe.data.dataset.name}' has no files",
            hint="leave it out",
        )
    moved = options.model_copy(update={"root": str(root)})
    return replace(recipe, data=replace(recipe.data, options=moved))


def run_on(recipe: Recipe, kernels: Kernels) -> Recipe:
    """`recipe` with its net on `kernels`, whatever the device says."""
    target, connections = kernels.target.name, kernels.connections.name
    neuron = replace(recipe.neuron, target=target, connections=connections)
    return replace(recipe, neuron=neuron)


def step_activations_bytes(recipe: Recipe, data: LoadedData | None, processes: int = 1) -> int:
    """Bytes that one training step keeps for backward in each process, parameters not counted."""
    window = recipe.neuron.window
    if recipe.timesteps > _MANY_STEPS and (window is None or window <= _FEW_STEPS):
        # Each more step keeps as much as the one before; the plain loop would take minutes.
        few, more = (
            step_activations_bytes(replace(recipe, timesteps=steps), data, processes)
            for steps in (_FEW_STEPS, 2 * _FEW_STEPS)
        )
        return few + (more - few) * (recipe.timesteps - _FEW_STEPS) // _FEW_STEPS
    repeat = repeat_of(recipe)
    with torch.device("meta"):
        net = build_net(recipe)
        samples = recipe.train.batch_size
        if data is not None:
            samples = min(samples, len(data.train))
        part = -(-samples // (recipe.train.accumulate * processes))
        shape = (recipe.timesteps // repeat, part)
        inputs = torch.empty(*shape, *recipe.data.input_shape)
    return saved_for_backward(net, inputs, repeat=repeat)


def repeat_of(recipe: Recipe) -> int:
    """How many equal time steps one step of the data's input stands for."""
    return recipe.timesteps if recipe.data.static else 1


def loss_of(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """The recipe's loss of logits `[T, N, classes]` and labels `[N]` or `[N, classes]`."""
    train = recipe.train

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return tet_loss(
            logits,
            targets,
            tet_lambda=train.tet_lambda,
            tet_mean=train.tet_mean,
            tet_target=train.tet_target,
            label_smoothing=train.label_smoothing,
            cross_entropy_of=train.cross_entropy_of,
        )

    return loss


def optimizer_of(recipe: Recipe, net: torch.nn.Module) -> tuple[Optimizer, LRScheduler]:
    """The recipe's optimizer and schedule for `net`."""
    # On a GPU: the fastest, and it can be told there to leave out a step that is not finite.
    fused = True if is_gpu(next(net.parameters()).device) else None
    return optimizer_and_schedule(net, recipe.train, fused=fused)


def training_step_of(
    recipe: Recipe,
    net: SpikingNet,
    optimizer: Optimizer,
    precision: Precision,
    processes: Processes = ALONE,
) -> TrainingStep:
    """The recipe's step of `optimizer` for `net`."""
    return TrainingStep(
        net,
        optimizer,
        loss=loss_of(recipe),
        repeat=repeat_of(recipe),
        precision=precision,
        clip_norm=recipe.train.clip_norm,
        accumulate=recipe.train.accumulate,
        processes=processes,
        seed=recipe.train.seed,
        compiled=recipe.train.compile,
    )


def parameter_count(net: torch.nn.Module) -> int:
    """Number of learnable parameters."""
    return sum(parameter.numel() for parameter in net.parameters())

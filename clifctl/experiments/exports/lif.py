"""`convert --to lif`: a trained net on LIF neurons, its reset chosen, as a checkpoint."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from clifctl.amounts import counted
from clifctl.commands import command_line
from clifctl.convert.deployment import (
    PAPER_RESETS,
    Reset,
    lif_of,
    recalibrate,
    require_below_thresholds,
    require_deployable,
)
from clifctl.convert.folding import fold_net
from clifctl.convert.graph import read_net
from clifctl.convert.nir_file import is_nir, read_nir
from clifctl.convert.nir_neurons import NEURON_KINDS
from clifctl.data import LoadedData, Split, batches, shuffled_batches
from clifctl.errors import ArgumentError, ConversionError, RunFailed
from clifctl.experiments.build import (
    load_data,
    loss_of,
    repeat_of,
    run_on,
    step_activations_bytes,
)
from clifctl.experiments.checkpoints import OpenedCheckpoint
from clifctl.experiments.convert import ConvertOptions
from clifctl.experiments.exports.net_neurons import NetNeurons
from clifctl.experiments.published import protocol_note, published_deployment
from clifctl.files import write_output
from clifctl.models import NeuronChoice, SpikingNet, folded_norms
from clifctl.paper import PublishedDeployment
from clifctl.recipe.own_files import file_sources
from clifctl.recipe.schema import Recipe, validate
from clifctl.results.convert import DeployedRow, DeployResult, PublishedRow
from clifctl.results.eval import Evaluation
from clifctl.training.checkpoint import Checkpoint, save_checkpoint
from clifctl.training.device import tf32
from clifctl.training.evaluation import evaluate

ChooseOn = Literal["train", "test"]
IN_SAMPLE = (
    "the recipe holds no training data out: the reset is chosen on the data that the net was "
    "trained on (in-sample); data.validation_share holds some out, where the data set has it"
)


@dataclass(frozen=True)
class DeployOptions:
    """Which resets are tried (`reset` None: both kinds), what decides between them, on how many
    batches batch norm is estimated anew (None: not at all), and whether it is then folded into the
    weights."""

    reset: Literal["soft", "hard"] | None = None
    reset_values: Sequence[float] | None = None
    choose_on: ChooseOn = "train"
    recalibrate: int | None = None
    fold: bool = False

    def resets(self) -> tuple[Reset, ...]:
        """The settings, in the order of the table."""
        if self.reset == "soft" and self.reset_values is not None:
            raise ArgumentError(
                "reset_values",
                ",".join(f"{value:g}" for value in self.reset_values),
                "they contradict a reset that is soft, which has no value",
                hint="leave one of them out",
            )
        values = PAPER_RESETS if self.reset_values is None else self.reset_values
        # -0 is 0
        hard = () if self.reset == "soft" else tuple(Reset(value + 0.0) for value in values)
        return hard if self.reset == "hard" else (Reset(), *hard)


@dataclass(frozen=True)
class _Measured:
    """The net with one setting, on the data of the choice and on the test data; `statistics` are
    the running averages that it had."""

    reset: Reset
    recalibrated: bool
    choice: Evaluation
    test: Evaluation
    statistics: dict[str, Tensor]

    @property
    def merit(self) -> tuple[float, float]:
        """What is compared: accuracy, then the cross entropy."""
        return self.choice.accuracy_percent, -self.choice.cross_entropy


def deploy(path: Path, options: ConvertOptions, how: DeployOptions) -> DeployResult:
    """Try every reset of `how` on the checkpoint `path` and write a LIF checkpoint of the best.

    Raises ClifctlError where the net cannot run on LIF neurons, or anything that is given cannot be
    used; then nothing is written.
    """
    started = time.perf_counter()
    opened = options.opened(path)
    execution = options.checkpoint.execution.resolve()
    where = execution.device
    recipe = run_on(options.checkpoint.placed(opened.recipe), execution.kernels)
    if is_nir(path):
        raise _refused_graph(path)
    if not recipe.own_neurons:
        require_deployable(
            recipe.neuron.neuron, recipe.neuron.hyperparameters, f"'{path}' is a net of"
        )
    net = opened.net(recipe, where)
    given_to = NetNeurons.of(net, recipe, path)
    choices = {reset: lif_of(given_to.others, reset) for reset in how.resets()}
    if how.recalibrate is not None and how.recalibrate < 1:
        raise ArgumentError(
            "recalibrate",
            how.recalibrate,
            "must be 1 or more batches",
            hint="batches of train.batch_size training samples",
        )
    data = load_data(recipe).to(where)
    kept = step_activations_bytes(recipe, data)
    torch.set_num_threads(execution.for_step(kept).threads.count)
    trial = _Trial(recipe, data, net, _copied(net.state_dict()), how, given_to)
    require_below_thresholds(net, choices)
    if how.fold:
        _require_foldable(net, recipe)  # now rather than in the end
    options.say(
        f"{counted(len(choices), 'reset')}, on {counted(len(trial.choice_split), 'sample')} "
        f"({trial.chosen_on}) and {len(data.test):,} test samples"
    )
    if trial.chosen_on == "train":
        options.say(IN_SAMPLE)
    given = trial.measured(Reset(), recalibrated=False)
    if not math.isfinite(given.test.loss):
        raise RunFailed(
            f"the loss of '{path}' is {given.test.loss}", hint="its weights are not usable"
        )
    measured = list(trial.settings(choices))
    best = max(measured, key=lambda one: one.merit)
    written = trial.written(best, choices[best.reset])
    trained = opened.trained_neuron or given_to.kinds
    _save(options.out, opened, choices[best.reset], written, trained, folded_norms(net))
    return _result(
        opened,
        trial,
        (given, best, written),
        measured,
        checkpoint=str(path),
        output=str(options.out),
        seconds=time.perf_counter() - started,
        device=str(where),
        target=execution.kernels.target.name,
        connections=execution.kernels.connections.name,
    )


def _refused_graph(path: Path) -> ConversionError:
    kinds = Counter(node.kind for node in read_nir(path).nodes.values())
    found = ", ".join(f"{kinds[kind]} {kind}" for kind in NEURON_KINDS if kinds[kind])
    why = "NIR's neurons are those that chips have, so there is nothing to put on LIF"
    if kinds["CubaLIF"]:
        why += ", and a CubaLIF without its synaptic current would be another net"
    return ConversionError(
        f"'{path}' is a NIR graph ({found}): {why}",
        hint=f"{command_line('convert', path, '--to', 'nir')} writes it anew, as readers agree on; "
        "eval and energy take it as it is; another reset is chosen in the program that trained it",
    )


def _require_foldable(net: SpikingNet, recipe: Recipe) -> None:
    try:
        read_net(net, recipe.data.input_shape)
    except ConversionError as refused:
        raise ConversionError(
            f"--fold-norm: {refused.message}", hint="leave --fold-norm out"
        ) from None


def _save(
    path: Path,
    opened: OpenedCheckpoint,
    choice: NeuronChoice,
    written: "_Written",
    trained: str,
    folded: tuple[str, ...],
) -> None:
    """Write the converted net as a checkpoint that any command takes."""
    neuron = {
        "name": choice.neuron.name,
        **dict(choice.hyperparameters),
        "window": choice.window,
        "window_reading": choice.window_mode,
    }
    document = {**opened.recipe.document, "neuron": neuron}
    if opened.recipe.own_neurons:
        document["model"] = {**document["model"], "nodes": "lif"}
    resolved = validate(document, f"checkpoint '{path}'", of_a_run=True).document
    checkpoint = Checkpoint(
        recipe_name=opened.name,
        recipe=resolved,
        epoch=opened.epoch or 0,
        accuracy_percent=written.test.accuracy_percent,
        model=written.weights,
        trained_neuron=trained,
        folded_norms=folded,
        neuron_sources=file_sources(resolved),
    )
    save_checkpoint(checkpoint, path, write=write_output)


def _result(
    opened: OpenedCheckpoint,
    trial: "_Trial",
    states: tuple[_Measured, _Measured, "_Written"],
    measured: list[_Measured],
    **ran: Any,
) -> DeployResult:
    """What was measured; `states`: the net as it was given, the best one, and as it was written."""
    given, best, written = states
    recipe = opened.recipe
    converted = opened.trained_neuron is not None
    published = None if converted else published_deployment(recipe)
    rows = tuple(_row(one, published, chosen=one is best) for one in measured)
    return DeployResult(
        recipe=opened.name,
        data=recipe.data.dataset.name,
        model=recipe.model.model.name,
        trained_neuron=opened.trained_neuron or trial.neurons.kinds,
        converted_before=converted,
        timesteps=recipe.timesteps,
        epoch=opened.epoch,
        chosen_on=trial.chosen_on,
        samples_choice=given.choice.samples,
        samples_test=given.test.samples,
        recalibration_batches=trial.how.recalibrate,
        accuracy_percent_choice_given=given.choice.accuracy_percent,
        accuracy_percent_test_given=given.test.accuracy_percent,
        firing_rate_given=given.test.firing_rate,
        accuracy_percent_test=written.test.accuracy_percent,
        settings=rows,
        chosen=next(row for row in rows if row.chosen),
        published=_published(published, measured, protocol_note(recipe)),
        norms_folded=written.norms_folded,
        norms_kept=written.norms_kept,
        **ran,
    )


@dataclass(frozen=True)
class _Written:
    """The net as it is written: its state dict, what it gives on the test data, its norms."""

    weights: dict[str, Tensor]
    test: Evaluation
    norms_folded: tuple[str, ...] | None = None
    norms_kept: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Trial:
    """A net whose neurons are replaced, and the data that it is tried on. `before` is its state
    dict as it was trained, on the CPU."""

    recipe: Recipe
    data: LoadedData
    net: SpikingNet
    before: dict[str, Tensor]
    how: DeployOptions
    neurons: NetNeurons

    @property
    def chosen_on(self) -> str:
        """Which data decide."""
        if self.how.choose_on == "test":
            return "test"
        return "train" if self.data.validation is None else "validation"

    @property
    def choice_split(self) -> Split:
        """The data that decide."""
        splits = {
            "test": self.data.test,
            "train": self.data.train,
            "validation": self.data.validation,
        }
        split = splits[self.chosen_on]
        assert split is not None
        return split

    def settings(self, choices: dict[Reset, NeuronChoice]) -> Iterator[_Measured]:
        """The net with every setting; where batch norm is estimated anew, each once more so."""
        for again in (False, True) if self.how.recalibrate else (False,):
            for reset, choice in choices.items():
                self.neurons.put(self.net, choice)
                self.net.load_state_dict(self.before)
                if again:
                    with tf32(self.recipe.train.tf32):
                        inputs = self._training_inputs()
                        recalibrate(self.net, inputs, repeat=repeat_of(self.recipe))
                yield self.measured(reset, recalibrated=again)

    def written(self, best: _Measured, choice: NeuronChoice) -> _Written:
        """The best as it is to be written."""
        weights = {**self.before, **best.statistics}
        if not self.how.fold:
            return _Written(weights, best.test)
        self.neurons.put(self.net, choice)
        self.net.load_state_dict(weights)
        folds = fold_net(self.net, read_net(self.net, self.recipe.data.input_shape))
        return _Written(_copied(self.net.state_dict()), self._evaluated(self.data.test), *folds)

    def measured(self, reset: Reset, *, recalibrated: bool) -> _Measured:
        """The net as it is now."""
        test = self._evaluated(self.data.test)
        choice = test if self.chosen_on == "test" else self._evaluated(self.choice_split)
        return _Measured(reset, recalibrated, choice, test, _copied(dict(self.net.named_buffers())))

    def _evaluated(self, split: Split) -> Evaluation:
        with tf32(self.recipe.train.tf32):
            return evaluate(
                self.net,
                batches(split, self.recipe.eval.batch_size),
                loss_of(self.recipe),
                repeat=repeat_of(self.recipe),
                with_rates=True,
            )

    def _training_inputs(self) -> Iterator[Tensor]:
        """So many batches as training sees them, the same for every setting."""
        return islice(self._endless_inputs(), self.how.recalibrate)

    def _endless_inputs(self) -> Iterator[Tensor]:
        section, split = self.recipe.train, self.data.train
        generator = torch.Generator().manual_seed(section.seed)
        while True:
            # A smaller last batch, of one sample perhaps, has no good statistics.
            whole = len(split) > section.batch_size
            for inputs, _ in shuffled_batches(
                split, section.batch_size, generator, self.data.augment, drop_last=whole
            ):
                yield inputs


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, which what is done to the net later leaves as they are."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def _row(one: _Measured, published: PublishedDeployment | None, *, chosen: bool) -> DeployedRow:
    paper = None if published is None else published.accuracy_percent.get(one.reset.v_reset)
    return DeployedRow(
        reset=one.reset.kind,
        v_reset=one.reset.v_reset,
        recalibrated=one.recalibrated,
        accuracy_percent_choice=one.choice.accuracy_percent,
        cross_entropy_choice=one.choice.cross_entropy,
        accuracy_percent_test=one.test.accuracy_percent,
        firing_rate=one.test.firing_rate,
        published_percent=None if one.recalibrated else paper,
        chosen=chosen,
    )


def _published(
    found: PublishedDeployment | None, measured: Sequence[_Measured], protocol: str | None
) -> PublishedRow | None:
    if found is None:
        return None
    resets = [one.reset.v_reset for one in measured if not one.recalibrated]
    return PublishedRow(
        table=found.table,
        row=found.row,
        accuracy_percent_trained=found.pretrained_accuracy_percent,
        accuracy_percent=tuple(found.accuracy_percent.get(reset) for reset in resets),
        note="; ".join(filter(None, (protocol, found.note))) or None,
    )

"""A person's own module as a `SpikingNet`."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.devices import CPU
from clifctl.errors import ModelError
from clifctl.foreign_code import foreign_code
from clifctl.models.layers import NetState, NeuronChoice, SpikingLayer, SpikingNet
from clifctl.models.own.dry_run import Tried, try_shapes
from clifctl.models.own.nodes import (
    has_memory,
    is_node,
    nodes_in,
    own_neuron,
    own_on_lif,
    replace_nodes,
)
from clifctl.models.own.options import GIVEN, OwnOptions, parameters_of
from clifctl.models.own.steps import AllSteps, Clock
from clifctl.models.spiking import Spiking
from clifctl.neurons import NEURONS
from clifctl.notices import tell_once


class OwnNet(SpikingNet):
    """A person's own module, `net`, with clifctl's layers of neurons in it.

    `single` says that it is one of single steps, `[N, *]` to `[N, classes]`: it runs on all steps
    at once (`clifctl.models.own.steps`). `logits_of_steps`: it returns logits of each step, and not
    `[N, classes]` for the whole sequence.
    """

    def __init__(self, net: nn.Module, clock: Clock, *, single: bool) -> None:
        super().__init__()
        self.net = net
        self.clock = clock
        self.single = single
        self.logits_of_steps = True
        self._memories = [module for module in net.modules() if has_memory(module)]
        self.authors_names = _names_of(self)

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        """See `SpikingNet.forward`. The module keeps no state: `state` must be None, and the final
        one is empty. Logits are `[1, N, classes]` where the module gives none of each step."""
        if state is not None:
            raise ModelError(
                "a net of a person's own takes no state: what it does with time between its "
                "layers is its own, so a sequence in pieces would be another one",
                hint="feed it whole; neuron.window truncates the gradient. In a loop of your own, "
                "layers of clifctl.nn with stateful=True go on from call to call, and detach() "
                "cuts the gradient between two pieces",
            )
        for memory in self._memories:
            memory.reset()  # type: ignore[operator]
        if repeat > 1:
            x = x.expand(repeat, *x.shape[1:])
        logits = run_on(self.net, x, self.clock, single=self.single)
        return (logits if self.logits_of_steps else logits[None]), ()


def _names_of(net: OwnNet) -> dict[str, str]:
    """Module -> its name in the person's own module, as its state dict has it."""
    found = {"net": ""}
    for name, module in net.net.named_modules():
        for child, _ in module.named_children():
            ours = f"{name}.{child}".removeprefix(".")
            held = isinstance(module, Spiking | AllSteps)  # in the place of what it holds
            above = found[f"net.{name}".removesuffix(".")]
            found[f"net.{ours}"] = above if held else f"{above}.{child}".removeprefix(".")
    return found


def run_on(net: nn.Module, x: Tensor, clock: Clock, *, single: bool) -> Any:
    """What the module `net` returns for `x` `[T, N, *]`; one of single steps for all of them."""
    clock.steps = len(x)
    if not single:
        return net(x)
    result = net(x.flatten(0, 1))
    return result.unflatten(0, (len(x), -1)) if isinstance(result, Tensor) else result


@dataclass(frozen=True)
class NeuronBuilder:
    """What a net gets as `neuron`: `neuron(channels)` is a layer of the recipe's neuron."""

    choice: NeuronChoice
    timesteps: int

    def __call__(self, channels: int, *, v_threshold: float | None = None) -> Spiking:
        """A layer for `channels` channels (features, for a vector), `[T, N, channels, *]` in and
        out; `v_threshold` is its own, in the place of the recipe's."""
        layer = self.choice.layer(channels, self.timesteps, v_threshold=v_threshold)
        made = Spiking.of_layer(layer)
        made.channels = channels
        return made


@dataclass(frozen=True)
class OwnBuild:
    """Builds the net that `maker`, a class or function of `file` (None: of a package), makes."""

    maker: Callable[..., nn.Module]
    where: str
    file: str | None

    def __call__(
        self,
        options: OwnOptions,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> OwnNet:
        """The net for samples `input_shape` of one step. Raises ModelError where it breaks the
        contract."""
        # On the CPU: what is computed for its attributes may need values.
        with torch.device(CPU):
            made = self._made(options, input_shape, classes, timesteps, neuron)
            net = self._with_neurons(made, options, input_shape, timesteps, neuron)
        return self._checked(net, input_shape, timesteps, classes).to(torch.get_default_device())

    def around(
        self,
        module: nn.Module,
        *,
        input_shape: tuple[int, ...],
        timesteps: int,
        classes: int | None,
        neuron: NeuronChoice,
    ) -> OwnNet:
        """The net of a `module` that is there already, which becomes part of it; SpikingJelly's
        nodes become layers of their own neurons, with the windows and kernels of `neuron`. Raises
        ModelError where it breaks the contract; with `classes` None it may return any tensor."""
        own = OwnOptions(nodes="own")
        net = self._with_neurons(module, own, input_shape, timesteps, neuron)
        return self._checked(net, input_shape, timesteps, classes)

    def _checked(
        self, net: OwnNet, input_shape: tuple[int, ...], timesteps: int, classes: int | None
    ) -> OwnNet:
        """The net, of which it is known now whether it returns logits of each step."""
        tried = self.tried(net, input_shape, timesteps)
        samples = _samples(timesteps)
        allowed = ((timesteps, samples, classes), (samples, classes))
        if classes is not None and tried.output not in allowed:
            raise ModelError(
                f"{self.where} returns {list(tried.output)} for T = {timesteps}, N = {samples} "
                f"and {classes} classes: it must be [T, N, classes] or [N, classes]",
                hint=f"{[timesteps, samples, classes]} or {[samples, classes]}, its last layer "
                "has an output for each class",
            )
        net.logits_of_steps = tried.output[:2] == (timesteps, samples)
        if not net.logits_of_steps and timesteps > 1 and classes is not None:
            tell_once(
                f"{self.where} gives logits of the whole sequence: the loss has no others, and "
                "there is no accuracy after each time step"
            )
        return net

    def tried(self, net: OwnNet, input_shape: tuple[int, ...], timesteps: int) -> Tried:
        """What `net` does with shapes."""
        x = torch.empty(timesteps, _samples(timesteps), *input_shape, device="meta")

        def run(copied: Any, given: Tensor) -> Any:
            return run_on(copied.net, given, copied.clock, single=net.single)

        return try_shapes(net, run, x, self.where, self.file)

    def _made(
        self,
        options: OwnOptions,
        input_shape: tuple[int, ...],
        classes: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> nn.Module:
        taken = parameters_of(self.maker, self.where)
        builder = NeuronBuilder(neuron, timesteps)
        given: dict[str, Any] = dict(
            zip(GIVEN, (tuple(input_shape), classes, timesteps, builder), strict=True)
        )
        if not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
            given = {name: value for name, value in given.items() if name in taken}
        own = {name: getattr(options, name) for name in type(options).model_fields}
        own = {name: value for name, value in own.items() if name in taken}
        with foreign_code(f"{self.where} cannot be built", error=ModelError):
            made = self.maker(**given, **own)
        if not isinstance(made, nn.Module):
            raise ModelError(
                f"{self.where} gives a {type(made).__name__}, and not a torch.nn.Module",
                hint="a net is a class of torch.nn.Module, or a function that returns one",
            )
        return made

    def _with_neurons(
        self,
        made: nn.Module,
        options: OwnOptions,
        input_shape: tuple[int, ...],
        timesteps: int,
        neuron: NeuronChoice,
    ) -> OwnNet:
        """The net with layers of clifctl in the places of its nodes."""
        if is_node(made):
            raise ModelError(f"{self.where} is a layer of neurons, and not a net of them")
        clock = Clock()

        def make(name: str, node: nn.Module) -> SpikingLayer:
            if options.nodes == "own":
                return own_neuron(neuron, name, node, self.where)
            if options.nodes == "lif":
                return own_on_lif(neuron, name, node, self.where)
            return neuron.layer(1, timesteps)

        kinds = Counter(type(node).__name__ for node in nodes_in(made).values())
        if kinds and options.nodes == "recipe":
            found = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            tell_once(
                f"{self.where}: its own layers of neurons ({found}) become layers of "
                f"'{neuron.neuron.name}'; model.nodes=own keeps them"
            )
        single = replace_nodes(made, make, clock, self.where)
        net = OwnNet(made, clock, single=single)
        by_channel = any(learnable.by_channel for learnable in neuron.neuron.learnables)
        if by_channel and options.nodes == "recipe":
            _widen(net, self.tried(net, input_shape, timesteps), neuron, timesteps)
        return net


def _samples(timesteps: int) -> int:
    """A number of samples that T cannot be taken for."""
    return 3 if timesteps == 2 else 2


def _widen(net: OwnNet, tried: Tried, neuron: NeuronChoice, timesteps: int) -> None:
    """Give the layers that took the places of nodes parameters for the channels they get."""
    for name, shape in tried.layers.items():
        holder = net.net.get_submodule(name.rpartition(".")[0])
        if isinstance(holder, Spiking) and holder.channels is None and len(shape) > 2:
            holder.neurons = neuron.layer(shape[2], timesteps)


def own_net_of(
    module: nn.Module,
    *,
    input_shape: tuple[int, ...],
    timesteps: int,
    classes: int | None = None,
) -> OwnNet:
    """A copy of `module` as a net: see `OwnBuild.around`."""
    lif = NEURONS["lif"]
    return OwnBuild(lambda: module, type(module).__name__, None).around(
        copy.deepcopy(module),
        input_shape=input_shape,
        timesteps=timesteps,
        classes=classes,
        neuron=NeuronChoice(lif, lif.hyperparameters()),
    )

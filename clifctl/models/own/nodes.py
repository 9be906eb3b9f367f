"""The layers of neurons that a person's own net does not build by `neuron(channels)`.

SpikingJelly's nodes, and layers of `clifctl.nn`: each becomes a layer of the recipe's neuron, or,
with `model.nodes=own`, of its own neuron with its own constants, or, with `model.nodes=lif`, of LIF
with its own constants. Nothing of SpikingJelly is imported: a net that uses it has done so.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from clifctl.errors import ClifctlError, ModelError
from clifctl.models.exchange import lif_constants
from clifctl.models.layers import NeuronChoice, SpikingLayer
from clifctl.models.own.steps import AllSteps, Clock, StepSpiking, norms_by_step
from clifctl.models.spiking import Spiking
from clifctl.neurons import NEURONS, Parameters

_PACKAGE = "spikingjelly.activation_based"
_OWN = "clifctl.spikingjelly"
# SpikingJelly's node -> the neuron that does the same, and the node's constants.
_CONSTANTS = ("v_threshold", "v_reset", "detach_reset", "surrogate_function")
_SAME: dict[str, tuple[str, tuple[str, ...]]] = {
    "IFNode": ("if", _CONSTANTS),
    "LIFNode": ("lif", ("tau", "decay_input", *_CONSTANTS)),
    "ParametricLIFNode": ("plif", ("decay_input", *_CONSTANTS)),
    "KLIFNode": ("klif", ("tau", "decay_input", "scale_reset", *_CONSTANTS)),
    "ComplementaryLIFNode": ("clif", ("tau", "v_threshold", "surrogate_function")),
}


def is_node(module: nn.Module) -> bool:
    """Whether `module` is a layer of neurons of SpikingJelly, made by its rules, or of `clifctl.nn`
    and not by the builder that a net gets."""
    if isinstance(module, Spiking):
        return module.channels is None
    return any(
        one.__module__.startswith((f"{_PACKAGE}.neuron", _OWN)) for one in type(module).__mro__
    )


def has_memory(module: nn.Module) -> bool:
    """Whether `module` is one of SpikingJelly's whose state `reset` sets back."""
    base = sys.modules.get(f"{_PACKAGE}.base")
    return base is not None and isinstance(module, base.MemoryModule)


def nodes_in(net: nn.Module) -> dict[str, nn.Module]:
    """The nodes (`is_node`) in `net`; one that has two names has both."""
    return {
        name: module
        for name, module in net.named_modules(remove_duplicate=False)
        if is_node(module)
    }


def replace_nodes(
    net: nn.Module,
    make: Callable[[str, nn.Module], SpikingLayer],
    clock: Clock,
    where: str,
) -> bool:
    """Put `make(name, node)` in the place of each node; whether `net` is one of
    single steps, which runs on `[T * N, *]` from now on.

    Raises ModelError for nodes of both step modes, and for what feeds spikes back.
    """
    containers = dict(_step_containers(net))
    nodes = nodes_in(net)
    inside = {n for n in nodes if any(n.startswith(f"{c}.") for c in containers)}
    modes: dict[str, str] = {}
    for name, node in nodes.items():
        if name not in inside:
            modes.setdefault(str(getattr(node, "step_mode", "m")), name)
    if len(modes) > 1:
        raise ModelError(
            f"{where}: the step_mode of '{modes['m']}' is m, that of '{modes['s']}' is s",
            hint="give all nodes one: functional.set_step_mode(net, 'm')",
        )
    _refuse_feedback(net, nodes, where)
    single = "s" in modes
    made: dict[int, nn.Module] = {}
    for name, node in nodes.items():
        if id(node) not in made:
            layer = make(name, node)
            folded = single or name in inside
            made[id(node)] = StepSpiking.timed(layer, clock) if folded else Spiking.of_layer(layer)
        net.set_submodule(name, made[id(node)])
    for container in containers.values():
        _fold_container(container, clock)
    if single:
        for name, module in list(net.named_modules()):
            if isinstance(module, Spiking) and not isinstance(module, StepSpiking):
                timed = StepSpiking.timed(module.neurons, clock)
                timed.channels = module.channels
                net.set_submodule(name, timed)
        _fold_memories(net, clock)
        norms_by_step(net, clock)
    return single


def _step_containers(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The containers that call what they hold step by step."""
    layers = sys.modules.get(f"{_PACKAGE}.layer")
    for name, module in net.named_modules():
        if layers is not None and type(module) is layers.MultiStepContainer:
            yield name, module


def _fold_container(container: nn.Module, clock: Clock) -> None:
    """Let a container of single steps run what it holds on all of its steps at once."""
    norms_by_step(container, clock)
    _fold_memories(container, clock)
    container.__class__ = _FoldedContainer


class _FoldedContainer(nn.Sequential):
    """A container of modules of single steps: `[T, N, *]` in and out."""

    def forward(self, x: Any) -> Any:
        """What the modules make of every step of `x`."""
        return super().forward(x.flatten(0, 1)).unflatten(0, (len(x), -1))


def _fold_memories(net: nn.Module, clock: Clock) -> None:
    """Let what else has a memory, such as dropout with one mask, take its sequence as one."""
    for name, module in list(net.named_modules()):
        if name and has_memory(module) and getattr(module, "step_mode", "m") == "s":
            changed: Any = module
            changed.step_mode = "m"
            net.set_submodule(name, AllSteps(module, clock))


def _refuse_feedback(net: nn.Module, nodes: dict[str, nn.Module], where: str) -> None:
    for name, module in net.named_modules():
        held = [node for node in nodes if node.startswith(f"{name}.")]
        if held and has_memory(module):
            raise ModelError(
                f"{where}: '{name}' ({type(module).__name__}) feeds the spikes of '{held[0]}' "
                "back: clifctl runs a net of your own layer by layer",
                hint="leave the recurrence out; model.name=mlp has model.recurrent=true",
            )


def own_neuron(choice: NeuronChoice, name: str, node: Any, where: str) -> SpikingLayer:
    """A layer of the neuron that `node` itself is, with its constants and learned values; windows
    and kernels are those of `choice`. Raises ModelError where clifctl has no such neuron."""
    if isinstance(node, Spiking):
        return node.neurons
    if not any(one.__module__.startswith(_OWN) for one in type(node).__mro__):
        node = _same_node(name, node, where)
    learnables = {
        declared.name: getattr(node, declared.name).detach().clone()
        for declared in node.neuron.learnables
    }
    changed = replace(choice, neuron=node.neuron, hyperparameters=node.hyperparameters)
    return SpikingLayer(
        Parameters(changed.neuron, changed.hyperparameters, learnables),
        window=changed.window,
        window_mode=changed.window_mode,
        target=changed.target,
        connections=changed.connections,
    )


def own_on_lif(choice: NeuronChoice, name: str, node: Any, where: str) -> SpikingLayer:
    """A layer of LIF with the constants of `node` and the reset of `choice`, which is LIF. Raises
    ModelError where it is not, or where the node's neuron is none that could be."""
    if choice.neuron.name != "lif":
        raise ModelError(
            f"{where}: model.nodes=lif puts LIF in the place of its nodes, with the reset of the "
            f"recipe's neuron, which is '{choice.neuron.name}'",
            hint="neuron.name=lif; or model.nodes=recipe",
        )
    layer = own_neuron(choice, name, node, where)
    lif, given = choice.neuron, layer.hyperparameters
    if layer.neuron.learnables or not {"tau", "v_threshold"} <= set(type(given).model_fields):
        raise ModelError(
            f"{where}: model.nodes=lif: the node '{name}' is '{layer.neuron.name}', whose "
            "constants are not those of a LIF",
            hint="model.nodes=recipe",
        )
    of_recipe: Any = choice.hyperparameters
    values = lif_constants(given, reset=of_recipe.reset, v_reset=of_recipe.v_reset)
    own = replace(choice, neuron=lif, hyperparameters=values)
    return own.layer(1, 1)


def _same_node(name: str, node: Any, where: str) -> Any:
    kind = type(node).__name__
    hint = "model.nodes=recipe puts the recipe's neuron in its place"
    if kind not in _SAME or not type(node).__module__.startswith(f"{_PACKAGE}.neuron"):
        raise ModelError(
            f"{where}: the node '{name}' is a {kind}, for which clifctl has no neuron", hint=hint
        )
    from clifctl.spikingjelly import NeuronNode

    ours, takes = _SAME[kind]
    try:
        same = NeuronNode(NEURONS[ours], **{key: getattr(node, key) for key in takes})
    except ClifctlError as refused:
        raise ModelError(f"{where}: the node '{name}': {refused.message}", hint=hint) from None
    same.load_state_dict(node.state_dict())
    return same

"""The building blocks of a spiking net: `[T, N, *]` in, `[T, N, *]` out, state in and out."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.devices import CPU
from clifctl.errors import RecipeError
from clifctl.kernels import (
    Spikes,
    as_spikes,
    check_connections,
    is_binary,
    is_fused,
    is_transformed,
    mark_spikes,
    norm_scan,
    recurrent_scan,
    scan,
    sparse,
    spike_value,
    spikes_as_bits,
)
from clifctl.models.norm import TemporalBatchNorm
from clifctl.neurons import Hyperparameters, Neuron, Parameters
from clifctl.neurons.pickling import class_for_values, values_for_class

LayerState = tuple[Tensor, ...]
NetState = tuple[LayerState, ...]
# Below this part of active pixels a net's input is taken as sparse values.
SPARSE_BELOW = 0.3


class SpikingNet(nn.Module, ABC):
    """A net of spiking layers. `authors_names` maps its modules to their names in the authors'
    code, where both have such a module: their checkpoints differ in nothing else but the keys of
    `authors_unused`, which their code declares and does not use."""

    authors_names: dict[str, str]
    authors_unused: frozenset[str] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.authors_names = {}

    @abstractmethod
    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        """Logits `[T, N, classes]` and the final state of every spiking layer.

        `x` is `[T, N, *]`; with `repeat` = T it is `[1, N, *]`, an input that is equal at every
        step (a static image). `state` continues a sequence that is fed in pieces; None starts anew.
        """

    def frames(self, x: Tensor) -> Tensor:
        """The net's input, as what its first connection reads fastest: few active pixels, as those
        of event frames, as sparse values."""
        if type(x) is not Tensor or x.device.type != CPU or x.requires_grad:
            return x
        if torch.compiler.is_compiling() or is_transformed(x):
            return x
        if torch._C._len_torch_function_stack():  # who follows the net's operations sees its own
            return x
        layers = (module for module in self.modules() if isinstance(module, SpikingLayer))
        layer = next(layers, None)
        if layer is None:  # another's neurons stand in their places
            return x
        if layer.target not in ("auto", "numba") or layer.connections != "auto":
            return x
        return sparse(x) if int(x.count_nonzero()) < SPARSE_BELOW * x.numel() else x


@dataclass(frozen=True)
class NeuronChoice:
    """Which neuron a net is built of, and how it runs: the same for every layer. `connections` is
    how what reads its spikes runs (`clifctl.kernels.CONNECTIONS`)."""

    neuron: Neuron
    hyperparameters: Hyperparameters
    window: int | None = None
    window_mode: str = "sliding"
    target: str = "auto"
    connections: str = "auto"

    def layer(
        self,
        channels: int,
        timesteps: int,
        *,
        v_threshold: float | None = None,
        recurrent: nn.Linear | None = None,
    ) -> "SpikingLayer":
        """One layer of this neuron for `channels` channels (features, for a vector).

        `v_threshold` is the layer's own, in the place of the recipe's; a neuron that has no such
        key keeps what it has. `recurrent` feeds its last step's spikes back to it. Raises
        RecipeError for that with a window.
        """
        if recurrent is not None and self.window is not None:
            raise RecipeError(
                f"neuron.window = {self.window}: a layer with recurrence has no window, as its "
                "gradient goes from step to step through its matrix too",
                hint="neuron.window=null (full BPTT), or model.recurrent=false",
            )
        hyperparameters = self.hyperparameters.with_threshold(v_threshold)
        learnables = self.neuron.start(hyperparameters, channels, timesteps)
        return SpikingLayer(
            Parameters(self.neuron, hyperparameters, learnables),
            window=self.window,
            window_mode=self.window_mode,
            target=self.target,
            connections=self.connections,
            own_threshold=v_threshold,
            recurrent=recurrent,
        )


class SpikingLayer(nn.Module):
    """One layer of neurons. It owns the learnable parameters and nothing else: no hidden state.

    `own_threshold` says that the layer's v_threshold is its own, whatever its neurons become.
    `recurrent` is a matrix through which the last step's spikes of a layer of vectors are part of
    its input current; its state has them last, then.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        window: int | None = None,
        window_mode: str = "sliding",
        target: str = "auto",
        connections: str = "auto",
        own_threshold: float | None = None,
        recurrent: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        check_connections(connections)
        self.neuron = parameters.neuron
        self.hyperparameters = parameters.hyperparameters
        self.window = window
        self.window_mode = window_mode
        self.target = target
        self.connections = connections
        self.own_threshold = own_threshold
        # Whether every output is 0 or 1: the last thing that the step does is to spike.
        self.binary = is_binary(self.neuron, self.hyperparameters)
        self.recurrent = recurrent
        for name, tensor in parameters.learnables.items():
            self.register_parameter(name, nn.Parameter(tensor))

    def extra_repr(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.hyperparameters)
        return f"{self.neuron.name}({values}), window={self.window}"

    def forward(
        self,
        x: Tensor,
        state: LayerState | None = None,
        norm: TemporalBatchNorm | None = None,
        repeat: int = 1,
        first_step: int | None = None,
    ) -> tuple[Tensor, LayerState]:
        """Spikes and final state for input current `x` `[T, N, *features]`.

        With `norm` it is the norm's input, and the norm runs inside the kernel, where the target
        has one; with recurrence before it, over all steps at once: what is fed back is not
        normalised. With `repeat` > 1 `x` is `[1, N, *features]` and stands for that many equal
        steps. `first_step` says that `x` is a piece of a sequence, and which step (from 0) it
        begins with: learnable parameters of a time step are those of its steps, and come again
        after the last.
        """
        steps = x.shape[0] * repeat
        learnables = self.learnables()
        if first_step is not None:
            for declared in self.neuron.learnables:
                if declared.by_step:
                    of_steps = learnables[declared.name].roll(-first_step, 0)
                    learnables[declared.name] = of_steps[:steps]
        parameters = Parameters(self.neuron, self.hyperparameters, learnables)
        if self.recurrent is not None:
            current = x if norm is None else norm(x, repeat)
            current = current.expand(steps, *x.shape[1:])
            weight = self.recurrent.weight
            spikes, final = recurrent_scan(current, state, weight, parameters, target=self.target)
            if self.binary:
                mark_spikes(spikes)
            return spikes, final
        # A shorter sequence than the window (a single step, say) is full BPTT by definition.
        window = None if self.window is None or self.window >= steps else self.window
        how: dict[str, Any] = {
            "window": window,
            "window_mode": self.window_mode,
            "target": self.target,
            "connections": self.connections,
        }
        if norm is not None and norm.fused and is_fused(self.target, x.device, x.dtype):
            spikes, final = norm_scan(x, state, parameters, norm, repeat=repeat, **how)
        else:
            current = x if norm is None else norm(x, repeat)
            spikes, final = scan(current.expand(steps, *x.shape[1:]), state, parameters, **how)
        if self.binary:
            mark_spikes(spikes)
        return spikes, final

    def learnables(self) -> dict[str, Tensor]:
        """The raw learnable tensors by name, as they are now: no parameters where
        `torch.func.functional_call`, a parametrization or a replica has put others in their place.
        """
        return {declared.name: getattr(self, declared.name) for declared in self.neuron.learnables}

    def __getstate__(self) -> dict[str, Any]:
        return values_for_class(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(class_for_values(state))


class SynapticLayer(nn.Module):
    """A connection (convolution or linear), a batch norm and a neuron."""

    def __init__(
        self, connection: nn.Module, norm: TemporalBatchNorm, neuron: SpikingLayer
    ) -> None:
        super().__init__()
        self.connection = connection
        self.norm = norm
        self.neuron = neuron

    def forward(
        self, x: Tensor, state: LayerState | None = None, repeat: int = 1
    ) -> tuple[Tensor, LayerState]:
        """Spikes `[T, N, *]` and final state.

        With `repeat` > 1, `x` is `[1, N, *]` and stands for that many equal steps: connection and
        norm run once, with the numbers of as many equal runs.
        """
        return self.neuron(fold_time(self.connection, x), state, self.norm, repeat)


def is_recurrent(net: nn.Module) -> bool:
    """Whether any layer of neurons feeds its spikes back to itself."""
    layers = (module for module in net.modules() if isinstance(module, SpikingLayer))
    return any(layer.recurrent is not None for layer in layers)


class LayerStates:
    """Runs a net's layers of neurons in forward order: hands each its state of `given` (None: a new
    one), and collects in `finals` what they end with."""

    def __init__(self, given: NetState | None) -> None:
        self._given = given
        self.finals: list[LayerState] = []

    def run(self, layer: SpikingLayer | SynapticLayer, x: Tensor, *, repeat: int = 1) -> Tensor:
        """The spikes `[T, N, *]` of the next layer for `x`."""
        state = None if self._given is None else self._given[len(self.finals)]
        spikes, final = layer(x, state, repeat=repeat)
        self.finals.append(final)
        return spikes


class Pool(nn.Module):
    """A pooling of every time step's maps `[T, N, C, H, W]`. The maximum of spikes is a spike."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        pooled = fold_time(self.pool, x)
        value = spike_value(x)
        if value is not None and isinstance(self.pool, nn.MaxPool2d):
            mark_spikes(pooled, value)
        return pooled


class SharedDropout(nn.Module):
    """Dropout with one mask for all time steps of a sample, scaled by 1 / (1 - p)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def extra_repr(self) -> str:
        return f"p={self.p}"

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        kept = 1 / (1 - self.p)
        mask = torch.empty_like(x[:1]).bernoulli_(1 - self.p)
        if isinstance(x, Spikes):
            return x * as_spikes(mask, kept)
        mask.mul_(kept)
        mark_spikes(mask, kept)
        with spikes_as_bits():
            dropped = x * mask
        if spike_value(x) == 1.0:
            mark_spikes(dropped, kept)
        return dropped


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """The product of two results, element by element, one of which may be broadcast. Of spikes it
    is spikes, and what its backward needs of them is kept as bits."""
    if isinstance(x, Spikes) and isinstance(mask, Spikes):
        return x * mask
    with spikes_as_bits():
        product = x * mask
    value, other = spike_value(x), spike_value(mask)
    if value is not None and other is not None:
        mark_spikes(product, value * other)
    return product


def fold_time(module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a module without time to `x` `[T, N, *]` as one batch of T * N samples. What it keeps
    of spikes for its backward are bits."""
    with nullcontext() if isinstance(x, Spikes) else spikes_as_bits():
        folded: Tensor = module(x.flatten(0, 1))
    return folded.view(x.shape[0], x.shape[1], *folded.shape[1:])


def flatten_features(x: Tensor) -> Tensor:
    """`[T, N, *]` as `[T, N, features]`. Maps with their channels innermost are copied; a copy of
    spikes is known to be spikes too."""
    flat = x.flatten(2)
    value = spike_value(x)
    if value is not None and spike_value(flat) is None:
        mark_spikes(flat, value)
    return flat

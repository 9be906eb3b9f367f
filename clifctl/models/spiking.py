"""A layer of neurons for anybody's module: spikes alone out, and a state only where it is asked
for."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from clifctl.errors import NeuronError, unknown_name
from clifctl.kernels import NO_BACKWARD, backward_pass
from clifctl.models.layers import LayerState, NeuronChoice, SpikingLayer
from clifctl.neurons import NEURONS, Neuron
from clifctl.neurons.loading import load_neuron

StepMode = Literal["m", "s"]


class Spiking(nn.Module):
    """A layer of any neuron: `spikes = layer(x)`, both `[T, N, *features]`, time first.

    `neuron` is a name of `clifctl.neurons.NEURONS`, FILE.py:NAME, or a `Neuron`. `channels` (the
    first of the features) and `timesteps` = T give learnable parameters their shapes; a neuron
    without any takes inputs of every size. Other keywords are hyperparameters of the neuron
    (`tau=2.0`), and `window`, `window_mode`, `target` and `connections` as in `clifctl.nn.scan`.

    Every call begins with new neurons. With `stateful` a call goes on where the last one ended,
    gradients included, until `reset()`; `detach()` cuts the gradient between the calls. With
    `step_mode` "s" a call is one step `[N, *features]` of a layer that is stateful. A state is no
    part of the state dict, and a copy of the layer begins anew.

    Raises NeuronError for an unknown neuron or hyperparameter, a value out of its range, an input
    of another shape than the state that the last call left, and a call of a stateful layer that
    `torch.utils.checkpoint` repeats.
    """

    def __init__(
        self,
        neuron: str | Neuron,
        channels: int = 1,
        timesteps: int = 1,
        *,
        stateful: bool = False,
        step_mode: StepMode = "m",
        **options: Any,
    ) -> None:
        super().__init__()
        if isinstance(neuron, str):
            neuron = load_neuron(neuron, NEURONS)
        names = ("window", "window_mode", "target", "connections")
        how = {name: options.pop(name) for name in names if name in options}
        choice = NeuronChoice(neuron, neuron.with_values(**options), **how)
        self._hold(choice.layer(channels, timesteps), stateful=stateful, step_mode=step_mode)

    @classmethod
    def of_layer(
        cls, neurons: SpikingLayer, *, stateful: bool = False, step_mode: StepMode = "m"
    ) -> "Spiking":
        """The layer around `neurons`, which a net's builder has made."""
        layer = Spiking.__new__(Spiking)
        nn.Module.__init__(layer)
        layer._hold(neurons, stateful=stateful, step_mode=step_mode)
        return layer

    def _hold(self, neurons: SpikingLayer, *, stateful: bool, step_mode: StepMode) -> None:
        if step_mode not in get_args(StepMode):
            raise NeuronError(unknown_name("step mode", step_mode, get_args(StepMode)))
        self.neurons = neurons
        # Of what comes in, where that was said when the layer was built.
        self.channels: int | None = None
        self.stateful = stateful or step_mode == "s"
        self.step_mode = step_mode
        self.reset()

    def extra_repr(self) -> str:
        return f"stateful={self.stateful}, step_mode={self.step_mode}"

    def reset(self) -> None:
        """Begin anew with the next call."""
        self._state: LayerState | None = None
        self._steps = 0
        # The backward pass in which a call left the state.
        self._left_in: int | None = None

    def detach(self) -> None:
        """Cut the gradient between the calls before and those to come."""
        if self._state is not None:
            self._state = tuple(one.detach() for one in self._state)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of the shape of `x`: `[T, N, *features]`, `[N, *features]` in step mode "s"."""
        if not self.stateful:
            return self.neurons(x)[0]
        self._refuse_recomputation()
        sequence = x[None] if self.step_mode == "s" else x
        self._require_fitting(sequence)
        spikes, self._state = self.neurons(sequence, self._state, first_step=self._steps)
        self._steps += len(sequence)
        if not torch.compiler.is_compiling():
            self._left_in = backward_pass()
        return spikes[0] if self.step_mode == "s" else spikes

    def run(self, x: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """Spikes and final state of the sequence `x` `[T, N, *features]` from `state`: a tensor
        `[N, *features]` for each state of the neuron, None for new neurons. The layer's own state
        stays as it is."""
        return self.neurons(x, state)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_state": None, "_steps": 0, "_left_in": None}

    def _require_fitting(self, x: Tensor) -> None:
        for declared, value in zip(self.neurons.neuron.states, self._state or (), strict=False):
            if value.shape != x.shape[1:]:
                raise NeuronError(
                    f"neuron '{self.neurons.neuron.name}': the last call left a state "
                    f"'{declared.name}' {list(value.shape)}, and a step of the input is "
                    f"{list(x.shape[1:])}",
                    hint="call reset() between sequences",
                )

    def _refuse_recomputation(self) -> None:
        """Raise NeuronError where a checkpoint runs the layer again from a state that has gone on
        since."""
        if torch.compiler.is_compiling() or backward_pass() == NO_BACKWARD:
            return
        if self._left_in not in (None, backward_pass()):
            raise NeuronError(
                f"neuron '{self.neurons.neuron.name}': torch.utils.checkpoint runs this layer "
                "again in the backward pass, and its state has gone on since: the gradient would "
                "be wrong",
                hint="checkpoint run(x, state), whose state is an argument (use_reentrant=False)",
            )

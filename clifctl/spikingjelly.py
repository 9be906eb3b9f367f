"""SpikingJelly modules that run on the kernels of clifctl.

`LIFNode`, `PLIFNode`, `KLIFNode`, `GLIFNode` and `CLIFNode` take the place of SpikingJelly's
neurons in any of its models:

    net = spiking_vgg.spiking_vgg11_bn(spiking_neuron=CLIFNode, tau=2.0, step_mode="m")

Step mode "s" maps one step `[N, *]` to spikes `[N, *]`, step mode "m" a sequence `[T, N, *]` to
`[T, N, *]`. In both modes the states carry over to the next call, gradients included, until
`reset()` (`functional.reset_net`). States are attributes, named as in the neuron's file.

The defaults are those of the neurons of clifctl, not SpikingJelly's: soft reset, input not divided
by tau, rectangle surrogate. Equal arguments give SpikingJelly's spikes and gradients.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor, empty, full_like, nn

from clifctl.errors import NeuronError, UsageError
from clifctl.kernels import initial_state, scan
from clifctl.neurons import NEURONS, Neuron, Parameters

# Without this base class SpikingJelly's functions warn, and skip the states of a module. The
# package is untyped and optional: what is used of it is declared here.
if TYPE_CHECKING:

    class MemoryModule(nn.Module):
        """SpikingJelly's base of a module with states: attributes that `reset` sets back."""

        step_mode: str

        def register_memory(self, name: str, value: float) -> None:
            """Declare a state and its value before the first step."""

        def reset(self) -> None:
            """Set every state back to its first value."""

else:
    try:
        from spikingjelly.activation_based.base import MemoryModule
    except ImportError as missing:
        raise UsageError(
            f"clifctl.spikingjelly needs SpikingJelly: {missing}",
            hint="pip install spikingjelly",
        ) from missing

_CLOCK = "steps_since_reset"


class NeuronNode(MemoryModule):
    """Any neuron of clifctl as a SpikingJelly module; the base of the classes below.

    `timesteps` and `channels` give the learnable parameters their shapes. `window` and
    `window_reading` truncate the gradient within one call, as in `scan`: a call that is not longer
    than the window, and so every single step, is full BPTT. Raises NeuronError for an unknown
    hyperparameter or one out of range, ValueError (SpikingJelly's) for an unknown step mode.
    """

    def __init__(
        self,
        neuron: Neuron,
        *,
        timesteps: int = 1,
        channels: int = 1,
        window: int | None = None,
        window_reading: str = "sliding",
        target: str = "auto",
        step_mode: str = "s",
        **hyperparameters: Any,
    ) -> None:
        super().__init__()
        self.neuron = neuron
        self.window = window
        self.window_reading = window_reading
        self.target = target
        self.step_mode = step_mode
        # `parameters` turns a wrong value into a NeuronError, and wants a tensor for every name.
        unset = {learnable.name: empty(0) for learnable in neuron.learnables}
        self.hyperparameters = neuron.parameters(unset, **hyperparameters).hyperparameters
        for learnable in neuron.learnables:
            start = learnable.start(self.hyperparameters, channels=channels, timesteps=timesteps)
            self.register_parameter(learnable.name, nn.Parameter(start))
        for state in neuron.states:
            self.register_memory(state.name, state.start(self.hyperparameters))
        self._by_step = any(learnable.by_step for learnable in neuron.learnables)
        if self._by_step:  # so that a parameter of one time step meets its step in mode "s" too
            self.register_memory(_CLOCK, 0)

    def extra_repr(self) -> str:
        values = "".join(f", {name}={value}" for name, value in self.hyperparameters)
        return f"step_mode={self.step_mode}, window={self.window}{values}"

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Spikes `[N, *]` for the input current `[N, *]` of one step."""
        return self.multi_step_forward(x.unsqueeze(0)).squeeze(0)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Spikes `[T, N, *]` for input current `[T, N, *]`."""
        steps = x_seq.shape[0]
        parameters = Parameters(self.neuron, self.hyperparameters, self._learnables(steps))
        spikes, final = scan(
            x_seq,
            self._state(x_seq, parameters),
            parameters,
            window=None if self.window is None or self.window >= steps else self.window,
            window_reading=self.window_reading,
            target=self.target,
        )
        for declared, value in zip(self.neuron.states, final, strict=True):
            setattr(self, declared.name, value)
        if self._by_step:
            setattr(self, _CLOCK, getattr(self, _CLOCK) + steps)
        return spikes

    def detach(self) -> None:
        """Cut the gradient between the calls before and those to come (`functional.detach_net`)."""
        # SpikingJelly detaches in place, which torch refuses for the views that kernels return.
        for declared in self.neuron.states:
            value = getattr(self, declared.name)
            if isinstance(value, Tensor):
                setattr(self, declared.name, value.detach())

    def _learnables(self, steps: int) -> dict[str, Tensor]:
        """The raw tensors for the next `steps` steps; those of a time step come round again."""
        found: dict[str, Tensor] = {}
        for declared in self.neuron.learnables:
            tensor: Tensor = self.get_parameter(declared.name)
            if declared.by_step:
                tensor = tensor.roll(-getattr(self, _CLOCK), 0)[:steps]
            found[declared.name] = tensor
        return found

    def _state(self, x_seq: Tensor, parameters: Parameters) -> tuple[Tensor, ...] | None:
        """The states `[N, *]` that the last call left, None right after a reset."""
        names = [declared.name for declared in self.neuron.states]
        starts = [declared.start(self.hyperparameters) for declared in self.neuron.states]
        held = [getattr(self, name) for name in names]
        if not any(isinstance(value, Tensor) for value in held) and held == starts:
            return None
        for name, value in zip(names, held, strict=True):
            # SpikingJelly would start afresh here, and hide a missing reset.
            if isinstance(value, Tensor) and value.shape != x_seq.shape[1:]:
                raise NeuronError(
                    f"neuron '{self.neuron.name}': the last call left a state '{name}' "
                    f"{list(value.shape)}, and a step of the input is {list(x_seq.shape[1:])}",
                    hint="call reset() (functional.reset_net) between sequences",
                )
        return tuple(
            value if isinstance(value, Tensor) else full_like(start, value)
            for value, start in zip(held, initial_state(x_seq, parameters), strict=True)
        )


class _ResetNode(NeuronNode):
    """A neuron with a choice of resets, in SpikingJelly's words.

    `v_reset` None is the soft reset; a number is the hard one, and where it goes.
    """

    def __init__(self, neuron: Neuron, v_reset: float | None, **options: Any) -> None:
        hard: dict[str, Any] = {} if v_reset is None else {"reset": "hard", "v_reset": v_reset}
        super().__init__(neuron, **hard, **options)


class LIFNode(_ResetNode):
    """Leaky integrate-and-fire. State `v`.

    Options: tau, v_threshold, v_reset, detach_reset, decay_input, surrogate, surrogate_width and
    those of `NeuronNode`.
    """

    def __init__(self, *, v_reset: float | None = None, **options: Any) -> None:
        super().__init__(NEURONS["lif"], v_reset, **options)


class PLIFNode(_ResetNode):
    """LIF with a learnable time constant, 1/tau = sigmoid(w). State `v`, parameter `w` `[]`.

    Options as for `LIFNode`; tau is the time constant at the start.
    """

    def __init__(self, *, v_reset: float | None = None, **options: Any) -> None:
        super().__init__(NEURONS["plif"], v_reset, **options)


class KLIFNode(_ResetNode):
    """LIF with a learnable scale of the membrane potential. State `v`, parameter `k` `[]`.

    Options as for `LIFNode`, and scale_reset: divide by k again after the reset.
    """

    def __init__(self, *, v_reset: float | None = None, **options: Any) -> None:
        super().__init__(NEURONS["klif"], v_reset, **options)


class GLIFNode(NeuronNode):
    """Gated LIF for sequences of `T` steps. States `u` (before reset) and `s` (the last spike).

    The gates and constants are parameters `[]` and `conduct` is `[T]`; with `inplane` channels they
    are `[inplane]` and `[T, inplane]`. Options: surrogate, surrogate_width and those of
    `NeuronNode`. Unlike SpikingJelly's it has step mode "s" too, keeps `s` from call to call as it
    keeps `u`, takes inputs of any number of dimensions, and refuses a call of more than T steps.
    """

    def __init__(self, T: int, inplane: int | None = None, **options: Any) -> None:
        neuron = NEURONS["glif" if inplane is None else "glif_channel"]
        super().__init__(neuron, timesteps=T, channels=inplane or 1, **options)


class CLIFNode(NeuronNode):
    """Complementary LIF. States `v` and `m`.

    Options: tau, v_threshold, surrogate, surrogate_width and those of `NeuronNode`. Its reset is
    soft and carries gradient by definition.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(NEURONS["clif"], **options)

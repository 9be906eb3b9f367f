"""Any neuron of clifctl as a SpikingJelly module."""

from typing import Any

import torch
from torch import Tensor, full_like, nn

from clifctl.errors import NeuronError
from clifctl.kernels import (
    NO_BACKWARD,
    backward_pass,
    check_connections,
    initial_state,
    scan,
)
from clifctl.neurons import Neuron, Parameters
from clifctl.neurons.pickling import class_for_values, values_for_class
from clifctl.spikingjelly.options import OptionsModule

_CLOCK = "steps_since_reset"


class NeuronNode(OptionsModule):
    """Any neuron of clifctl as a SpikingJelly module; the base of the classes below.

    `timesteps` and `channels` give the learnable parameters their shapes. `window` and
    `window_mode` truncate the gradient within one call, as in `scan`: a call that is not longer
    than the window, and so every single step, is full BPTT. Convolutions and linear layers behind a
    node do only the work that its spikes cause, where that pays; with `connections` "dense" they
    are dense (`clifctl.kernels.CONNECTIONS`). With `store_v_seq` the membrane
    potentials of every step are kept in `v_seq` `[T, N, *]`, at the price of a kernel a step.

    Hyperparameters can be read and set as attributes, in SpikingJelly's words too: `v_reset` None
    is the soft reset, a number the hard one; `surrogate_function` one of SpikingJelly's.

    Raises NeuronError for an unknown hyperparameter, one out of range or one that the neuron cannot
    have, ValueError (SpikingJelly's) for an unknown step mode.
    """

    def __init__(
        self,
        neuron: Neuron,
        *,
        timesteps: int = 1,
        channels: int = 1,
        window: int | None = None,
        window_mode: str = "sliding",
        target: str = "auto",
        connections: str = "auto",
        step_mode: str = "s",
        store_v_seq: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(neuron)
        self.window = window
        self.window_mode = window_mode
        self.target = target
        check_connections(connections)
        self.connections = connections
        self.step_mode = step_mode
        self.store_v_seq = store_v_seq
        # The backward pass in which a call left the states; None where none did since the reset.
        self._left_in: int | None = None
        self._take(options)
        for learnable in neuron.learnables:
            start = learnable.start(self.hyperparameters, channels=channels, timesteps=timesteps)
            self.register_parameter(learnable.name, nn.Parameter(start))
        for state in neuron.states:
            self.register_memory(state.name, state.start(self.hyperparameters))
        self._by_step = any(learnable.by_step for learnable in neuron.learnables)
        if self._by_step:  # so that a parameter of one time step meets its step in mode "s" too
            self.register_memory(_CLOCK, 0)

    def extra_repr(self) -> str:
        values = "".join(f", {name}={value}" for name, value in self._in_force())
        return f"step_mode={self.step_mode}, window={self.window}{values}"

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_memories", ()):
            self._left_in = None  # the state is the caller's
        super().__setattr__(name, value)

    @property
    def store_v_seq(self) -> bool:
        """Whether `v_seq` keeps the membrane potentials of the last call (of all calls since the
        reset, in step mode "s")."""
        return self._store_v_seq

    @store_v_seq.setter
    def store_v_seq(self, value: bool) -> None:
        if value and "v" not in (state.name for state in self.neuron.states):
            raise NeuronError(
                f"neuron '{self.neuron.name}': store_v_seq = True, and it has no state v",
                hint=f"its states: {', '.join(s.name for s in self.neuron.states) or 'none'}",
            )
        self._store_v_seq = value
        self.v_seq: Tensor | None = None

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Spikes `[N, *]` for the input current `[N, *]` of one step."""
        before = self.v_seq
        spikes = self.multi_step_forward(x.unsqueeze(0)).squeeze(0)
        if before is not None and self.v_seq is not None:
            self.v_seq = torch.cat((before, self.v_seq))
        return spikes

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Spikes `[T, N, *]` for input current `[T, N, *]`."""
        self._refuse_recomputation()
        run = self._run_by_step if self.store_v_seq else self._run
        spikes, states = run(x_seq, tuple(self._memories.values()))
        self._memories.update(zip(self._memories, states, strict=True))
        if not torch.compiler.is_compiling():
            self._left_in = backward_pass()
        return spikes

    def materialize_states(
        self, inputs: tuple[Tensor, ...], states: tuple[Any, ...], step_mode: str
    ) -> tuple[Any, ...]:
        """`states`, in the order of the node's memories, as tensors `[N, *]` for `inputs`."""
        x_seq = inputs[0] if step_mode == "m" else inputs[0].unsqueeze(0)
        parameters = self._parameters_of(len(x_seq), states)
        count = len(self.neuron.states)
        found = self._state(x_seq, states[:count], parameters)
        return (*(initial_state(x_seq, parameters) if found is None else found), *states[count:])

    def single_step_functional_forward(
        self, inputs: tuple[Tensor, ...], states: tuple[Any, ...], **kwargs: Any
    ) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
        """`((spikes,), states)` of one step from explicit states; the node's own stay."""
        spikes, finals = self._run(inputs[0].unsqueeze(0), states)
        return (spikes.squeeze(0),), finals

    def multi_step_functional_forward(
        self, inputs: tuple[Tensor, ...], states: tuple[Any, ...], **kwargs: Any
    ) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
        """`((spikes,), states)` of a sequence from explicit states; the node's own stay."""
        spikes, finals = self._run(inputs[0], states)
        return (spikes,), finals

    def reset(self) -> None:
        """Every state back to its first value, and no membrane potentials kept."""
        super().reset()
        self.v_seq = None
        self._left_in = None

    def detach(self) -> None:
        """Cut the gradient between the calls before and those to come (`functional.detach_net`)."""
        # SpikingJelly detaches in place, which torch refuses for the views that kernels return.
        for name, value in self._memories.items():
            if isinstance(value, Tensor):
                self._memories[name] = value.detach()
        if self.v_seq is not None:
            self.v_seq = self.v_seq.detach()

    def __getstate__(self) -> dict[str, Any]:
        return values_for_class(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(class_for_values(state))

    def _refuse_recomputation(self) -> None:
        """Raise NeuronError where a checkpoint runs the node again from states that have gone on.

        Not where they were reset or set since, as SpikingJelly's own checkpoints do.
        """
        if torch.compiler.is_compiling() or backward_pass() == NO_BACKWARD:
            return
        if self._left_in not in (None, backward_pass()):
            raise NeuronError(
                f"neuron '{self.neuron.name}': torch.utils.checkpoint runs this node again in the "
                "backward pass, and its states have gone on since: the gradient would be wrong",
                hint="reset the node within the function that is checkpointed, or checkpoint "
                "functional_forward, whose states are arguments (use_reentrant=False)",
            )

    def _run(self, x_seq: Tensor, held: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        """Spikes and memories after the sequence; `held` are the memories before."""
        steps = x_seq.shape[0]
        parameters = self._parameters_of(steps, held)
        spikes, final = scan(
            x_seq,
            self._state(x_seq, held[: len(self.neuron.states)], parameters),
            parameters,
            window=None if self.window is None or self.window >= steps else self.window,
            window_mode=self.window_mode,
            target=self.target,
            connections=self.connections,
        )
        return spikes, (*final, held[-1] + steps) if self._by_step else final

    def _run_by_step(self, x_seq: Tensor, held: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        """`_run` step by step, with `v` of every step kept."""
        if self.window is not None and self.window < len(x_seq):
            raise NeuronError(
                f"neuron '{self.neuron.name}': store_v_seq runs step by step, and a window of "
                f"{self.window} is one of a sequence",
                hint="store_v_seq = False, or window = None",
            )
        place = list(self._memories).index("v")
        spikes, potentials = [], []
        for x in x_seq:
            step, held = self._run(x.unsqueeze(0), held)
            spikes.append(step)
            potentials.append(held[place])
        self.v_seq = torch.stack(potentials)
        return torch.cat(spikes), held

    def _parameters_of(self, steps: int, held: tuple[Any, ...]) -> Parameters:
        """The parameters of the next `steps` steps; those of a time step repeat after the last."""
        learnables: dict[str, Tensor] = {}
        for declared in self.neuron.learnables:
            # No parameter where functional_call, a parametrization or a replica has replaced it.
            tensor: Tensor = getattr(self, declared.name)
            learnables[declared.name] = (
                tensor.roll(-held[-1], 0)[:steps] if declared.by_step else tensor
            )
        return Parameters(self.neuron, self._in_force(), learnables)

    def _state(
        self, x_seq: Tensor, held: tuple[Any, ...], parameters: Parameters
    ) -> tuple[Tensor, ...] | None:
        """The states `[N, *]` of `held`, None where they are those of a neuron at its start."""
        starts = tuple(s.start(parameters.hyperparameters) for s in self.neuron.states)
        if not any(isinstance(value, Tensor) for value in held) and held == starts:
            return None
        for declared, value in zip(self.neuron.states, held, strict=True):
            # SpikingJelly would start afresh here, and hide a missing reset.
            if isinstance(value, Tensor) and value.shape != x_seq.shape[1:]:
                raise NeuronError(
                    f"neuron '{self.neuron.name}': the last call left a state '{declared.name}' "
                    f"{list(value.shape)}, and a step of the input is {list(x_seq.shape[1:])}",
                    hint="call reset() (functional.reset_net) between sequences",
                )
        return tuple(
            value if isinstance(value, Tensor) else full_like(start, value)
            for value, start in zip(held, initial_state(x_seq, parameters), strict=True)
        )

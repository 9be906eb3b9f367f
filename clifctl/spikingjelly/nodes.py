"""The neurons for which SpikingJelly has a node too, under its names and with its options."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from clifctl.errors import NeuronError
from clifctl.neurons import NEURONS
from clifctl.spikingjelly.node import NeuronNode


class LIFNode(NeuronNode):
    """Leaky integrate-and-fire. State `v`.

    Options: tau, v_threshold, v_reset, detach_reset, decay_input, surrogate_function (or surrogate,
    surrogate_width) and those of `NeuronNode`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(NEURONS["lif"], **options)


class PLIFNode(NeuronNode):
    """LIF with a learnable time constant, 1/tau = sigmoid(w). State `v`, parameter `w` `[]`.

    Options as for `LIFNode`; `init_tau` (or tau) is the time constant at the start, the attribute
    `tau` the one of now.
    """

    def __init__(self, *, init_tau: float | None = None, **options: Any) -> None:
        if init_tau is not None:
            if "tau" in options:
                raise NeuronError(f"neuron 'plif': init_tau = {init_tau} and tau are the same")
            options["tau"] = init_tau
        super().__init__(NEURONS["plif"], **options)

    @property
    def tau(self) -> float:
        """The time constant as it is now."""
        w: torch.Tensor = getattr(self, "w")  # noqa: B009, any tensor may take its place
        return float(1 / torch.sigmoid(w.detach()))


class KLIFNode(NeuronNode):
    """LIF with a learnable scale of the membrane potential. State `v`, parameter `k` `[]`.

    Options as for `LIFNode`, and scale_reset: divide by k again after the reset.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(NEURONS["klif"], **options)


class GLIFNode(NeuronNode):
    """Gated LIF for sequences of `T` steps. States `u` (before reset) and `s` (the last spike).

    The gates and constants are parameters `[]` and `conduct` is `[T]`; with `inplane` channels they
    are `[inplane]` and `[T, inplane]`. Options: where they start, in (0, 1) (init_tau,
    init_v_threshold, init_linear_decay, init_v_subreset, init_conduct), surrogate_function (or
    surrogate, surrogate_width) and those of `NeuronNode`. Unlike SpikingJelly's it has step mode
    "s" too, keeps `s` from call to call as it keeps `u`, takes inputs of any number of dimensions,
    and refuses a call of more than T steps.
    """

    FIXED: ClassVar[Mapping[str, tuple[Any, str]]] = {
        **NeuronNode.FIXED,
        "v_reset": (None, "its reset is a learned mixture of a hard and a soft one"),
        "detach_reset": (False, "its reset carries gradient, to its gates too"),
        "decay_input": (False, "its gates decide what becomes of the input"),
    }

    def __init__(
        self,
        T: int,
        inplane: int | None = None,
        *,
        init_linear_decay: float | None = None,
        init_v_subreset: float | None = None,
        init_tau: float | None = None,
        init_v_threshold: float | None = None,
        init_conduct: float | None = None,
        **options: Any,
    ) -> None:
        neuron = NEURONS["glif" if inplane is None else "glif_channel"]
        super().__init__(neuron, timesteps=T, channels=inplane or 1, **options)
        self.T = T
        if init_v_threshold is not None:  # which SpikingJelly starts these two by
            init_linear_decay = init_linear_decay or init_v_threshold / (2 * T)
            init_v_subreset = init_v_subreset or init_v_threshold
        starts = {
            "tau": init_tau,
            "v_threshold": init_v_threshold,
            "linear_decay": init_linear_decay,
            "v_subreset": init_v_subreset,
            "conduct": init_conduct,
        }
        for name, value in starts.items():
            if value is not None:
                self._start(name, value)

    def _start(self, name: str, value: float) -> None:
        if not 0 < value < 1:
            raise NeuronError(
                f"neuron '{self.neuron.name}': init_{name} = {value!r} must lie between 0 and 1"
            )
        with torch.no_grad():
            self.get_parameter(name).fill_(-math.log(1 / value - 1))


class CLIFNode(NeuronNode):
    """Complementary LIF. States `v` and `m`.

    Options: tau, v_threshold, surrogate_function (or surrogate, surrogate_width) and those of
    `NeuronNode`.
    """

    FIXED: ClassVar[Mapping[str, tuple[Any, str]]] = {
        **NeuronNode.FIXED,
        "v_reset": (None, "CLIF's reset is soft by definition"),
        "detach_reset": (False, "CLIF's reset carries gradient by definition"),
        "decay_input": (False, "CLIF takes its input as it is"),
        "store_state_seqs": (False, "store_v_seq keeps v; m of each step is there in step mode s"),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(NEURONS["clif"], **options)

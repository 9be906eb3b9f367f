"""What a neuron is: its hyperparameters, states, learnable parameters and one pure `step`.

A neuron file declares a `Neuron`. `step(x, state, p)` maps the input current of one time step
`[N, *features]` and a tuple of states of the same shape (in the order of `Neuron.states`) to the
output of that step and the new states. `p` answers to the names of the hyperparameters (plain
Python values, fixed when the step is traced) and of the learnable parameters (tensors that
broadcast against `x`). `step` may use tensor arithmetic (division included), sigmoid, exp, tanh,
where, clamp, relu, minimum, maximum, abs, comparisons, `detach` and `spike`; run eagerly it is the
reference of every kernel.
"""

import ctypes
import hashlib
import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

import torch
from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from torch import Tensor

from clifctl.devices import CPU
from clifctl.errors import NeuronError, as_listed, unknown_name
from clifctl.foreign_code import foreign_code
from clifctl.neurons.surrogates import SURROGATES
from clifctl.strict import Strict, in_words

Step = Callable[[Tensor, tuple[Tensor, ...], Any], tuple[Tensor, tuple[Tensor, ...]]]
LearnableShape = Literal["scalar", "channel", "step", "step_channel"]


class Hyperparameters(Strict):
    """Base of a neuron's hyperparameters."""

    if TYPE_CHECKING:  # a row of the table is called with the keys of its own class

        def __init__(self, **values: Any) -> None: ...

    @property
    def most_spikes(self) -> int:
        """Spikes that one output stands for, at most: a neuron may give whole numbers of them."""
        return 1

    def with_threshold(self, v_threshold: float | None) -> Self:
        """These with another `v_threshold`; as they are where it is None, and for a neuron that has
        no such key (it learns its threshold, or has none)."""
        if v_threshold is None or "v_threshold" not in type(self).model_fields:
            return self
        return self.model_copy(update={"v_threshold": v_threshold})


def _known_surrogate(name: str) -> str:
    name = as_listed(name, SURROGATES)
    if name not in SURROGATES:
        raise ValueError(unknown_name("surrogate", name, SURROGATES))
    return name


class SurrogateHyperparameters(Hyperparameters):
    """What every spiking neuron has."""

    surrogate: Annotated[str, AfterValidator(_known_surrogate)] = Field(
        "rectangle",
        description="surrogate gradient",
        json_schema_extra={"enum": list(SURROGATES)},
    )
    surrogate_width: float = Field(1.0, gt=0.0, description="width of the surrogate gradient")


class SpikingHyperparameters(SurrogateHyperparameters):
    """What every neuron with a fixed threshold has."""

    v_threshold: float = Field(1.0, gt=0.0, description="firing threshold")


class LeakyHyperparameters(SpikingHyperparameters):
    """What every leaky neuron has."""

    tau: float = Field(2.0, gt=1.0, description="membrane time constant [time steps]")


class ResetHyperparameters(SpikingHyperparameters):
    """What a neuron with a choice of resets has."""

    reset: Literal["soft", "hard"] = Field(
        "soft", description="a spike subtracts the threshold, or sets v_reset"
    )
    v_reset: float = Field(0.0, description="where the hard reset goes")
    detach_reset: bool = Field(False, description="no gradient through the spike of the reset")

    @model_validator(mode="after")
    def _v_reset_is_hard(self) -> "ResetHyperparameters":
        if self.v_reset != 0.0 and self.reset != "hard":
            raise ValueError("v_reset needs reset = hard")
        return self


class LeakyResetHyperparameters(ResetHyperparameters, LeakyHyperparameters):
    """What a leaky neuron with a choice of resets has."""

    v_reset: float = Field(0.0, description="where the hard reset goes, and the leak with it")
    decay_input: bool = Field(False, description="divide the input by tau")


@dataclass(frozen=True)
class State:
    """One state variable; `initial` is its value before the first time step, or a function that
    gives it from the hyperparameters."""

    name: str
    description: str
    initial: float | Callable[[Any], float] = 0.0

    def start(self, hyperparameters: Hyperparameters) -> float:
        """The value before the first time step."""
        if isinstance(self.initial, float):
            return self.initial
        with foreign_code(f"the initial value of state '{self.name}'"):
            initial = self.initial(hyperparameters) if callable(self.initial) else self.initial
            return float(initial)


def _unchanged(raw: Tensor) -> Tensor:
    return raw


@dataclass(frozen=True)
class Learnable:
    """One learnable parameter.

    `shape` is `scalar` (`[]`), `channel` (`[C]`, the first feature dimension), `step` (`[T]`) or
    `step_channel` (`[T, C]`). The optimizer owns the raw tensor; `step` sees `transform(raw)`,
    which keeps it in range. `initial` gives the raw start value from the hyperparameters and T;
    with a `spread` it is drawn uniformly around it.
    """

    name: str
    description: str
    shape: LearnableShape
    initial: Callable[[Any, int], float]
    transform: Callable[[Tensor], Tensor] = _unchanged
    spread: float = 0.0

    @property
    def by_step(self) -> bool:
        """Whether each time step has a value of its own."""
        return self.shape in ("step", "step_channel")

    @property
    def by_channel(self) -> bool:
        """Whether each channel has a value of its own."""
        return self.shape in ("channel", "step_channel")

    def size(self, *, channels: int, timesteps: int) -> tuple[int, ...]:
        """The shape of the tensor."""
        return (*([timesteps] * self.by_step), *([channels] * self.by_channel))

    def start(self, hyperparameters: Hyperparameters, *, channels: int, timesteps: int) -> Tensor:
        """The raw tensor before training.

        What is drawn is decided by torch's global generator, which is left as it is: nets that
        differ in their neuron alone start with the same weights.
        """
        with foreign_code(f"the initial value of parameter '{self.name}'"):
            middle = float(self.initial(hyperparameters, timesteps))
        tensor = torch.full(self.size(channels=channels, timesteps=timesteps), middle)
        if self.spread == 0.0:
            return tensor
        noise = torch.empty(tensor.shape, dtype=tensor.dtype, device=CPU)
        noise.uniform_(-1.0, 1.0, generator=_own_generator(self.name))
        return tensor + self.spread * noise.to(tensor.device)

    def in_range(self, raw: Tensor) -> Tensor:
        """What `step` sees of the raw tensor."""
        with foreign_code(f"the transform of parameter '{self.name}'"):
            return self.transform(raw)


def _own_generator(name: str) -> torch.Generator:
    """A generator for the parameter `name`, seeded by the state of the global one."""
    # Through its memory: as a tensor it could not be read while shapes alone are computed.
    state = torch.random.get_rng_state()
    content = ctypes.string_at(state.data_ptr(), state.numel())
    digest = hashlib.sha256(name.encode() + content).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class Neuron:
    """A neuron model: one row of the NEURONS table. `paper` names the source and its equations."""

    name: str
    title: str
    paper: str
    step: Step
    states: tuple[State, ...]
    hyperparameters: type[Hyperparameters]
    learnables: tuple[Learnable, ...] = ()
    spiking: bool = True
    max_timesteps: int | None = None

    def __post_init__(self) -> None:
        self._require_parts()
        names = [state.name for state in self.states]
        names += [learnable.name for learnable in self.learnables]
        names += list(self.hyperparameters.model_fields)
        for name in names:
            if (
                not name.isidentifier()
                or keyword.iskeyword(name)
                or name in ("x", "out")
                or names.count(name) > 1
            ):
                raise NeuronError(
                    f"neuron '{self.name}': '{name}' cannot be the name of a state or parameter",
                    hint="names are Python identifiers, each given once, and not x or out",
                )

    def __reduce__(self) -> Any:
        """A neuron is pickled by its name, see `clifctl.neurons.pickling`."""
        # Here, because the table of names is made of neurons.
        from clifctl.neurons.pickling import reduced

        return reduced(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def _require_parts(self) -> None:
        wrong = [
            (not callable(self.step), "step must be a function of x, state and p"),
            (
                not (isinstance(self.hyperparameters, type) and self._has_hyperparameters()),
                "hyperparameters must be a subclass of clifctl.neurons.Hyperparameters",
            ),
            (
                any(p.shape not in get_args(LearnableShape) for p in self.learnables),
                f"a learnable's shape must be one of {', '.join(get_args(LearnableShape))}",
            ),
            (
                self.max_timesteps is not None and self.max_timesteps < 1,
                "max_timesteps must be at least 1, or None",
            ),
        ]
        for broken, rule in wrong:
            if broken:
                raise NeuronError(f"neuron '{self.name}': {rule}")

    def _has_hyperparameters(self) -> bool:
        return issubclass(self.hyperparameters, Hyperparameters)

    def result_of(self, result: object) -> tuple[Any, tuple[Any, ...]]:
        """The output and the new states that `step` returned. Raises NeuronError for anything that
        is not both."""
        where = f"neuron '{self.name}'"
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], tuple)):
            raise NeuronError(
                f"{where}: step must return (output, states) with a tuple of states",
                hint="for example: return s, (v, m)",
            )
        output, states = result
        if len(states) != len(self.states):
            raise NeuronError(
                f"{where}: step returned {len(states)} states, declared are {len(self.states)}"
            )
        return output, states

    def parameters(
        self, learnables: Mapping[str, Tensor] | None = None, **values: Any
    ) -> "Parameters":
        """This neuron with hyperparameters `values` and raw learnable tensors.

        Raises NeuronError for a name or a value outside the declaration.
        """
        if learnables is not None and not isinstance(learnables, Mapping):
            raise NeuronError(
                f"neuron '{self.name}': learnable parameters are a mapping from their names to "
                f"tensors, got {learnables!r}",
                hint="hyperparameters are given by name, as in .parameters(tau=2.0)",
            )
        return Parameters(self, self.with_values(**values), dict(learnables or {}))

    def parameters_at_start(self, *, channels: int, timesteps: int, **values: Any) -> "Parameters":
        """This neuron with hyperparameters `values` and its learnable tensors as they are before
        training, for `channels` channels (features, for a vector) and `timesteps` steps.

        Raises NeuronError as `parameters`.
        """
        hyperparameters = self.with_values(**values)
        return Parameters(self, hyperparameters, self.start(hyperparameters, channels, timesteps))

    def start(
        self, hyperparameters: Hyperparameters, channels: int, timesteps: int
    ) -> dict[str, Tensor]:
        """The raw learnable tensors before training, by name."""
        return {
            learnable.name: learnable.start(hyperparameters, channels=channels, timesteps=timesteps)
            for learnable in self.learnables
        }

    def with_values(self, **values: Any) -> Hyperparameters:
        """The hyperparameters, at their defaults but for `values`. Raises NeuronError for a name or
        a value outside the declaration."""
        try:
            return self.hyperparameters(**values)
        except ValidationError as invalid:
            raise NeuronError(
                f"neuron '{self.name}': {self._in_words(invalid.errors()[0])}",
                hint=f"hyperparameters of {self.name}: "
                + (", ".join(self.hyperparameters.model_fields) or "none"),
            ) from None

    def _in_words(self, problem: ErrorDetails) -> str:
        """What is wrong with a hyperparameter."""
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            return unknown_name("hyperparameter", where, self.hyperparameters.model_fields)
        if problem["type"] == "missing":
            return f"hyperparameter '{where}' has no default and must be given"
        given = f"{where} = {problem['input']!r}: " if where else ""
        return given + in_words(problem)


class Parameters:
    """A neuron together with the values of its hyperparameters and its raw learnable tensors.

    Raises NeuronError where a learnable parameter is missing or unknown.
    """

    def __init__(
        self, neuron: Neuron, hyperparameters: Hyperparameters, learnables: dict[str, Tensor]
    ) -> None:
        declared = [learnable.name for learnable in neuron.learnables]
        for name in learnables:
            if name not in declared:
                raise NeuronError(
                    f"neuron '{neuron.name}': {unknown_name('learnable parameter', name, declared)}"
                )
        for name in declared:
            if name not in learnables:
                raise NeuronError(
                    f"neuron '{neuron.name}': learnable parameter '{name}' is missing",
                    hint=".parameters_at_start(channels=C, timesteps=T) has them as they are "
                    f"before training; your own: .parameters({{'{name}': tensor}})",
                )
            if not isinstance(learnables[name], Tensor):
                raise NeuronError(
                    f"neuron '{neuron.name}': learnable parameter '{name}' must be a tensor, got "
                    f"{learnables[name]!r}"
                )
        self.neuron = neuron
        self.hyperparameters = hyperparameters
        self.learnables = learnables


def step_parameters(hyperparameters: Hyperparameters, tensors: Mapping[str, Tensor]) -> Any:
    """The object that `step` receives as `p`: every value under its own name."""
    return _StepParameters(**dict(hyperparameters), **tensors)


class _StepParameters:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise NeuronError(
            f"step uses p.{name}, which the neuron does not declare",
            hint=f"declared: {', '.join(self.__dict__) or 'none'}",
        )

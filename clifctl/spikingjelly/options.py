"""The options of a node as attributes, by SpikingJelly's names and those of the neuron."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import empty

from clifctl.errors import NeuronError
from clifctl.neurons import Hyperparameters, Neuron
from clifctl.spikingjelly.protocol import MemoryModule, surrogate_function, surrogate_values

# What the authors' nets hand on to their neurons, and what speaks of the net alone.
_OF_THE_NET = ("c_in", "fc_hw")


class OptionsModule(MemoryModule):
    """A module with a neuron, whose hyperparameters are attributes that can be read and set."""

    # name -> the one value that it has here, and why there is no other
    FIXED: ClassVar[Mapping[str, tuple[Any, str]]] = {
        "backend": (
            "torch",
            "nodes run on the kernels of clifctl: target='auto' takes numba on a CPU, Triton on a "
            "GPU",
        ),
        "cupy_fp32_inference": (False, "there is no CuPy in it; 16 bits are computed in float32"),
    }

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron

    def __getattr__(self, name: str) -> Any:
        declared = self.__dict__.get("hyperparameters")
        if declared is not None:
            if name in self.FIXED:
                return self.FIXED[name][0]
            values = dict(declared)
            if name == "v_reset" and values.get("reset") == "soft":
                return None
            if name in values:
                return getattr(self._in_force(), name)
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        declared = self.__dict__.get("hyperparameters")
        if declared is None or not self._is_option(name):
            super().__setattr__(name, value)
        elif changed := self._values(name, value):
            found = self._checked(dict(declared) | changed)
            self._refuse_learned(name, found)
            self._use(found, value if name == "surrogate_function" else None)

    def _take(self, options: Mapping[str, Any]) -> None:
        """The options that a node is built with."""
        values: dict[str, Any] = {}
        for name, value in options.items():
            if name not in _OF_THE_NET:
                values |= self._values(name, value)
        self._use(self._checked(values), options.get("surrogate_function"))

    def _in_force(self) -> Hyperparameters:
        """The hyperparameters, with the surrogate as `surrogate_function` is now: its alpha can be
        set too."""
        function = self._modules.get("surrogate_function")
        if function is not None and surrogate_values(function) != self._surrogate_seen:
            self.surrogate_function = function
        return self.hyperparameters

    def _is_option(self, name: str) -> bool:
        own = type(self.hyperparameters).model_fields
        return name in self.FIXED or name in own or name in ("surrogate_function", "v_reset")

    def _values(self, name: str, value: Any) -> dict[str, Any]:
        """The hyperparameters that the option `name` stands for."""
        if name in self.FIXED:
            fixed, reason = self.FIXED[name]
            if value is not fixed and value != fixed:
                raise NeuronError(
                    f"neuron '{self.neuron.name}': {name} = {value!r}: {reason}",
                    hint=f"leave it out; it is {fixed!r}",
                )
            return {}
        if name in (learnable.name for learnable in self.neuron.learnables):
            raise NeuronError(
                f"neuron '{self.neuron.name}': {name} = {value!r}: it is learned, one a node",
                hint=f"set the parameter {name} of the node, in torch.no_grad()",
            )
        if name == "surrogate_function":
            return surrogate_values(value)
        if name == "v_reset" and "reset" in self.neuron.hyperparameters.model_fields:
            kind, where = ("soft", 0.0) if value is None else ("hard", value)
            return {"reset": kind, "v_reset": where}
        return {name: value}

    def _checked(self, values: Mapping[str, Any]) -> Hyperparameters:
        # `parameters` turns a wrong value into a NeuronError, and wants a tensor for every name.
        unset = {learnable.name: empty(0) for learnable in self.neuron.learnables}
        return self.neuron.parameters(unset, **values).hyperparameters

    def _refuse_learned(self, name: str, found: Hyperparameters) -> None:
        """Raise NeuronError where `found` differs in where a learnable parameter starts."""
        for learnable in self.neuron.learnables:
            if learnable.initial(found, 1) != learnable.initial(self.hyperparameters, 1):
                raise NeuronError(
                    f"neuron '{self.neuron.name}': {name} is where the learned "
                    f"'{learnable.name}' ({learnable.description}) started, and that has its own "
                    "value now",
                    hint=f"set the parameter {learnable.name} of the node, in torch.no_grad()",
                )

    def _use(self, found: Hyperparameters, function: Any = None) -> None:
        """Take `found`, and SpikingJelly's `function` as its surrogate (None: one that fits)."""
        before = dict(self.__dict__.get("hyperparameters", ()))
        now = dict(found)
        self.__dict__["hyperparameters"] = found
        names = ("surrogate", "surrogate_width")
        if function is None and before and all(before.get(n) == now.get(n) for n in names):
            return
        function = surrogate_function(found) if function is None else function
        if function is not None:
            super().__setattr__("surrogate_function", function)
            self._surrogate_seen = surrogate_values(function)

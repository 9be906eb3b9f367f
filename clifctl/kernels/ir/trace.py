"""From a neuron's `step` to a program: torch.fx records what it does, once."""

import math
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torch import fx

from clifctl.errors import NeuronError
from clifctl.foreign_code import foreign_code
from clifctl.kernels.ir.program import COMPARISONS, Builder, Instruction, Operand, Program
from clifctl.neurons import SURROGATES, Hyperparameters, Neuron
from clifctl.neurons.contract import step_parameters

ALLOWED = (
    "+ - * / and ** with a whole power, sigmoid, exp, tanh, relu, where, clamp, minimum, maximum, "
    "abs, comparisons, & | ~ of comparisons, detach, spike"
)

# names under which torch and Python know an operation -> ours
_SAME = {
    "add": "add", "iadd": "add", "radd": "add", "sub": "sub", "isub": "sub", "subtract": "sub",
    "mul": "mul", "imul": "mul", "multiply": "mul", "truediv": "div", "itruediv": "div",
    "div": "div", "divide": "div", "true_divide": "div", "neg": "neg", "negative": "neg",
    "abs": "abs", "absolute": "abs", "sigmoid": "sigmoid", "exp": "exp", "tanh": "tanh",
    "minimum": "minimum", "maximum": "maximum", "min": "minimum", "max": "maximum",
    "detach": "detach", "and_": "and", "logical_and": "and", "bitwise_and": "and", "or_": "or",
    "logical_or": "or", "bitwise_or": "or", "invert": "not", "logical_not": "not",
    "bitwise_not": "not", "where": "where",
    **{name: name for name in COMPARISONS},
}  # fmt: skip


@lru_cache(maxsize=256)
def trace(neuron: Neuron, hyperparameters: Hyperparameters) -> Program:
    """The program of one time step.

    Inputs: `x`, each state's name, each learnable's name. Outputs: `out`, and `next_<state>`.
    Raises NeuronError where `step` does what the closed set cannot say.
    """
    states = [state.name for state in neuron.states]
    learnables = [learnable.name for learnable in neuron.learnables]
    inputs = ["x", *states, *learnables]
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    proxies = {name: fx.Proxy(graph.placeholder(name), tracer) for name in inputs}
    p = step_parameters(hyperparameters, {name: proxies[name] for name in learnables})  # type: ignore[misc]
    where = f"neuron '{neuron.name}'"
    given = (proxies["x"], tuple(proxies[name] for name in states), p)
    with foreign_code(f"{where}: step cannot be traced", hint=_ALLOWED_HINT):
        try:
            result = neuron.step(*given)  # type: ignore[arg-type]
        except fx.proxy.TraceError as branch:
            raise NeuronError(
                f"{where}: step decides by the value of a tensor ({branch})",
                hint="write torch.where(condition, then, else) instead of if, and no loop over "
                "values",
            ) from None
    output, new_states = neuron.result_of(result)
    for value in (output, *new_states):
        if not isinstance(value, fx.Proxy):
            raise NeuronError(
                f"{where}: step returned {value!r}, which is not a tensor",
                hint="make one of it: torch.zeros_like(x) + value",
            )
    translation = _Translation(where, {name: name for name in inputs})
    for node in graph.nodes:
        translation.add(node)
    outputs = {"out": translation.operand(output)}
    for name, value in zip(states, new_states, strict=True):
        outputs[f"next_{name}"] = translation.operand(value)
    return Program(tuple(inputs), tuple(translation.builder.instructions), outputs)


@lru_cache(maxsize=256)
def is_binary(neuron: Neuron, hyperparameters: Hyperparameters) -> bool:
    """Whether every output is 0 or 1 (or NaN, of a NaN): the result of `spike` itself."""
    try:
        program = trace(neuron, hyperparameters)
    except NeuronError:  # a step for the reference alone
        return False
    return output_spike(program) is not None


def output_spike(program: Program) -> Instruction | None:
    """The spike that is the output of a step, where it is one."""
    for i in program.instructions:
        if i.op == "spike" and i.result == program.outputs["out"]:
            return i
    return None


def spike_window(neuron: Neuron, hyperparameters: Hyperparameters) -> Program | None:
    """The program of one time step with one more output, `window`: whether the derivative of the
    surrogate is not 0 there, which is where the gradient of the output matters.

    None where the output is no spike, or its surrogate's derivative is nowhere exactly 0.
    """
    if not is_binary(neuron, hyperparameters):
        return None
    return with_window(trace(neuron, hyperparameters))


def with_window(program: Program) -> Program | None:
    """See `spike_window`."""
    fired = output_spike(program)
    if fired is None or fired.surrogate is None or not SURROGATES[fired.surrogate[0]].bounded:
        return None
    builder = Builder(program)
    # The operations of the way back, in their order: it finds the same numbers.
    slope = surrogate_program(*fired.surrogate, fired.args[0], builder)
    window = builder.emit("ne", slope, 0.0)
    outputs = {**program.outputs, "window": window}
    return Program(program.inputs, tuple(builder.instructions), outputs)


_ALLOWED_HINT = f"a step may use: {ALLOWED}"


def surrogate_program(name: str, width: float, distance: Operand, builder: Builder) -> Operand:
    """Write the derivative of a surrogate at `distance` into `builder`."""
    graph = fx.Graph()
    proxy = fx.Proxy(graph.placeholder("distance"), fx.proxy.GraphAppendingTracer(graph))
    result: Any = SURROGATES[name].derivative(proxy, width)  # type: ignore[arg-type]
    translation = _Translation(f"surrogate '{name}'", {"distance": distance}, builder)
    for node in graph.nodes:
        translation.add(node)
    return translation.operand(result)


class _Translation:
    """fx nodes one by one into a builder."""

    def __init__(
        self, where: str, inputs: dict[str, Operand], builder: Builder | None = None
    ) -> None:
        self.where = where
        self.builder = builder or Builder()
        self._inputs = inputs
        self._values: dict[fx.Node, Operand] = {}
        self._dtypes: set[fx.Node] = set()

    def operand(self, value: Any) -> Operand:
        """The operand for a proxy, a node or a Python number."""
        node = value.node if isinstance(value, fx.Proxy) else value
        if isinstance(node, fx.Node):
            if node not in self._values:  # an attribute that nothing was done with
                raise self._refused(f"x.{node.args[1]}" if len(node.args) > 1 else str(node))
            return self._values[node]
        if isinstance(value, bool | int | float) and math.isfinite(value):
            return float(value)
        raise self._refused(f"{value!r} as a value")

    def add(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self._values[node] = self._inputs[str(node.target)]
            return
        name = _name_of(node)
        arguments = list(node.args)
        if name == "getattr" and arguments[1] == "dtype":
            self._dtypes.add(node)
            return
        special = _SPECIAL.get(name)
        if special is not None:
            self._values[node] = special(self, arguments, dict(node.kwargs))
            return
        if name not in _SAME or node.kwargs:
            raise self._refused(name)
        self._values[node] = self.builder.emit(_SAME[name], *map(self.operand, arguments))

    def _refused(self, what: str) -> NeuronError:
        return NeuronError(
            f"{self.where}: step uses {what}, which has no derivative rule", hint=_ALLOWED_HINT
        )

    def _spike(self, arguments: list[Any], options: dict[str, Any]) -> Operand:
        given = dict(zip(("distance", "surrogate", "width"), arguments, strict=False)) | options
        surrogate = (str(given.get("surrogate", "rectangle")), float(given.get("width", 1.0)))
        return self.builder.emit("spike", self.operand(given["distance"]), surrogate=surrogate)

    def _relu(self, arguments: list[Any], options: dict[str, Any]) -> Operand:
        x = self.operand(arguments[0])
        return self.builder.emit("where", self.builder.emit("le", x, 0.0), 0.0, x)

    def _clamp(self, arguments: list[Any], options: dict[str, Any]) -> Operand:
        x, low, high = [*arguments, None, None][:3]
        # At a bound itself no gradient passes, as in torch since 2.14.
        bounds = {"le": options.get("min", low), "ge": options.get("max", high)}
        value = self.operand(x)
        result = value
        for comparison, bound in bounds.items():
            if bound is not None:
                limit = self.operand(bound)
                if isinstance(limit, str):  # torch takes a tensor as bound for an extreme
                    extreme = "maximum" if comparison == "le" else "minimum"
                    result = self.builder.emit(extreme, result, limit)
                    continue
                outside = self.builder.emit(comparison, value, limit)
                result = self.builder.emit("where", outside, limit, result)
        return result

    def _power(self, arguments: list[Any], options: dict[str, Any]) -> Operand:
        base, exponent = arguments
        if not isinstance(exponent, int | float) or exponent not in (1, 2, 3, 4):
            raise self._refused(f"a power of {exponent}")
        x = self.operand(base)
        result = x
        for _ in range(int(exponent) - 1):
            result = self.builder.emit("mul", result, x)
        return result

    def _to(self, arguments: list[Any], options: dict[str, Any]) -> Operand:
        value, *rest = arguments
        if len(rest) != 1 or rest[0] not in self._dtypes or options:
            raise self._refused("to(...) other than to(x.dtype)")
        operand = self.operand(value)
        if self.builder.is_boolean(operand):
            return self.builder.emit("where", operand, 1.0, 0.0)
        return operand


def _square(translation: _Translation, arguments: list[Any], options: dict[str, Any]) -> Operand:
    return translation._power([*arguments, 2], options)


_SPECIAL: dict[str, Callable[[_Translation, list[Any], dict[str, Any]], Operand]] = {
    "spike": _Translation._spike,
    "relu": _Translation._relu,
    "clamp": _Translation._clamp,
    "clip": _Translation._clamp,
    "pow": _Translation._power,
    "square": _square,
    "to": _Translation._to,
}


def _name_of(node: fx.Node) -> str:
    if node.op == "call_method":
        return str(node.target)
    target: Any = node.target
    if target is getattr:
        return "getattr"
    if target is operator.pow:
        return "pow"
    return str(getattr(target, "__name__", target))

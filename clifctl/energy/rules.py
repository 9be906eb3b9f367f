"""Which operation a function of torch is, and how much of it: one rule for each kind."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor

from clifctl.energy.connections import (
    adaptive_fan_outs,
    leading_padding,
    sizes,
    window_fan_outs,
)


@dataclass(frozen=True)
class Value:
    """Where a tensor comes from: its operation, and at how many time steps that is computed."""

    source: int
    steps: int
    tensor: Tensor


@dataclass(frozen=True)
class OperatorCall:
    """A call of a function of torch. `operands` are those arguments that depend on the image."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Tensor
    operands: tuple[Value, ...]

    @property
    def x(self) -> Tensor:
        """The first operand."""
        return self.operands[0].tensor

    @property
    def steps(self) -> int:
        """At how many time steps the call computes."""
        return max(operand.steps for operand in self.operands)

    def bound(self, *names: str) -> dict[str, Any]:
        """The arguments by name, those given by position included."""
        return dict(zip(names, self.args, strict=False)) | self.kwargs


# What a rule says of a call: the operation's fields, None where it is not of that kind after all.
Fields = dict[str, Any] | None


def _convolution(call: OperatorCall) -> Fields:
    given = call.bound("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    weight, bias = given["weight"], given.get("bias")
    kernel = tuple(weight.shape[2:])
    stride = sizes(given.get("stride"), len(kernel), default=1)
    dilation = sizes(given.get("dilation"), len(kernel), default=1)
    padding = leading_padding(given.get("padding", 0), kernel, dilation)
    outputs, inputs_of_one = weight.shape[:2]
    fan_outs = _fan_outs(call, kernel, stride, padding, dilation)
    return {
        "kind": "convolution",
        "kernel": kernel,
        "stride": stride,
        "padded": any(padding),
        "weights": weight.numel(),
        "biases": 0 if bias is None else bias.numel(),
        "macs": call.result.numel() // call.steps * inputs_of_one * prod(kernel),
        "pairs": prod(map(sum, fan_outs)) * outputs * inputs_of_one,
        "fan_outs": fan_outs,
        "maps": outputs // given.get("groups", 1),
    }


def _fan_outs(
    call: OperatorCall,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, ...], ...]:
    last = slice(-len(kernel), None)
    return tuple(
        window_fan_outs(size, out, kernel=k, stride=s, padding=p, dilation=d)
        for size, out, k, s, p, d in zip(
            call.x.shape[last],
            call.result.shape[last],
            kernel,
            stride,
            padding,
            dilation,
            strict=True,
        )
    )


def _linear(call: OperatorCall) -> Fields:
    given = call.bound("input", "weight", "bias")
    weight, bias = given["weight"], given.get("bias")
    macs = call.result.numel() // call.steps * weight.shape[-1]
    return {
        "kind": "linear",
        "macs": macs,
        "pairs": macs,
        "weights": weight.numel(),
        "biases": 0 if bias is None else bias.numel(),
    }


def _matrix_product(call: OperatorCall) -> Fields:
    if len(call.operands) != 2:
        return None
    macs = call.result.numel() // call.steps * call.x.shape[-1]
    return {"kind": "product", "macs": macs, "pairs": macs}


def _norm(call: OperatorCall) -> Fields:
    given = call.bound("input", "running_mean", "running_var", "weight", "bias")
    scale, shift = given.get("weight"), given.get("bias")
    return {
        "kind": "norm",
        "weights": 0 if scale is None else scale.numel(),
        "biases": 0 if shift is None else shift.numel(),
    }


def _pool(call: OperatorCall) -> Fields:
    given = call.bound("input", "kernel_size", "stride", "padding")
    dimensions = int(call.name[-2])
    kernel = sizes(given["kernel_size"], dimensions)
    # Without a stride, windows stand side by side.
    stride = sizes(given.get("stride") or kernel, dimensions)
    maximum = call.name.startswith("max")
    further = call.args[4] if maximum and len(call.args) > 4 else given.get("dilation")
    dilation = sizes(further if maximum else None, dimensions, default=1)
    padding = sizes(given.get("padding"), dimensions)
    fan_outs = _fan_outs(call, kernel, stride, padding, dilation)
    return {
        "kind": "pool",
        "kernel": kernel,
        "stride": stride,
        "padded": any(padding),
        "maximum": maximum,
        "pairs": prod(map(sum, fan_outs)) * _maps(call, dimensions),
        "fan_outs": fan_outs,
    }


def _adaptive_pool(call: OperatorCall) -> Fields:
    dimensions = int(call.name[-2])
    last = slice(-dimensions, None)
    fan_outs = tuple(map(adaptive_fan_outs, call.x.shape[last], call.result.shape[last]))
    return {
        "kind": "pool",
        "maximum": "max" in call.name,
        "pairs": prod(map(sum, fan_outs)) * _maps(call, dimensions),
        "fan_outs": fan_outs,
    }


def _maps(call: OperatorCall, dimensions: int) -> int:
    return call.x.numel() // call.steps // prod(call.x.shape[-dimensions:])


def _reduction(call: OperatorCall) -> Fields:
    """A sum or mean: a pool over whole dimensions."""
    given = call.bound("input", "dim")
    axes = given.get("dim")
    axes = (axes,) if isinstance(axes, int) else axes
    if axes and 0 not in (axis % call.x.dim() for axis in axes):
        return {"kind": "pool", "pairs": call.x.numel() // call.steps}
    # Over time too: it is there once, made from the values of all time steps.
    return {
        "kind": "pool",
        "pairs": call.x.numel(),
        "steps": 1,
        "input_shape": tuple(call.x.shape),
        "output_shape": tuple(call.result.shape),
    }


def _of_two(kind: str, **fields: Any) -> Callable[[OperatorCall], Fields]:
    """An operation of two results, element by element."""

    def rule(call: OperatorCall) -> Fields:
        return {"kind": kind, **fields} if len(call.operands) == 2 else None

    return rule


PRODUCTS = ("mul", "imul", "rmul", "multiply", "logical_and", "and")
_DIMENSIONS = (1, 2, 3)
# function of torch, without underscores around it -> its rule
RULES: dict[str, Callable[[OperatorCall], Fields]] = {
    **{f"conv{d}d": _convolution for d in _DIMENSIONS},
    "linear": _linear,
    **dict.fromkeys(("matmul", "rmatmul", "bmm", "mm"), _matrix_product),
    "batch_norm": _norm,
    **{f"{kind}_pool{d}d": _pool for kind in ("avg", "max") for d in _DIMENSIONS},
    **{f"adaptive_{k}_pool{d}d": _adaptive_pool for k in ("avg", "max") for d in _DIMENSIONS},
    **dict.fromkeys(("sum", "mean"), _reduction),
    **dict.fromkeys(("add", "iadd", "radd"), _of_two("sum")),
    **dict.fromkeys(PRODUCTS, _of_two("gate")),
    "spike_iand": _of_two("gate", inverted=True),
}


def flat(items: Iterable[Any]) -> Iterator[Any]:
    """Everything in nested lists and tuples."""
    for item in items:
        if isinstance(item, list | tuple):
            yield from flat(item)
        else:
            yield item

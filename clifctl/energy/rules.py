"""Which operation a function of torch is, and how much of it: one rule for each kind."""

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor

from clifctl.energy.calls import MOVED, Fields, OperatorCall
from clifctl.energy.connections import (
    adaptive_fan_outs,
    leading_padding,
    scattered_fan_outs,
    sizes,
    window_fan_outs,
)
from clifctl.energy.elementwise import (
    DIFFERENCES,
    DIVISIONS,
    ELEMENTWISE,
    SUMS,
    divided,
    instance_norm,
    with_constant,
)
from clifctl.energy.products import einsum, linear, matrix_product


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


def _transposed_convolution(call: OperatorCall) -> Fields:
    """Each input value is spread over the places of its kernel; what falls beside the result is
    cut off."""
    given = call.bound(
        *("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    )
    weight, bias = given["weight"], given.get("bias")
    kernel = tuple(weight.shape[2:])
    dimensions = len(kernel)
    stride = sizes(given.get("stride"), dimensions, default=1)
    dilation = sizes(given.get("dilation"), dimensions, default=1)
    padding = sizes(given.get("padding"), dimensions)
    inputs, outputs_of_one = weight.shape[:2]
    last = slice(-dimensions, None)
    sides = zip(
        call.x.shape[last], call.result.shape[last], kernel, stride, padding, dilation, strict=True
    )
    fan_outs = tuple(
        scattered_fan_outs(size, out, kernel=k, stride=s, padding=p, dilation=d)
        for size, out, k, s, p, d in sides
    )
    return {
        "kind": "convolution",
        "kernel": kernel,
        "stride": stride,
        "padded": True,  # its outputs have different numbers of inputs
        "weights": weight.numel(),
        "biases": 0 if bias is None else bias.numel(),
        "macs": call.x.numel() // call.steps * outputs_of_one * prod(kernel),
        "pairs": prod(map(sum, fan_outs)) * inputs * outputs_of_one,
        "fan_outs": fan_outs,
        "maps": outputs_of_one,
    }


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
    """A sum, mean or maximum: a pool over whole dimensions."""
    given = call.bound("input", "dim")
    maximum = call.name in ("max", "amax")
    if maximum and any(isinstance(item, Tensor) for item in call.every[1:]):
        return _of_two("sum", maximum=True)(call) or ELEMENTWISE["maximum"](call)
    axes = given.get("dim")
    axes = (axes,) if isinstance(axes, int) else axes
    dims = range(call.x.dim())
    reduced = {axis % call.x.dim() for axis in axes} if axes else set(dims)
    time = next((axis for axis in dims[:2] if call.x.shape[axis] == call.steps), 0)
    if time not in reduced:
        return {"kind": "pool", "maximum": maximum, "pairs": call.x.numel() // call.steps}
    # Over time too: it is there once, made from the values of all time steps.
    return {
        "kind": "pool",
        "maximum": maximum,
        "pairs": call.x.numel(),
        "steps": 1,
        "input_shape": tuple(call.x.shape),
        "output_shape": tuple(call.result.shape),
    }


def _of_two(kind: str, **fields: Any) -> Callable[[OperatorCall], Fields]:
    """An operation of two results, element by element; of one with a constant, or weights."""

    def rule(call: OperatorCall) -> Fields:
        return {"kind": kind, **fields} if len(call.operands) == 2 else with_constant(call)

    return rule


def _inverted(call: OperatorCall) -> Fields:
    return {"kind": "gate", "inverted": True} if len(call.operands) == 2 else None


def _extreme(call: OperatorCall) -> Fields:
    """Of two results: that of two spikes is a spike where either of them is."""
    if len(call.operands) == 2:
        return {"kind": "sum", "maximum": True}
    return ELEMENTWISE["maximum"](call)


def _join(call: OperatorCall) -> Fields:
    """Results beside each other. Parts of one result, put together again, are that result."""
    once = all(operand.steps == 1 for operand in call.operands)
    # Steps that were computed one by one are a sequence again.
    sequence = once and call.result.shape[0] == call.timesteps > 1
    one_source = len({operand.source for operand in call.operands}) == 1
    if one_source and not call.others and not sequence:
        return MOVED
    return {
        "kind": "concatenation",
        "parts": tuple(operand.tensor.numel() for operand in call.operands),
        "constant": bool(call.others),
        "steps": call.timesteps if sequence else call.steps,
    }


_PRODUCTS = ("mul", "imul", "rmul", "multiply", "logical_and", "and", "bitwise_and")
_DIMENSIONS = (1, 2, 3)
# function of torch, without underscores around it -> its rule
RULES: dict[str, Callable[[OperatorCall], Fields]] = {
    **ELEMENTWISE,
    **{f"conv{d}d": _convolution for d in _DIMENSIONS},
    **{f"conv_transpose{d}d": _transposed_convolution for d in _DIMENSIONS},
    "linear": linear,
    "einsum": einsum,
    **dict.fromkeys(("matmul", "rmatmul", "imatmul", "bmm", "mm", "mv"), matrix_product),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), matrix_product),
    "batch_norm": _norm,
    "instance_norm": instance_norm,
    **{f"{kind}_pool{d}d": _pool for kind in ("avg", "max") for d in _DIMENSIONS},
    **{f"adaptive_{k}_pool{d}d": _adaptive_pool for k in ("avg", "max") for d in _DIMENSIONS},
    **dict.fromkeys(("sum", "mean", "max", "amax"), _reduction),
    **dict.fromkeys(SUMS, _of_two("sum")),
    **dict.fromkeys(DIFFERENCES, _of_two("sum", subtracts=True)),
    **dict.fromkeys(_PRODUCTS, _of_two("gate")),
    **dict.fromkeys(DIVISIONS, divided),
    **dict.fromkeys(("maximum", "logical_or", "or", "bitwise_or"), _extreme),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack", "hstack", "vstack"), _join),
    "spike_iand": _inverted,
}

"""Rules of what is computed value by value: functions that are no layers of neurons, norms of
means and deviations of the data, sums and products with constants.

The conventions are those of a neuron's step (`clifctl.energy.neuron_cost`): a comparison, a minimum
or a subtraction is an addition, a choice or a sign is a wire, a division by a value a function.
"""

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor

from clifctl.energy.calls import MOVED, Fields, OperatorCall

# function of torch -> additions, multiplications and functions of one value, as it is defined
_PRICES: dict[str, tuple[int, int, int]] = {
    "relu": (1, 0, 0),
    "relu6": (2, 0, 0),
    "hardtanh": (2, 0, 0),
    "threshold": (1, 0, 0),
    "leaky_relu": (1, 1, 0),
    "prelu": (1, 1, 0),
    "rrelu": (1, 1, 0),
    "hardsigmoid": (3, 1, 0),
    "hardswish": (3, 2, 0),
    "elu": (2, 1, 1),
    "selu": (2, 2, 1),
    "celu": (2, 2, 1),
    "silu": (0, 1, 1),
    "gelu": (1, 3, 1),  # x / 2 * (1 + erf(x / sqrt 2))
    "mish": (1, 1, 3),
    "softplus": (1, 0, 2),
    "softsign": (1, 0, 1),
    "logsigmoid": (1, 0, 2),
    "square": (0, 1, 0),
    **dict.fromkeys(("clamp", "clip"), (2, 0, 0)),
    **dict.fromkeys(("clamp_min", "clamp_max", "maximum", "minimum", "fmax", "fmin"), (1, 0, 0)),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "greater", "less"), (1, 0, 0)),
    **dict.fromkeys(("sigmoid", "special_expit", "tanh", "exp", "exp2", "log", "log2"), (0, 0, 1)),
    **dict.fromkeys(("sqrt", "rsqrt", "reciprocal", "erf", "sin", "cos"), (0, 0, 1)),
    **dict.fromkeys(("expm1", "log1p"), (1, 0, 1)),
    **dict.fromkeys(("floor", "ceil", "round", "trunc"), (1, 0, 0)),
    **dict.fromkeys(("abs", "absolute", "sign", "where", "masked_fill", "logical_not"), (0, 0, 0)),
}


def _priced(call: OperatorCall) -> Fields:
    additions, multiplications, functions = _PRICES[call.name]
    if call.name == "gelu" and call.bound("input", "approximate").get("approximate") == "tanh":
        additions, multiplications = 2, 6
    of_layer = call.others if call.name == "prelu" else ()
    n = call.n_out
    return _fields(
        additions * n,
        multiplications * n,
        functions * n,
        weights=sum(tensor.numel() for tensor in of_layer),
    )


def _fields(additions: int, multiplications: int, functions: int = 0, **more: Any) -> Fields:
    """Fields of an operation that computes so much in one time step."""
    counts = {"additions": additions, "multiplications": multiplications, "functions": functions}
    return {"kind": "elementwise", **counts, **more}


def _softmax(call: OperatorCall) -> Fields:
    """A maximum, a difference, exp, a sum; a reciprocal a row, or its logarithm."""
    n = call.n_out
    given = call.bound("input", "dim")
    dim = given.get("dim")
    rows = n // call.result.shape[-1 if dim is None else dim]
    if call.name.startswith("log"):
        return _fields(4 * n, 0, n + rows)
    return _fields(3 * n, n, n + rows)


def _power(call: OperatorCall) -> Fields:
    exponent = call.bound("input", "exponent").get("exponent")
    n = call.n_out
    if call.name == "pow" and isinstance(exponent, int) and 1 <= exponent <= 4:
        return _fields(0, n * (0, 1, 2, 2)[exponent - 1])
    return _fields(0, 0, n)


def _data_norm(call: OperatorCall) -> Fields:
    """Mean, deviations, their squares and sum, a root a group; then scale and shift.

    It goes by the data, so nothing of it goes into weights."""
    names: dict[str, tuple[str, ...]] = {
        "layer_norm": ("input", "normalized_shape", "weight", "bias"),
        "rms_norm": ("input", "normalized_shape", "weight"),
        "group_norm": ("input", "num_groups", "weight", "bias"),
        "instance_norm": ("input", "running_mean", "running_var", "weight", "bias"),
    }
    given = call.bound(*names[call.name])
    scale, shift = given.get("weight"), given.get("bias")
    n = call.n_out
    if call.name == "group_norm":
        groups = given["num_groups"]
    elif call.name == "instance_norm":
        groups = call.result.shape[1]
    else:
        groups = n // prod(given["normalized_shape"])
    centred = call.name != "rms_norm"
    return _fields(
        n * (1 + 2 * centred + (shift is not None)),
        n * (2 + (scale is not None)),
        groups,
        weights=0 if scale is None else scale.numel(),
        biases=0 if shift is None else shift.numel(),
    )


def with_constant(call: OperatorCall) -> Fields:
    """A sum or product of a result and a constant or weights of each value. A product with one
    number is no operation: it goes into the next weights or threshold."""
    n, weights = call.n_out, sum(tensor.numel() for tensor in call.others)
    if call.name in SUMS or call.name in DIFFERENCES:
        return _fields(n, 0, weights=weights)
    divisor = call.name == "rdiv" or call.every[0] is not call.x
    if call.name in DIVISIONS and divisor:
        return _fields(0, 0, n)
    if weights <= 1:
        return MOVED
    return _fields(0, n, weights=weights)


def divided(call: OperatorCall) -> Fields:
    """A quotient of two results is a function of each value."""
    if len(call.operands) == 2:
        return _fields(0, 0, call.n_out)
    return with_constant(call)


def _embedding(call: OperatorCall) -> Fields:
    """Rows of a table: they are read, and nothing is computed."""
    (table,) = call.others
    return _fields(0, 0, weights=table.numel())


def _interpolated(call: OperatorCall) -> Fields:
    """Weighted means of neighbours; a copy of the nearest one is no operation."""
    mode = call.bound("input", "size", "scale_factor", "mode").get("mode", "nearest")
    if mode.startswith("nearest"):
        return MOVED
    taps = {"linear": 2, "bilinear": 4, "trilinear": 8, "bicubic": 16}.get(mode)
    if taps is None:
        return None
    return _fields(taps * call.n_out, taps * call.n_out)


SUMS = ("add", "iadd", "radd")
DIFFERENCES = ("sub", "isub", "rsub", "subtract")
DIVISIONS = ("div", "truediv", "itruediv", "rdiv", "divide", "true_divide")

ELEMENTWISE: dict[str, Callable[[OperatorCall], Fields]] = {
    **dict.fromkeys(_PRICES, _priced),
    **dict.fromkeys(("softmax", "log_softmax"), _softmax),
    **dict.fromkeys(("pow", "ipow", "rpow"), _power),
    **dict.fromkeys(("layer_norm", "rms_norm", "group_norm"), _data_norm),
    "embedding": _embedding,
    **dict.fromkeys(("interpolate", "upsample"), _interpolated),
}


def instance_norm(call: OperatorCall) -> Fields:
    """By the data; with running means and deviations it is a batch norm."""
    given = call.bound("input", "running_mean", "running_var", "weight", "bias", "use_input_stats")
    if given.get("use_input_stats", True):
        return _data_norm(call)
    scale, shift = given.get("weight"), given.get("bias")
    parameters: list[Tensor | None] = [scale, shift]
    weights, biases = (0 if one is None else one.numel() for one in parameters)
    return {"kind": "norm", "weights": weights, "biases": biases}

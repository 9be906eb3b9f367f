"""Rules of what multiplies and sums: linear layers, products of matrices, `einsum`."""

from math import prod

from torch import Tensor

from clifctl.energy.calls import MOVED, Fields, OperatorCall


def linear(call: OperatorCall) -> Fields:
    """`F.linear`."""
    given = call.bound("input", "weight", "bias")
    weight, bias = given["weight"], given.get("bias")
    macs = call.result.numel() // call.steps * weight.shape[-1]
    return {
        "kind": "linear",
        "macs": macs,
        "pairs": macs,
        "maps": call.result.shape[-1] if weight.dim() > 1 else 1,
        "weights": weight.numel(),
        "biases": 0 if bias is None else bias.numel(),
    }


def matrix_product(call: OperatorCall) -> Fields:
    """A product of two results, or of one with weights (on either side)."""
    factors = tuple(item for item in call.args if isinstance(item, Tensor))
    if call.name in ("addmm", "baddbmm", "addmv"):
        return _with_addend(call)
    if len(factors) != 2:
        factors = tuple(item for item in call.every if isinstance(item, Tensor))
    if call.name == "rmatmul":
        factors = factors[::-1]
    first, second = factors
    return _product(call, (first, second), call.result.numel() * first.shape[-1])


def _with_addend(call: OperatorCall) -> Fields:
    added, first, second = (item for item in call.every if isinstance(item, Tensor))
    if any(operand.tensor is added for operand in call.operands):
        return None
    fields = _product(call, (first, second), call.result.numel() * first.shape[-1])
    return None if fields is None else fields | {"biases": added.numel()}


def _product(call: OperatorCall, factors: tuple[Tensor, Tensor], macs: int) -> Fields:
    """Of `macs` multiply-accumulates in all; each value of a factor takes part in alike many."""
    counts = {"macs": macs // call.steps, "pairs": macs // call.steps}
    known = [any(operand.tensor is factor for operand in call.operands) for factor in factors]
    if all(known):
        return {"kind": "product", **counts}
    weight = factors[known.index(False)]
    maps = macs // call.x.numel()
    return {"kind": "linear", "weights": weight.numel(), "maps": maps, **counts}


def einsum(call: OperatorCall) -> Fields:
    """Of one tensor a sum, of two a product; more have no order that is known."""
    equation, *rest = call.args
    tensors = tuple(rest[0]) if len(rest) == 1 and isinstance(rest[0], list | tuple) else (*rest,)
    if not isinstance(equation, str):
        return None
    terms, result = _indices(equation, [tensor.dim() for tensor in tensors])
    if any(len(set(term)) < len(term) for term in terms) or len(terms) > 2:
        return None
    sizes = {
        index: max(size, 1)
        for term, tensor in zip(terms, tensors, strict=True)
        for index, size in zip(term, tensor.shape, strict=True)
    }
    if len(terms) == 2:
        return _product(call, tensors, prod(sizes.values()))
    if set(result) == set(terms[0]):
        return MOVED
    return {"kind": "pool", "pairs": tensors[0].numel() // call.steps}


def _indices(equation: str, dimensions: list[int]) -> tuple[list[list[str]], list[str]]:
    """The names of each tensor's dimensions, and of the result's; those of an ellipsis are
    numbers, counted from the right."""
    given, _, wanted = equation.replace(" ", "").partition("->")
    terms = []
    for term, dims in zip(given.split(","), dimensions, strict=True):
        head, dots, tail = term.partition("...")
        more = range(dims - len(head) - len(tail) if dots else 0, 0, -1)
        terms.append([*head, *map(str, more), *tail])
    every = [index for term in terms for index in term]
    if "->" not in equation:
        plain = sorted(i for i in set(every) if every.count(i) == 1 and not i.isdigit())
        return terms, [i for i in dict.fromkeys(every) if i.isdigit()] + plain
    head, dots, tail = wanted.partition("...")
    numbered = [i for i in dict.fromkeys(every) if i.isdigit()] if dots else []
    return terms, [*head, *numbered, *tail]

"""A program's operations as text, in those of `clifctl.kernels.cpu.elementwise`."""

from clifctl.kernels.plan import INLINE
from clifctl.kernels.program import COMPARISONS, LOGIC, Instruction, Operand, Program

_INLINE = dict(zip(INLINE, ("ZERO", "ONE", "MINUS_ONE"), strict=True))
# Operations under another name than in `clifctl.kernels.cpu.elementwise`, or in another module.
_NAMES = {
    "abs": "vec.absolute",
    "and": "vec.both",
    "or": "vec.either",
    "not": "vec.inverse",
    "sigmoid": "sigmoid",
    "exp": "exp",
    "tanh": "tanh",
}


def masks_of(program: Program) -> set[Operand]:
    """The results that are masks and no numbers."""
    masks: set[Operand] = set()
    for i in program.instructions:
        chosen = i.op in ("where", "detach") and masks.issuperset(i.args[i.op == "where" :])
        if chosen or i.op in (*COMPARISONS, *LOGIC):
            masks.add(i.result)
    return masks


def expression(i: Instruction, masks: set[Operand]) -> str:
    """What an instruction's result is."""
    printed = [number(arg, masks) for arg in i.args]
    if i.op in (*LOGIC, "detach") or (i.result in masks and i.op not in COMPARISONS):
        printed = [shown(arg) for arg in i.args]
    if i.op == "detach":
        return printed[0]
    if i.op == "where":
        printed[0] = shown(i.args[0])
    return f"{_NAMES.get(i.op, f'vec.{i.op}')}({', '.join(printed)})"


def number(operand: Operand, masks: set[Operand]) -> str:
    """A mask among numbers counts as ones and zeros."""
    printed = shown(operand)
    return f"vec.where({printed}, ONE, ZERO)" if operand in masks else printed


def shown(operand: Operand) -> str:
    """An operand as it is."""
    return operand if isinstance(operand, str) else _INLINE[operand]

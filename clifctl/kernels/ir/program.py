"""The intermediate form of one time step: straight-line code over scalars.

A `Program` has named inputs, instructions in single-assignment form and named outputs. An operand
is the name of a value or a Python float. Every operation is elementwise; comparisons give booleans,
everything else numbers. `OPERATIONS` is the closed set: a target prints these and no others.

    arithmetic   add sub mul div neg abs minimum maximum
    functions    sigmoid exp tanh
    booleans     gt ge lt le eq ne  and or not
    choice       where (condition, then, else)
    gradient     detach (the value; no gradient passes), spike (1 where >= 0, else 0, NaN stays NaN)
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

Operand = str | float

COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
LOGIC = ("and", "or", "not")
OPERATIONS: dict[str, int] = {
    **dict.fromkeys(("add", "sub", "mul", "div", "minimum", "maximum"), 2),
    **dict.fromkeys(("neg", "abs", "sigmoid", "exp", "tanh", "detach", "spike"), 1),
    **dict.fromkeys(COMPARISONS, 2),
    "and": 2,
    "or": 2,
    "not": 1,
    "where": 3,
}
COMMUTATIVE = ("add", "mul", "and", "or", "eq", "ne")


@dataclass(frozen=True)
class Instruction:
    """`result = op(*args)`; a spike also names its surrogate gradient and its width."""

    result: str
    op: str
    args: tuple[Operand, ...]
    surrogate: tuple[str, float] | None = None

    def __str__(self) -> str:
        shown = ", ".join(str(arg) for arg in self.args)
        if self.surrogate is not None:
            shown += f", surrogate={self.surrogate[0]}, width={self.surrogate[1]}"
        return f"{self.result} = {self.op}({shown})"


@dataclass(frozen=True)
class Program:
    """Straight-line code: `outputs` maps a name to the operand that it is."""

    inputs: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    outputs: Mapping[str, Operand]

    def __str__(self) -> str:
        lines = [f"inputs  {', '.join(self.inputs)}"]
        lines += [f"  {instruction}" for instruction in self.instructions]
        lines += [f"output  {name} = {operand}" for name, operand in self.outputs.items()]
        return "\n".join(lines)

    def only(self, outputs: Iterable[str], given: Iterable[str] = ()) -> "Program":
        """This program reduced to some outputs; the values `given` become inputs."""
        kept = {name: self.outputs[name] for name in outputs}
        provided = set(given)
        needed = {operand for operand in kept.values() if isinstance(operand, str)}
        body = []
        for instruction in reversed(self.instructions):
            if instruction.result in needed and instruction.result not in provided:
                body.append(instruction)
                needed |= {arg for arg in instruction.args if isinstance(arg, str)}
        made = [i.result for i in self.instructions if i.result in provided and i.result in needed]
        inputs = (*(name for name in self.inputs if name in needed), *made)
        return Program(inputs, tuple(reversed(body)), kept)

    def with_operands(self, change: Callable[[Operand], Operand]) -> "Program":
        """This program with every operand replaced by `change(operand)`."""
        instructions = tuple(
            replace(i, args=tuple(change(arg) for arg in i.args)) for i in self.instructions
        )
        outputs = {name: change(value) for name, value in self.outputs.items()}
        return Program(self.inputs, instructions, outputs)

    def uses(self, op: str) -> int:
        """How many instructions are `op`."""
        return sum(instruction.op == op for instruction in self.instructions)


class Builder:
    """Writes a program: equal instructions are written once, trivial arithmetic not at all."""

    def __init__(self, program: Program | None = None) -> None:
        self.instructions: list[Instruction] = list(program.instructions) if program else []
        self._known: dict[tuple[object, ...], str] = {
            (i.op, *i.args, i.surrogate): i.result for i in self.instructions
        }
        self._definitions = {i.result: i for i in self.instructions}

    def emit(self, op: str, *args: Operand, surrogate: tuple[str, float] | None = None) -> Operand:
        """The operand that holds `op(*args)`."""
        simple = self._simplified(op, args)
        if simple is not None:
            return simple
        if op in COMMUTATIVE:
            args = tuple(sorted(args, key=str))
        key = (op, *args, surrogate)
        if key not in self._known:
            result = f"t{len(self.instructions)}"
            instruction = Instruction(result, op, args, surrogate)
            self.instructions.append(instruction)
            self._known[key] = result
            self._definitions[result] = instruction
        return self._known[key]

    def is_boolean(self, operand: Operand) -> bool:
        """Whether `operand` is the result of a comparison or of logic."""
        definition = self._definitions.get(operand) if isinstance(operand, str) else None
        return definition is not None and definition.op in (*COMPARISONS, *LOGIC)

    def _simplified(self, op: str, args: tuple[Operand, ...]) -> Operand | None:
        """An operand that equals `op(*args)` exactly, for every number, NaN and infinity included
        (0 * x is not 0 for those, and is left alone except for gradients, see `scaled`)."""
        if op == "mul" and 1.0 in args:
            return args[0] if args[1] == 1.0 else args[1]
        if op == "mul" and -1.0 in args:
            return self.emit("neg", args[0] if args[1] == -1.0 else args[1])
        if op == "div" and isinstance(args[1], float) and _is_power_of_two(args[1]):
            return self.emit("mul", args[0], 1.0 / args[1])  # rounds the same, and is cheaper
        if op in ("add", "sub") and args[1] == 0.0:
            return args[0]
        if op == "add" and args[0] == 0.0:
            return args[1]
        if op == "sub" and args[0] == 0.0:
            return self.emit("neg", args[1])
        if op == "neg":
            if isinstance(args[0], float):
                return -args[0]
            definition = self._definitions.get(args[0])
            if definition is not None and definition.op == "neg":
                return definition.args[0]
        if op == "where" and args[1] == args[2]:
            return args[1]
        numbers = [arg for arg in args if isinstance(arg, float)]
        if len(numbers) == len(args) == 2 and op in ("add", "sub", "mul"):
            a, b = numbers
            return {"add": a + b, "sub": a - b, "mul": a * b}[op]
        return None

    def scaled(self, gradient: Operand, factor: Operand) -> Operand:
        """gradient * factor, where a gradient that is the constant 0 stays 0: nothing flows."""
        return 0.0 if gradient == 0.0 else self.emit("mul", gradient, factor)


def _is_power_of_two(number: float) -> bool:
    """Whether to divide by `number` is exactly to multiply by its inverse."""
    return math.isfinite(number) and abs(math.frexp(number)[0]) == 0.5 and abs(number) <= 2.0**100

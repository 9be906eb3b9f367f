"""The adjoint of a program: reverse mode over straight-line code, one derivative rule an operation.

Where an operation has a kink, the rule takes the side that torch takes, so that a derived gradient
and autograd's agree there too.
"""

from collections.abc import Callable

from clifctl.errors import NeuronError
from clifctl.kernels.ir.program import COMPARISONS, LOGIC, Builder, Instruction, Operand, Program
from clifctl.kernels.ir.trace import surrogate_program

# (builder, instruction, gradient of its result) -> gradients of its arguments (None: none flows)
Rule = Callable[[Builder, Instruction, Operand], tuple[Operand | None, ...]]


def gradient_name(value: str) -> str:
    """The name of the gradient of the loss with respect to `value`."""
    return f"g_{value}"


def adjoint(program: Program) -> Program:
    """The program that gives the gradient of every input from the gradients of the outputs.

    Its inputs are those of `program` and `g_<output>`; its instructions begin with those of
    `program` (the values are recomputed); its outputs are `g_<input>`.
    """
    builder = Builder(program)
    gradients: dict[str, Operand] = {}

    def flow(value: Operand | None, gradient: Operand | None) -> None:
        if isinstance(value, str) and gradient is not None and gradient != 0.0:
            known = gradients.get(value)
            gradients[value] = gradient if known is None else builder.emit("add", known, gradient)

    for name, value in program.outputs.items():
        flow(value, gradient_name(name))
    for instruction in reversed(program.instructions):
        gradient = gradients.get(instruction.result)
        if gradient is None or instruction.op in (*COMPARISONS, *LOGIC):
            continue
        if instruction.op not in RULES:
            raise NeuronError(f"operation '{instruction.op}' has no derivative rule")
        for argument, flowing in zip(
            instruction.args, RULES[instruction.op](builder, instruction, gradient), strict=True
        ):
            flow(argument, flowing)
    return Program(
        inputs=(*program.inputs, *(gradient_name(name) for name in program.outputs)),
        instructions=tuple(builder.instructions),
        outputs={gradient_name(name): gradients.get(name, 0.0) for name in program.inputs},
    )


def _add(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    return g, g


def _sub(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    return g, b.emit("neg", g)


def _mul(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    return b.scaled(g, i.args[1]), b.scaled(g, i.args[0])


def _div(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    numerator = b.emit("div", g, i.args[1])
    if isinstance(i.args[1], float):
        return numerator, None
    return numerator, b.emit("neg", b.emit("mul", numerator, i.result))


def _neg(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    return (b.emit("neg", g),)


def _abs(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    x = i.args[0]
    falling = b.emit("where", b.emit("lt", x, 0.0), b.emit("neg", g), 0.0)
    return (b.emit("where", b.emit("gt", x, 0.0), g, falling),)


def _sigmoid(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    slope = b.emit("mul", i.result, b.emit("sub", 1.0, i.result))
    return (b.emit("mul", g, slope),)


def _exp(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    return (b.emit("mul", g, i.result),)


def _tanh(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    slope = b.emit("sub", 1.0, b.emit("mul", i.result, i.result))
    return (b.emit("mul", g, slope),)


def _where(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    condition = i.args[0]
    return None, b.emit("where", condition, g, 0.0), b.emit("where", condition, 0.0, g)


def _extreme(wins: str) -> Rule:
    """Minimum and maximum: the one that wins takes the gradient, equals take half each."""

    def rule(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
        first, second = i.args
        half = b.emit("where", b.emit("eq", first, second), b.emit("mul", g, 0.5), 0.0)
        return (
            b.emit("where", b.emit(wins, first, second), g, half),
            b.emit("where", b.emit(wins, second, first), g, half),
        )

    return rule


def _detach(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    return (None,)


def _spike(b: Builder, i: Instruction, g: Operand) -> tuple[Operand | None, ...]:
    assert i.surrogate is not None
    name, width = i.surrogate
    return (b.emit("mul", g, surrogate_program(name, width, i.args[0], b)),)


RULES: dict[str, Rule] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "abs": _abs,
    "sigmoid": _sigmoid,
    "exp": _exp,
    "tanh": _tanh,
    "where": _where,
    "minimum": _extreme("lt"),
    "maximum": _extreme("gt"),
    "detach": _detach,
    "spike": _spike,
}

"""What one step of a neuron computes, per element: read from the program that its step becomes.

Only what depends on the input or a state is computed for each element; what depends on learnable
parameters alone (GLIF's gates) is computed once a layer, and not charged. A subtraction is an
addition. A comparison is one too, its sign is the answer; so is the extreme of two numbers. A spike
asks for the sign of a difference that is there. Choices (`where`), signs and logic are wires. To
divide by a number is to multiply by its reciprocal; to divide by a value of each element is a
function. A multiplication with a spike counts as a multiplication.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from clifctl.kernels.ir.program import COMPARISONS, Instruction, Operand, Program
from clifctl.kernels.ir.trace import trace
from clifctl.neurons import Hyperparameters, Neuron

ASSUMPTIONS = (
    "counted for each element and time step; what depends on learnable parameters alone is not",
    "a comparison, a subtraction, a minimum is an addition; a choice, a sign, a spike is a wire",
    "a function (sigmoid, exp, tanh, a division by a value) is 4 multiplications and 4 additions; "
    "a MAC is a multiplication with an addition",
)
_ADDITIONS = frozenset(("add", "sub", "minimum", "maximum", *COMPARISONS))
_FUNCTIONS = frozenset(("sigmoid", "exp", "tanh"))
_WIRES = frozenset(("neg", "abs", "where", "and", "or", "not", "detach", "spike"))


@dataclass(frozen=True)
class NeuronCost:
    """Per element and time step; `functions` are evaluations of sigmoid, exp, tanh, a division."""

    multiplications: int
    additions: int
    functions: int
    states: int

    def all_multiplications(self, of_a_function: float) -> float:
        """Multiplications, those of functions included."""
        return self.multiplications + of_a_function * self.functions

    def all_additions(self, of_a_function: float) -> float:
        """Additions, those of functions included."""
        return self.additions + of_a_function * self.functions


def step_cost(neuron: Neuron, hyperparameters: Hyperparameters) -> NeuronCost:
    """The cost of `neuron`'s step with these hyperparameters. Raises NeuronError as `trace`."""
    kinds = [charged_as(i, varying) for i, varying in step_instructions(neuron, hyperparameters)]
    return NeuronCost(
        multiplications=kinds.count("multiplication"),
        additions=kinds.count("addition"),
        functions=kinds.count("function"),
        states=len(neuron.states),
    )


def step_instructions(
    neuron: Neuron, hyperparameters: Hyperparameters
) -> Iterator[tuple[Instruction, frozenset[str]]]:
    """The instructions that run for each element, with the names of all values that vary."""
    program = _without_straight_through(trace(neuron, hyperparameters))
    learnables = {learnable.name for learnable in neuron.learnables}
    varying = set(program.inputs) - learnables
    body = []
    for instruction in program.instructions:
        if any(argument in varying for argument in instruction.args):
            varying.add(instruction.result)
            body.append(instruction)
    return ((instruction, frozenset(varying)) for instruction in body)


def _without_straight_through(program: Program) -> Program:
    """The program as an inference runs it: c + detach(q - c), a q whose gradient is that of c, is q
    (I-LIF)."""
    made = {i.result: i for i in program.instructions}
    passed: dict[str, Operand] = {}
    for i in program.instructions:
        for c, other in itertools.permutations(i.args, 2) if i.op == "add" else ():
            gone = made.get(str(other))
            kept = made.get(str(gone.args[0])) if gone and gone.op == "detach" else None
            if kept and kept.op == "sub" and kept.args[1] == c:
                passed[i.result] = kept.args[0]
    if not passed:
        return program
    straight = program.with_operands(lambda operand: passed.get(str(operand), operand))
    return straight.only(straight.outputs)


def charged_as(instruction: Instruction, varying: frozenset[str]) -> str:
    """`multiplication`, `addition`, `function` or `wire`. Raises KeyError for a new operation."""
    if instruction.op == "div":
        return "function" if instruction.args[1] in varying else "multiplication"
    if instruction.op == "mul":
        return "multiplication"
    for kind, names in (("addition", _ADDITIONS), ("function", _FUNCTIONS), ("wire", _WIRES)):
        if instruction.op in names:
            return kind
    raise KeyError(f"operation '{instruction.op}' of a step has no cost")

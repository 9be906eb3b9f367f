"""What every printer prints: the programs of one step that the kernels' passes are made of."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from clifctl.errors import NeuronError
from clifctl.kernels.ir.adjoint import adjoint, gradient_name
from clifctl.kernels.ir.program import Operand, Program
from clifctl.kernels.ir.trace import output_spike, with_window
from clifctl.neurons.contract import Learnable

# Numbers that are written as they are; every other one is an argument of the kernel, so that
# another time constant is not another kernel.
INLINE = (0.0, 1.0, -1.0)
# Names that generated text uses besides those of the neuron.
_RESERVED = re.compile(
    r"[tnjrce]|at|vec|mem|t\d+|const_\d+|initial_.*|(g|carry|back|next)_.*|.*_\d+"
    r"|.*_(row|h|t|all|now|raw|sum|sums|start|final|history)"
    r"|unit|groups?|offset|number|start|steps|rows|size|periods?|chunks|block|constants|window|cut|kept"
    r"|.*_(block|step|copy|stride)|room|scratch|seen|bits|windows|nans|row_bytes"
    r"|load|store|read|write|broadcast|numbers|load_u8|store_u8"
    r"|forward_spikes|initial|first|last|width|total|descending|first_(unit|period)|last_unit|tile|inside|stride"
    r"|blank|program|row|size|known|c_tiles|channels|inner|per_channel|segments?|back|ahead|base"
    r"|np|math|njit|triton|tl|exp|sigmoid|tanh|as_float|as_bfloat16|min|range|abs"
    r"|step|recompute|full|carry"
    r"|forward|backward|windowed|[A-Z0-9_]+"
)


@dataclass(frozen=True)
class Passes:
    """The passes over one step, with numbers lifted out into shared `constants` (`const_<i>`).

    step        out and next states from x, states and learnables
    spikes      the same, and the window of the surrogate where it has one; None where the output
                is no spike (see `clifctl.kernels.ir.trace.spike_window`)
    recompute   next states and what is saved: the forward pass on the way back
    full        every gradient of a step, from what is saved and the gradients carried to it
    carry       the gradients of the states alone

    `summed` are the learnables that a gradient flows to: the kernels add it up.
    """

    states: tuple[str, ...]
    learnables: tuple[Learnable, ...]
    summed: tuple[Learnable, ...]
    saved: tuple[str, ...]
    constants: tuple[float, ...]
    step: Program
    spikes: Program | None
    recompute: Program
    full: Program
    carry: Program


def make_passes(
    title: str,
    program: Program,
    states: tuple[str, ...],
    learnables: tuple[Learnable, ...],
    remembered: Sequence[str] = (),
) -> Passes:
    """The passes over the `program` of one step. The forward pass on the way back saves the results
    of the operations `remembered`, where the adjoint needs them.

    Raises NeuronError where a state or parameter has a name that generated text needs.
    """
    _refuse_reserved(title, [*states, *(p.name for p in learnables)])
    reverse = adjoint(program)
    expensive = [i.result for i in program.instructions if i.op in remembered]
    wanted = reverse.only(reverse.outputs, expensive).inputs
    saved = tuple(name for name in expensive if name in wanted)
    constants: list[float] = []

    def lift(operand: Operand) -> Operand:
        if isinstance(operand, str) or operand in INLINE:
            return operand
        if operand not in constants:
            constants.append(operand)
        return f"const_{constants.index(operand)}"

    spikes = None if output_spike(program) is None else with_window(program) or program
    step, reverse = program.with_operands(lift), reverse.with_operands(lift)
    outputs = {**step.outputs, **{name: name for name in saved}}
    again = Program(step.inputs, step.instructions, outputs)
    idle = {
        gradient_name(p.name) for p in learnables if reverse.outputs[gradient_name(p.name)] == 0.0
    }
    return Passes(
        states=states,
        learnables=learnables,
        summed=tuple(p for p in learnables if gradient_name(p.name) not in idle),
        saved=saved,
        constants=tuple(constants),
        step=step,
        spikes=None if spikes is None else spikes.with_operands(lift),
        recompute=again.only([*(f"next_{state}" for state in states), *saved]),
        full=reverse.only([name for name in reverse.outputs if name not in idle], saved),
        carry=reverse.only([gradient_name(state) for state in states], saved),
    )


def _refuse_reserved(title: str, names: Sequence[str]) -> None:
    """One rule for all printers: a neuron that runs on one target has names that run on all."""
    for name in names:
        if _RESERVED.fullmatch(name):
            raise NeuronError(
                f"neuron '{title}': '{name}' is a name that generated kernels use themselves",
                hint="call the state or parameter something else",
            )


class Lines:
    """Python source, line by line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def line(self, text: str = "") -> None:
        """Add one line at the current depth."""
        self._lines.append("    " * self._depth + text if text else "")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A line that opens a block, around the lines within."""
        self.line(head)
        before = len(self._lines)
        self._depth += 1
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._depth -= 1

    def text(self) -> str:
        """All lines so far."""
        return "\n".join(self._lines) + "\n"

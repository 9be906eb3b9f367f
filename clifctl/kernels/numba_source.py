"""The CPU printer: a program and its adjoint as the source of a numba module.

The module has three functions over units of work (see `clifctl.kernels.blocks`): `forward`,
`backward` (full BPTT, or cut before given steps) and `windowed` (sliding window). Each keeps the
states of one block of elements in rows that stay in fast memory. The ways back keep nothing of the
forward pass but x: they run the block forward again, remember what is dear to compute, and return.

Inner loops run over slices of one row a time step, so that the compiler sees unit stride; numbers
are of the kernel's own dtype. Only the polynomials of exp, sigmoid and tanh may be contracted to
fused operations: everything else rounds as torch rounds.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clifctl.errors import NeuronError
from clifctl.kernels.adjoint import adjoint, gradient_name
from clifctl.kernels.numba_functions import HEADER
from clifctl.kernels.program import Operand, Program
from clifctl.neurons.contract import Learnable

# Operations whose results the way back remembers instead of computing them again.
DEAR = ("sigmoid", "exp", "tanh", "div")
# Names that the generated text uses besides those of the neuron.
_RESERVED = re.compile(
    r"[tnjr]|t\d+|const_\d+|(g|carry|back|next)_.*|.*_(row|h|t|all|now|sum|sums|start|final|history)"
    r"|unit|group|groups|offset|number|start|steps|size|period|periods|chunks|block|constants"
    r"|window|cut|initial|first|last|width|total|descending|first_(unit|period)|last_unit|np|math|njit"
    r"|exp|sigmoid|tanh|min|range|abs|forward|backward|windowed|[A-Z0-9_]+"
)
_INLINE = {0.0: "ZERO", 1.0: "ONE", -1.0: "MINUS_ONE"}
_EXPRESSIONS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "abs": "abs({0})",
    "minimum": "({0} if {0} < {1} or {0} != {0} else {1})",
    "maximum": "({0} if {0} > {1} or {0} != {0} else {1})",
    "sigmoid": "sigmoid({0})",
    "exp": "exp({0})",
    "tanh": "tanh({0})",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "and": "{0} and {1}",
    "or": "{0} or {1}",
    "not": "not {0}",
    "where": "({1} if {0} else {2})",
    "detach": "{0}",
    # NaN is neither: it stays what it is.
    "spike": "(ONE if {0} >= ZERO else (ZERO if {0} < ZERO else {0}))",
}


@dataclass(frozen=True)
class Source:
    """A module's text, the constants that it is called with, and its scratch rows per time step."""

    text: str
    constants: tuple[float, ...]
    rows_per_step: int


def print_source(
    title: str,
    program: Program,
    states: tuple[str, ...],
    learnables: tuple[Learnable, ...],
    dtype: str,
) -> Source:
    """The module for the `program` of one time step, in `float32` or `float64`."""
    for name in (*states, *(p.name for p in learnables)):
        if _RESERVED.fullmatch(name):
            raise NeuronError(
                f"neuron '{title}': '{name}' is a name that generated kernels use themselves",
                hint="call the state or parameter something else",
            )
    printer = _Printer(program, states, learnables)
    text = HEADER[dtype].format(title=title) + "\n\n".join(
        [printer.forward(), printer.backward(), printer.windowed()]
    )
    return Source(text, tuple(printer.constants), len(states) + len(printer.saved))


class _Printer:
    def __init__(
        self, program: Program, states: tuple[str, ...], learnables: tuple[Learnable, ...]
    ) -> None:
        self.states = states
        self.learnables = learnables
        self.constants: list[float] = []
        reverse = adjoint(program)
        dear = [i.result for i in program.instructions if i.op in DEAR]
        wanted = reverse.only(reverse.outputs, dear).inputs
        self.saved = [name for name in dear if name in wanted]
        nexts = [f"next_{state}" for state in states]
        carried = [gradient_name(state) for state in states]
        # Numbers are lifted out once, so that all functions share one list of constants.
        self.step = self._lifted(program)
        reverse = self._lifted(reverse)
        remembered = Program(
            self.step.inputs,
            self.step.instructions,
            {**self.step.outputs, **{name: name for name in self.saved}},
        )
        self.recompute = remembered.only([*nexts, *self.saved])
        self.full = reverse.only(reverse.outputs, self.saved)
        self.carry = reverse.only(carried, self.saved)
        self._lines: list[str] = []
        self._depth = 0

    # --- the three functions --------------------------------------------------------------------

    def forward(self) -> str:
        finals = [f"{s}_final" for s in self.states]
        with self._function("forward", ["x_all", "out_all", *self._given(), *finals]):
            self._rows("{}_row", self.states)
            with self._blocks():
                self._start_rows()
                with self._loop("for t in range(steps):"):
                    self._slices("x", "out")
                    with self._loop("for j in range(n):"):
                        self._load(self.step)
                        self._statements(self.step)
                        self._store_states(self.step)
                        self._line(f"out_t[j] = {self._shown(self.step.outputs['out'])}")
                for s in self.states:
                    self._line(f"{s}_final[start : start + n] = {s}_row[:n]")
        return self._text()

    def backward(self) -> str:
        with self._function("backward", [*self._to_and_fro(), "cut"]):
            self._scratch()
            with self._blocks(sums=True):
                self._run_forward_again()
                self._start_carry()
                with self._descending():
                    self._full_step()
                    if self.states:
                        with self._loop("if cut[t]:"):
                            for s in self.states:
                                self._line(f"carry_{s}_row[:n] = ZERO")
                self._finish_carry()
        return self._text()

    def windowed(self) -> str:
        with self._function("windowed", [*self._to_and_fro(), "window"]):
            self._scratch()
            with self._blocks(sums=True):
                self._run_forward_again()
                with self._descending("first"):
                    self._line("last = min(first + window - 1, steps - 1)")
                    self._start_carry("last == steps - 1")
                    with self._descending("t", "last - first", "steps - 1 - last"):
                        self._slices("x", "g_out")
                        self._history()
                        with self._loop("for j in range(n):"):
                            self._load(self.carry)
                            self._statements(self.carry)
                            self._store_carry(self.carry)
                    self._line("t = first")
                    self._full_step()
                self._finish_carry()
        return self._text()

    # --- pieces of them -------------------------------------------------------------------------

    def _given(self) -> list[str]:
        return [*(f"{s}_start" for s in self.states), *(f"{p.name}_all" for p in self.learnables)]

    def _to_and_fro(self) -> list[str]:
        return [
            *("x_all", "g_out_all", "g_x_all"),
            *self._given(),
            *(f"g_{s}_final" for s in self.states),
            *(f"g_{s}_start" for s in self.states),
            *(f"g_{p.name}_all" for p in self.learnables),
        ]

    @contextmanager
    def _function(self, name: str, arguments: list[str]) -> Iterator[None]:
        work = [
            "first_unit",
            "last_unit",
            "period",
            "chunks",
            "groups",
            "block",
            "constants",
            "initial",
        ]
        self._lines, self._depth = ["@njit(**OPTIONS)"], 0
        with self._loop(f"def {name}({', '.join([*work, *arguments])}):"):
            self._line("steps, size = x_all.shape")
            self._line("periods = (size + period - 1) // period")
            for index in range(len(self.constants)):
                self._line(f"const_{index} = constants[{index}]")
            for p in self.learnables:
                if p.shape == "scalar":
                    self._line(f"{p.name}_now = {p.name}_all[0, 0]")
            yield

    @contextmanager
    def _blocks(self, *, sums: bool = False) -> Iterator[None]:
        """Around the work on one block: the loops over units and over a group's periods."""
        with self._loop("for unit in range(first_unit, last_unit):"):
            self._line("group = unit // chunks")
            self._line("offset = (unit % chunks) * block")
            if sums:
                for p in self.learnables:
                    self._line(f"{p.name}_sum[:, :] = ZERO")
            self._line("first_period = group * periods // groups")
            with self._loop("for number in range(first_period, (group + 1) * periods // groups):"):
                self._line("start = number * period + offset")
                self._line("n = min(block, period - offset, size - start)")
                with self._loop("if n <= 0:"):
                    self._line("continue")
                for p in self.learnables:
                    if p.shape == "channel":
                        self._line(f"{p.name}_row = {p.name}_all[0, offset : offset + n]")
                yield
            if sums:
                self._write_sums()

    def _write_sums(self) -> None:
        """One partial sum a unit: torch adds them up in their order, whoever computed them."""
        for p in self.learnables:
            if p.by_channel:
                self._line("width = min(block, period - offset)")
                with self._loop(f"for r in range({p.name}_sum.shape[0]):"):
                    self._line(
                        f"g_{p.name}_all[group, r, offset : offset + width] = "
                        f"{p.name}_sum[r, :width]"
                    )
                continue
            with self._loop(f"for r in range({p.name}_sum.shape[0]):"):
                self._line("total = 0.0")
                with self._loop("for j in range(block):"):
                    self._line(f"total += {p.name}_sum[r, j]")
                self._line(f"g_{p.name}_all[unit, r, 0] = total")

    def _rows(self, pattern: str, names: tuple[str, ...] | list[str], shape: str = "block") -> None:
        for name in names:
            self._line(f"{pattern.format(name)} = np.empty({shape}, DTYPE)")

    @contextmanager
    def _descending(
        self, name: str = "t", count: str = "steps", skipped: str = "0"
    ) -> Iterator[None]:
        """Time steps from `steps - 1 - skipped` downwards. They are read from an array: where the
        compiler sees a loop run backwards it hoists the aliasing check of the inner loop out of it
        in a form that always fails, and the inner loop then runs on scalars, five times slower."""
        with self._loop(f"for back_{name} in range({count}):"):
            self._line(f"{name} = descending[{skipped} + back_{name}]")
            yield

    def _scratch(self) -> None:
        self._line("descending = np.arange(steps - 1, -1, -1)")
        self._rows("{}_history", [*self.states, *self.saved], "(steps, block)")
        self._rows("{}_row", self.states)
        self._rows("carry_{}_row", self.states)
        for p in self.learnables:
            rows = "steps" if p.by_step else "1"
            self._rows("{}_sum", [p.name], f"({rows}, block)")

    def _start_rows(self) -> None:
        for index, s in enumerate(self.states):
            with self._loop(f"if {s}_start.size > 0:"):
                self._line(f"{s}_row[:n] = {s}_start[start : start + n]")
            with self._loop("else:"):
                self._line(f"{s}_row[:n] = initial[{index}]")

    def _run_forward_again(self) -> None:
        """The block's states before every step, and what is remembered of it."""
        self._start_rows()
        with self._loop("for t in range(steps):"):
            self._slices("x")
            self._history()
            with self._loop("for j in range(n):"):
                for s in self.states:
                    self._line(f"{s}_h[j] = {s}_row[j]")
                self._load(self.recompute)
                self._statements(self.recompute)
                for name in self.saved:
                    self._line(f"{name}_h[j] = {name}")
                self._store_states(self.recompute)

    def _start_carry(self, condition: str = "True") -> None:
        for s in self.states:
            with self._loop(f"if {condition} and g_{s}_final.size > 0:"):
                self._line(f"carry_{s}_row[:n] = g_{s}_final[start : start + n]")
            with self._loop("else:"):
                self._line(f"carry_{s}_row[:n] = ZERO")

    def _finish_carry(self) -> None:
        for s in self.states:
            with self._loop(f"if g_{s}_start.size > 0:"):
                self._line(f"g_{s}_start[start : start + n] = carry_{s}_row[:n]")

    def _full_step(self) -> None:
        """Every gradient of step t from the carried gradients of the states after it."""
        self._slices("x", "g_out", "g_x")
        self._history()
        for p in self.learnables:
            self._line(f"{p.name}_sums = {p.name}_sum[{'t' if p.by_step else '0'}]")
        with self._loop("for j in range(n):"):
            self._load(self.full)
            self._statements(self.full)
            self._line(f"g_x_t[j] = {self._shown(self.full.outputs['g_x'])}")
            for p in self.learnables:
                gradient = self._shown(self.full.outputs[gradient_name(p.name)])
                self._line(f"{p.name}_sums[j] += {gradient}")
            self._store_carry(self.full)

    def _slices(self, *arrays: str) -> None:
        for name in arrays:
            self._line(f"{name}_t = {name}_all[t, start : start + n]")
        for p in self.learnables:
            if p.shape == "step":
                self._line(f"{p.name}_now = {p.name}_all[t, 0]")
            elif p.shape == "step_channel":
                self._line(f"{p.name}_row = {p.name}_all[t, offset : offset + n]")

    def _history(self) -> None:
        for name in [*self.states, *self.saved]:
            self._line(f"{name}_h = {name}_history[t]")

    def _load(self, program: Program) -> None:
        """Every input of `program` under its own name, for element j."""
        learnables = {p.name: p for p in self.learnables}
        for name in program.inputs:
            if name in ("x", "g_out"):
                self._line(f"{name} = {name}_t[j]")
            elif name in learnables:
                source = "row[j]" if learnables[name].by_channel else "now"
                self._line(f"{name} = {name}_{source}")
            elif name in self.states:
                row = "row" if program in (self.step, self.recompute) else "h"
                self._line(f"{name} = {name}_{row}[j]")
            elif name in self.saved:
                self._line(f"{name} = {name}_h[j]")
            else:  # g_next_<state>: the gradient carried back to here
                self._line(f"{name} = carry_{name.removeprefix('g_next_')}_row[j]")

    def _statements(self, program: Program) -> None:
        for i in program.instructions:
            expression = _EXPRESSIONS[i.op].format(*map(self._shown, i.args))
            self._line(f"{i.result} = {expression}")

    def _store_states(self, program: Program) -> None:
        for s in self.states:
            self._line(f"{s}_row[j] = {self._shown(program.outputs[f'next_{s}'])}")

    def _store_carry(self, program: Program) -> None:
        for s in self.states:
            value = self._shown(program.outputs[gradient_name(s)])
            self._line(f"carry_{s}_row[j] = {value}")

    # --- text -----------------------------------------------------------------------------------

    def _lifted(self, program: Program) -> Program:
        """`program` with its numbers as named constants, but for 0, 1 and -1: another time constant
        is then another argument, not another kernel."""

        def lift(operand: Operand) -> Operand:
            if isinstance(operand, str) or operand in _INLINE:
                return operand
            if operand not in self.constants:
                self.constants.append(operand)
            return f"const_{self.constants.index(operand)}"

        return program.with_operands(lift)

    def _shown(self, operand: Operand) -> str:
        return operand if isinstance(operand, str) else _INLINE[operand]

    @contextmanager
    def _loop(self, head: str) -> Iterator[None]:
        self._line(head)
        before = len(self._lines)
        self._depth += 1
        yield
        if len(self._lines) == before:
            self._line("pass")
        self._depth -= 1

    def _line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    def _text(self) -> str:
        return "\n".join(self._lines) + "\n"

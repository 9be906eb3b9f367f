"""The CPU printer: a program and its adjoint as the source of a numba module.

The module has three functions over units of work (see `clifctl.kernels.blocks`): `forward`,
`backward` (full BPTT, or cut before given steps) and `windowed` (sliding window). Each keeps the
states of one block of elements in rows that stay in fast memory. The ways back keep nothing of the
forward pass but x: they run the block forward again, remember what is dear to compute, and return.

Inner loops run over slices of one row a time step, so that the compiler sees unit stride; numbers
are of the kernel's own dtype. Only the polynomials of exp, sigmoid and tanh may be contracted to
fused operations: everything else rounds as torch rounds.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clifctl.kernels.adjoint import gradient_name
from clifctl.kernels.numba_functions import HEADER
from clifctl.kernels.plan import INLINE, Lines, Plan
from clifctl.kernels.program import Operand, Program

# Pairs of rows in one loop that the compiler is willing to tell apart: LLVM's limit is 128.
PAIRS = 120
# Operations whose results the way back remembers instead of computing them again.
REMEMBERED = ("sigmoid", "exp", "tanh", "div")
_INLINE = dict(zip(INLINE, ("ZERO", "ONE", "MINUS_ONE"), strict=True))
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
    """A module's text, the constants that it is called with, its scratch rows per time step, and
    the learnables that it sums gradients of."""

    text: str
    constants: tuple[float, ...]
    rows_per_step: int
    summed: tuple[str, ...]


def print_source(title: str, plan: Plan, dtype: str) -> Source:
    """The module for the `plan` of one time step, in `float32` or `float64`; or in float32 with
    `bfloat16` coming in and going out."""
    printer = _Printer(plan, low=dtype == "bfloat16")
    printer.line(HEADER[dtype].format(title=title))
    printer.forward()
    if dtype == "float32" and plan.spikes is not None:
        printer.forward_spikes(plan.spikes)
    printer.backward()
    printer.windowed()
    summed = tuple(p.name for p in plan.summed)
    return Source(printer.text(), plan.constants, len(plan.states) + len(plan.saved), summed)


class _Printer(Lines):
    def __init__(self, plan: Plan, *, low: bool) -> None:
        super().__init__()
        self.plan = plan
        self.low = low
        self.states, self.saved = plan.states, plan.saved
        self.learnables, self.summed = plan.learnables, plan.summed

    # --- the three functions --------------------------------------------------------------------

    def forward(self) -> None:
        finals = [f"{s}_final" for s in self.states]
        with self._function("forward", ["x_all", "out_all", *self._given(), *finals], "out_all"):
            self._rows("{}_row", self.states)
            with self._blocks():
                self._start_rows()
                with self.block("for t in range(steps):"):
                    self._slices("x", "out")
                    with self.block("for j in range(n):"):
                        self._load(self.plan.step)
                        self._statements(self.plan.step)
                        self._store_states(self.plan.step)
                        out = self._shown(self.plan.step.outputs["out"])
                        self.line(f"out_t[j] = {f'as_bfloat16({out})' if self.low else out}")
                self._elements(f"{s}_final[start + j] = {s}_row[j]" for s in self.states)

    def forward_spikes(self, spikes: Program) -> None:
        """Spikes and windows as bits: rows `[steps, row_bytes]`, each of which begins at a byte,
        as every block in it does. `nans` notes for each unit whether any output is NaN."""
        finals = [f"{s}_final" for s in self.states]
        arguments = ["x_all", "bits", "windows", "nans", *self._given(), *finals]
        with self._function("forward_spikes", arguments, "bits"):
            self._rows("{}_row", self.states)
            self.line("flags = np.empty(block, np.uint8)")
            with self._blocks():
                self._start_rows()
                with self.block("for t in range(steps):"):
                    self._slices("x")
                    with self.block("for j in range(n):"):
                        self._load(spikes)
                        self._statements(spikes)
                        self._store_states(spikes)
                        out = self._shown(spikes.outputs["out"])
                        window = self._shown(spikes.outputs.get("window", 0.0))
                        marks = f"({out} == ONE) | ({window} != ZERO) << 1 | ({out} != {out}) << 2"
                        self.line(f"flags[j] = {marks}")
                    self.line("pack_flags(flags, n, t, start // 8, unit, bits, windows, nans)")
                self._elements(f"{s}_final[start + j] = {s}_row[j]" for s in self.states)

    def backward(self) -> None:
        with self._function("backward", [*self._to_and_fro(), "cut"], "g_x_all"):
            self._scratch()
            with self._blocks(sums=True):
                self._run_forward_again()
                self._start_carry()
                with self._descending():
                    self._full_step()
                    if self.states:
                        with self.block("if cut[t]:"):
                            self._elements(f"carry_{s}_row[j] = ZERO" for s in self.states)
                self._finish_carry()

    def windowed(self) -> None:
        with self._function("windowed", [*self._to_and_fro(), "window"], "g_x_all"):
            self._scratch()
            with self._blocks(sums=True):
                self._run_forward_again()
                with self._descending("first"):
                    self.line("last = min(first + window - 1, steps - 1)")
                    self._start_carry("last == steps - 1")
                    with self._descending("t", "last - first", "steps - 1 - last"):
                        self._slices("x", "g_out")
                        self._history()
                        with self.block("for j in range(n):"):
                            self._load(self.plan.carry)
                            self._statements(self.plan.carry)
                            self._store_carry(self.plan.carry)
                    self.line("t = first")
                    self._full_step()
                self._finish_carry()

    # --- pieces of them -------------------------------------------------------------------------

    def _elements(self, statements: Iterable[str], count: str = "n") -> None:
        """A loop over the elements j. An assignment of slices would say the same, and take numba
        several times as long to compile: it allows for other shapes and for overlap."""
        with self.block(f"for j in range({count}):"):
            for statement in statements:
                self.line(statement)

    def _given(self) -> list[str]:
        return [*(f"{s}_start" for s in self.states), *(f"{p.name}_all" for p in self.learnables)]

    def _to_and_fro(self) -> list[str]:
        return [
            *("x_all", "g_out_all", "g_x_all"),
            *self._given(),
            *(f"g_{s}_final" for s in self.states),
            *(f"g_{s}_start" for s in self.states),
            *(f"g_{p.name}_all" for p in self.summed),
        ]

    @contextmanager
    def _function(self, name: str, arguments: list[str], whole: str) -> Iterator[None]:
        """A function; within, its sizes. `whole` is an array with a row for every step."""
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
        self.line("@njit(**OPTIONS)")
        with self.block(f"def {name}({', '.join([*work, *arguments])}):"):
            # An input that is equal at every step is one row.
            self.line("rows, size = x_all.shape")
            self.line(f"steps = {whole}.shape[0]")
            self.line("periods = (size + period - 1) // period")
            for index in range(len(self.plan.constants)):
                self.line(f"const_{index} = constants[{index}]")
            for p in self.learnables:
                if p.shape == "scalar":
                    self.line(f"{p.name}_now = {p.name}_all[0, 0]")
            yield

    @contextmanager
    def _blocks(self, *, sums: bool = False) -> Iterator[None]:
        """Around the work on one block: the loops over units and over a group's periods."""
        with self.block("for unit in range(first_unit, last_unit):"):
            self.line("group = unit // chunks")
            self.line("offset = (unit % chunks) * block")
            if sums:
                for p in self.summed:
                    with self.block(f"for r in range({p.name}_sum.shape[0]):"):
                        self._elements([f"{p.name}_sum[r, j] = ZERO"], "block")
            self.line("first_period = group * periods // groups")
            with self.block("for number in range(first_period, (group + 1) * periods // groups):"):
                self.line("start = number * period + offset")
                self.line("n = min(block, period - offset, size - start)")
                with self.block("if n <= 0:"):
                    self.line("continue")
                for p in self.learnables:
                    if p.shape == "channel":
                        self.line(f"{p.name}_row = {p.name}_all[0, offset : offset + n]")
                yield
            if sums:
                self._write_sums()

    def _write_sums(self) -> None:
        """One partial sum a unit: torch adds them up in their order, whoever computed them."""
        for p in self.summed:
            if p.by_channel:
                self.line("width = min(block, period - offset)")
                with self.block(f"for r in range({p.name}_sum.shape[0]):"):
                    copied = f"g_{p.name}_all[group, r, offset + j] = {p.name}_sum[r, j]"
                    self._elements([copied], "width")
                continue
            with self.block(f"for r in range({p.name}_sum.shape[0]):"):
                self.line("total = 0.0")
                with self.block("for j in range(block):"):
                    self.line(f"total += {p.name}_sum[r, j]")
                self.line(f"g_{p.name}_all[unit, r, 0] = total")

    def _rows(self, pattern: str, names: tuple[str, ...] | list[str], shape: str = "block") -> None:
        for name in names:
            self.line(f"{pattern.format(name)} = np.empty({shape}, DTYPE)")

    @contextmanager
    def _descending(
        self, name: str = "t", count: str = "steps", skipped: str = "0"
    ) -> Iterator[None]:
        """Time steps from `steps - 1 - skipped` downwards. They are read from an array: where the
        compiler sees a loop run backwards it hoists the aliasing check of the inner loop out of it
        in a form that always fails, and the inner loop then runs on scalars, five times slower."""
        with self.block(f"for back_{name} in range({count}):"):
            self.line(f"{name} = descending[{skipped} + back_{name}]")
            yield

    def _scratch(self) -> None:
        self.line("descending = np.arange(steps - 1, -1, -1)")
        self._rows("{}_history", [*self.states, *self.saved], "(steps, block)")
        self._rows("{}_row", self.states)
        self._rows("carry_{}_row", self.states)
        for p in self.summed:
            rows = "steps" if p.by_step else "1"
            self._rows("{}_sum", [p.name], f"({rows}, block)")

    def _start_rows(self) -> None:
        for index, s in enumerate(self.states):
            with self.block(f"if {s}_start.size > 0:"):
                self._elements([f"{s}_row[j] = {s}_start[start + j]"])
            with self.block("else:"):
                self._elements([f"{s}_row[j] = initial[{index}]"])

    def _run_forward_again(self) -> None:
        """The block's states before every step, and what is remembered of it."""
        self._start_rows()
        with self.block("for t in range(steps):"):
            self._slices("x")
            self._history()
            with self.block("for j in range(n):"):
                for s in self.states:
                    self.line(f"{s}_h[j] = {s}_row[j]")
                self._load(self.plan.recompute)
                self._statements(self.plan.recompute)
                for name in self.saved:
                    self.line(f"{name}_h[j] = {name}")
                self._store_states(self.plan.recompute)

    def _start_carry(self, condition: str = "True") -> None:
        for s in self.states:
            with self.block(f"if {condition} and g_{s}_final.size > 0:"):
                self._elements([f"carry_{s}_row[j] = g_{s}_final[start + j]"])
            with self.block("else:"):
                self._elements([f"carry_{s}_row[j] = ZERO"])

    def _finish_carry(self) -> None:
        for s in self.states:
            with self.block(f"if g_{s}_start.size > 0:"):
                self._elements([f"g_{s}_start[start + j] = carry_{s}_row[j]"])

    def _full_step(self) -> None:
        """Every gradient of step t from the carried gradients of the states after it. Sums that
        would make one loop write too many rows get loops of their own before it, which compute
        again what they need."""
        self._slices("x", "g_out", "g_x")
        self._history()
        for p in self.summed:
            self.line(f"{p.name}_sums = {p.name}_sum[{'t' if p.by_step else '0'}]")
        *before, rest = self._summed_together()
        for names in before:
            gradients = [gradient_name(name) for name in names]
            with self.block("for j in range(n):"):
                self._sum(self.plan.full.only(gradients), names)
        others = ["x", *self.states, *rest]
        program = self.plan.full.only([gradient_name(name) for name in others])
        with self.block("for j in range(n):"):
            self._sum(program, rest)
            self.line(f"g_x_t[j] = {self._shown(program.outputs['g_x'])}")
            self._store_carry(program)

    def _sum(self, program: Program, names: list[str]) -> None:
        self._load(program)
        self._statements(program)
        for name in names:
            self.line(f"{name}_sums[j] += {self._shown(program.outputs[gradient_name(name)])}")

    def _summed_together(self) -> list[list[str]]:
        """The learnables that are summed, in lists, one a loop: the last loop writes all other rows
        as well. The compiler compares every row that is written with every other row, and gives up
        a loop with more than PAIRS of them to scalars."""
        full = self.plan.full
        others = ["g_x", *(gradient_name(state) for state in self.states)]
        loops: list[list[str]] = [[]]
        for p in reversed(self.summed):
            loop = [p.name, *loops[0]]
            outputs = [*map(gradient_name, loop), *(others if len(loops) == 1 else [])]
            written, read = len(outputs), len(full.only(outputs).inputs)
            if len(loop) > 1 and written * read + written * (written - 1) // 2 > PAIRS:
                loops.insert(0, [p.name])
            else:
                loops[0] = loop
        return loops

    def _slices(self, *arrays: str) -> None:
        for name in arrays:
            row = "t % rows" if name == "x" else "t"
            self.line(f"{name}_t = {name}_all[{row}, start : start + n]")
        for p in self.learnables:
            if p.shape == "step":
                self.line(f"{p.name}_now = {p.name}_all[t, 0]")
            elif p.shape == "step_channel":
                self.line(f"{p.name}_row = {p.name}_all[t, offset : offset + n]")

    def _history(self) -> None:
        for name in [*self.states, *self.saved]:
            self.line(f"{name}_h = {name}_history[t]")

    def _load(self, program: Program) -> None:
        """Every input of `program` under its own name, for element j."""
        learnables = {p.name: p for p in self.learnables}
        for name in program.inputs:
            if name in ("x", "g_out"):
                value = f"{name}_t[j]"
                self.line(f"{name} = {f'as_float({value})' if self.low else value}")
            elif name in learnables:
                source = "row[j]" if learnables[name].by_channel else "now"
                self.line(f"{name} = {name}_{source}")
            elif name in self.states:
                onward = (self.plan.step, self.plan.spikes, self.plan.recompute)
                row = "row" if program in onward else "h"
                self.line(f"{name} = {name}_{row}[j]")
            elif name in self.saved:
                self.line(f"{name} = {name}_h[j]")
            else:  # g_next_<state>: the gradient carried back to here
                self.line(f"{name} = carry_{name.removeprefix('g_next_')}_row[j]")

    def _statements(self, program: Program) -> None:
        for i in program.instructions:
            expression = _EXPRESSIONS[i.op].format(*map(self._shown, i.args))
            self.line(f"{i.result} = {expression}")

    def _store_states(self, program: Program) -> None:
        for s in self.states:
            self.line(f"{s}_row[j] = {self._shown(program.outputs[f'next_{s}'])}")

    def _store_carry(self, program: Program) -> None:
        for s in self.states:
            value = self._shown(program.outputs[gradient_name(s)])
            self.line(f"carry_{s}_row[j] = {value}")

    def _shown(self, operand: Operand) -> str:
        return operand if isinstance(operand, str) else _INLINE[operand]

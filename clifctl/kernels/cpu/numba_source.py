"""The CPU printer: a program and its adjoint as the source of a numba module.

The module has functions over units of work (see `clifctl.kernels.blocks`): `forward`,
`forward_spikes` (the output as bits, where it is a spike), `backward` (full BPTT, or cut before
given steps) and `windowed` (sliding window). Each keeps the states of one block of elements in rows
that stay in fast memory. The ways back keep nothing of the forward pass but x: they run the block
forward again, remember what is expensive to compute, and return.

Everything is read and written through addresses, LANES elements at a time (see
`clifctl.kernels.cpu.vectors`); a block that ends within a vector is worked on in a copy (see
`clifctl.kernels.cpu.staging`). Only the polynomials of exp, sigmoid and tanh are contracted to
fused operations: everything else rounds as torch rounds.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from clifctl.kernels.cpu.text import expression, head, masks_of, number, shown
from clifctl.kernels.ir.adjoint import gradient_name
from clifctl.kernels.ir.passes import Lines, Passes
from clifctl.kernels.ir.program import Program
from clifctl.kernels.ir.trace import output_spike
from clifctl.neurons.contract import Learnable

# Operations whose results the way back remembers instead of computing them again.
REMEMBERED = ("sigmoid", "exp", "tanh", "div")
# Where an element of the block lies in a row of what comes in or goes out.
_LOW_AT = "at // (ITEM // LOW_ITEM)"


@dataclass(frozen=True)
class Source:
    """A module's text, the constants that it is called with, the rows of a block that it remembers
    of a time step, all its scratch rows by function (so many, and so many a step), and the
    learnables that it sums gradients of."""

    text: str
    constants: tuple[float, ...]
    rows_per_step: int
    rows: Mapping[str, tuple[int, int]]
    summed: tuple[str, ...]


def print_source(title: str, passes: Passes, dtype: str) -> Source:
    """The module for the `passes` of one time step, in `float32` or `float64`; or in float32 with
    `bfloat16` coming in and going out."""
    printer = Printer(passes)
    printer.line(head(title, dtype))
    printer.forward()
    if dtype == "float32" and passes.spikes is not None:
        printer.forward_spikes(passes.spikes)
    printer.backward()
    printer.windowed()
    return printer.source()


class Printer(Lines):
    """Prints the functions over `passes`."""

    def __init__(self, passes: Passes) -> None:
        super().__init__()
        self.passes = passes
        self.rows: dict[str, tuple[int, int]] = {}
        self.states, self.saved = passes.states, passes.saved
        self.learnables, self.summed = passes.learnables, passes.summed
        self._histories = [*passes.states, *passes.saved]
        self._forwards = (passes.step, passes.spikes, passes.recompute)

    def source(self) -> Source:
        """What was printed."""
        passes = self.passes
        summed = tuple(p.name for p in passes.summed)
        remembered = len(passes.states) + len(passes.saved)
        return Source(self.text(), passes.constants, remembered, self.rows, summed)

    # --- the functions --------------------------------------------------------------------------

    def forward(self) -> None:
        step = self.passes.step
        finals = [f"{s}_final" for s in self.states]
        with self._function("forward", ["out_all", *self._given(), *finals]):
            self._scratch("forward", self._state_rows(), ["x_copy", "out_copy"])
            with self._blocks(), self._copied(inputs=["x"], outputs=["out"]):
                self._start_rows()
                with self.block("for t in range(steps):"):
                    self._at_step("x", "out")
                    self._step(step)
                self._finish_rows()

    def forward_spikes(self, spikes: Program) -> None:
        """Spikes and windows as bits: rows `[steps, row_bytes]`, each of which begins at a byte,
        as every block in it does. `nans` notes for each unit whether any output is NaN."""
        finals = [f"{s}_final" for s in self.states]
        arguments = ["bits", "windows", "row_bytes", "nans", *self._given(), *finals]
        fired = output_spike(spikes)
        assert fired is not None
        with self._function("forward_spikes", arguments):
            self._scratch(
                "forward_spikes", self._state_rows(), ["x_copy", "bits_row", "windows_row"]
            )
            with self._blocks(noting="nans"), self._copied(inputs=["x"]):
                self._start_rows()
                with self.block("for t in range(steps):"):
                    self._at_step("x")
                    # Written at the end of the block, when these lines have long been there.
                    for name in ("bits", "windows"):
                        self.line(f"prefetch_to_write({name} + t * row_bytes + start // 8)")
                    with self._elements():
                        self._run(spikes)
                        self._store_states(spikes)
                        self.line(f"seen = vec.add(seen, {fired.result})")
                        mask = f"vec.ge({shown(fired.args[0])}, ZERO)"
                        self._store_bits("bits", mask)
                        if "window" in spikes.outputs:
                            self._store_bits("windows", str(spikes.outputs["window"]))
                for name in ("bits", "windows"):
                    with self.block(f"if {name} != 0:"):
                        to = f"{name} + start // 8, row_bytes"
                        self.line(f"mem.left_bits({to}, steps, n, {name}_row, block // 8)")
                self._finish_rows()

    def backward(self) -> None:
        with self._function("backward", [*self._to_and_fro(), "cut"]):
            self._backward_scratch("backward")
            with self._blocks(sums=True), self._copied(["x", "g_out"], ["g_x"]):
                self._run_forward_again()
                self._start_carry()
                with self.block("for t in range(steps - 1, -1, -1):"):
                    self._full_step()
                    if self.states:
                        with self.block("if load_u8(cut + t) != 0:"):
                            self._clear_carry()
                self._finish_carry()

    def windowed(self) -> None:
        with self._function("windowed", [*self._to_and_fro(), "window"]):
            self._backward_scratch("windowed")
            with self._blocks(sums=True), self._copied(["x", "g_out"], ["g_x"]):
                self._run_forward_again()
                with self.block("for first in range(steps - 1, -1, -1):"):
                    self.line("last = min(first + window - 1, steps - 1)")
                    self._start_carry("last == steps - 1 and ")
                    with self.block("for t in range(last, first, -1):"):
                        self._at_step("x", "g_out", history=self._histories)
                        with self._elements():
                            self._run(self.passes.carry)
                            self._store_carry(self.passes.carry)
                    self.line("t = first")
                    self._full_step()
                self._finish_carry()

    # --- around the work ------------------------------------------------------------------------

    def _given(self) -> list[str]:
        return [*(f"{s}_start" for s in self.states), *(f"{p.name}_all" for p in self.learnables)]

    def _to_and_fro(self) -> list[str]:
        return [
            *("g_out_all", "g_x_all"),
            *self._given(),
            *(f"g_{s}_final" for s in self.states),
            *(f"g_{s}_start" for s in self.states),
            *(f"g_{p.name}_all" for p in self.summed),
        ]

    @contextmanager
    def _function(self, name: str, arguments: list[str]) -> Iterator[None]:
        """A function; within, its numbers. Arguments are addresses (0: not there), strides in
        bytes, and whole numbers; an input that is equal at every step has a stride of 0."""
        cut = ["first_unit", "last_unit", "period", "chunks", "groups", "block"]
        work = [*cut, "size", "steps", "scratch", "constants", "initial", "x_all", "x_stride"]
        self.line("@njit(**OPTIONS)")
        with self.block(f"def {name}({', '.join([*work, *arguments])}):"):
            self.line("periods = (size + period - 1) // period")
            self.line("ZERO, ONE, MINUS_ONE = numbers(0.0), numbers(1.0), numbers(-1.0)")
            for index in range(len(self.passes.constants)):
                self.line(f"const_{index} = broadcast(constants + {index} * ITEM)")
            for p in self.learnables:
                if p.shape == "scalar":
                    self.line(f"{p.name}_now = broadcast({p.name}_all)")
            yield
        self.line()
        self.line()

    def _state_rows(self) -> list[str]:
        return [f"{s}_row" for s in self.states]

    def _backward_scratch(self, function: str) -> None:
        rows = [*self._state_rows(), *(f"carry_{s}_row" for s in self.states)]
        rows += [f"{p.name}_sum" for p in self.summed if not p.by_step]
        steps = [f"{name}_history" for name in self._histories]
        steps += [f"{p.name}_sum" for p in self.summed if p.by_step]
        self._scratch(function, rows, [*steps, "x_copy", "g_out_copy", "g_x_copy"])

    def _scratch(self, function: str, rows: list[str], steps: list[str]) -> None:
        """Where rows of a block lie in the scratch memory: some once, some for every time step."""
        self.rows[function] = (len(rows), len(steps))
        self.line("room = block * ITEM")
        for place, name in enumerate(rows):
            self.line(f"{name} = scratch + {place} * room")
        for place, name in enumerate(steps):
            self.line(f"{name} = scratch + ({len(rows)} + {place} * steps) * room")

    @contextmanager
    def _blocks(self, *, sums: bool = False, noting: str = "") -> Iterator[None]:
        """Around the work on one block: the loops over units and over a group's periods."""
        with self.block("for unit in range(first_unit, last_unit):"):
            self.line("group = unit // chunks")
            self.line("offset = (unit % chunks) * block")
            for p in self.summed if sums else ():
                self.line(f"mem.clear({p.name}_sum, {_steps_of(p)} * room)")
            if noting:
                self.line("seen = ZERO")
            self.line("first_period = group * periods // groups")
            with self.block("for number in range(first_period, (group + 1) * periods // groups):"):
                self.line("start = number * period + offset")
                self.line("n = min(block, period - offset, size - start)")
                with self.block("if n <= 0:"):
                    self.line("continue")
                self.line("width = (n + LANES - 1) // LANES * STEP")
                for p in self.learnables:
                    if p.shape == "channel":
                        self.line(f"{p.name}_row = {p.name}_all + offset * ITEM")
                yield
            for p in self.summed if sums else ():
                self._write_sums(p)
            if noting:
                with self.block("if vec.is_any(vec.ne(seen, seen)):"):
                    self.line(f"store_u8({noting} + unit, 1)")

    @contextmanager
    def _copied(self, inputs: list[str], outputs: Sequence[str] = ()) -> Iterator[None]:
        """Around the work on a block: where its rows lie, see `clifctl.kernels.cpu.staging`."""
        for name in inputs:
            stride = "x_stride" if name == "x" else "size * LOW_ITEM"
            read = f"{name}_all + start * LOW_ITEM, {stride}, steps, n, LOW_ITEM, {name == 'x'}"
            self.line(f"{name}_block, {name}_step = mem.entered({read}, {name}_copy, room)")
        places = {name: _item(name) for name in outputs}
        for name, item in places.items():
            to = f"{name}_all + start * {item}, size * {item}"
            self.line(f"{name}_block, {name}_step = mem.placed({to}, n, {name}_copy, room)")
        yield
        for name, item in places.items():
            to = f"{name}_all + start * {item}, size * {item}"
            self.line(f"mem.left({to}, steps, n, {item}, {name}_copy, room)")

    def _write_sums(self, p: Learnable) -> None:
        """One partial sum a unit: torch adds them up in their order, not that of the threads."""
        steps = _steps_of(p)
        with self.block(f"for r in range({steps}):"):
            if p.by_channel:
                to = f"g_{p.name}_all + ((group * {steps} + r) * period + offset) * ITEM"
                size = "min(block, period - offset) * ITEM"
                self.line(f"mem.copy({to}, {p.name}_sum + r * room, {size})")
                return
            self.line("total = 0.0")
            with self.block("for at in range(0, room, STEP):"):
                self.line(f"total = vec.total(load({p.name}_sum + r * room + at), total)")
            self.line(f"vec.store_double(g_{p.name}_all + (unit * {steps} + r) * 8, total)")

    # --- pieces of the work ---------------------------------------------------------------------

    def _elements(self) -> AbstractContextManager[None]:
        return self.block("for at in range(0, width, STEP):")

    def _at_step(self, *arrays: str, history: Sequence[str] = ()) -> None:
        """Where the rows of step t are."""
        for name in arrays:
            self.line(f"{name}_t = {name}_block + t * {name}_step")
        for name in history:
            self.line(f"{name}_h = {name}_history + t * room")
        for p in self.learnables:
            if p.shape == "step":
                self.line(f"{p.name}_now = broadcast({p.name}_all + t * ITEM)")
            elif p.shape == "step_channel":
                self.line(f"{p.name}_row = {p.name}_all + (t * period + offset) * ITEM")

    def _start_rows(self) -> None:
        for index, s in enumerate(self.states):
            with self.block(f"if {s}_start != 0:"):
                self.line(f"mem.fill_up({s}_row, {s}_start + start * ITEM, n, ITEM, True)")
            with self.block("else:"):
                self.line(f"{s}_initial = broadcast(initial + {index} * ITEM)")
                with self._elements():
                    self.line(f"store({s}_row + at, {s}_initial)")

    def _finish_rows(self) -> None:
        for s in self.states:
            self.line(f"mem.copy({s}_final + start * ITEM, {s}_row, n * ITEM)")

    def _run_forward_again(self) -> None:
        """The block's states before every step, and what is remembered of it."""
        again = self.passes.recompute
        self._start_rows()
        with self.block("for t in range(steps):"):
            self._at_step("x", history=self._histories)
            with self._elements():
                for s in self.states:
                    self.line(f"store({s}_h + at, load({s}_row + at))")
                self._run(again)
                for name in self.saved:
                    self.line(f"store({name}_h + at, {name})")
                self._store_states(again)

    def _start_carry(self, condition: str = "") -> None:
        for s in self.states:
            with self.block(f"if {condition}g_{s}_final != 0:"):
                final = f"g_{s}_final + start * ITEM"
                self.line(f"mem.fill_up(carry_{s}_row, {final}, n, ITEM, False)")
            with self.block("else:"):
                self.line(f"mem.clear(carry_{s}_row, width)")

    def _clear_carry(self) -> None:
        for s in self.states:
            self.line(f"mem.clear(carry_{s}_row, width)")

    def _finish_carry(self) -> None:
        for s in self.states:
            with self.block(f"if g_{s}_start != 0:"):
                self.line(f"mem.copy(g_{s}_start + start * ITEM, carry_{s}_row, n * ITEM)")

    def _step(self, step: Program) -> None:
        """Output and next states of step t."""
        with self._elements():
            self._run(step)
            self._store_states(step)
            self.line(f"write(out_t + {_LOW_AT}, {self._number(step, 'out')})")

    def _full_step(self) -> None:
        """Every gradient of step t from the carried gradients of the states after it."""
        full = self.passes.full
        self._at_step("x", "g_out", "g_x", history=self._histories)
        for p in self.summed:
            self.line(f"{p.name}_sums = {p.name}_sum{' + t * room' if p.by_step else ''}")
        with self._elements():
            self._run(full)
            for p in self.summed:
                gradient = self._number(full, gradient_name(p.name))
                sums = f"{p.name}_sums + at"
                self.line(f"store({sums}, vec.add(load({sums}), {gradient}))")
            self.line(f"store(g_x_t + at, {self._number(full, 'g_x')})")
            self._store_carry(full)

    def _run(self, program: Program) -> None:
        """A program's results under their names, for the elements at `at`."""
        learnables = {p.name: p for p in self.learnables}
        for name in program.inputs:
            if name in ("x", "g_out"):
                self.line(f"{name} = read({name}_t + {_LOW_AT})")
            elif name in learnables:
                by_channel = learnables[name].by_channel
                self.line(f"{name} = {f'load({name}_row + at)' if by_channel else f'{name}_now'}")
            elif name in self.states:
                row = "row" if program in self._forwards else "h"
                self.line(f"{name} = load({name}_{row} + at)")
            elif name in self.saved:
                self.line(f"{name} = load({name}_h + at)")
            else:  # g_next_<state>: the gradient carried back to here
                self.line(f"{name} = load(carry_{name.removeprefix('g_next_')}_row + at)")
        masks = masks_of(program)
        for i in program.instructions:
            self.line(f"{i.result} = {expression(i, masks)}")

    def _store_states(self, program: Program) -> None:
        for s in self.states:
            self.line(f"store({s}_row + at, {self._number(program, f'next_{s}')})")

    def _store_carry(self, program: Program) -> None:
        for s in self.states:
            self.line(f"store(carry_{s}_row + at, {self._number(program, gradient_name(s))})")

    def _store_bits(self, name: str, mask: str) -> None:
        self.line(f"vec.store_bits({name}_row + t * (block // 8) + at // (8 * ITEM), {mask})")

    def _number(self, program: Program, output: str) -> str:
        return number(program.outputs[output], masks_of(program))


def _steps_of(p: Learnable) -> str:
    """How many rows its sums have."""
    return "steps" if p.by_step else "1"


def _item(name: str) -> str:
    return "ITEM" if name == "g_x" else "LOW_ITEM"

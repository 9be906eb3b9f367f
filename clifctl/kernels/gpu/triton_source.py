"""The GPU printer: a program and its adjoint as the source of a Triton module.

A program of the grid owns a tile of elements and runs it through time: `forward`, `backward` (full
BPTT, or cut before given steps) and `windowed` (sliding window). A thread keeps the states of its
elements in registers, which cannot be indexed at run time, so the steps are written out: a head of
`head` steps and, for a longer sequence, a loop over segments of `length` steps after it. The way
back keeps nothing of the forward pass but x. It runs forward again, leaves the states at the
beginning of each segment in memory, and then takes the segments in reverse: states again, kept in
registers this time, then the adjoint. `windowed` keeps every state in memory instead, and has no
step written out.

Where a parameter differs by channel the tile has two dimensions, channels and the elements of a
channel; else it has one. Sums over elements are written one a program: torch adds them up.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from clifctl.kernels.gpu.triton_functions import EXPRESSIONS, HEADER
from clifctl.kernels.ir.adjoint import gradient_name
from clifctl.kernels.ir.passes import INLINE, Lines, Passes
from clifctl.kernels.ir.program import Operand, Program

# Loads are written so many steps ahead of their use: a store between them would hold them up.
AHEAD = 4
_INLINE = dict(zip(INLINE, ("0.0", "1.0", "-1.0"), strict=True))


def print_source(title: str, passes: Passes, head: int, length: int) -> str:
    """The module for the `passes` of one time step, `head` steps and segments of `length` (0: none)
    written out."""
    printer = _Printer(passes, head, length)
    printer.line(HEADER.format(title=title))
    printer.pieces()
    printer.forward()
    printer.backward()
    printer.windowed()
    return printer.text()


class _Printer(Lines):
    def __init__(self, passes: Passes, head: int, length: int) -> None:
        super().__init__()
        self.passes = passes
        self.head, self.length = head, length
        self.states, self.learnables, self.summed = passes.states, passes.learnables, passes.summed
        self.by_channel = any(p.by_channel for p in passes.learnables)

    # --- the programs of one step as functions ---------------------------------------------------

    def pieces(self) -> None:
        """`step`, `recompute`, `full` and `carry`: the compiler puts them where they are called."""
        for name, program in self._programs().items():
            self.line("@triton.jit")
            with self.block(f"def {name}({', '.join(_arguments(program))}):"):
                for i in program.instructions:
                    expression = EXPRESSIONS[i.op].format(*map(_shown, i.args))
                    self.line(f"{i.result} = {expression}")
                self.line(f"return {', '.join(map(_shown, program.outputs.values()))}")
            self.line()
            self.line()

    def _programs(self) -> dict[str, Program]:
        passes = self.passes
        programs = {"step": passes.step, "full": passes.full}
        if self.states:
            programs |= {"recompute": passes.recompute, "carry": passes.carry}
        return programs

    def _call(self, name: str, results: Sequence[str], **renamed: str) -> None:
        """Call a piece. What it returns is of the tile's shape, or made so."""
        program = self._programs()[name]
        given = ", ".join(renamed.get(a, a) for a in _arguments(program))
        self.line(f"{', '.join(results)} = {name}({given})")
        wide = _wide(program, {p.name for p in self.learnables})
        for result, operand in zip(results, program.outputs.values(), strict=True):
            if operand not in wide:
                self.line(f"{result} = {result} + blank")

    # --- the three kernels ------------------------------------------------------------------------

    def forward(self) -> None:
        finals = [f"{s}_final" for s in self.states]
        arguments = ["x_all", "out_all", *self._given(), *finals]
        with self._kernel("forward", arguments, ["segments"]):
            self._start("{}")
            self._read_once()
            self._forward_steps(self.head, "tile")
            if self.length:
                with self.block("for segment in range(segments):"):
                    self._base("segment")
                    self._forward_steps(self.length, "base")
            for s in self.states:
                self.line(f"tl.store({s}_final + tile, {s}, inside)")

    def _forward_steps(self, count: int, base: str) -> None:
        for i in self._ahead(range(count), base, "x"):
            self._read_step(f"{_step(base, i)}")
            self._call("step", ["out", *self.states], x=f"x_{i}.to(tl.float32)")
            self.line(f"tl.store(out_all + {_at(base, i)}, out, inside)")

    def backward(self) -> None:
        arguments = [*self._to_and_fro(), "kept"]
        with self._kernel("backward", arguments, ["segments", "steps", "window"], "WINDOW_MODE"):
            self._read_once()
            self._start_sums()
            if self.length and self.states:
                self._leave_states()
            self._start_carry()
            base = "tile"
            if self.length:
                with self.block("for back in range(segments):"):
                    self._base("segments - 1 - back")
                    for index, s in enumerate(self.states):
                        place = self._kept(index, "segments - 1 - back")
                        self.line(f"{s}_0 = tl.load({place}, inside, other=0.0)")
                    self._backward_steps(self.length, "base")
                # This is 0. The compiler does not know, and so does not hold the head's places in
                # registers throughout the loop.
                self.line(f"first = steps - segments * {self.length} - {self.head}")
                self.line("base = tl.cast(first, tl.int64) * stride + tile")
                base = "base"
            if self.head:
                self._start("{}_0")
                self._backward_steps(self.head, base)
            self._finish()

    def _leave_states(self) -> None:
        """The states at the beginning of every segment, in memory."""
        self._start("{}")
        self._recompute_steps(self.head, "tile")
        with self.block("for segment in range(segments - 1):"):
            self._keep("segment")
            self._base("segment")
            self._recompute_steps(self.length, "base")
        self._keep("segments - 1")
        # Another thread of the program may read what this one has written.
        self.line("tl.debug_barrier()")

    def _recompute_steps(self, count: int, base: str) -> None:
        for i in self._ahead(range(count), base, "x"):
            self._read_step(_step(base, i))
            self._call("recompute", self.states, x=f"x_{i}.to(tl.float32)")

    def _backward_steps(self, count: int, base: str) -> None:
        """A segment forward, its states kept, and back again."""
        if self.states:
            for i in self._ahead(range(count - 1), base, "x"):
                self._read_step(_step(base, i))
                names = {s: f"{s}_{i}" for s in self.states}
                nexts = [f"{s}_{i + 1}" for s in self.states]
                self._call("recompute", nexts, x=f"x_{i}.to(tl.float32)", **names)
        for i in self._ahead(range(count - 1, -1, -1), base, "x", "g_out"):
            self._read_step(_step(base, i))
            names = {name: f"{name}_{i}" for name in ("x", "g_out")}
            self._full_step(_step(base, i), base, i, names, f"_{i}")
            self._cut(_step(base, i))

    def _cut(self, t: str) -> None:
        """No gradient passes to the steps before t where the window ends, but to the start."""
        if not self.states or t == "0":
            return
        for mode, condition in (
            (1, f"(({t}) % window != 0) | ({t} == 0)"),
            (2, f"{t} < window"),
        ):
            with self.block(f"if WINDOW_MODE == {mode}:"):
                for s in self.states:
                    self.line(f"g_{s} = tl.where({condition}, g_{s}, 0.0)")

    def windowed(self) -> None:
        if not self.states:
            return
        with self._kernel("windowed", [*self._to_and_fro(), "kept"], ["steps", "window"]):
            self._read_once()
            self._start_sums()
            self._start("{}")
            with self.block("for t in range(steps):"):
                self._keep("t")
                self._load_at("t", "x")
                self._read_step("t")
                self._call("recompute", self.states, x="x_0.to(tl.float32)")
            self.line("tl.debug_barrier()")
            self._start_carry()
            with self.block("for back in range(steps):"):
                self.line("first = steps - 1 - back")
                self.line("last = tl.minimum(first + window - 1, steps - 1)")
                self._start_carry("last == steps - 1")
                with self.block("for ahead in range(last - first):"):
                    self.line("t = last - ahead")
                    self._load_at("t", "x", "g_out")
                    self._load_states("t")
                    self._read_step("t")
                    carried = {f"g_next_{s}": f"g_{s}" for s in self.states}
                    self._call(
                        "carry",
                        [f"g_{s}" for s in self.states],
                        x="x_0.to(tl.float32)",
                        g_out="g_out_0.to(tl.float32)",
                        **carried,
                    )
                self._load_at("first", "x", "g_out")
                self._load_states("first")
                self._read_step("first")
                names = {"x": "x_0", "g_out": "g_out_0"}
                self.line("base = tl.cast(first, tl.int64) * stride + tile")
                self._full_step("first", "base", 0, names, "")
            self._finish()

    # --- pieces of them ---------------------------------------------------------------------------

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
    def _kernel(
        self, name: str, arguments: list[str], numbers: list[str], *switches: str
    ) -> Iterator[None]:
        """A kernel; within, the tile's place, and which of its elements exist."""
        sizes = ["channels", "inner", "per_channel"] if self.by_channel else ["size"]
        fixed = ["BLOCK", *(["CHANNELS"] if self.by_channel else []), *switches]
        constants = [f"const_{index}" for index in range(len(self.passes.constants))]
        initial = [f"initial_{s}" for s in self.states]
        listed = [*arguments, *constants, *initial, *sizes, *numbers]
        listed += [f"{name}: tl.constexpr" for name in fixed]
        self.line("@triton.jit")
        with self.block(f"def {name}({', '.join(listed)}):"):
            self.line("program = tl.program_id(0)")
            if self.by_channel:
                self.line("c_tiles = tl.cdiv(channels, CHANNELS)")
                self.line("row = tl.cast(program // c_tiles, tl.int64)")
                self.line("c = program % c_tiles * CHANNELS + tl.arange(0, CHANNELS)[:, None]")
                self.line("e = row * BLOCK + tl.arange(0, BLOCK)[None, :]")
                self.line("known = c < channels")
                self.line("inside = known & (e < per_channel)")
                self.line("tile = (e // inner * channels + c) * inner + e % inner")
                self.line("stride = tl.cast(per_channel, tl.int64) * channels")
                self.line("blank = tl.zeros((CHANNELS, BLOCK), tl.float32)")
            else:
                self.line("row = tl.cast(program, tl.int64)")
                self.line("tile = row * BLOCK + tl.arange(0, BLOCK)")
                self.line("inside = tile < size")
                self.line("stride = tl.cast(size, tl.int64)")
                self.line("blank = tl.zeros((BLOCK,), tl.float32)")
            yield
        self.line()
        self.line()

    def _base(self, segment: str) -> None:
        self.line(f"first = {self.head} + ({segment}) * {self.length}")
        self.line("base = tl.cast(first, tl.int64) * stride + tile")

    def _ahead(self, order: range, base: str, *arrays: str) -> Iterator[int]:
        """The steps in `order`, each after the loads of `<array>_<step>` for some steps ahead."""
        for place, i in enumerate(order):
            for j in order[:AHEAD] if place == 0 else order[place + AHEAD - 1 : place + AHEAD]:
                for name in arrays:
                    self.line(
                        f"{name}_{j} = tl.load({name}_all + {_at(base, j)}, inside, other=0.0)"
                    )
            yield i

    def _load_at(self, t: str, *arrays: str) -> None:
        for name in arrays:
            place = f"{name}_all + (tile + tl.cast({t}, tl.int64) * stride)"
            self.line(f"{name}_0 = tl.load({place}, inside, other=0.0)")

    def _load_states(self, t: str) -> None:
        for index, s in enumerate(self.states):
            self.line(f"{s} = tl.load({self._kept(index, t)}, inside, other=0.0)")

    def _kept(self, index: int, number: str) -> str:
        """The place of a state that was left in memory: `[number, state, element]`."""
        row = f"tl.cast({number}, tl.int64) * {len(self.states)} + {index}"
        return f"kept + (({row}) * stride + tile)"

    def _keep(self, number: str) -> None:
        for index, s in enumerate(self.states):
            self.line(f"tl.store({self._kept(index, number)}, {s}, inside)")

    def _read_once(self) -> None:
        for p in self.learnables:
            if p.shape == "scalar":
                self.line(f"{p.name} = tl.load({p.name}_all)")
            elif p.shape == "channel":
                self.line(f"{p.name} = tl.load({p.name}_all + c, known, other=0.0)")

    def _read_step(self, t: str) -> None:
        for p in self.learnables:
            if p.shape == "step":
                self.line(f"{p.name} = tl.load({p.name}_all + {t})")
            elif p.shape == "step_channel":
                self.line(
                    f"{p.name} = tl.load({p.name}_all + ({t}) * channels + c, known, other=0.0)"
                )

    def _start(self, pattern: str) -> None:
        for s in self.states:
            with self.block(f"if {s}_start is not None:"):
                self.line(f"{pattern.format(s)} = tl.load({s}_start + tile, inside, other=0.0)")
            with self.block("else:"):
                self.line(f"{pattern.format(s)} = blank + initial_{s}")

    def _start_carry(self, condition: str = "") -> None:
        for s in self.states:
            with self.block(f"if g_{s}_final is not None:"):
                self.line(f"g_{s} = tl.load(g_{s}_final + tile, inside, other=0.0)")
                if condition:
                    self.line(f"g_{s} = tl.where({condition}, g_{s}, 0.0)")
            with self.block("else:"):
                self.line(f"g_{s} = blank")

    def _start_sums(self) -> None:
        for p in self.summed:
            if not p.by_step:
                self.line(f"{p.name}_sum = blank")

    def _full_step(self, t: str, base: str, i: int, raw: dict[str, str], suffix: str) -> None:
        """Every gradient of step t from the carried gradients of the states after it."""
        renamed = {name: f"{given}.to(tl.float32)" for name, given in raw.items()}
        renamed |= {s: f"{s}{suffix}" for s in self.states}
        renamed |= {f"g_next_{s}": f"g_{s}" for s in self.states}
        self._call("full", list(self.passes.full.outputs), **renamed)
        self.line(f"tl.store(g_x_all + {_at(base, i)}, g_x, inside)")
        for p in self.summed:
            if p.by_step:
                self._write_sum(p.name, gradient_name(p.name), f"row * steps + {t}", p.by_channel)
            else:
                self.line(f"{p.name}_sum += {gradient_name(p.name)}")

    def _finish(self) -> None:
        for s in self.states:
            with self.block(f"if g_{s}_start is not None:"):
                self.line(f"tl.store(g_{s}_start + tile, g_{s}, inside)")
        for p in self.summed:
            if not p.by_step:
                self._write_sum(p.name, f"{p.name}_sum", "row", p.by_channel)

    def _write_sum(self, name: str, value: str, row: str, by_channel: bool) -> None:
        """The sum of a tile into `[row, channel]`, or into its program's place."""
        value = f"tl.where(inside, {value}, 0.0)"
        if by_channel:
            total = f"tl.sum({value}, 1, keep_dims=True)"
            self.line(f"tl.store(g_{name}_all + (({row}) * channels + c), {total}, known)")
            return
        # One program a row, also where tiles lie side by side in the channels.
        row = row.replace("row", "tl.cast(program, tl.int64)")
        total = f"tl.sum(tl.sum({value}, 1), 0)" if self.by_channel else f"tl.sum({value}, 0)"
        self.line(f"tl.store(g_{name}_all + ({row}), {total})")


def _arguments(program: Program) -> list[str]:
    """Inputs, and the constants that are used."""
    used = {arg for i in program.instructions for arg in i.args} | {*program.outputs.values()}
    constants = {a for a in used if isinstance(a, str) and a.startswith("const_")}
    return [*program.inputs, *sorted(constants, key=lambda name: int(name.removeprefix("const_")))]


def _wide(program: Program, learnables: set[str]) -> set[Operand]:
    """The values of `program` that have the tile's shape: all but what follows from learnables and
    constants alone."""
    wide: set[Operand] = {name for name in program.inputs if name not in learnables}
    for i in program.instructions:
        if any(arg in wide for arg in i.args):
            wide.add(i.result)
    return wide


def _shown(operand: Operand) -> str:
    return operand if isinstance(operand, str) else _INLINE[operand]


def _at(base: str, i: int) -> str:
    """The place of the tile at step `i` from `base`."""
    return f"({base} + {i} * stride)" if i else base


def _step(base: str, i: int) -> str:
    """The number of the step `i` from `base`."""
    return str(i) if base == "tile" else f"first + {i}"

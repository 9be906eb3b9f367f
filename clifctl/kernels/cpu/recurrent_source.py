"""The CPU printer of a neuron whose output feeds back to its input: `clifctl.kernels.cpu
.numba_source`, with the product of matrix and output between one time step and the next.

A block is whole samples, as no sample feeds another: it goes through all of time by itself. The
forward pass adds what is fed back to `x`, in its place; the way back adds to `g_out` what the
gradient of the next step's input gives the output.
"""

from clifctl.kernels.cpu.numba_source import Printer, Source
from clifctl.kernels.cpu.text import head
from clifctl.kernels.ir.passes import Passes

_IMPORT = "from clifctl.kernels.cpu import feedback as back\n\n"


def print_recurrent_source(title: str, passes: Passes, dtype: str) -> Source:
    """The module for the `passes` of one time step, in `float32` or `float64`."""
    printer = _RecurrentPrinter(passes, f"back.add_{'floats' if dtype == 'float32' else 'doubles'}")
    printer.line(head(title, dtype))
    printer.line(_IMPORT)
    printer.forward()
    printer.backward()
    return printer.source()


class _RecurrentPrinter(Printer):
    def __init__(self, passes: Passes, add: str) -> None:
        super().__init__(passes)
        self._add = add

    def forward(self) -> None:
        step = self.passes.step
        finals = [f"{s}_final" for s in self.states]
        fed = ["out_start", "matrix_all", "sample_row"]
        with self._function("forward", ["out_all", *self._given(), *finals, *fed]):
            self._scratch("forward", self._state_rows(), ["x_copy", "out_copy"])
            with self._blocks(), self._copied(inputs=["x"], outputs=["out"]):
                self._start_rows()
                with self.block("for t in range(steps):"):
                    self._at_step("x", "out")
                    with self.block("if t > 0:"):
                        self._feed("x_t", "out_t - out_step")
                    with self.block("elif out_start != 0:"):
                        self._feed("x_t", "out_start + start * ITEM")
                    self._step(step)
                self._finish_rows()
                self.line("mem.left(x_all + start * ITEM, x_stride, steps, n, ITEM, x_copy, room)")

    def backward(self) -> None:
        with self._function("backward", [*self._to_and_fro(), "matrix_all", "sample_row"]):
            self._backward_scratch("backward")
            with self._blocks(sums=True), self._copied(["x", "g_out"], ["g_x"]):
                self._run_forward_again()
                self._start_carry()
                with self.block("for t in range(steps - 1, -1, -1):"):
                    with self.block("if t + 1 < steps:"):
                        later = "g_x_block + (t + 1) * g_x_step"
                        self._feed("g_out_block + t * g_out_step", later)
                    self._full_step()
                self._finish_carry()

    def _feed(self, to: str, given: str) -> None:
        self.line(f"{self._add}({to}, {given}, matrix_all, n // sample_row, sample_row)")

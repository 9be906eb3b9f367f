"""Truncated BPTT: how far back the gradient of a spike reaches, in three modes.

    sliding   the gradient of the output of step t' is taken from the state detached after step
              t' - k: it reaches the last k steps (the mode that fits the paper's k)
    chunked   the state is detached every k steps
    prefix    temporal paths exist inside the first k steps only

The initial state is an input of the first step, and no mode detaches it.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from clifctl.errors import NeuronError, unknown_name

WindowMode = Literal["sliding", "chunked", "prefix"]
WINDOW_MODES: tuple[str, ...] = get_args(WindowMode)


@dataclass(frozen=True)
class Window:
    """A window of k steps, narrower than the sequence."""

    k: int
    mode: WindowMode

    @property
    def sliding(self) -> bool:
        """Whether each output has a window of its own; the other modes cut the sequence."""
        return self.mode == "sliding" and self.k > 1

    def cut_before(self, t: int) -> bool:
        """Whether the state that enters step t (from 0) is detached; for a window that cuts."""
        if t == 0:
            return False
        return t >= self.k if self.mode == "prefix" else t % self.k == 0


def resolve_window(k: int | None, mode: str, steps: int) -> Window | None:
    """The window for a sequence of `steps`; None is full BPTT, as k = T is.

    Raises NeuronError for a window outside 1..T or an unknown mode.
    """
    if mode not in WINDOW_MODES:
        raise NeuronError(unknown_name("window mode", mode, WINDOW_MODES))
    if k is None:
        return None
    if not hasattr(k, "__index__"):
        raise NeuronError(f"window must be a whole number of time steps, got {k!r}")
    if not 1 <= k <= steps:
        raise NeuronError(f"window must be between 1 and T = {steps}, got {k}")
    return None if k == steps else Window(k, mode)  # type: ignore[arg-type]

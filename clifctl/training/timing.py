"""Where the time of training goes, without waiting for the device."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from clifctl.devices import is_gpu
from clifctl.results.train import TimeShares

PHASES = ("data", "forward", "backward", "optimizer", "rest")


@dataclass
class PhaseClock:
    """Seconds of each phase of the steps. `mark` gives the time since the last mark to a phase.

    On a GPU marks are events in its stream: they cost no wait, and are read by `read`, when the
    GPU is waited for anyway. On the CPU they are readings of the clock.
    """

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    _last: float = 0.0
    _events: list[tuple[str, torch.cuda.Event]] = field(default_factory=list)

    def start(self) -> None:
        """Count from now: what lies before belongs to no phase."""
        if is_gpu(self.device):
            self.read()
            self._events = [("", self._event())]
        else:
            self._last = time.perf_counter()

    def mark(self, phase: str) -> None:
        """The time since the last mark went into `phase`, one of PHASES."""
        if is_gpu(self.device):
            self._events.append((phase, self._event()))
            return
        now = time.perf_counter()
        self.seconds[phase] += now - self._last
        self._last = now

    def read(self) -> Mapping[str, float]:
        """Seconds of each phase so far. Waits for a GPU."""
        if len(self._events) > 1:
            self._events[-1][1].synchronize()
            for (_, before), (phase, after) in zip(self._events, self._events[1:], strict=False):
                self.seconds[phase] += before.elapsed_time(after) / 1000.0
            self._events = self._events[-1:]
        return self.seconds

    def reset(self) -> None:
        """Forget everything, for a new epoch."""
        self.read()
        self.seconds = dict.fromkeys(PHASES, 0.0)

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event


def shares(seconds: Mapping[str, float]) -> TimeShares:
    """Each phase's share of all of them [%]."""
    total = sum(seconds.values()) or 1.0
    return TimeShares(**{f"{phase}_percent": 100 * seconds[phase] / total for phase in PHASES})

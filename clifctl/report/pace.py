"""How fast a run goes, and how long it will still take."""

from collections import deque

WINDOW_S = 20.0


class Pace:
    """Training speed over the last seconds of training, evaluation not counted.

    Whoever uses it tells it of every step and epoch with the time (s, from any clock), and now and
    then (`mark`) how many samples the epoch has seen. The first step of all is left out: it
    compiles kernels.
    """

    def __init__(self, *, epochs: int, steps: int, now: float) -> None:
        self._epochs, self._steps = epochs, steps
        self._previous = now
        self._trained_s = 0.0
        self._done = 0  # steps of this run, over all epochs
        self._samples_before = 0  # of the epochs that this run has finished
        self._place = (1, 0)
        self._test_s: float | None = None
        self._marks: deque[tuple[float, int, int]] = deque()

    def stepped(self, now: float, epoch: int, step: int) -> None:
        """Step `step` of `epoch` is done."""
        self._trained_s += now - self._previous
        self._previous = now
        self._done += 1
        self._place = (epoch, step)

    def mark(self, samples: int) -> None:
        """The epoch has seen `samples` so far."""
        self._marks.append((self._trained_s, self._done, self._samples_before + samples))
        while len(self._marks) > 2 and self._trained_s - self._marks[1][0] >= WINDOW_S:
            self._marks.popleft()

    def finished_epoch(self, now: float, samples: int) -> None:
        """The epoch, which saw `samples`, has been evaluated."""
        self._test_s = now - self._previous
        self._previous = now
        self._samples_before += samples
        self._place = (self._place[0] + 1, 0)

    @property
    def samples_per_second(self) -> float | None:
        """Of training; None until two marks are known."""
        seconds, _, samples = self._since_first_mark()
        return samples / seconds if seconds > 0 else None

    @property
    def left_s(self) -> float | None:
        """Seconds until the last epoch is evaluated; None as long as nothing is known.

        Until an epoch has been evaluated, evaluation counts as nothing.
        """
        seconds, steps, _ = self._since_first_mark()
        if seconds <= 0 or steps == 0:
            return None
        epoch, step = self._place
        epochs = self._epochs - epoch + 1
        return max(0, epochs * self._steps - step) * seconds / steps + epochs * (self._test_s or 0)

    def _since_first_mark(self) -> tuple[float, int, int]:
        if not self._marks:
            return 0.0, 0, 0
        first, last = self._marks[0], self._marks[-1]
        return last[0] - first[0], last[1] - first[1], last[2] - first[2]

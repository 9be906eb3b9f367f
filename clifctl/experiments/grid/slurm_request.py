"""What each job of a grid asks Slurm for, as a person types it: `partition=gpu,time=4:00:00`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from clifctl.devices import CPU, GPU
from clifctl.errors import UsageError, unknown_name
from clifctl.experiments.run.execution import Execution, ExecutionOptions
from clifctl.kernels import resolve_kernels
from clifctl.training.device import device_named, resolve_threads

# Options of sbatch, without their dashes. Those that would start several processes, or something
# else than a trial, are not among them.
_OF_SBATCH: tuple[str, ...] = (
    *("account", "comment", "constraint", "cpus-per-gpu", "cpus-per-task", "exclude"),
    *("gpus", "gpus-per-node", "gpus-per-task", "gres", "hint", "licenses"),
    *("mail-type", "mail-user", "mem", "mem-per-cpu", "mem-per-gpu", "nice"),
    *("nodelist", "partition", "prefer", "qos", "reservation", "time"),
    *("tmp", "wckey"),
)
# Of clifctl: jobs of an array that run at once, and seconds before the end of `time` at which a run
# is told to save.
AT_ONCE, SIGNAL = "at-once", "signal"
KEYS = (*_OF_SBATCH, AT_ONCE, SIGNAL)
# Every partition has such jobs, and a run that takes longer goes on in the next.
TIME = "1:00:00"
_SIGNAL_SECONDS = 90
_DAYS, _CLOCK = r"(?P<d>\d+)-(?P<h>\d+)", r"(?P<m>\d+):(?P<s>\d+)"
_TIMES = (r"(?P<m>\d+)", _CLOCK, rf"(?P<h>\d+):{_CLOCK}")
_DAY_TIMES = (_DAYS, rf"{_DAYS}:(?P<m>\d+)", rf"{_DAYS}:{_CLOCK}")
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_TARGETS = {CPU: "numba", GPU: "triton"}


@dataclass(frozen=True)
class SlurmRequest:
    """What a job asks for: `options` of sbatch, of which `seconds` is its time. At most `at_once`
    jobs of an array run at once (None: all), and a run is told to save `signal_seconds` before the
    end."""

    options: Mapping[str, str] = field(default_factory=lambda: {"time": TIME})
    seconds: int = 3_600
    signal_seconds: int = _SIGNAL_SECONDS
    at_once: int | None = None

    @classmethod
    def read(cls, option: str, entries: Sequence[str]) -> "SlurmRequest":
        """The request of `KEY=VALUE` entries. Raises UsageError."""
        given: dict[str, str] = {"time": TIME}
        for entry in entries:
            key, equals, value = (part.strip() for part in entry.partition("="))
            key = key.removeprefix("--").replace("_", "-")
            if key not in KEYS:
                raise UsageError(
                    f"{option}: {unknown_name('key', key, KEYS)}",
                    hint=f"the options of sbatch, as in {option} partition=gpu,time=4:00:00,gpus=1",
                )
            if not (equals and value and value.isprintable()):
                raise UsageError(f"{option}: '{entry}' is not KEY=VALUE", hint=f"as in {key}=...")
            given[key] = value
        seconds = _seconds(option, given["time"])
        at_once = _number(option, AT_ONCE, given.pop(AT_ONCE, None))
        told = _number(option, SIGNAL, given.pop(SIGNAL, None))
        if told is not None and told >= seconds:
            raise UsageError(
                f"{option}: {SIGNAL}={told} seconds before the end is before the beginning of a "
                f"job with time={given['time']}",
                hint=f"without {SIGNAL} it is {_SIGNAL_SECONDS} seconds, or a quarter of the time",
            )
        return cls(given, seconds, told or min(_SIGNAL_SECONDS, seconds // 4), at_once)

    @property
    def wants_gpu(self) -> bool:
        """Whether a job gets a GPU."""
        asked = ("gpus", "gpus-per-node", "gpus-per-task")
        return any(key in self.options for key in asked) or "gpu" in self.options.get("gres", "")

    def on_a_node(self, options: ExecutionOptions) -> ExecutionOptions:
        """`options` with what is chosen by itself named for the machine of a job: a trial's name
        says what it is computed on, and a job that cannot do so has to tell."""
        device = options.device
        if device == "auto":
            device = GPU if self.wants_gpu else CPU
        target = options.target
        if target == "auto":
            target = _TARGETS.get(device.partition(":")[0], target)
        return replace(options, device=device, target=target)

    def execution(self, options: ExecutionOptions) -> Execution:
        """What `options` come to there. Raises UsageError, TargetError."""
        there = self.on_a_node(options)
        device = device_named(there.device)
        kernels = resolve_kernels(there.target, there.connections, device)
        return Execution(there, device, kernels, resolve_threads(there.threads))


def _seconds(option: str, text: str) -> int:
    """A time as sbatch takes it. Raises UsageError."""
    for pattern in (*_TIMES, *_DAY_TIMES):
        if match := re.fullmatch(pattern, text, re.ASCII):
            parts = match.groupdict()
            seconds = sum(_SECONDS[unit] * int(value or 0) for unit, value in parts.items())
            if seconds >= 60:
                return seconds
            break
    raise UsageError(
        f"{option}: time={text} is not a time of at least a minute",
        hint="minutes, hours:minutes:seconds, or days-hours: time=90, time=4:00:00, time=2-12",
    )


def _number(option: str, key: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise UsageError(f"{option}: {key}={text} is not a whole number from 1 on", hint=f"{key}=8")
    return int(text)

"""A call from Python: what clifctl sets for a whole process is put back for the caller, notices go
to Python's logging, and errors speak of arguments where the command line has options."""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from clifctl import trust
from clifctl.devices import CPU, GPU
from clifctl.errors import ClifctlError, UntrustedFile, UsageError
from clifctl.notices import heard_by
from clifctl.report import notebook

LOG = logging.getLogger("clifctl")
REPORTS = notebook.REPORTS  # importing it has given these results their tables


@dataclass(frozen=True)
class Trusted:
    """Files of a person's own that may be run: those that were `named` as FILE.py:NAME, and those
    of absolute paths that lie beside a recipe."""

    named: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def also(self, named: Iterable[str]) -> "Trusted":
        """These and others, which must be FILE.py:NAME. Raises UsageError."""
        more = (named,) if isinstance(named, str) else tuple(named)
        for reference in more:
            if not trust.is_file_reference(reference):
                raise UsageError(
                    f"trust = {reference}: must be FILE.py:NAME",
                    hint="neurons of clifctl and of installed packages need none",
                )
        return Trusted((*self.named, *more), self.files)


@dataclass(frozen=True)
class _Process:
    """What torch keeps for a whole process and clifctl sets."""

    threads: int
    dtype: torch.dtype
    generator: Tensor
    generators_of_gpus: tuple[Tensor, ...]
    deterministic: tuple[bool, bool, bool]
    cudnn: tuple[bool, bool, bool]
    tf32: bool

    @classmethod
    def now(cls) -> "_Process":
        cudnn = torch.backends.cudnn
        return cls(
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.get_rng_state(),
            tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_initialized() else (),
            (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
                _memory().fill_uninitialized_memory,
            ),
            (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32),
            torch.backends.cuda.matmul.allow_tf32,
        )

    def put_back(self) -> None:
        """Let everything be as it was."""
        cudnn = torch.backends.cudnn
        torch.set_num_threads(self.threads)
        torch.set_default_dtype(self.dtype)
        torch.set_rng_state(self.generator)
        if self.generators_of_gpus:
            torch.cuda.set_rng_state_all(list(self.generators_of_gpus))
        wanted, warn_only, fill = self.deterministic
        torch.use_deterministic_algorithms(wanted, warn_only=warn_only)
        _memory().fill_uninitialized_memory = fill
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = self.cudnn
        torch.backends.cuda.matmul.allow_tf32 = self.tf32


def _memory() -> Any:
    return torch.utils.deterministic


@dataclass
class Session:
    """Work for a caller, in one piece or in several: whenever it is gone on with, it is as it was
    left, and so is the caller's process between the pieces."""

    trusted: Trusted = field(default_factory=Trusted)
    _left: _Process | None = None

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Within it the process is the session's."""
        callers = _Process.now()
        with ExitStack() as until_left:
            until_left.enter_context(in_pythons_words())
            until_left.enter_context(trust.only(self.trusted.named, self.trusted.files))
            until_left.enter_context(heard_by(LOG.warning, LOG.info))
            until_left.enter_context(torch.inference_mode(False))
            until_left.enter_context(torch.enable_grad())
            for device in (CPU, GPU):
                if torch.is_autocast_enabled(device):
                    until_left.enter_context(torch.autocast(device, enabled=False))
            if torch.get_default_device().type != CPU:
                until_left.enter_context(torch.device(CPU))
            if self._left is None:
                torch.set_default_dtype(torch.float32)
            else:
                self._left.put_back()
            try:
                yield
            finally:
                self._left = _Process.now()
                callers.put_back()


@contextmanager
def session(trusted: Trusted | None = None) -> Iterator[None]:
    """Within it, work that is done in one piece."""
    with Session(trusted or Trusted()).going_on():
        yield


@contextmanager
def in_pythons_words() -> Iterator[None]:
    """An error that leaves it names arguments in the place of the options that give them."""
    try:
        yield
    except ClifctlError as error:
        error.message = _without_dashes(error.message)
        hint = error.hint
        if hint is None and isinstance(error, UntrustedFile):
            hint = f"if you trust that file: trust=[{error.reference!r}]"
        error.hint = None if hint is None else _without_dashes(hint)
        error.args = (error.message,)
        error.__notes__ = [] if error.hint is None else [f"hint: {error.hint}"]
        raise


_OPTION = re.compile(r"--([a-z][a-z-]*)")


def _without_dashes(text: str) -> str:
    """`text` with `changed_file` for `--changed-file`; a whole command stays one."""
    if "clifctl " in text:
        return text
    return _OPTION.sub(lambda option: option[1].replace("-", "_"), text)

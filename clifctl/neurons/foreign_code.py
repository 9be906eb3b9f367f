"""Code of other people, a file or an installed package, run: it may print, and fail in any way."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from clifctl.errors import ClifctlError, NeuronError

# How torch says that the CPU's memory is full, for which a step is not to blame.
_FULL = "allocate memory"
# Where a signal is from that nothing more has to be computed again: no error at all.
_CHECKPOINTS = "torch.utils.checkpoint"


@contextmanager
def foreign_code(where: str, *, hint: str | None = None) -> Iterator[None]:
    """Raise NeuronError for whatever goes wrong within, `sys.exit` included: `where` says where."""
    try:
        yield
    except (ClifctlError, KeyboardInterrupt, torch.OutOfMemoryError):
        raise
    except BaseException as broken:
        if isinstance(broken, RuntimeError) and _FULL in str(broken):
            raise
        if type(broken).__module__ == _CHECKPOINTS:
            raise
        raise NeuronError(f"{where}: {_what(broken)}", hint=hint or _SEE) from broken


_SEE = "--debug shows where in its code"


def _what(broken: BaseException) -> str:
    text = " ".join(str(broken).split())
    return f"{type(broken).__name__}: {text}" if text else type(broken).__name__


def print_to_stderr(*values: Any, **options: Any) -> None:
    """The `print` of a person's own file: stdout carries a command's result alone."""
    print(*values, **{**options, "file": options.get("file") or sys.stderr})  # noqa: T201

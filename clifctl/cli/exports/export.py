"""What a target of `convert --to` says of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clifctl.errors import RunFailed


@dataclass(frozen=True)
class Export:
    """A target of `convert --to`.

    `help` says in a sentence or two what becomes of the net. A file is called as its run and
    checkpoint with `suffix` behind it, and may have any of `endings`. `options` is a function that
    is never called: its signature are the options that this target alone has. `run` takes the
    checkpoint, `clifctl.experiments.convert.ConvertOptions` and their values, writes the file and
    returns a result, of which `report` makes a report; `like` makes of their values a
    result that has everything. `failure` is the error to end with after the
    report is printed, None for a result that holds.
    """

    help: str
    suffix: str
    endings: tuple[str, ...]
    options: Callable[..., None]
    run: Callable[..., Any]
    report: Callable[[Any], Any]
    like: Callable[..., Any]
    failure: Callable[[Any], RunFailed | None] = lambda result: None

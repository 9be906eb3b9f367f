"""What `runs export` returns."""

from dataclasses import dataclass
from typing import Any, ClassVar

from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class RunExport(Result):
    """The metrics of a run: the records of its epochs and of its steps, each as in `metrics.jsonl`,
    with the keys of what is nested behind a dot. `steps_per_epoch` is None where nothing says it.
    `folder` is where TensorBoard's files were written, None for any other target."""

    schema: ClassVar[str] = "clifctl.runs.export/1"

    run: str
    to: str
    folder: str | None
    steps_per_epoch: int | None
    epochs: tuple[dict[str, Any], ...]
    steps: tuple[dict[str, Any], ...]

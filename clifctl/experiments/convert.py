"""`convert`: what it takes, whatever a net is converted to; `exports/` has a file a target."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from clifctl.experiments.checkpoints import CheckpointOptions, OpenedCheckpoint, open_checkpoint
from clifctl.files import require_file_possible


@dataclass(frozen=True)
class ConvertOptions:
    """How a checkpoint is opened, and where the net goes, whatever it is converted to."""

    out: Path
    overwrite: bool = False
    checkpoint: CheckpointOptions = field(default_factory=CheckpointOptions)
    say: Callable[[str], None] = field(default=lambda line: None)

    def opened(self, path: Path) -> OpenedCheckpoint:
        """The checkpoint `path`, once it is sure that the net can be written. Raises OutputError,
        CheckpointError."""
        require_file_possible(self.out, overwrite=self.overwrite)
        return open_checkpoint(path, self.checkpoint)

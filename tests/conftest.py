import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clifctl.cli.app import run

ROOT = Path(__file__).resolve().parent.parent
# A run that takes about a second: two epochs of a tiny net on the real digits.
TINY = ["train.epochs=2", "train.batch_size=256", "model.channels=[2,2,2,2,4]", "timesteps=2"]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def clifctl(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Ran]:
    """Run the command line in an empty folder: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return invoke


@pytest.fixture
def tiny() -> list[str]:
    return list(TINY)


@pytest.fixture
def root() -> Path:
    return ROOT

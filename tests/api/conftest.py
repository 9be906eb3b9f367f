from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clifctl as package

# The run of `tiny` that the examples read: one epoch into `run`.
OVERRIDES = ["train.epochs=1", "train.batch_size=256", "model.channels=[2,2,2,2,4]", "timesteps=2"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def recipe() -> package.Recipe:
    """Two epochs of a tiny net on the real digits."""
    return package.load_recipe("digits_snn5", *OVERRIDES, **{"train.epochs": 2})


@pytest.fixture
def run(clifctl: Callable[..., Any], tmp_path: Path) -> Path:
    """The folder of a finished run of one epoch, which the command has written here."""
    assert clifctl("train", "digits_snn5", *OVERRIDES, "--out", "run").code == 0
    return tmp_path / "run"

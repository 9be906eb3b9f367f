"""What the environment says to numba, where it is wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba.core.config
import pytest

from clifctl.errors import TargetError
from clifctl.kernels import resolve_target


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After a test numba reads the environment as it was before it."""
    yield
    monkeypatch.undo()
    config: Any = numba.core.config
    config.reload_config()


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("NUMBA_NUM_THREADS=0", "NUMBA_NUM_THREADS=0: must be 1 or more"),
        ("NUMBA_NUM_THREADS=-3", "NUMBA_NUM_THREADS=-3: must be 1 or more"),
        ("NUMBA_NUM_THREADS=abc", "NUMBA_NUM_THREADS=abc: cannot be read"),
        ("NUMBA_THREADING_LAYER=xyz", "NUMBA_THREADING_LAYER=xyz: must be one of"),
        ("NUMBA_DISABLE_JIT=1", "NUMBA_DISABLE_JIT=1: the kernels have to be compiled"),
        ("NUMBA_OPT=5", "NUMBA_OPT=5: cannot be read"),
        ("NUMBA_BOUNDSCHECK=perhaps", "NUMBA_BOUNDSCHECK=perhaps: cannot be read"),
    ],
)
def test_settings_that_numba_cannot_be_used_with_are_refused(
    monkeypatch: pytest.MonkeyPatch, setting: str, part: str
) -> None:
    monkeypatch.setenv(*setting.split("="))
    for requested in ("auto", "numba"):
        with pytest.raises(TargetError, match=f"^kernel target 'numba' cannot be used: {part}"):
            resolve_target(requested, "cpu")
    assert resolve_target("reference", "cpu").name == "reference"


def test_settings_that_are_good_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in ("NUMBA_NUM_THREADS=2", "NUMBA_OPT=max", "NUMBA_THREADING_LAYER=omp"):
        monkeypatch.setenv(*setting.split("="))
    assert resolve_target("auto", "cpu").name == "numba"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("disable_jit: 1\n", "NUMBA_DISABLE_JIT=1"),
        ("{", "its settings .*numba_config.yaml.* cannot be read"),
    ],
)
def test_a_file_of_numba_in_the_working_folder_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, part: str
) -> None:
    (tmp_path / ".numba_config.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError, match=part):
        resolve_target("numba", "cpu")

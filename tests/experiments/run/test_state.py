"""How a run stands is read from its folder, whatever became of its process."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clifctl.experiments.run.state import Standing, note_end, standing_of
from clifctl.training.lock import LOCK, OWNER, locked


@pytest.fixture
def killed(root: Path, tmp_path: Path) -> Path:
    """A run whose process is gone, of a clifctl that did not note how a run ends."""
    kept = root / "tests" / "data" / "kept" / "numerics-3" / "interrupted"
    return Path(shutil.copytree(kept, tmp_path / "run"))


def test_a_killed_run_is_interrupted_and_nothing_says_where(killed: Path) -> None:
    before = sorted(path.name for path in killed.iterdir())
    assert standing_of(killed) == Standing("interrupted")
    # What a killed process leaves: the lock, and the name of a process that is no more.
    (killed / LOCK).touch()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, check=True)  # fmt: skip
    owners: list[Any] = [{"pid": int(gone.stdout), "host": socket.gethostname()}, {"pid": "x"}, []]
    for owner in owners:
        (killed / OWNER).write_text(json.dumps(owner))
        assert standing_of(killed) == Standing("interrupted")
    assert sorted(path.name for path in killed.iterdir()) == sorted([*before, LOCK, OWNER])


def test_a_run_is_running_while_its_lock_is_held(killed: Path) -> None:
    with locked(killed):
        assert standing_of(killed) == Standing("running")
        # That of another machine, on a disk that both have.
        (killed / OWNER).write_text(json.dumps({"pid": os.getpid(), "host": "elsewhere"}))
        assert standing_of(killed) == Standing("running")
    assert standing_of(killed) == Standing("interrupted")


def test_a_run_is_done_when_its_result_is_there(killed: Path) -> None:
    (killed / "result.json").touch()
    assert standing_of(killed) == Standing("interrupted")
    (killed / "result.json").write_text("{}")
    assert standing_of(killed) == Standing("done")


def test_why_a_run_failed_is_told_by_its_manifest_or_by_its_trials_record(killed: Path) -> None:
    record = killed.with_name("run.json")
    record.write_text(json.dumps({"state": "lost", "problem": "its worker is gone, 2 times"}))
    assert standing_of(killed) == Standing("lost", problem="its worker is gone, 2 times")
    record.write_text("[")
    assert standing_of(killed) == Standing("interrupted")
    note_end(killed, Standing("failed", epoch=1, step=3, problem="a full disk"))
    assert standing_of(killed) == Standing("failed", 1, 3, "a full disk")
    manifest = killed / "manifest.json"
    document = json.loads(manifest.read_text())
    for ended in (5, {"state": "happy"}, {"state": ["failed"]}):
        manifest.write_text(json.dumps({**document, "ended": ended}))
        assert standing_of(killed) == Standing("interrupted")
    odd = {"state": "failed", "epoch": "x", "problem": [1]}
    manifest.write_text(json.dumps({**document, "ended": odd}))
    assert standing_of(killed) == Standing("failed")

"""The kernel cache as processes see it that start at once, or have no place of their own."""

import os
import subprocess
import sys
from pathlib import Path

RUN = """
import sys, torch
from clifctl.kernels import scan
from clifctl.neurons import NEURONS, Hyperparameters, Neuron, State
torch.manual_seed(0)
x = torch.randn(6, 7, 300, requires_grad=True)
out, _ = scan(x, None, NEURONS["lif"].parameters(tau=1.9))
out.sum().backward()
print(float(out.detach().sum()), float(x.grad.double().sum()))
"""


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path), **more}


def test_processes_that_start_at_once_share_the_cache(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RUN],
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=600) for process in processes]
    assert all(process.returncode == 0 for process in processes), results
    assert len({out for out, _ in results}) == 1
    assert all(err == "" for _, err in results)
    sources = list((tmp_path / "clifctl" / "kernels").glob("*.py"))
    assert len(sources) == 1
    assert "def backward(" in sources[0].read_text()


def test_a_home_that_cannot_be_written_is_replaced_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "temporary").mkdir()
    more = {"XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "temporary")}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env=environment(tmp_path, **more),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("kernels cannot be cached") == 1
    assert "XDG_CACHE_HOME" in done.stderr
    assert list((tmp_path / "temporary").glob("clifctl*")) == []

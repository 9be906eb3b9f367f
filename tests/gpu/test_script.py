"""benchmarks/gpu.sh without a GPU: what it would run, and that no step stops the next."""

import os
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from clifctl.cli.app import app

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.sh"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="a source archive has no benchmarks")
# Stands for the Python of an environment with a GPU: neurons fail, and all else leaves its result.
PYTHON = """#!/usr/bin/env bash
case "$*" in
  -c*) exit 0 ;;
  "- false") echo "Fake GPU (80GB)"; exit 0 ;;
esac
echo "this is $*"
[[ $* == *"bench neurons"* ]] && exit 3
[[ $* == *"bench train"* ]] && sleep "${SLEEP:-0}"
while (($#)); do
  [[ $1 == -o || $1 == --out ]] && echo '{}' >"$2"
  shift
done
"""
# And for the program that knows when a step has taken too long.
TIMEOUT = """#!/usr/bin/env bash
shift 3
"$@"
status=$?
[[ $* == *bfloat16* ]] && exit 124
exit $status
"""


def gpu_sh(*arguments: str, folder: Path, **surroundings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments],
        cwd=folder,
        env={**os.environ, **surroundings},
        capture_output=True,
        text=True,
        timeout=60,
    )


def planned(folder: Path, *arguments: str) -> dict[str, list[str]]:
    """Step -> command."""
    done = gpu_sh("--dry-run", *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    steps = re.findall(r"(\S+), at most (\d+) s:\n  (.*)\n", done.stdout)
    assert all(0 < int(limit) <= 600 for _, limit, _ in steps)
    assert len({name for name, _, _ in steps}) == len(steps) == len(done.stdout.splitlines()) / 2
    return {name: shlex.split(command) for name, _, command in steps}


def test_a_dry_run_names_what_there_is_to_run_and_writes_nothing(tmp_path: Path) -> None:
    steps = planned(tmp_path, "--out", "kept")
    assert list(steps)[:3] == ["doctor", "tests", "neurons"]
    assert steps["tests"][1:5] == ["-m", "pytest", "-m", "gpu"]
    assert {"train-resnet18", "train-resnet18-bfloat16", "input", "registers-clif"} < set(steps)
    assert list(tmp_path.iterdir()) == []
    own = [command for command in steps.values() if command[-3:-2] != ["tests/gpu"]]
    for name, command in steps.items():
        if command in own and name != "input":
            assert command[-2] == "-o"
            assert command[-1].startswith(f"{tmp_path}/kept/")
            assert f"-gpu-{name}-" in command[-1]


def test_its_commands_are_those_of_clifctl(tmp_path: Path) -> None:
    """Every option and choice is known, of the tiny steps too."""
    checked = 0
    for arguments in ((), ("--interpret",)):
        for command in planned(tmp_path, *arguments).values():
            if "clifctl" not in command:
                continue
            words = command[command.index("clifctl") + 1 :]
            known = get_command(app)
            while hasattr(known, "commands"):
                known = known.commands[words.pop(0)]
            with typer.Context(known) as context:
                known.make_context("clifctl", words, parent=context)
            checked += 1
    assert checked >= 18


@pytest.fixture
def stubs(tmp_path: Path) -> dict[str, str]:
    """What makes the script take the two stand-ins."""
    for name, text in (("python", PYTHON), ("timeout", TIMEOUT)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return {"PYTHON": str(tmp_path / "python"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_a_step_that_fails_does_not_stop_the_next(tmp_path: Path, stubs: dict[str, str]) -> None:
    done = gpu_sh("--out", "kept/here", folder=tmp_path, **stubs)
    assert (done.returncode, done.stderr) == (1, "")
    kept = tmp_path / "kept" / "here"
    (summary,) = kept.glob("*-gpu-summary-fake-gpu-80gb.txt")
    lines = summary.read_text().splitlines()
    assert done.stdout.splitlines()[:-1] == lines
    became = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert list(became) == list(planned(tmp_path))
    for name, text in became.items():
        (log,) = kept.glob(f"*-gpu-{name}-fake-gpu-80gb.log")
        assert log.read_text().startswith("this is ")
        assert str(log) in text
        results = [*kept.glob(f"*-gpu-{name}-fake-gpu-80gb.json")]
        results += kept.glob(f"*-gpu-{name}-fake-gpu-80gb.csv")
        if name.startswith("neurons"):
            assert text.startswith("FAILED: exit 3 after")
        elif name == "train-resnet18-bfloat16":
            assert text.startswith("FAILED: cut short after 50 s")
            assert str(results[0]) in text  # what it had by then
        else:
            assert text.startswith("done in")
        assert len(results) == (not name.startswith(("neurons", "tests")))


def test_what_is_cut_short_keeps_what_it_had(tmp_path: Path, stubs: dict[str, str]) -> None:
    (tmp_path / "timeout").unlink()  # the real one
    process = subprocess.Popen(
        [SCRIPT, "--out", tmp_path / "kept"],
        env={**os.environ, **stubs, "SLEEP": "50"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [next(process.stdout) for _ in range(3)]
    while not list(tmp_path.glob("kept/*-gpu-train-resnet18-fake-gpu-80gb.log")):
        time.sleep(0.02)
    process.terminate()
    lines += process.communicate(timeout=20)[0].splitlines()[:-1]
    assert process.returncode == 143
    assert [line.split()[0] for line in lines] == list(planned(tmp_path))
    assert " done in" in lines[0]
    assert " interrupted " in lines[3]
    assert all("not run: interrupted" in line for line in lines[4:])
    assert len(list(tmp_path.glob("kept/*-gpu-doctor-fake-gpu-80gb.json"))) == 1


def test_wrong_use_is_told(tmp_path: Path, stubs: dict[str, str]) -> None:
    for arguments in (["--minutes", "0"], ["--minutes"], ["--there"]):
        done = gpu_sh(*arguments, folder=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert "hint: " in done.stderr
    (tmp_path / "python").write_text(PYTHON.replace("Fake GPU (80GB)", ""))
    done = gpu_sh(folder=tmp_path, **stubs)
    assert (done.returncode, "torch finds no GPU here" in done.stderr) == (2, True)
    done = gpu_sh(folder=tmp_path, PYTHON="no-such-python")
    assert (done.returncode, "activate the environment" in done.stderr) == (2, True)

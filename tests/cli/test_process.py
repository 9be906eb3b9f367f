"""What only a real process shows: start-up, pipes, signals, a fresh environment."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clifctl import __version__
from clifctl.cli import completion

ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
COMMAND = [sys.executable, "-m", "clifctl"]


def shell(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which `clifctl` is this interpreter's."""
    script = f'set -o pipefail; clifctl() {{ "{sys.executable}" -m clifctl "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["--version"], ["recipes", "ls"], ["eval", "-h"]]
)
def test_what_answers_at_once_imports_no_torch(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from clifctl.cli.app import run; assert run(sys.argv[1:]) == 0;"
        "heavy = {'torch', 'numpy', 'sklearn', 'matplotlib', 'triton'};"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert "LOADED []" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", ["train", "eval", "recipes ls", "recipes show", "recipes cp", "recipes check",
                "data ls", "data show"]
)  # fmt: skip
def test_every_help_text_has_an_example(
    command: str, clifctl: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = clifctl(*command.split(), "--help")
    assert done.code == 0
    assert f"Example: clifctl {command}" in done.out


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    for line in (
        "clifctl recipes ls --format jsonl | head -1",
        "clifctl recipes show digits_snn5 | head -1",
        "clifctl --help | head -1",
        "clifctl recipes ls | true",
        "clifctl recipes ls --json | true",
    ):
        done = shell(line, tmp_path)
        assert done.stderr == "", line
        assert done.returncode == 0, line
        assert len(done.stdout.splitlines()) <= 1


def test_version(tmp_path: Path) -> None:
    done = shell("clifctl --version", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"clifctl {__version__}\n", "")


def test_help_answers_in_half_a_second(tmp_path: Path) -> None:
    def seconds(line: str) -> float:
        """Processor time, and the least of five: the work, not the machine's load."""
        times = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert shell(line, tmp_path).returncode == 0
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(times)

    # Where Python itself is slow, no more than a few times what Typer's import takes.
    bare = f'"{sys.executable}" -c "import typer, rich.console"'
    assert seconds("clifctl --help") < max(0.5, 3 * seconds(bare))


def test_closed_and_full_streams(tmp_path: Path) -> None:
    train = "clifctl train digits_rows_mlp train.epochs=2 train.batch_size=256 --target reference"
    lines = {
        # A reader of stderr that goes away ends nothing.
        f"{train} --json --out a 2> >(head -1 >/dev/null)": (0, "clifctl.train/1"),
        "clifctl recipes ls >&-": (0, ""),
        "clifctl train nothing.yaml 2>&-": (2, ""),
        "clifctl train - <&-": (2, ""),
        "clifctl recipes ls >/dev/full": (1, ""),
        "PYTHONIOENCODING=ascii clifctl recipes ls": (0, "digits_snn5"),
        "clifctl recipes ls --json -o /dev/stdout": (0, "clifctl.recipes/1"),
    }
    for line, (code, part) in lines.items():
        done = shell(line, tmp_path)
        assert done.returncode == code, (line, done)
        assert part in done.stdout, line
        assert "Traceback" not in done.stderr, line
        assert "internal" not in done.stderr, line
    assert len((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_piped_table_is_not_cut_at_40_columns(tmp_path: Path) -> None:
    done = shell("clifctl recipes ls | cat", tmp_path, COLUMNS="40")
    assert (
        "CLIF on simulated events of handwritten digits, 5-layer convolutional net" in done.stdout
    )
    assert "…" not in done.stdout
    assert not any(line.endswith(" ") for line in done.stdout.splitlines())


def test_train_json_is_one_document_for_a_pipe(tmp_path: Path) -> None:
    line = (
        "clifctl train digits_rows_mlp neuron.name=lif train.epochs=1 --target reference --json "
        "2>err.txt | tee out.txt | python3 -m json.tool >/dev/null"
    )
    done = shell(line, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((tmp_path / "out.txt").read_text())["neuron"] == "lif"
    assert "epoch 1/1" in (tmp_path / "err.txt").read_text()


def test_a_recipe_from_stdin(tmp_path: Path) -> None:
    line = "clifctl recipes show digits_rows_mlp | clifctl train - --dry-run --json"
    done = shell(line, tmp_path)
    assert json.loads(done.stdout)["recipe"] == "stdin"


def test_errors_are_two_lines_on_stderr(tmp_path: Path) -> None:
    done = shell("clifctl train nothing.yaml", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_within_an_import_ends_it_whatever_the_module_does(
    name: str, code: int, tmp_path: Path
) -> None:
    """Modules of C swallow the exception, and leave the process with half of them."""
    (tmp_path / "swallows.py").write_text(
        f"import os, signal\ntry:\n    os.kill(os.getpid(), signal.{name})\n"
        "except BaseException:\n    pass\n"
    )
    script = (
        "import signal; from clifctl.cli import app\n"
        "def run(arguments):\n    import swallows\n    print('went on')\n"
        "app.run = run\n"
        "signal.signal(signal.SIGTERM, app._end); app.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == "stopped before it was done\n"


def test_groups_alone_print_their_help(tmp_path: Path) -> None:
    for group in ("", "recipes", "data"):
        done = shell(f"clifctl {group}", tmp_path)
        assert "Usage: clifctl" in done.stdout + done.stderr
        assert "error:" not in done.stderr
        assert done.returncode == 2


def test_completion_offers_recipes_without_torch(tmp_path: Path) -> None:
    done = shell(
        f"{sys.executable} -X importtime -m clifctl 2>imports.txt",
        tmp_path,
        _CLIFCTL_COMPLETE="complete_bash",
        COMP_WORDS="clifctl train digits_s",
        COMP_CWORD="2",
    )
    assert done.stdout.split() == ["digits_snn5"]
    imports = (tmp_path / "imports.txt").read_text()
    assert "clifctl.cli.app" in imports
    assert "torch" not in imports


@pytest.mark.parametrize(
    ("complete", "incomplete", "found"),
    [
        (
            completion.complete_override,
            "train.warmup",
            ["train.warmup_epochs=", "train.warmup_lr="],
        ),
        (
            completion.complete_override,
            "train.decayed=",
            ["train.decayed=all", "train.decayed=weights"],
        ),
        (completion.complete_override, "neuron.name=pl", ["neuron.name=plif"]),
        (completion.complete_key, "neuron.tau_c", ["neuron.tau_current"]),
        (completion.complete_neuron, "lif,cl", ["lif,clif"]),
        (completion.complete_data, "cifar10_", ["cifar10_dvs"]),
        (completion.complete_model, "vgg1", ["vgg11", "vgg13"]),
    ],
)
def test_completion_of_keys_and_names(
    complete: Callable[[str], list[str]], incomplete: str, found: list[str]
) -> None:
    assert complete(incomplete) == found

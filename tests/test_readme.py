"""Every command that README.md shows is run, or compared with what runs it."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def shell_lines() -> list[str]:
    return [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line]


def test_the_first_screen_shows_exactly_the_two_commands() -> None:
    first_screen = README.split("\n## ")[0]
    commands = [
        text.strip() for _, text in re.findall(r"```(\w*)\n(.*?)```", first_screen, re.DOTALL)
    ]
    assert commands == [
        "pip install . && clifctl train recipes/digits_snn5.yaml",
        "pip install '.[test]' && pytest",
    ]
    assert len(first_screen.splitlines()) <= 24


def test_continuous_integration_runs_the_two_commands_as_they_are_printed() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    patterns = re.findall(r"grep -m1 (['\"])(.*?)\1 README", script)
    installs = [line for line in shell_lines() if line.startswith("pip")]
    assert len(patterns) == len(installs) == 2
    for (_, pattern), line in zip(patterns, installs, strict=True):
        assert re.match(pattern, line)
    assert script.count("\neval ") == 2


def test_continuous_integration_tests_values_as_another_cpu_computes_them() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    other = re.findall(r"`(ATEN_CPU_CAPABILITY=.*?)\s+XDG_CACHE_HOME=.*?`", README, re.DOTALL)
    assert len(other) == 1
    assert "pytest -m numerical" in README
    assert f"{other[0]} \\\n    pytest -m numerical\n" in script
    # What a plain run leaves out, its first pass adds; the second is of kernels of its own.
    assert "-m 'not long and not product and not machine_code and not gpu'" in script
    assert 'XDG_CACHE_HOME="$scratch/cache"' in script


def test_every_other_command_runs(clifctl: Callable[..., Any], tmp_path: Path) -> None:
    """As it is printed, but for one epoch only: in a shell where it needs one, else in this
    process, which has imported torch already."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    one_epoch = 'case "$1" in train|compare-neurons) set -- "$@" train.epochs=1;; esac'
    shim = f'clifctl() {{ {one_epoch}; "{sys.executable}" -m clifctl "$@"; }}'
    seen = shells = 0
    for line in shell_lines():
        command = line.split("&&")[1].strip() if line.startswith("pip") else line
        if command == "pytest":
            continue
        assert command.startswith("clifctl "), line
        if re.search(r"[|&;<>()$`\\*?~#]", command):
            done = subprocess.run(
                ["bash", "-c", f"set -o pipefail; {shim}; {command}"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"
            shells += 1
        else:
            arguments = shlex.split(command)[1:]
            if arguments[0] in ("train", "compare-neurons"):
                arguments.append("train.epochs=1")
            ran = clifctl(*arguments)
            assert ran.code == 0, f"{line}: {ran.err}"
        seen += 1
    assert seen >= 10
    assert shells >= 2


def test_the_table_lists_every_command_and_no_other() -> None:
    from clifctl.cli.app import app

    def names(group: typer.Typer, prefix: str) -> set[str]:
        found = {f"{prefix} {command.name}" for command in group.registered_commands}
        for child in group.registered_groups:
            assert child.typer_instance is not None
            found |= names(child.typer_instance, f"{prefix} {child.name}")
        return found

    shown = set(re.findall(r"^\| `(clifctl [a-z -]+)` \|", README, re.MULTILINE))
    assert shown == names(app, "clifctl")
    assert len(shown) >= 8


def test_the_tree_lists_every_package_and_no_other() -> None:
    tree = next(text for kind, text in BLOCKS if kind == "" and text.startswith("clifctl/"))
    shown = set(re.findall(r"^  ([a-z]+(?:/|\.py))", tree, re.MULTILINE))
    package = ROOT / "clifctl"
    folders = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").is_file()}
    files = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    assert shown == folders | files


def test_python_examples_hold() -> None:
    examples = [text for kind, text in BLOCKS if kind == "python"]
    assert len(examples) == 2
    source = (ROOT / "clifctl" / "neurons" / "clif.py").read_text()
    body = [line.strip() for line in examples[0].splitlines()[1:]]
    assert "\n".join(body) in "\n".join(line.strip() for line in source.splitlines())
    scope: dict[str, Any] = {}
    exec(examples[1], scope)
    assert scope["spikes"].shape == (6, 16, 64)
    assert scope["m"].shape == (16, 64)


def test_what_is_claimed_of_the_catalog_is_true() -> None:
    from clifctl.data import DATASETS
    from clifctl.models import MODELS
    from clifctl.neurons import NEURONS

    for name in (*DATASETS, *MODELS, *NEURONS):
        assert f"`{name}`" in README, name

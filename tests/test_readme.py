"""README's first screen, and the script that runs its two commands."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST_SCREEN = README.split("\n## ")[0]


def test_the_first_screen_shows_exactly_the_two_commands() -> None:
    blocks = re.findall(r"```\w*\n(.*?)```", FIRST_SCREEN, re.DOTALL)
    assert [text.strip() for text in blocks] == [
        "pip install . && clifctl train recipes/digits_snn5.yaml",
        "pip install '.[test]' && pytest",
    ]
    assert len(FIRST_SCREEN.splitlines()) <= 24


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 130


def test_continuous_integration_runs_the_two_commands_as_they_are_printed() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    patterns = re.findall(r"grep -m1 (['\"])(.*?)\1 README", script)
    installs = [line for line in README.splitlines() if line.startswith("pip install")]
    assert len(patterns) == len(installs) == 2
    for (_, pattern), line in zip(patterns, installs, strict=True):
        assert re.match(pattern, line)
    assert script.count("\neval ") == 2

"""Groups of commands are measured, in one go or in pieces."""

from pathlib import Path
from types import ModuleType

import pytest

import clifctl

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ["clifctl data ls", "clifctl recipes ls"]


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/quoted/measuring.py, outside of a clone too."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from quoted import measuring as module

    monkeypatch.setattr(module, "_commit", lambda: "0123456789")
    return module


@pytest.fixture
def ran(measuring: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A group `small` of two commands, each of which prints how many were run: these."""
    from quoted import groups

    commands: list[str] = []

    def run(step: groups.Step, folder: Path) -> str:
        commands.append(step.command)
        return str(len(commands))

    steps = [groups.Step("first", COMMANDS[0]), groups.Step("second", COMMANDS[1])]
    monkeypatch.setitem(groups.GROUPS, "small", steps)
    monkeypatch.setattr(measuring, "_run", run)
    return commands


def test_a_group_is_measured_with_what_it_ran_on(
    measuring: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quoted import groups

    monkeypatch.setitem(groups.GROUPS, "small", [groups.Step("listed", COMMANDS[1])])
    found = measuring.measure("small")
    assert any(row["recipe"] == "digits_snn5" for row in found["results"]["listed"]["recipes"])
    assert found["commands"] == ["clifctl recipes ls"]
    assert found["cpu_seconds"]["listed"] > 0
    assert found["numerics_version"] == clifctl.NUMERICS_VERSION
    assert set(found["machine"]) == {"name", "cores", "vectors"}


def test_a_folder_that_is_kept_is_gone_on_with(
    measuring: ModuleType, ran: list[str], tmp_path: Path
) -> None:
    measuring.measure("small", tmp_path)
    (tmp_path / "small" / "step-2.json").unlink()
    so_far = measuring.measure("small", tmp_path, so_far=True)
    assert so_far["commands"] == COMMANDS[:1]
    assert so_far["results"] == {"first": 1}
    assert ran == COMMANDS
    # The second was begun before: what it took in all is not known any more.
    found = measuring.measure("small", tmp_path)
    assert found["results"] == {"first": 1, "second": 3}
    assert found["cpu_seconds"]["first"] is not None
    assert found["cpu_seconds"]["second"] is None
    assert ran == [*COMMANDS, COMMANDS[1]]


@pytest.mark.usefixtures("ran")
def test_a_step_whose_command_has_changed_is_run_again(
    measuring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quoted import groups

    measuring.measure("small", tmp_path)
    changed = [groups.Step("first", f"{COMMANDS[0]} -v"), groups.Step("second", COMMANDS[1])]
    monkeypatch.setitem(groups.GROUPS, "small", changed)
    assert measuring.measure("small", tmp_path)["results"] == {"first": 3, "second": 2}


def test_a_star_stands_for_the_files_that_are_there(measuring: ModuleType, tmp_path: Path) -> None:
    for name in ("b-1", "a-2", "a-1"):
        (tmp_path / name).touch()
    assert measuring._found("a-*", tmp_path) == ["a-1", "a-2"]
    assert measuring._found("a-1", tmp_path) == ["a-1"]

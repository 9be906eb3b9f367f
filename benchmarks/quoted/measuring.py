"""Running a group's commands, and noting what they ran on.

A folder that is kept holds what each finished step printed (`step-NUMBER.json`), and the runs of
grids, which go on where they were stopped; so a group of hours may be measured in pieces.
"""

import glob
import json
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numba
import torch

import clifctl
from clifctl.devices import device_name
from quoted.groups import GROUPS, Step
from quoted.store import ROOT, SCHEMA, without_long_lists


def measure(group: str, keep: Path | None = None, *, so_far: bool = False) -> dict[str, Any]:
    """The document of `group`, measured here. With `keep` in `keep/GROUP`, where a finished step is
    not run again; `so_far` runs none and takes what is there. A command that fails raises
    CalledProcessError."""
    load, commit = os.getloadavg()[0], _commit()
    steps, results, cpu_seconds = [], {}, {}
    with tempfile.TemporaryDirectory() if keep is None else nullcontext(keep / group) as folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for number, step in enumerate(GROUPS[group], 1):
            kept = Path(folder) / f"step-{number}.json"
            finished = _read(step, kept)
            if finished is None and not so_far:
                print(f"{group}: {step.command}", file=sys.stderr)  # noqa: T201
                finished = _finish(step, kept)
            if finished is not None:
                steps.append(step)
                if step.label is not None:
                    results[step.label] = without_long_lists(finished["result"])
                    cpu_seconds[step.label] = finished["cpu_seconds"]
    return {
        "schema": SCHEMA,
        "group": group,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        # Whether other programs ran: accuracies do not mind, times of the clock do.
        "load_before": round(load, 2),
        "commit": commit,
        "numerics_version": clifctl.NUMERICS_VERSION,
        "versions": {
            "python": ".".join(map(str, sys.version_info[:3])),
            "torch": torch.__version__,
            "numba": numba.__version__,
        },
        "commands": [step.command for step in steps],
        "cpu_seconds": cpu_seconds,
        "results": results,
    }


def machine() -> dict[str, Any]:
    """The CPU's name, cores, and the vectors that torch and numba are allowed to use."""
    vectors = torch.backends.cpu.get_cpu_capability()
    if cpu := getattr(numba.config, "CPU_NAME", None):
        vectors += f", numba for {cpu}"
    name = device_name(torch.device("cpu"))
    return {"name": name, "cores": os.cpu_count(), "vectors": vectors}


def _read(step: Step, kept: Path) -> dict[str, Any] | None:
    """What was kept of a step with the same command."""
    if not kept.exists():
        return None
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found if found["command"] == step.command else None


def _finish(step: Step, kept: Path) -> dict[str, Any]:
    """Run a step, and keep what it printed. What a grid took before it was stopped is not known any
    more: its time is then null."""
    begun = kept.with_suffix(".begun")
    whole = not begun.exists()
    begun.touch()
    before = _cpu_seconds()
    printed = _run(step, kept.parent)
    finished = {
        "command": step.command,
        "cpu_seconds": round(_cpu_seconds() - before, 2) if whole else None,
        "result": None if step.label is None else json.loads(printed),
    }
    kept.write_text(json.dumps(finished), encoding="utf-8")
    return finished


def _run(step: Step, folder: Path) -> str:
    program, *arguments = (word for given in step.arguments for word in _found(given, folder))
    if program == "clifctl":
        line = [sys.executable, "-m", "clifctl", *arguments, "--json", "-q"]
    else:
        line = [sys.executable, str(ROOT / "benchmarks" / arguments[0]), *arguments[1:]]
    # The checkout's own clifctl, whatever is installed: its commit is the one that is noted.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        line, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def _found(word: str, folder: Path) -> list[str]:
    """As a shell does: a word with a star is the files that are there, if any are."""
    return sorted(glob.glob(word, root_dir=folder)) if "*" in word else [word]


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _commit() -> str:
    """The last commit that changed clifctl or the recipes, with a plus if they differ from it."""
    git, places = ["git", "-C", str(ROOT)], ["--", "clifctl", "recipes"]
    commit = subprocess.check_output([*git, "log", "-1", "--format=%H", *places], text=True).strip()
    changed = subprocess.check_output([*git, "status", "--porcelain", *places], text=True)
    return commit + ("+" if changed.strip() else "")

"""Running a group's commands, and noting what they ran on."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numba
import torch

import clifctl
from clifctl.devices import device_name
from quoted.groups import GROUPS, Step
from quoted.store import ROOT, SCHEMA, without_long_lists


def measure(group: str) -> dict[str, Any]:
    """The document of `group`, measured here. A command that fails raises CalledProcessError."""
    load, commit = os.getloadavg()[0], _commit()
    results, cpu_seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for step in GROUPS[group]:
            print(f"{group}: {step.command}", file=sys.stderr)  # noqa: T201
            before = _cpu_seconds()
            printed = _run(step, Path(folder))
            if step.label is not None:
                results[step.label] = without_long_lists(json.loads(printed))
                cpu_seconds[step.label] = round(_cpu_seconds() - before, 2)
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
        "commands": [step.command for step in GROUPS[group]],
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


def _run(step: Step, folder: Path) -> str:
    program, *arguments = step.arguments
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


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _commit() -> str:
    """The last commit that changed clifctl or the recipes, with a plus if they differ from it."""
    git, places = ["git", "-C", str(ROOT)], ["--", "clifctl", "recipes"]
    commit = subprocess.check_output([*git, "log", "-1", "--format=%H", *places], text=True).strip()
    changed = subprocess.check_output([*git, "status", "--porcelain", *places], text=True)
    return commit + ("+" if changed.strip() else "")

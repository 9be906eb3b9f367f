"""What a run was done with: the facts of the manifest."""

import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy
import torch

import clifctl
from clifctl.devices import device_name
from clifctl.kernels import Target
from clifctl.launch import launch
from clifctl.training.device import Threads
from clifctl.training.precision import Arithmetic


def manifest(
    *,
    recipe: str,
    seed: int,
    deterministic: bool,
    data_sha256: str,
    conditions: dict[str, Any],
) -> dict[str, Any]:
    """The recipe's name, seed and data, and the `conditions`: see `surroundings`."""
    return {
        "schema": "clifctl.manifest/1",
        "recipe": recipe,
        "seed": seed,
        "deterministic": deterministic,
        "data_sha256": data_sha256,
        **conditions,
    }


def surroundings(
    *, device: torch.device, target: Target, threads: Threads, precision: Arithmetic
) -> dict[str, Any]:
    """Time, command line, versions, commit, machine, device, threads, kernel target and arithmetic
    with their reasons: what a run was started, or continued, with."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "versions": {
            "clifctl": clifctl.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
        "git_commit": _git_commit(),
        "platform": platform.platform(),
        "device": str(device),
        "device_name": device_name(device),
        "processes": launch().count,
        "threads": threads.count,
        "threads_reason": threads.reason,
        "target": target.name,
        "target_reason": target.reason,
        "precision": precision.name,
        "precision_reason": precision.reason,
    }


def package_versions(*packages: str) -> dict[str, str | None]:
    """The version of each package (None: not installed), and of Python."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        found[package] = None
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _git_commit() -> str | None:
    """The commit of the source tree that clifctl runs from; None for an installed package."""
    root = Path(clifctl.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None

"""What a run was done with: the facts of the manifest."""

import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy
import torch

import clifctl
from clifctl.devices import device_name
from clifctl.experiments.run.execution import Execution
from clifctl.launch import launch
from clifctl.provenance import git_commit
from clifctl.training.precision import Arithmetic, Tf32


def manifest(
    *,
    recipe: str,
    seed: int,
    deterministic: bool,
    data_sha256: str,
    sources: dict[str, str],
    conditions: dict[str, Any],
) -> dict[str, Any]:
    """The recipe's name, seed, data and `neuron_sources`, and the `conditions`: `surroundings`."""
    return {
        "schema": "clifctl.manifest/1",
        "recipe": recipe,
        "seed": seed,
        "deterministic": deterministic,
        "data_sha256": data_sha256,
        "neuron_sources": sources,
        **conditions,
    }


def surroundings(*, execution: Execution, precision: Arithmetic, tf32: Tf32) -> dict[str, Any]:
    """Time, command line, versions, commit, machine, device, threads, kernel target, connections,
    arithmetic and TF32 with their reasons: what a run was started, or continued, with."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "versions": {
            "clifctl": clifctl.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
        "numerics_version": clifctl.NUMERICS_VERSION,
        "git_commit": git_commit(),
        "platform": platform.platform(),
        "device_name": device_name(execution.device),
        "processes": launch().count,
        **execution.threads.facts,
        **execution.facts,
        "precision": precision.name,
        "precision_reason": precision.reason,
        "tf32": tf32.name,
        "tf32_reason": tf32.reason,
    }


def changed_surroundings(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between the manifest `before` and `now`, and may change rounding, in words."""
    last = (before.get("continued") or [before])[-1]
    versions = last.get("versions")
    pairs = [
        (f"{name} ", versions.get(name), now["versions"][name])
        for name in ("clifctl", "python", "torch")
        if isinstance(versions, dict)
    ]
    pairs += [("commit ", last.get("git_commit"), now["git_commit"])]
    kinds = {
        "numerics_version": "numerics version ",
        "device_name": "device ",
        "threads": "threads: ",
        "target": "kernel target ",
        "connections": "connections: ",
        "processes": "processes: ",
        "tf32": "TF32: ",
    }
    # Before there was a choice, all were dense.
    then = {"connections": "dense", **last} if last.get("target") else last
    pairs += [(shown, then.get(key), now[key]) for key, shown in kinds.items()]
    return [f"{shown}{was}, now {is_}" for shown, was, is_ in pairs if was and is_ and was != is_]


def package_versions(*packages: str) -> dict[str, str | None]:
    """The version of each package (None: not installed), and of Python."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        found[package] = None
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found

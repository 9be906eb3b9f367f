"""How a grid of many trials behaves once they are finished: planning it, starting it again, its
summary, `runs ls` and `runs watch`.

The trials are made up: one is run, and its files are written for all the others, with recipes,
seeds and accuracies of their own. A command then finds every trial finished, and what is timed is
all but the training.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clifctl.devices import CPU, device_name
from clifctl.experiments.grid.grid import GridOptions
from clifctl.experiments.grid.trial_names import Trial
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.experiments.sweep import SweepAxes, plan_sweep
from clifctl.files import to_json
from clifctl.recipe.yamlfile import dump_document

RECIPE = "digits_rows_mlp"
FIXED = ["model.hidden=[8]", "train.epochs=2", "train.batch_size=256"]
ON_CPU = ["--device", CPU, "--target", "reference", "--threads", "1"]
SEEDS = 10


def points_of(trials: int) -> list[str]:
    """The values that are swept for so many trials."""
    count = trials // SEEDS
    return [f"{1e-3 + 1e-4 * number:.12g}" for number in range(count)]


def clifctl(folder: Path, *arguments: str) -> dict[str, float]:
    """A command in a process of its own: how long it takes, and how much of the CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [sys.executable, "-m", "clifctl", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode()}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu, "written_bytes": len(done.stdout)}


def made_up(results: Path, model: Trial, trial: Trial, number: int) -> None:
    """Write the files of `trial`, as those of `model`, which was run, with what is its own."""
    source, path = results / model.name, results / trial.name
    path.mkdir()
    document = trial.loaded.recipe.document
    (path / "recipe.yaml").write_text(dump_document(document))
    for name in ("manifest.json", "metrics.jsonl", "run.log"):
        (path / name).write_bytes((source / name).read_bytes())
    own: dict[str, Any] = {"seed": trial.seed}
    accuracy = {"accuracy_percent_last": 50 + number % 400 / 10}
    result = json.loads((source / "result.json").read_text())
    result |= {**own, **accuracy, "run_folder": str(path), "resolved_recipe": document}
    (path / "result.json").write_text(to_json(result, indent=2))
    record = json.loads((results / f"{model.name}.json").read_text())
    record |= {**own, "trial": trial.name, "title": trial.title}
    record["measured"] |= accuracy
    (results / f"{trial.name}.json").write_text(to_json(record, indent=2))


def measure(folder: Path, trials: int) -> dict[str, Any]:
    """The times of all commands over so many trials."""
    results = folder / "runs" / "grid"
    values = points_of(trials)
    fixed = {key: [text] for key, _, text in (one.partition("=") for one in FIXED)}
    axes = SweepAxes({**fixed, "train.lr": values}, SEEDS, agreed=lambda question: True)
    options = GridOptions(results, ExecutionOptions(CPU, "reference", threads=1), workers=1)
    before = time.process_time()
    grid = plan_sweep(RECIPE, (), axes, options).grid
    planned = time.process_time() - before
    words = ["sweep", RECIPE, *FIXED, f"train.lr={','.join(values)}", "--seeds", str(SEEDS)]
    words += [*ON_CPU, "--out", str(results), "--yes", "--json", "-q"]
    first = ["sweep", RECIPE, *FIXED, f"train.lr={values[0]},{values[1]}", "--seeds", "1"]
    clifctl(folder, *first, *ON_CPU, "--out", str(results), "--json", "-q")
    results_of = {trial.name: trial for trial in grid.trials}
    model = next(results_of[path.name] for path in results.iterdir() if path.name in results_of)
    for number, trial in enumerate(grid.trials):
        if not (results / trial.name).exists():
            made_up(results, model, trial, number)
    return {
        "trials": trials,
        "plan_cpu_seconds": planned,
        "sweep": clifctl(folder, *words),
        "sweep_dry_run": clifctl(folder, *words, "--dry-run"),
        "runs_ls": clifctl(folder, "runs", "ls", "runs", "--json"),
        "runs_watch": clifctl(folder, "runs", "watch", "runs", "--json"),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="make the trials here, and leave them there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        document = {
            "schema": "clifctl.benchmarks.large-grid/1",
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "cpu": device_name(ExecutionOptions(CPU).resolve().device),
            **measure(folder, options.trials),
        }
    print(json.dumps(document, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()

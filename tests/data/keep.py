"""Writes small folders of every kind that clifctl keeps, by the clifctl at hand.

    python tests/data/keep.py tests/data/kept/numerics-N

A later clifctl has to list, show, compare, resume and finish copies of them: see
`tests/experiments/test_kept.py`. A folder that is there is never written again: it is what that
version wrote.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

NET = ["digits_rows_mlp", "model.hidden=[6]", "train.epochs=4", "train.log_every=10"]
SLOWLY = ["train.batch_size=17", "train.epochs=6", "train.log_every=40"]
REFERENCE = ["--target", "reference"]  # no kernel has to be compiled to go on
PROGRAM = (
    "import sys; from clifctl.cli.app import run; "
    "sys.argv[0] = 'clifctl'; sys.exit(run(sys.argv[1:]))"
)


def start(*arguments: str, stdout: IO[str] | None = None) -> subprocess.Popen[bytes]:
    """clifctl, in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=stdout)


def finish(*arguments: str, stdout: IO[str] | None = None) -> None:
    """Run clifctl to its end."""
    process = start(*arguments, stdout=stdout)
    assert process.wait() == 0, arguments


def interrupt(folder: Path, pattern: str, epochs: int, *arguments: str) -> None:
    """Run clifctl until a run matching `pattern` in `folder` has finished `epochs` epochs."""
    process = start(*arguments)
    while True:
        for metrics in folder.glob(pattern):
            if metrics.read_text().count('"epoch", ') >= epochs:
                process.send_signal(signal.SIGINT)
                assert process.wait() == 130, arguments
                return
        assert process.poll() is None, "it was finished before it was interrupted"
        time.sleep(0.002)


def half_done(folder: Path, *command: str) -> None:
    """A grid of which one trial is finished, one was interrupted, and the others are missing."""
    arguments = (*command, *NET, *SLOWLY, *REFERENCE, "--workers", "1", "--out", str(folder))
    process = start(*arguments)
    while True:
        finished = {path.stem for path in folder.glob("*-seed*-*.json")}
        begun = [p for p in folder.glob("*/metrics.jsonl") if p.parent.name not in finished]
        if finished and any(path.read_text().count('"epoch", ') >= 1 for path in begun):
            process.send_signal(signal.SIGINT)
            assert process.wait() == 130
            return
        assert process.poll() is None, "it was finished before it was interrupted"
        time.sleep(0.002)


def main() -> None:
    place = Path(sys.argv[1])
    place.mkdir(parents=True)
    os.chdir(place)
    finish("train", *NET, *REFERENCE, "--out", "finished", "--keep", "1")
    interrupt(
        Path("interrupted"), "metrics.jsonl", 2,
        "train", *NET, *SLOWLY, *REFERENCE, "--out", "interrupted",
    )  # fmt: skip
    half_done(Path("comparison"), "compare-neurons", "--neurons", "lif,clif", "--seeds", "2")
    half_done(Path("truncated-bptt"), "truncate-bptt", "--k", "1,8", "--tau", "2.0", "--seeds", "2")
    documents = Path("documents")
    documents.mkdir()
    shown = {
        "train": ["train", *NET, *REFERENCE, "--out", "finished", "--resume", "auto"],
        "train-plan": ["train", *NET, *REFERENCE, "--dry-run"],
        "eval": ["eval", "finished/last.pt", "--per-class", *REFERENCE],
        "energy": ["energy", "finished/last.pt", "--per-layer"],
        "convert": ["convert", "finished/last.pt", "-o", "converted.pt", *REFERENCE],
        "gradients": ["gradients", "finished/last.pt"],
        "dynamics": ["dynamics", "--neurons", "lif,clif", "--timesteps", "16"],
        "compare-neurons": [
            "compare-neurons",
            *NET,
            *REFERENCE,
            "--neurons",
            "lif,clif",
            "--seeds",
            "2",
            "--out",
            "scratch/comparison",
            "train.epochs=2",
        ],
        "truncate-bptt": [
            "truncate-bptt",
            *NET,
            *REFERENCE,
            "--k",
            "1,8",
            "--tau",
            "2.0",
            "--seeds",
            "2",
            "--out",
            "scratch/truncated",
            "train.epochs=2",
        ],
        "runs": ["runs", "ls", "."],
        "runs-show": ["runs", "show", "finished"],
        "runs-compare": ["runs", "compare", "finished", "interrupted"],
        "recipes": ["recipes", "ls"],
        "recipes-check": ["recipes", "check", "finished/recipe.yaml"],
        "neurons": ["neurons", "ls"],
        "data": ["data", "ls"],
    }
    for name, arguments in shown.items():
        with (documents / f"{name}.json").open("w") as file:
            finish(*arguments, "--json", "-q", stdout=file)
    shutil.rmtree("scratch")


if __name__ == "__main__":
    main()

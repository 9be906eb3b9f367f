"""Runs that are killed, through the real command, and files that are refused by it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.training.checkpoint import load_checkpoint

# No compiled kernels; a line of metrics at every step shows where the run is.
TRAIN = [
    *("train", "digits_snn5", "model.name=mlp", "model.hidden=[8]", "model.dropout=0.2"),
    *("timesteps=2", "train.epochs=5", "train.batch_size=64", "train.precision=bfloat16"),
    *("train.log_every=1", "train.save_every=5steps", "--target", "reference", "-q"),
]


@dataclass
class Forks:
    """Starts `clifctl` in processes of its own; see forking.py."""

    server: Any
    folder: Path
    count: int = 0

    def ask(self, request: dict[str, Any]) -> int:
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, *argv: str, **more: int) -> "Process":
        self.count += 1
        streams = self.folder / f"streams{self.count}"
        request = {"argv": argv, "cwd": str(self.folder), "streams": str(streams), **more}
        return Process(self, self.ask(request), streams)


@dataclass
class Process:
    forks: Forks
    pid: int
    streams: Path

    def wait(self) -> tuple[int, str, str]:
        """Exit code (negative: the signal), stdout and stderr."""
        code = self.forks.ask({"wait": self.pid})
        out, err = (Path(f"{self.streams}.{ending}").read_text() for ending in ("out", "err"))
        return code, out, err


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    script = Path(__file__).with_name("forking.py")
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as server:
        yield Forks(server, tmp_path_factory.mktemp("forks"))
        assert server.stdin is not None
        server.stdin.close()


def lines_of(folder: Path) -> list[str]:
    file = folder / "metrics.jsonl"
    return file.read_text().splitlines() if file.is_file() else []


def steps_of(folder: Path) -> list[tuple[int, int]]:
    """Every step and epoch (step 0) in the metrics, as they stand in the file."""
    return [(r["epoch"], r.get("step", 0)) for r in map(json.loads, lines_of(folder))]


def test_killed_at_random_steps_and_resumed_bit_for_bit(forks: Forks) -> None:
    whole = forks.start(*TRAIN, "--out", "whole")
    assert whole.wait()[0] == 0
    random_ = random.Random(7)
    folder = forks.folder / "run"
    begin = [*TRAIN, "--out", "run", "--resume", "auto"]
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        process = forks.start(*begin)
        target = len(lines_of(folder)) + random_.randrange(8, 25)
        deadline = time.monotonic() + 600
        while len(lines_of(folder)) < target:
            assert time.monotonic() < deadline, process.wait()
            time.sleep(0.002)
        os.kill(process.pid, number)
        code, out, err = process.wait()
        assert out == ""
        assert "Traceback" not in err
        if number == signal.SIGKILL:
            assert code == -signal.SIGKILL
            continue
        assert code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert "training stopped in 'run': 'run/last.pt' holds the run after" in err
        assert "error:" not in err
        assert "hint: resume with: clifctl train --resume run" in err
    code, out, err = forks.start("train", "--resume", "run", "--target", "reference").wait()
    assert code == 0, err
    assert "resuming after epoch" in err
    for name in ("last.pt", "best.pt"):
        one = load_checkpoint(folder / name).model
        for key, tensor in load_checkpoint(forks.folder / "whole" / name).model.items():
            assert torch.equal(one[key], tensor), (name, key)
    assert steps_of(folder) == steps_of(forks.folder / "whole")
    again = forks.start(*begin, "--json")
    code, out, err = again.wait()
    assert code == 0
    assert json.loads(out)["epochs"] == 5


# Every file that a run writes, several times: metrics at every step, saves within epochs.
TORN = [
    *("train", "digits_rows_mlp", "model.hidden=[6]", "model.dropout=0.2", "train.epochs=2"),
    *("train.batch_size=512", "train.log_every=1", "train.save_every=2steps", "--keep", "1"),
    *("--target", "reference", "-q"),
]


def outcome_of(folder: Path) -> dict[str, Any]:
    """All that a run leaves but for times: the bits of its weights, its lines, its result."""
    found: dict[str, Any] = {"files": sorted(path.name for path in folder.iterdir())}
    for path in folder.glob("*.pt"):
        one = load_checkpoint(path)
        bits = {key: tensor.numpy().tobytes() for key, tensor in one.model.items()}
        found[path.name] = one.epoch, one.step, bits
    times = ("seconds", "samples_per_second", "time", "train_seconds", "total_seconds")
    lines = [*map(json.loads, lines_of(folder)), json.loads((folder / "result.json").read_text())]
    found["lines"] = [
        {key: value for key, value in line.items() if key not in (*times, "run_folder")}
        for line in lines
    ]
    return found


@pytest.mark.parametrize("cases", [1, pytest.param(1000, marks=pytest.mark.long)])
def test_killed_in_the_middle_of_a_write_and_resumed_bit_for_bit(cases: int, forks: Forks) -> None:
    """Once to three times, in any of its operations on files."""
    whole = forks.start(*TORN, "--out", f"torn{cases}", kill_at=0)
    assert whole.wait()[0] == 0
    wanted = outcome_of(forks.folder / f"torn{cases}")
    operations = int(Path(f"{whole.streams}.count").read_text())
    assert operations > 100
    random_ = random.Random(cases)
    for case in range(cases):
        name = f"torn{cases}-{case}"
        moments = [random_.randint(1, operations) for _ in range(random_.randint(1, 3))]
        for moment in moments:
            killed = forks.start(*TORN, "--out", name, "--resume", "auto", kill_at=moment)
            code, _, err = killed.wait()
            assert code in (0, -signal.SIGKILL), (case, moments, err)
        code, _, err = forks.start(*TORN, "--out", name, "--resume", "auto").wait()
        assert code == 0, (case, moments, err)
        for left in ("run.lock", "run.owner"):  # killed when all was done
            (forks.folder / name / left).unlink(missing_ok=True)
        assert outcome_of(forks.folder / name) == wanted, (case, moments)
        shutil.rmtree(forks.folder / name)


def test_wrong_files_are_refused_with_exit_2(forks: Forks) -> None:
    good = forks.folder / "whole" / "last.pt"
    if not good.is_file():
        assert forks.start(*TRAIN, "--out", "whole").wait()[0] == 0
    recipe = (forks.folder / "whole" / "recipe.yaml").read_text()
    content = good.read_bytes()
    before = {path.name: path.read_bytes() for path in good.parent.iterdir()}
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 16
    checkpoints = {
        "cut.pt": content[:-1000],
        "short.pt": content[:50],
        "flipped.pt": bytes(flipped),
        "unsealed.pt": content[:-3],
        "empty.pt": b"",
        "pickle.pt": b"cos\nsystem\n(S'touch executed'\ntR.",
    }
    recipes = {
        "renamed.yaml": recipe.replace("epochs:", "epoch:"),
        "typed.yaml": recipe.replace("lr: 0.1", "lr: fast"),
        "range.yaml": recipe.replace("momentum: 0.9", "momentum: 1.9"),
        "cut.yaml": recipe[: recipe.index("train:")],
        "tag.yaml": recipe.replace("seed: 0", "seed: !!python/object/apply:os.system [ls]", 1),
        "bytes.yaml": recipe[:40] + "\0\0" + recipe[40:],
    }
    processes = []
    for name, damaged in checkpoints.items():
        (forks.folder / name).write_bytes(damaged)
        processes.append(forks.start("eval", name))
    for name, text in recipes.items():
        assert text != recipe
        (forks.folder / name).write_text(text)
        processes.append(forks.start("train", name, "--out", "whole", "--overwrite"))
    assert len(processes) == 12
    for process in processes:
        code, out, err = process.wait()
        assert (code, out) == (2, ""), err
        assert err.startswith("error: ")
        assert err.count("error: ") == 1
        assert err.splitlines()[-1].startswith("hint: ")
        assert "Traceback" not in err
    assert {path.name: path.read_bytes() for path in good.parent.iterdir()} == before
    assert not (forks.folder / "executed").exists()
    code, out, _ = forks.start("eval", "whole/last.pt", "--target", "reference", "--json").wait()
    assert (code, json.loads(out)["schema"]) == (0, "clifctl.eval/1")


REFERENCE = ("--target", "reference", "-q")
# Every command that leaves a file, and the file.
WRITING = {
    "eval": ["eval", "made/last.pt", *REFERENCE, "--json", "-o", "out.json"],
    "picture": ["eval", "made/last.pt", *REFERENCE, "--plot", "out.svg"],
    "energy": ["energy", "made/last.pt", *REFERENCE, "--json", "-o", "out.json"],
    "gradients": ["gradients", "made/last.pt", *REFERENCE, "--no-windows", "-o", "out.json"],
    "convert": ["convert", "made/last.pt", *REFERENCE, "--reset", "soft", "-o", "out.pt"],
    "dynamics": ["dynamics", "--timesteps", "8", "--neurons", "lif", *REFERENCE, "-o", "out.json"],
    "compare": ["runs", "compare", "made", "made", "-o", "out.json"],
    "recipe": ["recipes", "cp", "digits_snn5", "out.yaml"],
    "neurons": ["neurons", "ls", "-o", "out.json"],
}


@pytest.fixture(scope="module")
def made(forks: Forks) -> Forks:
    assert forks.start(*TORN, "--out", "made").wait()[0] == 0
    return forks


def content_of(file: Path) -> Any:
    """What a file says, but for times; None where there is none."""
    if not file.exists():
        return None
    if file.suffix == ".pt":
        return {key: tensor.tolist() for key, tensor in load_checkpoint(file).model.items()}
    if file.suffix == ".json":
        document = json.loads(file.read_text())
        document.pop("seconds", None)
        return document
    return file.read_text()[:200], file.stat().st_size


@pytest.mark.parametrize(
    ("name", "every"),
    [
        ("neurons", 3),
        *(pytest.param(name, 1, marks=pytest.mark.long) for name in WRITING),
    ],
)
def test_a_file_is_whole_or_not_there_wherever_a_command_is_killed(
    name: str, every: int, made: Forks
) -> None:
    """In each of its operations on files, or in every few of them."""
    arguments = WRITING[name]
    file = made.folder / next(word for word in arguments if word.startswith("out."))
    file.unlink(missing_ok=True)
    process = made.start(*arguments, kill_at=0)
    assert process.wait()[0] == 0
    operations, whole = int(Path(f"{process.streams}.count").read_text()), content_of(file)
    assert whole is not None
    assert operations >= 3
    killed = 0
    for number in range(1, operations + 1, every):
        file.unlink(missing_ok=True)
        killed += made.start(*arguments, kill_at=number).wait()[0] == -signal.SIGKILL
        assert content_of(file) in (None, whole), number
        code, _, err = made.start(*arguments, "--overwrite").wait()
        assert code == 0, err
        assert content_of(file) == whole, number
    assert killed >= operations // every // 2


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="makes a small disk, which only root may")
@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_is_one_error_and_leaves_nothing(name: str, made: Forks) -> None:
    disk = made.folder / "disk"
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=True)
    try:
        with suppress(OSError):
            (disk / "filler").write_bytes(bytes(16 * 1024))
        before = sorted(disk.iterdir())
        arguments = [f"disk/{w}" if w.startswith("out.") else w for w in WRITING[name]]
        code, _, err = made.start(*arguments).wait()
        assert code == 1, err
        assert err.count("error: ") == 1
        assert "No space left on device" in err
        assert "Traceback" not in err
        assert sorted(disk.iterdir()) == before
    finally:
        subprocess.run(["umount", disk], check=True)

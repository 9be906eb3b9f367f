"""N-MNIST: what is read from which files, against SpikingJelly, and every wrong file."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from clifctl.data import DATASETS, batches
from clifctl.data.events.recordings import BadRecording
from clifctl.data.sets.n_mnist import DATASET, NMnistOptions, read_bin, recordings
from clifctl.errors import DataError


def event(x: int, y: int, on: int, t: int) -> bytes:
    """An event's 40 bits as the data set's page numbers them."""
    return (x << 32 | y << 24 | on << 23 | t).to_bytes(5, "big")


def written(path: Path, *events: tuple[int, int, int, int]) -> Path:
    path.write_bytes(b"".join(event(*one) for one in events))
    return path


def rows(path: Path) -> list[tuple[int, int, int, int]]:
    found = read_bin(path)
    columns = (found.x, found.y, found.p.astype(int), found.t)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_events_are_read_bit_by_bit(tmp_path: Path) -> None:
    events = [(0, 33, 1, 0), (33, 0, 0, 65_537), (7, 9, 1, 2**23 - 1)]
    assert rows(written(tmp_path / "a.bin", *events)) == events


def test_a_marker_makes_times_go_on(tmp_path: Path) -> None:
    marker = (0, 240, 0, 0)
    file = written(
        tmp_path / "a.bin", (1, 2, 0, 5), marker, (3, 4, 1, 7), marker, marker, (5, 6, 1, 1)
    )
    assert rows(file) == [(1, 2, 0, 5), (3, 4, 1, 8192 + 7), (5, 6, 1, 3 * 8192 + 1)]


def test_events_are_those_of_spikingjelly(data_root: Path) -> None:
    from spikingjelly.datasets.utils import load_ATIS_bin

    found = recordings(NMnistOptions(root=str(data_root)))
    for digit in found["test"]:
        theirs, ours = load_ATIS_bin(digit.path), read_bin(digit.path)
        for key in "txyp":
            assert np.array_equal(theirs[key], getattr(ours, key))


def test_frames_are_those_of_an_independent_integration(
    recorded: ModuleType, tmp_path: Path, data_root: Path
) -> None:
    options = {"root": str(data_root), "cache": str(tmp_path)}
    done = recorded.prepare("n_mnist", "timesteps=3", *(f"{k}={v}" for k, v in options.items()))
    assert [split.samples for split in done.splits] == [20, 10]
    data = DATASETS["n_mnist"].load(DATASETS["n_mnist"].options(**options), 3)
    assert data.class_names == tuple("0123456789")
    inputs, labels = next(batches(data.train, 20))
    for number, label in enumerate(labels.tolist()):
        assert label == number // 2
        events = recorded.digit_events(label, number % 2)
        assert np.array_equal(inputs[:, number].numpy(), recorded.frames_of(events, 3, 34))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (event(1, 1, 1, 5)[:-1], "cut off: it ends 4 bytes into an event of 5"),
        (b"", "no event"),
        (event(0, 240, 0, 0), "no event"),
        (
            event(1, 1, 0, 9) + event(1, 1, 0, 8),
            "times run backwards: from 9 to 8 us at event 1",
        ),
        (bytes(16 * 2**20 + 5), "it has 16,777,221 bytes, at most 16,777,216 are read"),
    ],
    ids=range(5),
)
def test_a_bad_file_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(BadRecording, match=said):
        read_bin(tmp_path / "a.bin")


def test_a_bad_recording_is_named(recorded: ModuleType, tmp_path: Path, clifctl: Any) -> None:
    root = recorded.write_n_mnist(tmp_path / "NMNIST")
    command = ["data", "prepare", "n_mnist", "timesteps=2", f"root={tmp_path}", "--workers", "1"]
    beyond = written(root / "Train/3/5.bin", (34, 0, 1, 0))
    cut = root / "Test/7/00002.bin"
    cut.write_bytes(cut.read_bytes()[:-2])
    done = clifctl(*command)
    assert done.code == 2
    assert f"'{beyond}': an event at x = 34, the sensor has x = 0 to 33" in done.err
    assert f"'{cut}': cut off: it ends 3 bytes into an event of 5" in done.err
    assert not list(tmp_path.glob("prepared/n_mnist*"))
    written(beyond, (0, 34, 1, 0))
    assert "an event at y = 34" in clifctl(*command).err


def test_what_is_missing_is_named(recorded: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its recordings are missing") as caught:
        recordings(NMnistOptions(root=str(tmp_path)))
    assert "garrickorchard.com" in str(caught.value.hint)
    assert "CC BY-SA 4.0" in str(caught.value.hint)
    folder = recorded.write_n_mnist(tmp_path / "n_mnist" / "extract")
    states = DATASET.files.inspect(tmp_path)
    assert [(state.path, state.what) for state in states] == [
        (folder / "Train", "60,000 recordings in folders 0 to 9, 20 found"),
        (folder / "Test", "10,000 recordings in folders 0 to 9, 10 found"),
    ]
    assert "results do not compare" in str(states[0].problem)
    for file in (folder / "Test/4").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"Test/4' is missing, or holds no '.bin' file"):
        recordings(NMnistOptions(root=str(tmp_path)))
    assert "Test/4' is missing" in str(DATASET.files.inspect(tmp_path)[1].problem)

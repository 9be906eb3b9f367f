"""Progress of a preparation where there is no terminal."""

from pathlib import Path

import pytest

from clifctl.report.preparation_progress import PreparationProgress


def test_lines_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with PreparationProgress(quiet=False, clock=lambda: now[0]) as progress:
        progress.started(1100, 100)
        # Workers take 12 s to start; then each second a recording is done.
        for second in range(12, 33):
            now[0] = float(second)
            progress.done(Path("one.aedat"))
        progress.assembling("train", 1000)
    assert capsys.readouterr().err.splitlines() == [
        "1,100 recordings, 100 of them read before",
        "101/1,100 recordings",
        "111/1,100 recordings  1.0/s  0:16:29 left",
        "121/1,100 recordings  1.0/s  0:16:19 left",
        "writing the train split: 1,000 samples",
    ]


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with PreparationProgress(quiet=True) as progress:
        progress.started(1, 0)
        progress.done(Path("one.aedat"))
        progress.assembling("train", 1)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")

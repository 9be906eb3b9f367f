"""What a dry run does with data that take long to read."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from clifctl.data import decoding, streaming

Run = Callable[..., Any]


def test_a_dry_run_lists_images_and_decodes_one_a_split(
    clifctl: Run, on_disk: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk.write_image_folder(tmp_path / "d", classes=3, side=16, train=4, test=2)
    decoded: list[int] = []
    decode = decoding.decode

    def counted(paths: Any, *rest: Any, **options: Any) -> Any:
        decoded.append(len(paths))
        return decode(paths, *rest, **options)

    monkeypatch.setattr(streaming, "decode", counted)
    words = [f"data.root={tmp_path / 'd'}", "data.size=16", "data.classes=3"]
    words += ["model.channels=[2,2,2,2,4]", "train.batch_size=4"]
    words = ["digits_snn5", "data.name=image_folder", *words, "--target", "reference"]
    plan = clifctl("train", *words, "--dry-run", "--json")
    assert plan.code == 0, plan.err
    assert decoded == [1, 1]
    # What a run holds: its images as bytes, and their labels.
    assert plan.json["data_bytes"] == 18 * (3 * 16 * 16 + 8)
    assert (plan.json["train_samples"], plan.json["test_samples"]) == (12, 6)
    decoded.clear()
    grid = clifctl("truncate-bptt", *words, "--k", "1", "--seeds", "1", "--dry-run", "--json")
    assert grid.code == 0, grid.err
    assert decoded == [1, 1]
    assert grid.json["trials"][0]["steps"] == 40 * 3
    (tmp_path / "d/train/class0/0.png").write_bytes(b"no image")
    broken = clifctl("train", *words, "--dry-run")
    assert broken.code == 2
    assert "0.png" in broken.err

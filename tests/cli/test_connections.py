"""`--connections`: what it comes to, where it is written, and what a run says that goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

NET = ["digits_rows_mlp", "model.hidden=[6]", "train.batch_size=400", "train.epochs=1"]


def manifest(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "manifest.json").read_text())
    return found


def test_a_run_records_what_its_connections_may_do_and_which_way_they_went(clifctl: Run) -> None:
    done = clifctl("train", *NET, "--out", "auto", "--json")
    assert (done.code, done.json["connections"]) == (0, "auto"), done.err
    written = manifest("auto")
    assert written["connections"] == "auto"
    assert written["connections_reason"].startswith("auto: only the work that spikes cause")
    first, second = written["connection_paths"].items()
    assert first[0].startswith("features.0.")
    assert first[1] == ("linear, 8 -> 6: forward, weight gradient dense (its input is not spikes)")
    assert second[1].startswith("linear, 6 -> 10: forward")
    planned = clifctl("train", *NET, "--dry-run", "--json").json
    assert [path["layer"] for path in planned["connection_paths"]] == [first[0], second[0]]
    assert planned["connections"] == "auto"


def test_dense_connections_are_asked_for_or_all_that_there_is(clifctl: Run) -> None:
    asked = clifctl("train", *NET, "--connections", "dense", "--out", "dense", "--json")
    assert (asked.json["connections"], asked.json["connections_reason"]) == ("dense", "asked for")
    assert "connection_paths" not in manifest("dense")
    reference = ["--target", "reference"]
    planned = clifctl("train", *NET, *reference, "--dry-run", "--json").json
    assert planned["connections"] == "dense"
    assert planned["connections_reason"] == (
        "auto: event-driven kernels need target 'numba', this is 'reference'"
    )
    assert planned["connection_paths"] == []
    evaluated = clifctl("eval", "dense/last.pt", "--connections", "dense", "--json").json
    assert (evaluated["connections"], evaluated["connections_reason"]) == ("dense", "asked for")
    assert clifctl("eval", "dense/last.pt", "--json").json["connections"] == "auto"


def test_a_run_that_goes_on_with_other_connections_says_so(clifctl: Run) -> None:
    clifctl(
        "train", *NET, "train.schedule=constant", "--connections", "dense", "--out", "run", "-q"
    )
    # As before there was a choice.
    old = manifest("run")
    del old["connections"], old["connections_reason"]
    Path("run/manifest.json").write_text(json.dumps(old))
    longer = ["train", "--resume", "run", "train.epochs=2"]
    done = clifctl(*longer)
    assert (done.code, "connections: dense, now auto; it may round differently" in done.err) == (
        0,
        True,
    ), done.err
    (continued,) = manifest("run")["continued"]
    assert len(continued["connection_paths"]) == 2
    same = clifctl(*longer[:-1], "train.epochs=3")
    assert "may round differently" not in same.err


@pytest.mark.parametrize(
    "command",
    [
        ["train", *NET],
        ["train", *NET, "--dry-run"],
        ["eval", "last.pt"],
        ["energy", "digits_snn5"],
        ["gradients", "digits_snn5"],
        ["convert", "last.pt", "-o", "lif.pt"],
        ["convert", "last.pt", "--to", "nir", "-o", "net.nir"],
        ["compare-neurons", *NET],
        ["truncate-bptt", *NET],
        ["bench", "train"],
    ],
)
def test_a_name_that_is_none(command: list[str], clifctl: Run) -> None:
    done = clifctl(*command, "--connections", "sparse")
    assert (done.code, done.out) == (2, "")
    assert "unknown kind of connections 'sparse'" in done.err, done.err
    assert "auto, dense" in done.err
    assert list(Path().iterdir()) == []


def test_trials_run_with_the_connections_that_name_them(clifctl: Run) -> None:
    grid = ["compare-neurons", *NET, "--neurons", "lif", "--seeds", "1", "--out", "grid", "--json"]
    dense = clifctl(*grid, "--workers", "1", "--connections", "dense")
    assert dense.code == 0, dense.err
    ((trial, state),) = ((one["trial"], one["state"]) for one in dense.json["trials"])
    assert state == "finished"
    assert manifest(f"grid/{trial}")["connections"] == "dense"
    record = json.loads(Path(f"grid/{trial}.json").read_text())
    assert record["measured"]["connections"] == "dense"
    planned = clifctl(*grid, "--dry-run").json
    assert planned["connections"] == "auto"
    (other,) = planned["trials"]
    assert (other["state"], other["trial"] != trial) == ("missing", True)

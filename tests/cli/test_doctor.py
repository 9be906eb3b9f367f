"""`clifctl doctor`: what it finds, and what it does when something is broken."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.data import DATASETS
from clifctl.experiments.doctor import PACKAGES
from clifctl.kernels import targets
from clifctl.kernels.cpu import self_test

Run = Callable[..., Any]


def test_a_sound_machine(clifctl: Run) -> None:
    done = clifctl("doctor", "--json")
    assert done.code == 0, done.err
    result = done.json
    assert result["schema"] == "clifctl.doctor/1"
    assert result["healthy"] is True
    assert result["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert result["devices"][0]["device"] == "cpu"
    assert result["devices"][0]["memory_bytes"] > 2**28
    assert result["devices"][0]["tf32"] == "none"
    chosen = {(row["target"], row["device"]): row for row in result["targets"]}
    assert chosen["numba", "cpu"]["chosen"]
    assert chosen["triton", "cpu"]["usable"] is False
    assert chosen["triton", "cpu"]["reason"] == "triton runs tensors on a GPU"
    assert result["cache"]["writable"] is True
    assert [row["data"] for row in result["data"]] == list(DATASETS)
    test, *_, connection = result["self_test"]
    assert (test["target"], test["device"], test["passed"]) == ("numba", "cpu", True)
    assert 0 <= test["error"] <= test["allowed"]
    assert (connection["neuron"], connection["error"]) == ("event-driven connection", 0.0)
    assert result["connections"]["available"] is True
    assert result["connections"]["lanes"] in (8, 16)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_why(clifctl: Run) -> None:
    result = clifctl("doctor", "--json").json
    assert result["devices"][-1]["device"] == "cuda"
    assert result["devices"][-1]["problem"]
    gpu = [row for row in result["targets"] if row["device"] == "cuda"]
    assert len(gpu) == len(targets.TARGETS)
    assert not any(row["usable"] or row["chosen"] for row in gpu)


def test_every_format_has_a_line_a_finding(clifctl: Run) -> None:
    lines = [json.loads(line) for line in clifctl("doctor", "--format", "jsonl").out.splitlines()]
    assert {line["what"] for line in lines} == {
        "version", "device", "TF32", "kernels", "connections", "cache", "locks", "data", "test",
    }  # fmt: skip
    shown = clifctl("doctor").out
    for line in lines:
        assert line["which"] in shown


def test_data_are_looked_for_below_the_root(clifctl: Run, data_root: Path, tmp_path: Path) -> None:
    found = clifctl("doctor", "--root", str(data_root), "--json").json["data"]
    states = {row["data"]: row["state"] for row in found}
    assert states["digits"] == "embedded"
    assert states["image_folder"] == states["npz"] == "found"
    missing = clifctl("doctor", "--root", str(tmp_path / "none"), "--json").json["data"]
    states = {row["data"]: row for row in missing}
    assert states["npz"]["state"] == "missing"
    assert "data.npz" in states["npz"]["problem"]


def test_a_connection_that_differs_fails_with_1(
    clifctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clifctl.kernels.cpu import connections

    def doubled(*arguments: Any) -> torch.Tensor:
        return 2 * input_gradient(*arguments)

    input_gradient = connections.input_gradient
    monkeypatch.setattr(connections, "input_gradient", doubled)
    done = clifctl("doctor", "--json")
    assert (done.code, done.json["self_test"][-1]["quantity"]) == (1, "input gradient")
    assert done.json["self_test"][-1]["error"] > 1 / 64
    assert "the self-test of target 'numba' on 'cpu' failed: input gradient is off by" in done.err


@pytest.mark.parametrize("how", ["raises", "differs"])
def test_a_broken_kernel_fails_with_1_and_is_reported(
    clifctl: Run, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from clifctl.experiments import doctor
    from clifctl.kernels.parity import Outcome

    def broken(*arguments: object) -> Outcome:
        if how == "raises":
            raise OSError("no compiler\nanywhere")
        return Outcome("case", "state v", 0.5, 1e-5, 0.0)

    monkeypatch.setattr(doctor, "check", broken)
    done = clifctl("doctor", "--json")
    assert done.code == 1
    assert done.json["healthy"] is False
    assert "the self-test of target 'numba' on 'cpu' failed" in done.err
    assert ("OSError: no compiler anywhere" if how == "raises" else "state v is off") in done.err
    assert "Traceback" not in done.err
    assert "A SELF-TEST FAILED" in clifctl("doctor").out


def test_a_cache_that_cannot_be_written_is_a_finding(
    clifctl: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from clifctl.experiments import doctor
    from clifctl.kernels.parity import Outcome

    fine = Outcome("case", "output", 0.0, 0.0, 0.0)
    monkeypatch.setattr(doctor, "check", lambda *arguments: fine)
    monkeypatch.setattr(self_test, "worst", lambda: ("forward", 0.0))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    done = clifctl("doctor", "--json")
    assert done.code == 0
    cache = done.json["cache"]
    assert cache["folder"] == str(tmp_path / "file" / "clifctl" / "kernels")
    assert cache["writable"] is False
    assert "Not a directory" in cache["problem"]


def test_settings_that_numba_cannot_be_used_with_are_shown(
    clifctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_THREADING_LAYER", "xyz")
    shown = clifctl("doctor", "--json")
    assert shown.json["connections"]["available"] is False
    assert "NUMBA_THREADING_LAYER=xyz" in shown.json["connections"]["reason"]
    targets = {(row["target"], row["device"]): row for row in shown.json["targets"]}
    numba = targets["numba", "cpu"]
    assert not numba["usable"]
    assert numba["reason"].startswith("NUMBA_THREADING_LAYER=xyz: must be one of")
    assert targets["reference", "cpu"]["usable"]


def test_damaged_kernels_are_found(
    clifctl: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from clifctl.experiments import doctor
    from clifctl.kernels.parity import Outcome

    fine = Outcome("case", "output", 0.0, 0.0, 0.0)
    monkeypatch.setattr(doctor, "check", lambda *arguments: fine)
    monkeypatch.setattr(self_test, "worst", lambda: ("forward", 0.0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    damaged = tmp_path / "clifctl" / "kernels" / "clifctl_clif_00.backward-00.code"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"torn")
    of_triton = damaged.parent / "triton" / "KEY" / "forward.cubin"
    of_triton.parent.mkdir(parents=True)
    of_triton.write_bytes(b"")
    of_triton.with_name("forward.cubin.sha256").write_text("00")
    cache = clifctl("doctor", "--json").json["cache"]
    assert cache["writable"] is True
    assert cache["damaged"] == [str(damaged), str(of_triton)]
    assert (cache["files"], cache["size_bytes"]) == (3, 6)
    assert f"damaged,{damaged}: will be rebuilt" in clifctl("doctor", "--format", "csv").out


def test_every_optional_package_is_listed(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [one for name in extras if name not in ("test", "lint") for one in extras[name]]
    packages = {re.split("[^a-z0-9]", one)[0] for one in wanted}
    assert {"nir", "tensorboard", "distributed"} <= packages <= set(PACKAGES)

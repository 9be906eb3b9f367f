import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from clifctl.training.checkpoint import load_checkpoint, save_checkpoint

Run = Callable[..., Any]
TIMES = ("samples_per_second", "time")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "last.pt").model


def test_train_makes_a_run_folder_and_eval_gives_the_same_figures(
    clifctl: Run, tiny: list[str], tmp_path: Path
) -> None:
    done = clifctl("train", "digits_snn5", *tiny, "--out", "run", "--json")
    assert done.code == 0
    result = done.json
    assert result["schema"] == "clifctl.train/1"
    assert result["run_folder"] == "run"
    assert result["target_reason"]
    assert [layer["layer"] for layer in result["firing_rates"]] == [
        f"features.{n}.neuron" for n in range(5)
    ]
    run = tmp_path / "run"
    assert sorted(path.name for path in run.iterdir()) == [
        "best.pt",
        "last.pt",
        "manifest.json",
        "metrics.jsonl",
        "recipe.yaml",
        "result.json",
        "run.log",
    ]
    assert json.loads((run / "result.json").read_text()) == result
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2]
    assert records[-1]["test_accuracy_percent"] == result["accuracy_percent_last"]
    assert max(r["test_accuracy_percent"] for r in records) == result["accuracy_percent_best"]
    assert records[-1]["train_loss_train_mode"] == result["train_loss_train_mode"]
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["target"] == result["target"]
    assert len(manifest["data_sha256"]) == 64
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recipe["train"]["epochs"] == 2
    assert recipe["neuron"]["surrogate"] == "rectangle"

    evaluated = clifctl("eval", "run/last.pt", "--json").json
    assert evaluated["schema"] == "clifctl.eval/1"
    assert evaluated["accuracy_percent"] == result["accuracy_percent_last"]
    assert evaluated["loss"] == result["test_loss"]
    assert evaluated["firing_rates"] == result["firing_rates"]
    assert evaluated["firing_rate"] == result["firing_rate"]
    assert len(evaluated["accuracy_percent_per_step"]) == 2
    assert evaluated["accuracy_percent_per_step"][-1] == evaluated["accuracy_percent"]
    best = clifctl("eval", "run/best.pt", "--json").json
    assert best["accuracy_percent"] == result["accuracy_percent_best"]
    assert best["epoch"] == result["epoch_best"]


def test_a_run_can_be_repeated_from_its_own_recipe(
    clifctl: Run, tiny: list[str], tmp_path: Path
) -> None:
    first = clifctl("train", "digits_snn5", *tiny, "--out", "a", "--json").json
    again = clifctl("train", "a/recipe.yaml", "--out", "b", "--json").json
    assert again["test_loss"] == first["test_loss"]
    one, other = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_the_seed_decides(clifctl: Run, tiny: list[str], tmp_path: Path) -> None:
    for out, seed in (("a", "1"), ("b", "2")):
        assert clifctl("train", "digits_snn5", *tiny, "--out", out, "--seed", seed).code == 0
    name = "features.0.connection.weight"
    assert not torch.equal(weights(tmp_path / "a")[name], weights(tmp_path / "b")[name])
    both = clifctl("train", "digits_snn5", *tiny, "train.seed=1", "--seed", "2")
    assert both.code == 2
    assert "--seed and train.seed were both given" in both.err


def test_clif_and_lif_are_identical_at_one_time_step(
    clifctl: Run, tiny: list[str], tmp_path: Path
) -> None:
    results = []
    for neuron in ("lif", "clif"):
        arguments = [*tiny, "timesteps=1", f"neuron.name={neuron}", "--out", neuron, "--json"]
        result = clifctl("train", "digits_snn5", *arguments).json
        for name in ("neuron", "run_folder", "train_seconds", "total_seconds", *TIMES):
            del result[name]
        recipe = result["resolved_recipe"]
        assert recipe.pop("neuron")["name"] == neuron
        assert recipe.pop("title").casefold().startswith(neuron)
        results.append(result)
    assert results[0] == results[1]
    lif, clif = weights(tmp_path / "lif"), weights(tmp_path / "clif")
    for name, tensor in lif.items():
        assert torch.equal(tensor, clif[name]), name


def test_relu_is_the_ann(clifctl: Run, tiny: list[str]) -> None:
    done = clifctl("train", "digits_snn5", *tiny[:3], "neuron.name=relu", "timesteps=1", "--json")
    assert done.code == 0
    assert done.json["firing_rate"] is None
    assert done.json["firing_rates"] == []
    assert "note: neuron.name=relu has no neuron.tau, neuron.v_threshold" in done.err


@pytest.mark.parametrize("recipe", ["digits_events_snn5", "digits_rows_mlp"])
def test_the_other_recipes_train(clifctl: Run, recipe: str) -> None:
    done = clifctl("train", recipe, "train.epochs=1", "train.batch_size=256", "--json")
    assert done.code == 0
    assert done.json["timesteps"] == 8
    assert done.json["run_folder"] == f"runs/{recipe}-1"
    assert clifctl("eval", f"runs/{recipe}-1/last.pt").code == 0


def test_a_net_learns(clifctl: Run) -> None:
    arguments = ["train.epochs=6", "train.batch_size=64", "timesteps=2", "--json"]
    result = clifctl("train", "digits_snn5", *arguments).json
    # Guessing gives 10 %; one image is 0.2 %.
    assert result["accuracy_percent_last"] > 80


def test_batch_statistics_change_the_figures_and_not_the_checkpoint(
    clifctl: Run, tiny: list[str], tmp_path: Path
) -> None:
    clifctl("train", "digits_snn5", *tiny, "--out", "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    plain = clifctl("eval", "run/last.pt", "--json").json
    batch = clifctl("eval", "run/last.pt", "--batch-statistics", "--json").json
    assert batch["batch_statistics"] is True
    assert plain["batch_statistics"] is False
    assert batch["loss"] != plain["loss"]
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_runs_are_numbered_and_never_collide(clifctl: Run, tiny: list[str]) -> None:
    folders = [
        clifctl("train", "digits_snn5", *tiny, "--json").json["run_folder"] for _ in range(2)
    ]
    assert folders == ["runs/digits_snn5-1", "runs/digits_snn5-2"]


def test_an_existing_run_is_replaced_only_when_told(
    clifctl: Run, tiny: list[str], tmp_path: Path
) -> None:
    clifctl("train", "digits_snn5", *tiny, "--out", "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    refused = clifctl("train", "digits_snn5", *tiny, "--out", "run", "--seed", "5")
    assert refused.code == 2
    assert "run folder 'run' exists already" in refused.err
    assert "--overwrite" in refused.err
    assert (tmp_path / "run" / "last.pt").read_bytes() == before
    # A recipe that does not hold must not cost the old run either.
    bad = clifctl("train", "digits_snn5", "train.lr=-1", "--out", "run", "--overwrite")
    assert bad.code == 2
    assert (tmp_path / "run" / "last.pt").read_bytes() == before
    done = clifctl("train", "digits_snn5", *tiny, "--out", "run", "--seed", "5", "--overwrite")
    assert done.code == 0
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "run" / "last.pt").read_bytes() != before


def test_dry_run_checks_everything_and_writes_nothing(clifctl: Run, tmp_path: Path) -> None:
    done = clifctl("train", "digits_snn5", "--dry-run", "--json")
    assert done.code == 0
    plan = done.json
    assert plan["schema"] == "clifctl.train.plan/1"
    assert plan["resolved_recipe"]["train"]["epochs"] == 40
    assert plan["parameters"] == 9_906
    assert plan["run_folder"] == "runs/digits_snn5-1"
    parts = ("data_bytes", "weights_bytes", "activations_bytes")
    assert plan["memory_bytes"] == sum(plan[part] for part in parts)
    # float32 images and int64 labels of 1,797 samples
    assert plan["data_bytes"] == 1797 * (64 * 4 + 8)
    shown = clifctl("train", "digits_snn5", "--dry-run")
    assert "memory: kept for backward [MiB]" in shown.out
    assert "  batch_norm: per_step" in shown.out
    for bad in (["model.kernel_sizes=[9,9,9,9,9]"], ["--out", "/dev/null/x"], ["--device", "x"]):
        assert clifctl("train", "digits_snn5", "--dry-run", *bad).code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_fused_layer_is_planned_with_its_input_alone() -> None:
    from clifctl.experiments.build import load_data, run_on, step_activations_bytes
    from clifctl.kernels import resolve_kernels
    from clifctl.recipe.load import load_recipe

    recipe = load_recipe("digits_rows_mlp", ["model.hidden=[64]", "train.batch_size=100"]).recipe
    data = load_data(recipe)
    fused, eager = (
        step_activations_bytes(run_on(recipe, resolve_kernels(target)), data)
        for target in ("auto", "reference")
    )
    layer = 8 * 100 * 64 * 4
    # linear: its input; norm and neuron: their input; read-out: its spikes, as bits; a few sums.
    expected = 8 * 100 * 8 * 4 + layer + layer // 32
    assert expected <= fused <= expected + 4096
    assert eager > fused + 3 * layer


def test_planned_memory_grows_with_time_and_batch(clifctl: Run) -> None:
    def activations(*overrides: str) -> int:
        plan = clifctl("train", "digits_snn5", "--dry-run", "--json", *overrides).json
        return int(plan["activations_bytes"])

    assert activations("train.batch_size=64") == pytest.approx(2 * activations(), rel=0.02)
    assert activations("timesteps=8") == pytest.approx(2 * activations(), rel=0.1)


@pytest.mark.parametrize("how", ["table", "jsonl", "csv", "md"])
def test_every_format_carries_the_accuracy(clifctl: Run, tiny: list[str], how: str) -> None:
    expected = clifctl("train", "digits_snn5", *tiny, "--json").json
    done = clifctl("train", "digits_snn5", *tiny, "--format", how)
    assert done.code == 0
    if how == "jsonl":
        *epochs, result = map(json.loads, done.out.splitlines())
        assert [(line["record"], line["epoch"]) for line in epochs] == [("epoch", 1), ("epoch", 2)]
        assert result["record"] == "result"
        assert result["accuracy_percent_last"] == expected["accuracy_percent_last"]
    elif how == "csv":
        (row,) = csv.DictReader(io.StringIO(done.out))
        assert float(row["test_loss"]) == expected["test_loss"]
    else:
        assert f"{expected['accuracy_percent_last']:.2f}" in done.out
        assert "features.4.neuron" in done.out
        assert "chosen on the test set" in done.out


def test_stdout_holds_the_result_and_stderr_the_rest(clifctl: Run, tiny: list[str]) -> None:
    done = clifctl("train", "digits_snn5", *tiny, "--json", "-v")
    json.loads(done.out)
    assert "epoch 1/2" in done.err
    assert "epoch 2/2" in done.err
    assert "kernel target numba (auto: " in done.err
    assert "\x1b" not in done.err
    quiet = clifctl("train", "digits_snn5", *tiny, "--json", "-q")
    assert quiet.err == ""
    assert quiet.json["schema"] == "clifctl.train/1"


def test_output_goes_to_a_file_whose_ending_chooses_the_format(
    clifctl: Run, tiny: list[str], tmp_path: Path
) -> None:
    done = clifctl("train", "digits_snn5", *tiny, "-q", "-o", "result.json")
    assert (done.code, done.out) == (0, "")
    assert json.loads((tmp_path / "result.json").read_text())["schema"] == "clifctl.train/1"
    again = clifctl("train", "digits_snn5", *tiny, "-o", "result.json")
    assert again.code == 2
    assert "'result.json' exists already" in again.err
    assert not (tmp_path / "runs" / "digits_snn5-2").exists()
    dash = clifctl("recipes", "ls", "-o", "-", "--json")
    assert dash.json["schema"] == "clifctl.recipes/1"


def test_a_loss_that_explodes_fails_with_1_and_keeps_what_was_there(
    clifctl: Run, tiny: list[str], tmp_path: Path
) -> None:
    for batch_size in (256, 1297):
        overrides = [*tiny, "train.lr=1e38", f"train.batch_size={batch_size}"]
        done = clifctl("train", "digits_snn5", *overrides, "--out", f"run{batch_size}")
        assert done.code == 1
        assert "loss became" in done.err
        assert "hint: lower train.lr" in done.err
        assert done.out == ""
        run = tmp_path / f"run{batch_size}"
        assert (run / "manifest.json").is_file()
        # What is there is finite: nothing of the broken epoch was saved.
        assert not (run / "last.pt").exists()
        assert not (run / "metrics.jsonl").exists()


def test_a_disk_that_fills_up_fails_with_1_and_keeps_what_was_there(
    clifctl: Run, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    def full(descriptor: int) -> None:
        if os.path.exists("run/last.pt"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = clifctl("train", "digits_snn5", *tiny, "--out", "run")
    assert done.code == 1
    assert "No space left on device" in done.err
    assert "'run/last.pt' holds the run after epoch 1" in done.err
    monkeypatch.undo()


def test_weights_that_are_not_finite_are_called_so(
    clifctl: Run, tiny: list[str], tmp_path: Path
) -> None:
    clifctl("train", "digits_snn5", *tiny, "--out", "run")
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    checkpoint.model["classifier.bias"][0] = float("nan")
    save_checkpoint(checkpoint, tmp_path / "nan.pt")
    done = clifctl("eval", "nan.pt")
    assert done.code == 1
    assert "the loss of 'nan.pt' is nan" in done.err


def test_one_run_does_not_change_the_threads_of_the_next(clifctl: Run, tiny: list[str]) -> None:
    from clifctl.training.device import OWN_THREADS, resolve_threads

    clifctl("train", "digits_snn5", *tiny, "--out", "run")
    assert resolve_threads(None, 2**40).count == OWN_THREADS
    assert resolve_threads(None, 2**20).count == 1


def test_the_kernel_target_is_an_option(clifctl: Run, tiny: list[str]) -> None:
    done = clifctl("train", "digits_snn5", *tiny, "--target", "reference", "--out", "r", "--json")
    assert done.json["target"] == "reference"
    assert done.json["target_reason"] == "asked for"
    evaluated = clifctl("eval", "r/last.pt", "--json").json
    assert evaluated["target"] == "numba"
    assert evaluated["accuracy_percent"] == done.json["accuracy_percent_last"]
    for command in (["train", "digits_snn5", *tiny], ["eval", "r/last.pt"]):
        refused = clifctl(*command, "--target", "triton")
        assert refused.code == 2
        assert "kernel target 'triton' was asked for, and the tensor is on 'cpu'" in refused.err
        assert clifctl(*command, "--target", "tritn").code == 2


def test_the_table_says_where_the_time_went(clifctl: Run, tiny: list[str]) -> None:
    clifctl("train", "digits_snn5", *tiny, "--target", "reference", "--out", "run", "-q")
    done = clifctl("train", "--resume", "run")
    assert "training speed, last epoch [samples/s]" in done.out
    assert "share of its time, backward [%]" in done.out
    (row,) = csv.DictReader(clifctl("train", "--resume", "run", "--format", "csv").out.splitlines())
    shares = [
        float(row[f"{phase}_percent"])
        for phase in ("data", "forward", "backward", "optimizer", "rest")
    ]
    assert sum(shares) == pytest.approx(100)
    assert min(shares) > 0
    assert float(row["samples_per_second"]) > 1


def test_a_dry_run_of_a_run_that_goes_on_says_what_the_run_would(
    clifctl: Run, tiny: list[str]
) -> None:
    train = ["train", "digits_snn5", *tiny, "--out", "run", "--resume", "auto"]
    assert clifctl(*train, "-q").code == 0
    finished = clifctl(*train, "--dry-run")
    assert finished.code == 0
    assert "note: 'run' is already finished" in finished.err
    Path("run/result.json").unlink()
    goes_on = clifctl("train", "--resume", "run", "--dry-run")
    assert goes_on.code == 0
    assert "note: 'run/last.pt' holds the run after epoch" in goes_on.err
    other = clifctl(*train, "neuron.tau=3", "--dry-run")
    assert (other.code, other.out) == (2, "")
    assert "run folder 'run' has a different recipe: neuron.tau" in other.err


def test_a_net_that_was_trained_on_the_other_order_of_polarities_is_told(
    clifctl: Run, tmp_path: Path
) -> None:
    small = ["train.epochs=1", "timesteps=2", "model.channels=[2,2,2,2,4]", "train.batch_size=512"]
    trained = clifctl("train", "digits_events_snn5", *small, "--out", "run", "-q")
    assert trained.code == 0, trained.err
    assert "ON before OFF" not in clifctl("eval", "run/last.pt").err
    checkpoint = load_checkpoint(tmp_path / "run/last.pt")
    save_checkpoint(replace(checkpoint, neuron_sources=None), tmp_path / "old.pt")
    assert "'old.pt' was trained when 'digits_events' had ON before OFF" in (
        clifctl("eval", "old.pt").err
    )

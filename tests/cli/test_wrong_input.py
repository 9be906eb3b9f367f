"""Wrong input: exit 2, `error:` and `hint:`, no traceback, nothing written or lost."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.training.seal import sealed

Run = Callable[..., Any]


def write_sealed(path: Path, document: dict[str, Any]) -> None:
    """What a person who knows of the checksum may make of a checkpoint."""
    buffer = io.BytesIO()
    torch.save(document, buffer)
    path.write_bytes(b"".join(sealed(buffer.getvalue())))


def refused(done: Any, *parts: str) -> None:
    assert done.code == 2, done
    assert done.out == ""
    lines = done.err.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines[0]) > len("error: ")
    assert lines[-1].startswith("hint: ")
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["nothing.yaml"], "no recipe file 'nothing.yaml'"),
        (["recipes/digits_snn.yaml"], "no recipe file 'recipes/digits_snn.yaml'"),
        (["digit_snn5"], "did you mean 'digits_snn5'"),
        (["empty.yaml"], "the file is empty"),
        (["prose.yaml"], "a recipe is a mapping"),
        (["broken.yaml"], "not YAML"),
        (["twice.yaml"], "already given"),
        (
            ["digits_snn5", "train.epoch=3"],
            "override train.epoch: unknown key (did you mean",
        ),
        (["digits_snn5", "train.epochs=three"], "must be a whole number"),
        (["digits_snn5", "neuron.tau=1"], "must be greater than 1"),
        (["digits_snn5", "neuron.tau=-2"], "must be greater than 1"),
        (["digits_snn5", "timesteps=-4"], "must be greater than 0"),
        (["digits_snn5", "neuron.name=cliff"], "did you mean 'clif'"),
        (["digits_snn5", "train.batch_size=48"], "leave a last batch of one"),
        (["digits_snn5", "model.kernel_sizes=[9,9,9,9,9]"], "leaves no pixel"),
        (["digits_snn5", "epochs"], "'epochs' is not an override"),
        (["digits_snn5", "--device", "cuda:99"], "device 'cuda:99'"),
        (["digits_snn5", "--device", "tpu"], "unknown device 'tpu'"),
        (["digits_snn5", "--threads", "0"], "--threads 0: must be between 1 and"),
        (["digits_snn5", "--out", "file.txt"], "'file.txt' is a file"),
        (["digits_snn5", "--out", "file.txt/run"], "file.txt' is a file"),
        (["digits_snn5", "--out", "."], "not a run of clifctl"),
        (["digits_snn5", "--json", "--format", "csv"], "contradict each other"),
        (["digits_snn5", "-q", "-v"], "contradict each other"),
        (["digits_snn5", "-o", "none/result.json"], "no folder 'none'"),
        (["digits_snn5", "-o", "."], "is a folder"),
        (["digits_snn5", "--format", "xml"], "invalid value for '--format': 'xml' is not one of"),
        (["--resume", "file.txt"], "there is no run in 'file.txt': it is a file"),
        (["--resume", "run/last.pt"], "hint: give the folder of the run: --resume run"),
        (["digits_snn5", "--epochs", "3"], "no such option: --epochs"),
        (["digits_snn5", "--seed", "x"], "x"),
        (["digits_snn5", "--threads", "100000"], "must be between 1 and"),
        (["digits_snn5", "timesteps=1000000"], "must be at most 4096"),
        (["digits_snn5", "train.batch_size=99999999999999999999"], "must be at most"),
        (["digits_snn5", "model.channels=[4,8,16,16,99999999999999999999]"], "must be at most"),
        (["digits_snn5", "model.channels=[60000,60000,60000,60000,60000]"], "GiB of memory"),
        (["digits_snn5", "train.seed=18446744073709551616"], "must be less than"),
        (["digits_snn5", "data.name=[1]"], "unknown data set"),
        (["digits_snn5", "neuron.name={}"], "unknown neuron"),
        (["digits_snn5", "train.epochs=!!int abc"], "train.epochs = '!!int abc': must be"),
        (
            ["digits_snn5", "train.epochs=!!python/object/apply:os.system [ls]"],
            "must be a whole number",
        ),
        (["digits_snn5", "title=" + "[" * 3000], "override title"),
        (["digits_snn5", "train.epochs=1:30"], "must be a whole number"),
        (["digits_snn5", "train.epochs=1_0"], "must be a whole number"),
        (["aliases.yaml"], "anchors and aliases"),
        (["date.yaml"], 'title = 3: must be text, which it is in quotes: "3"'),
        (["digits_snn5", "--out", "x" * 300], "error"),
        (["digits_snn5", "--out", "dangling"], "is a file"),
        (["x" * 300], "File name too long"),
        (
            ["mine.yaml", "-o", "mine.yaml", "--format", "md", "--overwrite"],
            "reads or writes itself",
        ),
        (["digits_snn5", "--out", "r", "-o", "r/last.pt"], "no folder"),
        ([], "RECIPE"),
    ],
)
def test_train(clifctl: Run, tmp_path: Path, arguments: list[str], part: str) -> None:
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "prose.yaml").write_text("a net, please")
    (tmp_path / "broken.yaml").write_text("train: [1,\n")
    (tmp_path / "twice.yaml").write_text("timesteps: 1\ntimesteps: 2\n")
    (tmp_path / "file.txt").write_text("mine")
    (tmp_path / "mine.yaml").write_text("mine: 1")
    (tmp_path / "aliases.yaml").write_text("a: &x [1]\nb: *x\n")
    (tmp_path / "date.yaml").write_text("title: 3\ntimesteps: 2020-01-01\n")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("timesteps: 1\n")
    (tmp_path / "run" / "last.pt").write_text("weights")
    before = sorted(tmp_path.iterdir())
    refused(clifctl("train", *arguments), part)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "file.txt").read_text() == "mine"


def test_no_permission_to_write(
    clifctl: Run, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A superuser may write anywhere: the system's answer is replaced, not a folder's mode.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    refused(clifctl("train", "digits_snn5", *tiny), "no permission")
    refused(clifctl("train", "digits_snn5", *tiny, "--out", "run"), "no permission")
    refused(clifctl("recipes", "ls", "-o", "list.json"), "no permission")


def test_a_folder_that_refuses_in_the_end(
    clifctl: Run, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *args: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    refused(clifctl("train", "digits_snn5", *tiny, "--out", "run"), "Permission denied")
    refused(clifctl("train", "digits_snn5", *tiny), "Permission denied")


def test_runs_that_cannot_be_a_folder(clifctl: Run, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    refused(clifctl("train", "digits_snn5", *tiny), "'runs'")
    (tmp_path / "runs").unlink()
    (tmp_path / "runs").symlink_to("nowhere")
    refused(clifctl("train", "digits_snn5", *tiny), "'runs'")


def test_a_system_that_will_not_say_what_is_there(
    clifctl: Run, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, **options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.path.lexists", refuse)
    refused(clifctl("train", "digits_snn5", *tiny, "--out", "locked/run"), "Permission denied")
    refused(clifctl("recipes", "ls", "-o", "locked/o.json"), "Permission denied")
    monkeypatch.setattr(Path, "is_file", refuse)
    refused(clifctl("eval", "locked/last.pt"), "Permission denied")


def test_a_run_that_cannot_start_does_not_cost_the_old_one(
    clifctl: Run, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clifctl("train", "digits_snn5", *tiny, "--out", "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}

    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("not enough memory")

    monkeypatch.setattr("clifctl.experiments.run.built.optimizer_of", fail)
    done = clifctl("train", "digits_snn5", *tiny, "--out", "run", "--overwrite")
    assert done.code == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_eval(clifctl: Run, tiny: list[str], tmp_path: Path) -> None:
    clifctl("train", "digits_snn5", *tiny, "--out", "run", "eval.batch_size=499")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    (tmp_path / "half.pt").write_bytes((tmp_path / "run" / "last.pt").read_bytes()[:900])
    torch.save({"net": {}}, tmp_path / "foreign.pt")
    document = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    torch.save(document, tmp_path / "unsealed.pt")
    del document["model"]["classifier.weight"]
    write_sealed(tmp_path / "changed.pt", document)
    document["recipe"]["neuron"]["name"] = "cliff"
    write_sealed(tmp_path / "unknown.pt", document)
    for name, value in (("recipe", [1]), ("epoch", torch.ones(2)), ("recipe_name", 3)):
        write_sealed(tmp_path / "hostile.pt", {**document, name: value})
        refused(clifctl("eval", "hostile.pt"), f"{name} is not a")
    write_sealed(tmp_path / "hostile.pt", {**document, "model": {"a": 1}})
    refused(clifctl("eval", "hostile.pt"), "not a state dict")
    refused(clifctl("eval", "/dev/null"), "is not a regular file")
    refused(
        clifctl("eval", "run/last.pt", "-o", "run/last.pt", "--format", "md", "--overwrite"),
        "itself",
    )
    refused(clifctl("eval", "nothing.pt"), "'nothing.pt' does not exist")
    refused(clifctl("eval", "run"), "is a folder", "try run/last.pt")
    refused(clifctl("eval", "text.pt"), "not a checkpoint")
    refused(clifctl("eval", "half.pt"), "not a checkpoint")
    refused(clifctl("eval", "unsealed.pt"), "its checksum is missing")
    refused(clifctl("eval", "foreign.pt"), "not a checkpoint of clifctl")
    refused(clifctl("eval", "changed.pt"), "do not fit its own recipe")
    refused(clifctl("eval", "unknown.pt"), "unknown neuron 'cliff'")
    refused(clifctl("eval", "run/recipe.yaml"), "not a checkpoint")
    refused(clifctl("eval", "run/last.pt", "--batch-statistics"), "a batch of one sample")
    refused(clifctl("eval"), "CHECKPOINT")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["recipes", "show", "digit_snn5"], "did you mean 'digits_snn5'"),
        (["recipes", "cp", "digits_snn5", "mine.yaml"], "'mine.yaml' exists already"),
        (["recipes", "check", "train.lr=3"], "no recipe to check"),
        (["recipes", "cp", "digits_snn5", "new.yaml", "epochs=3"], "did you mean 'train.epochs=3'"),
        (["recipes", "cp", "digits_snn5", "a.yaml", "b.yaml"], "two files to write"),
        (["data", "show", "digit"], "did you mean 'digits'"),
        (["data", "show", "digits", "--sample", "500"], "has 500 samples"),
        (["data", "show", "digits", "--split", "validation"], "validation"),
        (["data", "show", "digits_events", "contrast=1"], "contrast: unknown key"),
        (["data", "show", "digits_events", "contrast_threshold=1e-40"], "must be at least"),
        (["data", "show", "digits_events", "data.seed=18446744073709551616"], "less than"),
        (["data", "show", "digits", "data.name=digits_events"], "named by the argument"),
        (["data", "show", "digits", "--plot", "a.png", "-o", "a.png", "--format", "md"], "itself"),
        (["recipes", "check", "-", "-"], "stdin was given twice"),
        (["data", "show", "digits_events", "timesteps=49"], "at most 48"),
        (["data", "show", "digits_rows", "timesteps=4"], "has 8 time steps"),
        (["data", "show", "digits", "--plot", "x.gif"], "unknown ending '.gif'"),
        (["data", "show", "digits", "--plot", "no/x.png"], "no folder 'no'"),
        (["data", "show", "digits", "--plot", "old.png"], "'old.png' exists already"),
        (["trian", "digits_snn5"], "trian"),
    ],
)
def test_other_commands(clifctl: Run, tmp_path: Path, arguments: list[str], part: str) -> None:
    for name in ("mine.yaml", "old.png"):
        (tmp_path / name).write_text("mine")
    refused(clifctl(*arguments), part)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "old.png"]
    assert (tmp_path / "mine.yaml").read_text() == "mine"


def test_debug_shows_the_traceback(clifctl: Run) -> None:
    for arguments in (["train", "nothing.yaml", "--debug"], ["--debug", "train", "nothing.yaml"]):
        done = clifctl(*arguments)
        assert done.code == 2
        assert "Traceback" in done.err
        assert "no recipe file" in done.err
        assert done.err.splitlines()[-1].startswith("hint: ")


def test_a_bug_is_called_a_bug(clifctl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clifctl.recipe.catalog.names", lambda: 1 / 0)
    done = clifctl("recipes", "ls")
    assert done.code == 1
    assert done.err.startswith("error: internal: ZeroDivisionError")
    assert "Traceback" not in done.err

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from clifctl.data import DATASETS

Run = Callable[..., Any]


def test_recipes_ls(clifctl: Run) -> None:
    rows = clifctl("recipes", "ls", "--json").json["recipes"]
    timesteps = {row["recipe"]: row["timesteps"] for row in rows}
    assert timesteps["cifar100_resnet18"] == 6
    assert {name: t for name, t in timesteps.items() if name.startswith("digits")} == {
        "digits_snn5": 4,
        "digits_events_snn5": 8,
        "digits_rows_mlp": 8,
    }
    assert all(row["title"] and row["neuron"] == "clif" for row in rows)


def test_recipes_show_prints_the_file_as_it_is(clifctl: Run, root: Path) -> None:
    done = clifctl("recipes", "show", "digits_snn5")
    assert done.out == (root / "recipes" / "digits_snn5.yaml").read_text()


def test_recipes_show_resolved_is_a_recipe(clifctl: Run, tmp_path: Path) -> None:
    done = clifctl("recipes", "show", "digits_snn5", "timesteps=6")
    document = yaml.safe_load(done.out)
    assert document["timesteps"] == 6
    assert document["train"]["momentum"] == 0.9
    (tmp_path / "again.yaml").write_text(done.out)
    again = clifctl("recipes", "show", "again.yaml", "--resolved", "--json").json
    assert again["schema"] == "clifctl.recipe/1"
    assert again["content"] == document


def test_recipes_keys(clifctl: Run, tmp_path: Path) -> None:
    rows = clifctl("recipes", "keys", "train.epoch", "--json").json["keys"]
    assert rows == [
        {
            "key": "train.epochs",
            "type": "whole number",
            "range": "1 to 2147483647",
            "default": "required",
            "description": "passes over the training data",
            "variants": [],
        }
    ]
    table = clifctl("recipes", "keys", "neuron.tau").out
    assert "neuron: lif, plif, klif, clif, alif, cuba, ilif\n" in table
    line = next(line for line in table.splitlines() if "neuron.tau_current" in line)
    assert " number, more than 1   2.0 " in line
    csv = clifctl("recipes", "keys", "neuron.", "--of", "tclif", "--format", "csv").out
    assert csv.splitlines()[0] == "key,type,range,default,description,variants"
    assert "neuron.gamma,number,at least 0,0.5," in csv
    assert "neuron.tau" not in csv
    own = (
        "from clifctl.neurons import NEURONS, LeakyHyperparameters\n"
        "from dataclasses import replace\n"
        "class Own(LeakyHyperparameters):\n    kick: float = 0.25\n"
        "Kicked = replace(NEURONS['clif'], name='kicked', hyperparameters=Own)\n"
    )
    (tmp_path / "own.py").write_text(own)
    of_own = clifctl("recipes", "keys", "--of", "own.py:Kicked", "--json").json["keys"]
    (kick,) = (row for row in of_own if row["key"] == "neuron.kick")
    assert (kick["default"], kick["variants"]) == ("0.25", ["own.py:Kicked"])


def test_recipes_cp_then_train_the_copy(clifctl: Run, tiny: list[str], tmp_path: Path) -> None:
    done = clifctl("recipes", "cp", "digits_snn5")
    assert (done.code, done.out) == (0, "")
    assert "clifctl train digits_snn5.yaml" in done.err
    (tmp_path / "folder").mkdir()
    assert clifctl("recipes", "cp", "digits_snn5", "folder").code == 0
    copied = (tmp_path / "folder" / "digits_snn5.yaml").read_text()
    assert copied == (tmp_path / "digits_snn5.yaml").read_text()
    assert clifctl("recipes", "cp", "digits_rows_mlp", "digits_snn5.yaml").code == 2
    assert clifctl("recipes", "cp", "digits_rows_mlp", "digits_snn5.yaml", "--overwrite").code == 0
    assert "digits_rows" in (tmp_path / "digits_snn5.yaml").read_text()
    assert clifctl("train", "folder/digits_snn5.yaml", *tiny, "--dry-run").code == 0


def test_recipes_check(clifctl: Run) -> None:
    done = clifctl(
        "recipes", "check", "digits_snn5", "digits_rows_mlp", "neuron.name=lif", "--json"
    )
    rows = done.json["recipes"]
    assert [(row["recipe"], row["neuron"]) for row in rows] == [
        ("digits_snn5", "lif"),
        ("digits_rows_mlp", "lif"),
    ]
    assert rows[0]["parameters"] == 9_906


def test_recipes_check_reports_each_recipe_by_itself(clifctl: Run, tmp_path: Path) -> None:
    text = clifctl("recipes", "show", "digits_snn5").out
    (tmp_path / "bad.yaml").write_text(text.replace("  epochs:", "  epoch:"))
    done = clifctl("recipes", "check", "digits_snn5", "bad.yaml", "no.yaml", "--json")
    assert done.code == 2
    rows = {row["recipe"]: row for row in done.json["recipes"]}
    assert rows["digits_snn5"]["problem"] is None
    assert rows["digits_snn5"]["parameters"] == 9906
    assert rows["bad.yaml"]["problem"].startswith("bad.yaml: 2 problems\n  train.epochs: missing")
    assert rows["no.yaml"]["problem"] == "no recipe file 'no.yaml'"
    assert "error: 2 of 3 recipes do not hold\n" in done.err


def test_recipes_cp_with_overrides(clifctl: Run, tmp_path: Path) -> None:
    asked = ["train.epochs=3", "neuron.name=LIF"]
    assert clifctl("recipes", "cp", "digits_snn5", "mine.yaml", *asked).code == 0
    text = (tmp_path / "mine.yaml").read_text()
    assert text.startswith("# digits_snn5, with train.epochs=3 neuron.name=LIF\ntitle: ")
    of_copy, of_catalog = (
        clifctl("recipes", "show", *words, "--resolved", "--json").json["content"]
        for words in (["mine.yaml"], ["digits_snn5", *asked])
    )
    # A title tells the neuron that ran; a copy has the one that its file says.
    of_copy.pop("title"), of_catalog.pop("title")
    assert of_copy == of_catalog
    assert of_copy["train"]["epochs"] == 3


def test_recipes_check_takes_files_with_an_equals_sign(clifctl: Run, tmp_path: Path) -> None:
    clifctl("recipes", "cp", "digits_snn5", "x=1.yaml")
    assert clifctl("recipes", "check", "x=1.yaml", "train.seed=1", "--json").json["recipes"]


def test_recipes_show_has_no_nan_in_its_json(clifctl: Run, tmp_path: Path) -> None:
    (tmp_path / "nan.yaml").write_text("d: .nan\n")
    assert clifctl("recipes", "show", "nan.yaml", "--json").json["content"] == {"d": None}


def test_data_ls(clifctl: Run) -> None:
    rows = clifctl("data", "ls", "--json").json["data"]
    assert [row["data"] for row in rows] == list(DATASETS)
    found = {row["data"]: (row["input_shape"], row["timesteps"], row["classes"]) for row in rows}
    expected = {
        "digits": ([1, 8, 8], "any", 10),
        "digits_events": ([2, 10, 10], "1 to 48", 10),
        "digits_rows": ([8], "8", 10),
        "mnist1d": ([1], "40", 10),
        "adding": ([2], "any", None),
        "shd": ([700], "any", 20),
        "ssc": ([700], "any", 35),
        "mnist": ([1, 28, 28], "any", 10),
        "fashion_mnist": ([1, 28, 28], "any", 10),
        "cifar10": ([3, 32, 32], "any", 10),
        "cifar100": ([3, 32, 32], "any", 100),
        "tiny_imagenet": ([3, 64, 64], "any", 200),
        "image_folder": (None, "any", None),
        "npz": (None, "any", None),
        "dvs_gesture": ([2, 128, 128], "any", 11),
        "cifar10_dvs": ([2, 128, 128], "any", 10),
        "n_mnist": ([2, 34, 34], "any", 10),
        "event_files": (None, "any", None),
    }
    assert {name: found[name] for name in expected} == expected


def test_data_show_counts_events(clifctl: Run) -> None:
    done = clifctl("data", "show", "digits_events", "timesteps=4", "data.seed=3", "--json").json
    assert done["shape"] == [4, 2, 10, 10]
    assert len(done["frames"]) == 4
    for frame in done["frames"]:
        assert sum(frame["sum_per_channel"]) == pytest.approx(frame["mean"] * 200, rel=1e-5)
    other = clifctl("data", "show", "digits_events", "timesteps=4", "seed=4", "--json").json
    assert other["label"] == done["label"]
    assert other["sha256"] != done["sha256"]


@pytest.mark.parametrize(
    ("arguments", "file", "magic"),
    [
        (["digits_events", "--plot"], "digits_events-test-0.png", b"\x89PNG"),
        (["digits_events", "timesteps=12", "--plot", "e.png"], "e.png", b"\x89PNG"),
        (["digits", "--plot", "d.svg"], "d.svg", b"<?xml"),
        (["digits_rows", "--plot", "r.pdf", "--sample", "3"], "r.pdf", b"%PDF"),
        (["digits", "--plot", "--json"], "digits-test-0.png", b"\x89PNG"),
    ],
)
def test_data_show_draws(
    clifctl: Run, tmp_path: Path, arguments: list[str], file: str, magic: bytes
) -> None:
    done = clifctl("data", "show", *arguments)
    assert done.code == 0
    content = (tmp_path / file).read_bytes()
    assert content.startswith(magic)
    assert len(content) > 2000
    assert file in done.out


def test_a_picture_has_the_size_that_was_asked_for(clifctl: Run, tmp_path: Path) -> None:
    from PIL import Image

    done = clifctl("data", "show", "digits_events", "--plot", "page.png", "--dpi", "60")
    assert done.code == 0, done.err
    arguments = ["--plot", "column.png", "--dpi", "120", "--size", "column", "--title"]
    assert clifctl("data", "show", "digits_events", *arguments).code == 0
    with Image.open("page.png") as page, Image.open("column.png") as column:
        assert (page.width, column.width) == (round(6.75 * 60), round(3.25 * 120))
        titles = {page.info["Title"], column.info["Title"]}
    (title,) = titles
    assert title.startswith("digits_events: test sample 0, label")
    refused = clifctl("data", "show", "digits", "--size", "page")
    assert (refused.code, refused.out) == (2, "")
    assert "add --plot" in refused.err


def test_pictures_show_the_sample(clifctl: Run, tmp_path: Path) -> None:
    from matplotlib.image import imread

    for sample in ("0", "1"):
        clifctl("data", "show", "digits_events", "--plot", f"{sample}.png", "--sample", sample)
    one, other = imread(tmp_path / "0.png"), imread(tmp_path / "1.png")
    assert one.std() > 0.05
    assert one.shape != other.shape or (one != other).mean() > 0.01


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["eval", "--plot", "a b.pt", "--json"], "clifctl eval 'a b.pt' --json --plot"),
        (["energy", "--plot", "last.pt"], "clifctl energy last.pt --plot"),
        (["gradients", "--plot", "last.pt"], "clifctl gradients last.pt --plot"),
        (["runs", "show", "--plot", "runs/a.1"], "clifctl runs show runs/a.1 --plot"),
        (["runs", "compare", "--plot", "./a"], "clifctl runs compare ./a --plot"),
        (["data", "show", "--plot", "my.set"], "clifctl data show my.set --plot"),
        (["eval", "--plot", "last.png"], "clifctl eval --help shows"),
        (["eval", "--plot=last.pt"], "clifctl eval --help shows"),
        (["compare-neurons", "--plot", "mine.yaml"], "as the last word it chooses the name itself"),
    ],
)
def test_a_word_that_plot_took_is_named(clifctl: Run, words: list[str], hint: str) -> None:
    done = clifctl(*words)
    assert done.code == 2
    told = done.err.splitlines()[-1]
    assert hint in told
    assert told.startswith("hint: --plot took '") == hint.endswith(" --plot")


def test_plot_takes_the_next_word_only_if_it_is_a_file(clifctl: Run, tmp_path: Path) -> None:
    assert clifctl("data", "show", "--plot", "digits").code == 0
    assert clifctl("data", "show", "digits_events", "--plot", "timesteps=2").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("digits-test-0.png", "digits_events-test-0.png")
    ]


@pytest.mark.parametrize("reference", ["recipes/digits_snn5.yaml", "./recipes/digits_snn5.yaml"])
@pytest.mark.parametrize(
    "command",
    [
        ("recipes", "show"),
        ("recipes", "cp"),
        ("recipes", "check"),
        ("train", "--dry-run"),
        ("energy", "--method", "sop"),
        ("compare-neurons", "--neurons", "lif", "--seeds", "1", "--dry-run"),
        ("gradients", "--samples", "2", "--no-windows"),
    ],
    ids=" ".join,
)
def test_a_shipped_recipes_path_is_that_of_the_catalog(
    clifctl: Run, command: tuple[str, ...], reference: str
) -> None:
    words = [*command[:1], reference, *command[1:]]
    if command[0] == "recipes":
        words = [*command, reference]
    done = clifctl(*words)
    assert done.code == 0, done.err
    notice = f"note: no file '{reference}' here: 'digits_snn5' of the catalog is taken"
    assert done.err.splitlines()[0] == notice


def test_a_file_comes_before_the_catalogs(clifctl: Run, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    clifctl("recipes", "cp", "digits_rows_mlp", "recipes/digits_snn5.yaml")
    done = clifctl("recipes", "check", "recipes/digits_snn5.yaml", "--json")
    assert done.json["recipes"][0]["model"] == "mlp"
    assert done.err == ""


def test_preparing_by_a_shipped_recipes_path_names_its_problems(clifctl: Run) -> None:
    done = clifctl("data", "prepare", "recipes/dvs_gesture_vgg11.yaml", "data.nope=1")
    assert (done.code, done.out) == (2, "")
    assert "data.nope: unknown key" in done.err
    missing = clifctl("data", "prepare", "recipes/dvs_gesture_vgg11.yaml")
    assert missing.err.startswith("note: no file 'recipes/dvs_gesture_vgg11.yaml' here")
    assert "recordings are missing" in missing.err


@pytest.mark.parametrize("reference", ["recipes/nope.yaml", "elsewhere/recipes/digits_snn5.yaml"])
def test_other_paths_that_do_not_exist_stay_refused(clifctl: Run, reference: str) -> None:
    done = clifctl("train", reference, "--dry-run")
    assert done.code == 2
    assert f"no recipe file '{reference}'" in done.err


def test_the_recipe_of_a_table_of_the_paper_is_found(clifctl: Run) -> None:
    listed = clifctl("recipes", "ls", "--json").json["recipes"]
    paper = {row["recipe"]: row["paper"] for row in listed}
    assert paper["cifar10_resnet18"] == "Table 1, Table 8"
    assert paper["cifar10_snn5"] == "Figure 2"
    assert paper["digits_snn5"] is None
    assert "Table 2, Table 6, Figure 6" in clifctl("recipes", "ls").out

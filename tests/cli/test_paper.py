"""`paper ls|show|run`: every table and figure, and runs of a tiny net on tiny data beside them."""

import csv
import io
import json
import shlex
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from clifctl.cli.app import app
from clifctl.errors import DataError, RecipeError, UsageError
from clifctl.experiments.grid.trial_names import Numerics, trial_of
from clifctl.experiments.paper import (
    PaperOptions,
    RunPaperOptions,
    list_paper,
    paper_plan,
    plan_paper,
    run_paper,
    show_paper,
)
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.paper import paper_items, table
from clifctl.recipe.load import LoadedRecipe, load_recipe
from clifctl.recipe.yamlfile import dump_document
from clifctl.results.paper import PaperLine, PaperShown

Run = Callable[..., Any]
TABLES = [f"table{number}" for number in range(1, 9)]
# Figure -> rows, columns, runs of one seed, seeds; as the paper's text and captions have them.
FIGURES = {
    "fig1": (["a", "b", "c", "d"], ["part", "shows"], 0, 1),
    "fig2a": (
        [1, 2, 3, 4, 5, 6],
        ["window", *(f"tau_{t}" for t in (1.1, 1.3, 1.5, 1.8, 2.0))],
        30,
        1,
    ),
    "fig2b": ([2, 4, 8, 16, 32, 64], ["timesteps", "lif", "clif"], 12, 4),
    "fig3a": (
        ["lif", "clif", "lif, exchanged for clif"],
        ["curve", "timesteps", "train_loss"],
        3,
        1,
    ),
    "fig3b": ([1, 2, 4, 6, 8], ["timesteps", "lif", "clif"], 10, 1),
    "fig4a": (
        ["lif", "plif", "klif", "glif", "clif", "relu"],
        ["neuron", "timesteps", "accuracy_percent"],
        6,
        1,
    ),
    "fig4b": (
        ["lif", "plif", "klif", "glif", "clif", "relu"],
        ["neuron", "timesteps", "accuracy_percent"],
        6,
        1,
    ),
    "fig5": ([None], ["part", "shows"], 0, 1),
    "fig6": (None, None, 60, 1),
    "fig7": ([64, 128, 256, 512], ["T", "lif", "clif"], 0, 1),
    "fig8": (
        ["lif", "clif", "clif"],
        ["neuron", "signal", *(f"lag_{n}" for n in (0, 1, 2, 4, 8, 16, 32))],
        0,
        1,
    ),
    "fig9": ([None], ["part", "shows"], 0, 1),
    "fig10": (
        ["cifar10", "cifar100", "tiny_imagenet", "dvs_gesture", "cifar10_dvs"],
        ["data", "model", "timesteps", "lif", "clif"],
        10,
        1,
    ),
    "fig11": (None, ["data", "model", "timesteps", "layer", "lif", "clif"], 10, 1),
}
RUNS_OF_TABLES = {"table1": 22, "table2": 8, "table3": 60, "table8": 4}
NAMES = [*TABLES, *FIGURES]
# A net on which a run takes a second.
TINY = ["model.width=1", "train.batch_size=20", "train.epochs=2", "train.precision=float32"]
HOW = ExecutionOptions(connections="dense", threads=1)


def lines_of(shown: PaperShown, whose: str) -> list[PaperLine]:
    return [line for line in shown.lines if line.whose == whose]


def measured(shown: PaperShown, row: str, of: str, column: str) -> Any:
    """The mean of a cell that was measured here."""
    (line,) = (one for one in lines_of(shown, "here") if (one.row, one.of) == (row, of))
    return line.cells[column].mean


def written(folder: Path, loaded: LoadedRecipe, accuracies: list[float]) -> None:
    """The files of a finished run that had these test accuracies, epoch by epoch."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(dump_document(loaded.recipe.document))
    record = {"record": "epoch", "train_loss_train_mode": 0.5, "test_loss": 0.6}
    lines = [
        json.dumps({**record, "epoch": epoch, "test_accuracy_percent": accuracy})
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "result.json").write_text("{}")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without runs and data."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, on_disk: ModuleType) -> tuple[Path, list[str]]:
    """Figure 3a, run on tiny CIFAR-10: the folder of its three runs, and their overrides."""
    folder, root = (tmp_path_factory.mktemp(name) for name in ("paper", "data"))
    on_disk.write_cifar10(root, batch_samples=8, test_samples=8)
    overrides = [*TINY, f"data.root={root}"]
    options = RunPaperOptions(folder, None, overrides, execution=HOW, workers=1)
    planned = plan_paper("fig3a", options)
    assert [len(lot.missing) for lot in planned.lots] == [3]
    shown, ended = run_paper(planned, lambda: nullcontext(lambda event: None), lambda line: None)
    assert [one.state for _, trials in ended for one in trials] == ["finished"] * 3
    assert len(lines_of(shown, "here")) == 3
    return folder, overrides


def test_the_list_has_every_table_and_figure_once(empty: Path) -> None:
    listed = list_paper()
    assert [row.name for row in listed.items] == NAMES
    assert listed.runs == 0
    for row in listed.items:
        assert row.measured == 0
        # The files of none of the paper's data sets lie in an empty folder.
        assert row.missing_data == row.data
        points = FIGURES[row.name][2] if row.name in FIGURES else RUNS_OF_TABLES.get(row.name, 0)
        assert row.points == points
        assert bool(row.data) == bool(points)
        assert row.commands
    assert len({row.title for row in listed.items}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_has_the_papers_rows_and_columns_and_a_plan(empty: Path, name: str) -> None:
    shown = show_paper(name, PaperOptions())
    rows, columns, runs, seeds = FIGURES.get(name, (None, None, RUNS_OF_TABLES.get(name, 0), 1))
    paper = lines_of(shown, "paper")
    if name in TABLES or name == "fig6":
        printed = table(3 if name == "fig6" else int(name[5:]))
        assert [line.cells for line in paper] == [dict(row.cells) for row in printed.rows]
        assert [line.notes for line in paper] == [dict(row.notes) for row in printed.rows]
        columns = list(printed.columns)
    elif rows is not None:
        assert columns is not None
        assert [line.cells[columns[0]] for line in paper] == rows
    assert [column.key for column in shown.columns] == columns
    # Settings of recipes stand beside those of Tables 4 and 5; nothing else is measured.
    assert {line.of for line in lines_of(shown, "here")} == (
        {f"recipe {command.split()[-1]}" for command in shown.commands}
        if name in ("table4", "table5")
        else set()
    )
    if runs:
        assert "There is no run below 'runs'." in shown.notes
    plan = paper_plan(plan_paper(name, RunPaperOptions()))
    assert sum(lot.missing for lot in plan.lots) == runs * seeds
    assert sum(lot.there for lot in plan.lots) == 0
    assert not any(lot.data_here for lot in plan.lots)
    assert [len(lot.seeds) for lot in plan.lots] == [seeds] * len(plan.lots)
    assert list(empty.iterdir()) == []


def test_each_command_parses() -> None:
    labels = {item.name: item.label for item in paper_items()}
    root: Any = typer.main.get_command(app)
    for row in list_paper().items:
        assert row.label == labels[row.name]
        assert row.label == row.name.replace("table", "Table ").replace("fig", "Figure ")
        for command in row.commands:
            program, *words = shlex.split(command)
            assert program == "clifctl"
            group = root
            while hasattr(group, "commands"):
                group = group.commands[words.pop(0)]
            group.make_context("clifctl", words)


def test_settings_of_recipes_are_those_of_the_paper(empty: Path) -> None:
    for name in ("table4", "table5"):
        shown = show_paper(name, PaperOptions())
        ours = {line.row: line.cells for line in lines_of(shown, "here")}
        for line in lines_of(shown, "paper"):
            assert ours[line.row] == line.cells, line.row


COMMANDS = [
    pytest.param(name, marks=() if name == "fig3a" else pytest.mark.exhaustive)
    for name in NAMES
    if name in RUNS_OF_TABLES or FIGURES.get(name, (None, None, 0))[2]
]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_make_the_same_trials(clifctl: Run, name: str) -> None:
    planned = plan_paper(name, RunPaperOptions())
    numerics = Numerics.of(ExecutionOptions().resolve())
    ours = {
        trial_of(loaded, title, numerics).name
        for lot in planned.lots
        for loaded, title in lot.missing
    }
    theirs = set()
    for command in list_paper().items[NAMES.index(name)].commands:
        words = shlex.split(command)[1:]
        if words[0] in ("compare-neurons", "truncate-bptt"):
            done = clifctl(*words, "--dry-run", "--json")
            assert done.code == 2  # the data are missing, which the plan is printed before
            theirs |= {one["trial"] for one in json.loads(done.out)["trials"]}
    assert ours == theirs


def test_runs_stand_below_the_rows_of_the_paper(made: tuple[Path, list[str]]) -> None:
    folder, overrides = made
    results = {}
    for path in folder.glob("paper-*/*/result.json"):
        document = json.loads(path.read_text())
        exchange = document["resolved_recipe"]["neuron"].get("exchange")
        results[document["neuron"], bool(exchange)] = document
    options = PaperOptions(folder, None, overrides)
    curves = show_paper("fig3a", options)
    changed = ", ".join(TINY)
    assert f"Measured with {changed}, and so not the runs of the paper." in curves.notes
    rows = {
        ("lif", False): "lif",
        ("clif", False): "clif",
        ("lif", True): "lif, exchanged for clif",
    }
    for key, row in rows.items():
        loss = results[key]["train_loss_train_mode"]
        assert measured(curves, row, "last epoch", "train_loss") == pytest.approx(loss, rel=1e-6)
    clif = results["clif", False]
    # One run is a point of several tables and figures.
    for name, row, column in (
        ("table1", "cifar10 / Ours / 6", "accuracy_percent"),
        ("fig3b", "T = 6", "clif"),
        ("table8", "cifar10 / CLIF", "pretrained_accuracy_percent"),
    ):
        shown = show_paper(name, options)
        for of, epoch in (("best epoch", "best"), ("last epoch", "last")):
            found = measured(shown, row, of, column)
            assert found == pytest.approx(clif[f"accuracy_percent_{epoch}"])
        assert all(line.seeds == (2022,) for line in lines_of(shown, "here"))
        assert all(line.on is None for line in lines_of(shown, "here"))
    losses = show_paper("fig10", options)
    assert measured(losses, "cifar10", "last epoch", "clif") == measured(
        curves, "clif", "last epoch", "train_loss"
    )
    rates = lines_of(show_paper("fig11", options), "here")
    assert [line.cells["clif"].mean for line in rates] == [
        one["firing_rate"] for one in clif["firing_rates"]
    ]
    listed = {row.name: row.measured for row in list_paper(folder).items}
    # Of these recipes; the paper's own have other nets.
    assert set(listed.values()) == {0}
    assert (
        paper_plan(plan_paper("fig3a", RunPaperOptions(folder, None, overrides))).lots[0].there == 3
    )
    more = paper_plan(plan_paper("fig3b", RunPaperOptions(folder, None, overrides, seeds=2)))
    assert (more.lots[0].there, more.lots[0].missing) == (2, 18)


def test_what_is_shown_and_written(made: tuple[Path, list[str]], clifctl: Run) -> None:
    folder, overrides = made
    show = ("paper", "show", "Figure 3b", *overrides, "--runs", str(folder))
    text = clifctl(*show).out
    cells = [line.split() for line in text.splitlines()]
    assert ["paper", "6", "94.51", "[3]", "95.41", "[2]", "-"] in cells
    assert [row[:4] for row in cells if row[:1] == ["here:"]] == [
        ["here:", "best", "epoch", "6"],
        ["here:", "last", "epoch", "6"],
    ]
    assert "93.73 in Table 3" in text
    rows = list(csv.DictReader(io.StringIO(clifctl(*show, "--format", "csv").out)))
    (best,) = (row for row in rows if row["of"] == "best epoch")
    assert (best["whose"], best["timesteps"], best["seeds"]) == ("here", "6", "[2022]")
    assert best["lif_standard_error"] == ""
    (printed,) = (row for row in rows if row["whose"] == "paper" and row["timesteps"] == "6")
    assert printed["lif"] == "94.51"
    assert printed["notes"].startswith("lif: The number of Table 8; 93.73 in Table 3.")
    again = clifctl("paper", "run", "fig3a", *overrides, "--runs", str(folder))
    assert (again.code, again.err) == (0, "note: on cifar10, the paper's data: cifar10_resnet18\n")
    assert again.out == clifctl("paper", "show", "fig3a", *overrides, "--runs", str(folder)).out
    latex = clifctl(*show, "--format", "latex", "--bold-best").out
    assert "\\toprule" in latex
    assert f"of {folder}" in latex.replace("\\_", "_")


def test_runs_that_do_not_count_are_named(made: tuple[Path, list[str]], empty: Path) -> None:
    folder, overrides = made
    shutil.copytree(folder, "runs")
    clif, lif, exchanged = sorted(
        path.parent for path in Path("runs").glob("paper-*/*/recipe.yaml")
    )
    (lif / "result.json").unlink()
    recipe = clif / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("lr: 0.1", "lr: 0.05"))
    shown = show_paper("fig3a", PaperOptions(None, None, overrides))
    assert [line.row for line in lines_of(shown, "here")] == ["lif, exchanged for clif"]
    assert f"not finished, and not counted: {lif} (epoch 2 of 2)" in shown.notes
    protocol = "train.lr = 0.05 and not 0.1"
    assert f"of another protocol, and not counted: {clif} ({protocol})" in shown.notes
    plan = paper_plan(plan_paper("fig3a", RunPaperOptions(None, None, overrides)))
    assert (plan.lots[0].there, plan.lots[0].missing) == (1, 2)
    shutil.rmtree(exchanged)
    others = show_paper("fig3a", PaperOptions(None, None, overrides)).notes
    assert any(
        note.startswith("Of the 2 runs below 'runs' none is one of these") for note in others
    )


def test_seeds_are_averaged_wherever_the_runs_lie(empty: Path, clifctl: Run) -> None:
    for seed, last, place in ((2022, 94.0, "a"), (7, 95.0, "deep/down")):
        loaded = load_recipe("cifar10_resnet18", [f"train.seed={seed}"])
        written(Path("runs") / place, loaded, [95.0 + seed % 5, last])
    show = clifctl("paper", "show", "table1", "--json").json
    best, last = (line for line in show["lines"] if line["whose"] == "here")
    assert (best["row"], best["of"], last["of"]) == (
        "cifar10 / Ours / 6",
        "best epoch",
        "last epoch",
    )
    found = best["cells"]["accuracy_percent"]
    assert (found["mean"], found["standard_error"], found["n"]) == (97.0, 0.0, 2)
    found = last["cells"]["accuracy_percent"]
    assert (found["mean"], found["standard_error"], found["n"]) == (94.5, 0.5, 2)
    assert best["cells"]["accuracy_percent_starred"] is None
    assert [one["seed"] for one in best["runs"]] == [7, 2022]
    lines = clifctl("paper", "show", "table1").out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.split()[:2] == ["here:", "best"])
    assert "95.41" in lines[at - 1]
    assert "94.50 ± 0.50" in lines[at + 1]
    assert lines[at].rstrip().endswith("7, 2022")
    measured = {row.name: row.measured for row in list_paper().items if row.measured}
    assert measured == dict.fromkeys(["table1", "table8", "fig3a", "fig3b", "fig10", "fig11"], 1)
    # The seed that the paper has need not be run again.
    plan = paper_plan(plan_paper("fig3a", RunPaperOptions()))
    assert (plan.lots[0].there, plan.lots[0].missing) == (1, 2)


def test_runs_on_other_data_are_marked(empty: Path, clifctl: Run) -> None:
    planned = plan_paper("fig2b", RunPaperOptions(None, "digits", seeds=1))
    loaded, title = planned.lots[0].missing[0]
    assert title == "lif, T = 2, seed 0"
    written(Path("runs/digits"), loaded, [90.0, 91.0])
    assert lines_of(show_paper("fig2b", PaperOptions()), "here") == []
    shown = show_paper("fig2b", PaperOptions(None, "digits"))
    assert [(line.row, line.on) for line in lines_of(shown, "here")] == [("T = 2", "digits")] * 2
    assert any("do not compare with the paper's" in note for note in shown.notes)
    assert (
        "here: best epoch, on digits" in clifctl("paper", "show", "fig2b", "--data", "digits").out
    )


def test_other_data_stand_in_the_place_of_those_that_are_missing(empty: Path) -> None:
    options = RunPaperOptions(None, "Digits", ["train.epochs=3"], seeds=2)
    planned = plan_paper("fig2b", options)
    (lot,) = paper_plan(planned).lots
    assert (lot.recipe, lot.data, lot.instead_of) == ("digits_snn5", "digits", "cifar10")
    assert (lot.data_here, lot.missing, lot.epochs) == (True, 24, 3)
    assert planned.notices[0].startswith("on digits, which is not the paper's data: digits_snn5 in")
    assert {one.recipe.data.dataset.name for one, _ in planned.lots[0].missing} == {"digits"}
    # Without a recipe for the net on these data the paper's own is taken; runs that come to the
    # same are made once.
    lots = paper_plan(plan_paper("table1", RunPaperOptions(None, "digits"))).lots
    assert [lot.recipe for lot in lots][:2] == ["cifar10_resnet18", "cifar10_resnet18_strong"]
    assert lots[0].missing == 4
    assert lots[0].problem is None
    assert "leave no pixel of images [1, 8, 8]" in str(lots[4].problem)  # VGG-13
    with pytest.raises(RecipeError, match="none of Figure 2a's nets can be run on shd"):
        run_paper(plan_paper("fig2a", RunPaperOptions(None, "shd")), nullcontext, print)
    assert sum(lot.missing for lot in lots) < 22
    with pytest.raises(DataError, match="Figure 2b needs cifar10, which is not here"):
        run_paper(plan_paper("fig2b", RunPaperOptions()), nullcontext, print)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("show", "tabel1"), ("unknown table or figure", "did you mean 'table1'?")),
        (("show", "fig4"), ("'fig4' has parts: fig4a, fig4b",)),
        (("show", "fig3a", "timesteps=3"), ("timesteps is what the runs of the paper differ in",)),
        (("run", "fig3a", "data.name=digits"), ("--data NAME trains on other data",)),
        (("show", "fig3a", "--runs", "nowhere"), ("--runs nowhere: there is no such folder",)),
        (("run", "fig3a", "--data", "digit"), ("unknown data set 'digit'", "'digits'")),
        (("run", "fig3a", "--data"), ("--data",)),
        (("run", "fig3a", "--seeds", "0"), ("must be between 1 and",)),
        (("run", "fig3a", "train.lr=-1"), ("train.lr",)),
    ],
)
def test_what_cannot_be_is_told(
    clifctl: Run, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    done = clifctl("paper", *words)
    assert done.code == 2
    assert done.out == ""
    for part in parts:
        assert part in done.err
    assert not Path("runs").exists()


def test_a_name_may_be_written_as_the_paper_does() -> None:
    for name in ("Figure 2a", "Fig. 2a", "FIG2A"):
        assert show_paper(name, PaperOptions()).name == "fig2a"
    with pytest.raises(UsageError, match="figure of the paper 'fig12'"):
        show_paper("fig12", PaperOptions())


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "digits"), [("table6", 2), ("table7", 4)])
def test_energies_are_computed(empty: Path, name: str, digits: int) -> None:
    shown, _ = run_paper(plan_paper(name, RunPaperOptions()), nullcontext, print)
    ours = {line.row: line.cells for line in lines_of(shown, "here")}
    assert len(ours) == 13
    for line in lines_of(shown, "paper"):
        for key, printed in line.cells.items():
            if name == "table7" and key.endswith(("mj", "uj")):
                assert round(ours[line.row][key], digits) == printed, (line.row, key)
            if key == "parameters_millions":
                assert round(ours[line.row][key], 1) == printed


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["fig7", "fig8"])
def test_single_neurons_are_simulated(empty: Path, name: str) -> None:
    shown, _ = run_paper(plan_paper(name, RunPaperOptions()), nullcontext, print)
    first = lines_of(shown, "here")[0]
    assert len(lines_of(shown, "here")) == len(lines_of(shown, "paper"))
    if name == "fig7":  # CLIF fires less, as the text says
        assert first.cells["clif"].mean < first.cells["lif"].mean
    else:
        assert first.cells["lag_0"] > first.cells["lag_1"] > 0


@pytest.mark.exhaustive
def test_table_8_deploys_what_it_has_trained(
    on_disk: ModuleType, empty: Path, made: tuple[Path, list[str]]
) -> None:
    folder, overrides = made
    shutil.copytree(folder, "runs")
    on_disk.write_cifar100(Path(overrides[-1].removeprefix("data.root=")))
    options = RunPaperOptions(None, None, overrides, execution=HOW, workers=1)
    shown, _ = run_paper(
        plan_paper("table8", options), lambda: nullcontext(lambda event: None), lambda line: None
    )
    rows = [line for line in lines_of(shown, "here") if line.of == "best epoch"]
    assert [line.row for line in rows] == [line.row for line in lines_of(shown, "paper")]
    for line in rows:
        numbers = [cell.mean for cell in line.cells.values() if not isinstance(cell, str | int)]
        assert len(numbers) == 8
        if line.row.endswith("LIF"):  # deployed as it was trained
            assert line.cells["soft"].mean == line.cells["pretrained_accuracy_percent"].mean

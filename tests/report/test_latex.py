"""Tables as LaTeX and HTML: what is written of any text, and that of every command, read by a
parser and compiled in one document."""

import importlib
import inspect
import io
import re
import shutil
import subprocess
import typing
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import typer

from clifctl.cli.app import app
from clifctl.report.latex import escaped, latex_text
from clifctl.report.render import Column, Measured, Report, Table, render, too_wide_tables
from clifctl.report.shape import (
    labelled,
    only_columns,
    transposed,
    with_best,
    with_digits,
    with_origin,
)
from clifctl.results.bench_eval import EvalBenchResult
from clifctl.results.bench_neurons import BenchResult
from clifctl.results.bench_train import TrainBenchResult
from clifctl.results.convert import DeployResult
from clifctl.results.dynamics import DynamicsResult
from clifctl.results.energy import EnergyResult
from clifctl.results.filled import filled
from clifctl.results.gradients import GradientsResult, LagRow
from clifctl.results.runs_watch import STATES, RunWatch
from clifctl.results.sweep import SweepResult
from clifctl.results.train import TrainPlan, TrainResult

Run = Callable[..., Any]
HOSTILE = r"\input{/etc/passwd}</script>%_&#$^~{}[*]--''`|<>\end{verbatim}\end{table} ±τé☃" + "\n"
TABLE = Table(
    HOSTILE,
    (
        Column("name", "name_%"),
        Column("accuracy", "accuracy [%]", best="highest"),
        Column("energy", "energy", 2, best="lowest"),
        Column("count", "count", 0),
    ),
    (
        {"name": HOSTILE, "accuracy": Measured(97.561, 0.29, 2), "energy": 2e-4, "count": 12345},
        {"name": "[a", "accuracy": Measured(96.1, None, 2), "energy": 0.125, "count": 1},
        {"name": "*b", "accuracy": Measured(97.559, 0.1, 2), "energy": None, "count": 2},
    ),
    notes=(HOSTILE,),
    published=(2,),
)
REPORT = Report({"rows": [{"checkpoint": "runs/a\nb"}]}, (TABLE,), text=HOSTILE + "  key: 1\n")
BEGIN = r"""\documentclass{article}
\usepackage{booktabs,longtable}
\setlength{\textwidth}{6.75in}
\begin{document}
"""
END = "\\clearpage\n\\end{document}\n"
_TABLE = re.compile(
    r"\\begin\{(tabular|longtable)\}\{((?:[lr]|p\{[^}]*\})+)\}(.*?)\\end\{\1\}", re.DOTALL
)
_BROKEN_HEADER = re.compile(r"\\begin\{tabular\}\[b\]\{@\{\}[lr]@\{\}\}(.*?)\\end\{tabular\}")
_OVERFULL = re.compile(r"Overfull \\hbox \(([\d.]+)pt too wide\) in \w+ at lines (\d+)--(\d+)")
WITHOUT_A_TABLE = {"recipes cp", "neurons cp", "models cp"}
# What a result must hold beside any values, for its report.
_BENCH = {"contestant": "ours", "versions": {"spikingjelly": "2.0"}}
_STEPS = 9
HELD: dict[type, dict[str, Any]] = {
    BenchResult: _BENCH,
    TrainBenchResult: _BENCH,
    EvalBenchResult: _BENCH,
    TrainResult: {"best_chosen_on": "test", "resolved_recipe": {"neuron": {"tau": 2.0}}},
    DeployResult: {"chosen_on": "test"},
    EnergyResult: {"methods": ("sop", "memory"), "rates": "measured"},
    RunWatch: {"since": "2024-01-01T00:00:00+00:00", "counts": dict.fromkeys(STATES, 1)},
    GradientsResult: {
        "timesteps": _STEPS,
        "lags": tuple(filled(LagRow, lag=lag) for lag in range(_STEPS)),
        "reach": (1.0,) * _STEPS,
    },
}
OPTIONS: dict[type, dict[str, Any]] = {
    DynamicsResult: {"traces": True},
    EnergyResult: {"per_layer": True, "operations": True},
    TrainPlan: {"resolved": "title: a & b\n"},
}
# Tables of real values, of commands that are quick.
QUICK = [
    *(("neurons", "ls"), ("neurons", "show", "glif"), ("models", "ls"), ("data", "ls")),
    *(("recipes", "ls"), ("recipes", "show", "digits_snn5"), ("recipes", "keys")),
    ("neurons", "ls", "--transpose", "--columns", "neuron,states"),
]


def text(report: Report, how: str = "latex") -> str:
    stream = io.StringIO()
    render(report, how, stream)
    return stream.getvalue()


def tabular_rows(latex: str) -> list[list[str]]:
    """The cells of every row, split at each & that is no text; fails where a table is not whole."""
    latex = re.sub(r"(?m)^%.*$", "", latex)
    for kind in ("table", "tabular", "longtable"):
        assert latex.count(rf"\begin{{{kind}}}") == latex.count(rf"\end{{{kind}}}")
    bare = re.sub(r"\\[\\{}$&#%_]", "", latex)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert "%" not in bare
    assert "#" not in bare
    found = []
    whole = _BROKEN_HEADER.sub(lambda one: one[1].replace(r" \\ ", " "), latex)
    for _, kinds, body in _TABLE.findall(whole):
        columns = len(re.sub(r"\{[^}]*\}", "", kinds))
        for line in map(str.strip, body.splitlines()):
            if line.endswith(r" \\"):
                cells = re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))
                assert len(cells) == columns, line
                found.append(cells)
    return found


def compiled(latex: str, folder: Path) -> list[tuple[float, str]]:
    """Compile a document of it; any error ends the compilation. Returns what is too wide for its
    page: by how many points, and the lines. Skips the test where LaTeX is not installed."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (texlive-latex-base); the parser has read it")
    document = BEGIN + latex + END
    (folder / "x.tex").write_text(document)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "x.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if re.search(r"(booktabs|longtable).sty' not found", done.stdout):
        pytest.skip("booktabs is not installed (texlive-latex-recommended)")
    assert done.returncode == 0, done.stdout[-2000:]
    lines = document.splitlines()
    return [
        (float(points), "\n".join(lines[int(first) - 1 : int(last)]))
        for points, first, last in _OVERFULL.findall(done.stdout)
    ]


def test_no_text_is_a_command(tmp_path: Path) -> None:
    latex = text(with_origin(REPORT))
    for command in (r"\input{", r"\end{verbatim}"):
        assert command not in latex
    assert r"\textbackslash{}input\{/etc/passwd\}\textless{}/script\textgreater{}\%\_\&" in latex
    assert tabular_rows(latex)[2][0] == "{[}a"
    assert tabular_rows(latex)[3][0] == r"{*}b $^{\dagger}$"
    compiled(latex, tmp_path)


def test_signs_are_those_that_were_given() -> None:
    assert escaped("a--b ''c''") == "a-{}-b '{}'c'{}'"
    assert escaped("é ü ß τ Δ ±") == r"\'{e} \"{u} \ss{} $\tau$ $\Delta$ $\pm$"
    assert escaped("☃") == "{[}U+2603]"
    assert "\\mbox{}~~key: 1\\\\\n" in latex_text("  key: 1\n")


def test_numbers_are_mathematics_and_the_best_are_bold() -> None:
    rows = tabular_rows(text(with_best(REPORT)))
    assert rows[1][1:] == [r"$\mathbf{97.56 \pm 0.29}$", r"$\mathbf{0.00}$", "$12{,}345$"]
    assert rows[2][1:] == ["$96.10$", "$0.12$", "$1$"]
    assert rows[3][1:] == [r"$\mathbf{97.56 \pm 0.10}$", "--", "$2$"]  # looks the same
    assert r"\mathbf" not in text(REPORT)
    assert re.search(r"\{p\{0\.[56]\d\\linewidth\}rrr\}", text(REPORT))


def test_the_best_is_bold_in_html_and_markdown() -> None:
    report = with_best(REPORT)
    assert text(report, "html").count('<td style="text-align: left"><b>97.56') == 2
    assert "**97.56 ± 0.29**" in text(report, "md")


def test_digits_are_those_of_measured_numbers_alone() -> None:
    rows = tabular_rows(text(with_digits(REPORT, 4)))
    assert rows[1][1:] == [r"$97.5610 \pm 0.2900$", "$0.0002$", "$12{,}345$"]


def test_a_transposed_table_keeps_its_bold_cells() -> None:
    for how in ("latex", "html", "md"):
        text(transposed(REPORT), how)
    rows = tabular_rows(text(with_best(transposed(REPORT))))
    assert [row[0] for row in rows] == [r"name\_\%", r"accuracy {[}\%]", "energy", "count"]
    assert [r"\mathbf" in cell for cell in rows[1]] == [False, True, False, True]


def test_columns_are_chosen_by_key_or_heading() -> None:
    rows = tabular_rows(text(only_columns(REPORT, ["count", "name_%"], "latex")))
    assert rows[0] == ["count", r"name\_\%"]
    assert text(only_columns(REPORT, ["count"], "csv"), "csv") == "count\n12345\n1\n2\n"


def test_caption_label_and_where_it_is_from() -> None:
    latex = text(with_origin(labelled(REPORT, "a_b", "tab:x")))
    assert "  \\caption{a\\_b}\n  \\label{tab:x}\n" in latex
    assert re.match(r"% written by clifctl \S+, commit .+, numerics version \d+\n", latex)
    assert "% of runs/a\\nb\n" in latex


def test_nothing_that_is_given_becomes_html() -> None:
    html = text(with_origin(labelled(REPORT, "<i>", None)), "html")
    assert "<script" not in html
    assert "</script" not in html
    assert "<p><b>&lt;i&gt;</b></p>" in html
    assert html.startswith("<!DOCTYPE html>\n<!-- written by clifctl ")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--columns", "neuon"), ("no such column; did you mean neuron?", "states")),
        (("--columns", "a,,b"), ("a name is empty",)),
        (("--columns", "neuron,neuron"), ("named twice",)),
        (("--columns", "neuron", "--json"), ("the format json contradict",)),
        (("--digits", "2", "-o", "x.csv"), ("the format csv contradict",)),
        (("--transpose", "--format", "jsonl"), ("the format jsonl contradict",)),
        (("--caption", "a"), ("for the formats latex, html",)),
        (("--label", "a}b", "--format", "latex"), ("must be of letters",)),
        (("-o", "x.tex", "--format", "html"), ("contradict each other", "-o x.html")),
    ],
)
def test_what_makes_no_sense_is_refused(
    clifctl: Run, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    done = clifctl("neurons", "ls", *arguments)
    assert done.code == 2
    assert all(part in done.err for part in parts), done.err
    assert not Path("x.csv").exists()


def commands(group: Any, *words: str) -> list[tuple[str, ...]]:
    if not hasattr(group, "commands"):
        return [words]
    return [found for name, one in group.commands.items() for found in commands(one, *words, name)]


def result_of(kind: type) -> Any:
    result: Any = filled(kind, **HELD.get(kind, {}))
    if isinstance(result, DeployResult):
        return replace(result, published=None)
    if isinstance(result, SweepResult):
        return replace(result, quantity="test_loss", against="sop_energy_nj")
    return result


def reports_of(words: tuple[str, ...]) -> Iterator[Report]:
    """What a command may print, of results that have everything: by the functions of its module
    in clifctl.report, or of its group's."""
    stems = ["_".join(words), words[0]]
    for stem in dict.fromkeys(stem.replace("-", "_") for stem in stems):
        try:
            module = importlib.import_module(f"clifctl.report.{stem}")
        except ModuleNotFoundError:
            continue
        for name, make in vars(module).items():
            if not name.endswith("_report") or name.startswith("_"):
                continue
            kind = typing.get_type_hints(make)[next(iter(inspect.signature(make).parameters))]
            if is_dataclass(kind) and isinstance(kind, type):
                yield make(result_of(kind), **OPTIONS.get(kind, {}))


@pytest.fixture(scope="module")
def reports() -> dict[str, list[Report]]:
    found = {}
    for words in commands(typer.main.get_command(app)):
        if " ".join(words) not in WITHOUT_A_TABLE:
            found[" ".join(words)] = list(reports_of(words))
    return found


def written(report: Report, how: str = "latex") -> str:
    stream = io.StringIO()
    render(with_origin(report), how, stream)
    return stream.getvalue()


def test_every_command_has_a_table(reports: dict[str, list[Report]]) -> None:
    assert len(reports) > 25
    for command, made in reports.items():
        assert any(table.columns for one in made for table in one.tables), command


def test_the_latex_of_every_command_compiles(
    clifctl: Run, tmp_path: Path, reports: dict[str, list[Report]]
) -> None:
    parts = [written(report) for made in reports.values() for report in made]
    for command in QUICK:
        done = clifctl(*command, "--format", "latex")
        assert done.code == 0, done.err
        parts.append(done.out)
    parts = list(dict.fromkeys(parts))  # commands of one group share reports
    rows = [tabular_rows(part) for part in parts]
    assert sum(map(len, rows)) > 300
    told = [line for part in parts for line in part.splitlines() if "inches wide" in line]
    assert all("--columns A,B,... has fewer columns" in line for line in told)
    wide = compiled("\\clearpage\n".join(parts), tmp_path)
    # A table is no wider than a page of two columns, or says so, and what to do.
    source = (tmp_path / "x.tex").read_text()
    for points, lines in wide:
        end = source.index(lines) + len(lines)
        begin = max(source.rfind(rf"\begin{{{kind}}}", 0, end) for kind in ("table", "longtable"))
        said = source[begin - 300 : begin]
        assert points < 3.0 or "inches wide" in said, f"{points} points:\n{lines}"


def many(rows: int) -> Table:
    columns = (Column("name", "name of the layer"), Column("rate", "firing rate", 2))
    lines = tuple({"name": f"layer {n}", "rate": n / 7} for n in range(rows))
    return Table("rates", columns, lines, notes=("a note",), label="tab:rates")


def test_a_table_that_is_longer_than_a_page_goes_on() -> None:
    assert r"\begin{longtable}" not in written(Report({}, (many(40),)))
    latex = written(Report({}, (many(90),)))
    assert latex.count(r"\endfirsthead") == latex.count(r"\endhead") == 1
    assert r"\begin{table}" not in latex
    assert r"\label{tab:rates}" in latex
    rows = tabular_rows(latex)
    assert [row[0] for row in rows[:3]] == ["name of the layer", "name of the layer", "layer 0"]
    assert len(rows) == 92


def test_a_wide_table_breaks_its_headers_and_then_says_so(clifctl: Run) -> None:
    columns = tuple(Column(f"c{n}", f"training loss, train mode {n}", 2) for n in range(7))
    table = Table("x", columns, ({column.key: 0.5 for column in columns},))
    report = Report({}, (table,))
    assert r"\begin{tabular}[b]{@{}r@{}}training \\ loss, train \\ mode 0\end" in written(report)
    assert tabular_rows(written(report))[0][0] == "training loss, train mode 0"
    assert not list(too_wide_tables(report))
    more = replace(table, columns=columns * 2)
    (said,) = too_wide_tables(Report({}, (more,)))
    assert said.startswith("the table 'x' is about 1")
    done = clifctl("data", "ls", "--format", "latex")
    said = r"note: the table 'data sets' is about \d\.\d inches wide, and a page has 6\.75: --col"
    assert re.match(said, done.err)
    assert clifctl("data", "ls", "--format", "md").err == ""


def test_notes_alone_are_text() -> None:
    latex = written(Report({}, (Table("what can be concluded", (), (), notes=("a & b",)),)))
    assert r"\begin{table}" not in latex
    assert r"\textbf{what can be concluded}\par" in latex
    assert r"{\footnotesize a \& b\par}" in latex

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clifctl.report.latex import escaped, latex_text
from clifctl.report.render import Column, Measured, Report, Table, render
from clifctl.report.shape import (
    labelled,
    only_columns,
    transposed,
    with_best,
    with_digits,
    with_origin,
)

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


def text(report: Report, how: str = "latex") -> str:
    stream = io.StringIO()
    render(report, how, stream)
    return stream.getvalue()


def tabular_rows(latex: str) -> list[list[str]]:
    """The cells of every row, split at each & that is no text; fails where a table is not whole."""
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}")
    bare = re.sub(r"\\[\\{}$&#%_]", "", re.sub(r"(?m)^%.*$", "", latex))
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert "%" not in bare
    assert "#" not in bare
    found = []
    for kinds, body in re.findall(
        r"\\begin\{tabular\}\{((?:[lr]|p\{[^}]*\})+)\}(.*?)\\end\{tabular\}", latex, re.DOTALL
    ):
        columns = len(re.sub(r"\{[^}]*\}", "", kinds))
        for line in body.splitlines():
            if line.endswith(r" \\"):
                cells = re.split(r"(?<!\\) & ", line.strip().removesuffix(r" \\"))
                assert len(cells) == columns, line
                found.append(cells)
    return found


def compiled(latex: str, folder: Path) -> None:
    """Compile it, where LaTeX is installed: any error ends the compilation."""
    if shutil.which("pdflatex") is None:
        return
    begin = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    (folder / "x.tex").write_text(begin + latex + "\\clearpage\n\\end{document}\n")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "x.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if "booktabs.sty' not found" not in done.stdout:
        assert done.returncode == 0, done.stdout[-2000:]


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
    assert "{p{0.45\\linewidth}rrr}" in text(REPORT)


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


def test_the_tables_of_commands_compile(clifctl: Run, tmp_path: Path) -> None:
    clifctl("neurons", "ls", "-o", "x.tex")
    whole = Path("x.tex").read_text()
    for command in (
        ("neurons", "show", "clif"),
        ("neurons", "ls", "--transpose", "--columns", "neuron,states"),
        ("models", "ls"),
        ("recipes", "ls"),
        ("recipes", "show", "digits_snn5"),
        ("recipes", "keys"),
        ("data", "ls"),
        ("energy", "digits_snn5", "--per-layer"),
    ):
        done = clifctl(*command, "--format", "latex")
        assert done.code == 0, done.err
        latex = done.out
        assert latex.startswith("% written by clifctl")
        tabular_rows(latex)
        whole += latex + "\\clearpage\n"
    compiled(whole, tmp_path)

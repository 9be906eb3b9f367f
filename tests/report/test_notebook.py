"""Results in a notebook."""

import re
from html.parser import HTMLParser
from typing import Any

from clifctl.report import notebook
from clifctl.report.render import Column, Report, Table, html_of
from clifctl.results import energy, eval, train
from clifctl.results.quantities import documents
from clifctl.results.result import Result, as_html
from clifctl.results.train import EpochRecord, TimeShares

TIME = TimeShares(
    data_percent=1.0,
    forward_percent=2.0,
    backward_percent=3.0,
    optimizer_percent=4.0,
    rest_percent=90.0,
)
EPOCH = EpochRecord(
    epoch=3,
    lr=0.1,
    train_loss_train_mode=float("nan"),
    train_accuracy_percent_train_mode=12.5,
    test_loss=2.25,
    test_accuracy_percent=50.0,
    validation_accuracy_percent=None,
    skipped_steps=0,
    seconds=1.0,
    samples_per_second=7.0,
    time=TIME,
)


class Cells(HTMLParser):
    """The text of every cell, row by row; every tag that is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_table_has_its_cells_and_nothing_that_is_given_becomes_html() -> None:
    columns = (Column("name", "<b>name</b>"), Column("rate", "rate [%]", 2))
    rows = ({"name": "<script>x('&')</script>", "rate": 1 / 3}, {"name": "a\x1b[0m", "rate": None})
    table = Table("<i>title</i>", columns, rows, notes=("1 < 2",))
    html = html_of(Report({}, (table, table)))
    assert Cells(html).rows[:3] == [
        ["<b>name</b>", "rate [%]"],
        ["<script>x('&')</script>", "0.33"],
        ["a\\x1b[0m", "-"],
    ]
    assert len(Cells(html).rows) == 6
    assert not re.search("<(script|i|b>name)", html)
    assert "1 &lt; 2" in html
    assert html.count('<td style="text-align: right">0.33</td>') == 2


def test_an_epoch_is_a_document_and_a_table() -> None:
    assert EpochRecord in notebook.REPORTS
    document = EPOCH.to_dict()
    assert document["epoch"] == 3
    assert document["train_loss_train_mode"] is None
    assert document["time"] == vars(TIME)
    rows = dict(Cells(EPOCH._repr_html_() or "").rows)
    assert rows["test accuracy percent"] == "50.0"
    assert rows["validation accuracy percent"] == "-"


def test_every_document_is_a_result_with_a_schema() -> None:
    kinds = [kind for _, kind in documents()]
    assert {train.TrainResult, eval.EvalResult, energy.EnergyResult} <= set(kinds)
    assert [kind for kind in kinds if not issubclass(kind, Result)] == []


def test_what_has_no_table_is_shown_by_its_repr() -> None:
    assert as_html(Result()) is None

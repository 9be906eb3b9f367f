"""Results as HTML, for a notebook: the tables that a terminal has. Importing this module registers
them with `clifctl.results.result`, whose `_repr_html_` a notebook calls."""

import dataclasses
from collections.abc import Callable, Mapping
from html import escape
from types import MappingProxyType
from typing import Any

from clifctl.commands import visible
from clifctl.report.compare_neurons import comparison_report
from clifctl.report.energy import energy_report
from clifctl.report.eval import eval_report
from clifctl.report.render import Report, Table, cells_of, document_of, record_table
from clifctl.report.train import train_report
from clifctl.results.compare_neurons import NeuronComparison
from clifctl.results.energy import EnergyResult
from clifctl.results.eval import EvalResult
from clifctl.results.result import as_html
from clifctl.results.train import EpochRecord, TrainResult

_RIGHT = ' style="text-align: right"'
_LEFT = ' style="text-align: left"'


def html_of(report: Report) -> str:
    """The tables of a report, one below the other. Every text is escaped."""
    return "\n".join(_table(table) for table in report.tables)


def _table(table: Table) -> str:
    header, rows = cells_of(table)
    numbers = [False, False] if table.vertical else [c.digits is not None for c in table.columns]
    aligned = [_RIGHT if number else _LEFT for number in numbers]
    lines = [f"<p><b>{_text(table.title)}</b></p>"]
    if table.columns:
        lines.append("<table>")
        if any(header):
            lines += ["<thead>", _row("th", header, aligned), "</thead>"]
        lines += ["<tbody>", *(_row("td", row, aligned) for row in rows), "</tbody>", "</table>"]
    lines += [f"<p><small>{_text(note)}</small></p>" for note in table.notes]
    return "\n".join(lines)


def _row(tag: str, cells: list[str], aligned: list[str]) -> str:
    pairs = zip(cells, aligned, strict=True)
    return "<tr>" + "".join(f"<{tag}{how}>{escape(cell)}</{tag}>" for cell, how in pairs) + "</tr>"


def _text(text: str) -> str:
    return escape(visible(text))


def _epoch_report(record: EpochRecord) -> Report:
    """What one epoch of a training gave."""
    shown = [field.name for field in dataclasses.fields(record) if field.name != "time"]
    return Report(document_of(record), (record_table(f"epoch {record.epoch}", record, *shown),))


# What a notebook shows of each result that a function of clifctl returns.
REPORTS: Mapping[type, Callable[[Any], Report]] = MappingProxyType(
    {
        TrainResult: train_report,
        EpochRecord: _epoch_report,
        EvalResult: eval_report,
        EnergyResult: lambda result: energy_report(result, per_layer=True),
        NeuronComparison: comparison_report,
    }
)


def _registered(report: Callable[[Any], Report]) -> Callable[[Any], str]:
    return lambda result: html_of(report(result))


for _kind, _report in REPORTS.items():
    as_html.register(_kind, _registered(_report))

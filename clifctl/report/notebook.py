"""Results as HTML, for a notebook: the tables that a terminal has. Importing this module registers
them with `clifctl.results.result`, whose `_repr_html_` a notebook calls."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from clifctl.report.compare_neurons import comparison_report
from clifctl.report.energy import energy_report
from clifctl.report.eval import eval_report
from clifctl.report.render import Report, document_of, html_of, record_table
from clifctl.report.train import train_report
from clifctl.results.compare_neurons import NeuronComparison
from clifctl.results.energy import EnergyResult
from clifctl.results.eval import EvalResult
from clifctl.results.result import as_html
from clifctl.results.train import EpochRecord, TrainResult


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

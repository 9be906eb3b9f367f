"""`runs export` -> report: the records as tables, or what was written."""

from clifctl.report.render import Column, Report, Table, data_tables, document_of
from clifctl.results.runs_export import RunExport


def metrics_report(result: RunExport) -> Report:
    """The epochs, then the steps, a row each."""
    tables = data_tables(("epochs", result.epochs), ("steps", result.steps))
    return Report(document_of(result), tables)


def written_report(result: RunExport) -> Report:
    """Where what was written lies, and how much it is."""
    columns = ("run", "folder", "epochs", "steps")
    row = {
        "run": result.run,
        "folder": result.folder,
        "epochs": len(result.epochs),
        "steps": len(result.steps),
    }
    table = Table(
        f"{result.run}: exported", tuple(Column(key, key) for key in columns), (row,), vertical=True
    )
    return Report(document_of(result), (table,))

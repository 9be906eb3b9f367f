"""`report` -> report: what is on the page that was written."""

from clifctl.report.render import Report, document_of, list_table
from clifctl.results.report import PageResult, ShownSection


def page_report(result: PageResult) -> Report:
    """A line for each section of the page."""
    title = f"{result.output}: {result.bytes / 1024:,.0f} KiB"
    columns = ("source", "section", "command", "missing")
    sections = list_table(title, ShownSection, result.sections, *columns, optional=("command",))
    return Report(document_of(result), (sections,))

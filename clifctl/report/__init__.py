"""Results become tables, JSON, CSV, Markdown or a picture. Nothing is computed here."""

from clifctl.report.render import FORMATS, Report, render

__all__ = ["FORMATS", "Report", "render"]

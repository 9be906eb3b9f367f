"""A net on other neurons, and as a file that other programs read."""

from clifctl.report.convert import deploy_report, nir_report
from clifctl.report.page.chart import Chart, names_axis, values_axis
from clifctl.report.page.colours import plain_style
from clifctl.report.page.figure import Key, figure, figures
from clifctl.report.page.section import Section, paragraph, tables
from clifctl.results.convert import DeployedRow, DeployResult, NirResult


def deployment_section(result: DeployResult) -> Section:
    """The accuracy with every reset that was tried, beside that of the net as it came."""
    chosen, other, paper = plain_style(1), plain_style(0), plain_style(2)
    given = result.accuracy_percent_test_given
    rows = result.settings
    values = [v for row in rows for v in (row.accuracy_percent_test, row.published_percent)]
    x = values_axis("test accuracy [%]", [given, *values], least=2.0, most=100.0)
    axis = names_axis([_name(row) for row in rows])
    chart = Chart("test accuracy on LIF neurons", x, axis, height=52 + 20.0 * len(rows))
    chart.upright(given, f"with the neurons that it came with: {given:.2f} %")
    for at, row in enumerate(rows):
        said = f"{_name(row)}: {row.accuracy_percent_test:.2f} %"
        if row.published_percent is not None:
            chart.mark(row.published_percent, at, paper, f"the paper's: {row.published_percent} %")
        style = chosen if row.chosen else other
        chart.mark(row.accuracy_percent_test, at, style, said, size=4.2)
    keys = [Key("chosen", chosen), Key("others", other)]
    if any(row.published_percent is not None for row in rows):
        keys.append(Key("the paper's net", paper))
    said = (
        f"Trained with {result.trained_neuron}: {given:.2f} %. On LIF neurons, "
        f"{_name(result.chosen)} (chosen on {result.chosen_on} data): "
        f"{result.accuracy_percent_test:.2f} %, written to {result.output}."
    )
    note = f"Vertical line: with the neurons that it came with, {given:.2f} %."
    shown = figure("Test accuracy by reset", chart.svg, keys=keys, caption=note)
    parts = (paragraph(said), figures(shown), *tables(deploy_report(result).tables))
    return Section("Deployment on LIF neurons", parts)


def _name(row: DeployedRow) -> str:
    name = row.reset if row.v_reset is None else f"{row.reset}, to {row.v_reset:g}"
    return f"{name}, recalibrated" if row.recalibrated else name


def nir_section(result: NirResult) -> Section:
    """What the programs found that read the file back."""
    if not result.written:
        said = "Not written: a reader found something else in it."
    elif result.verified is None:
        said = "Written; it was not read back."
    else:
        said = (
            "Written, and read back: every reader below holds." if result.verified else "Written."
        )
    return Section(
        "Deployment as a NIR graph", (paragraph(said), *tables(nir_report(result).tables))
    )

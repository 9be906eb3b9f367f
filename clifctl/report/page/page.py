"""The whole page: chapters of sections, with the command that made each."""

from collections.abc import Sequence
from importlib import resources
from xml.etree.ElementTree import Element

import clifctl
from clifctl.commands import command_line, visible
from clifctl.provenance import git_commit
from clifctl.report.elements import as_html, element
from clifctl.report.page.commands import command_of
from clifctl.report.page.costs import energy_section
from clifctl.report.page.evaluation import (
    accuracy_figure,
    class_figures,
    confusion_figure,
    rates_section,
)
from clifctl.report.page.figure import figures
from clifctl.report.page.results import sections_of
from clifctl.report.page.run import (
    curves_section,
    glance,
    machine_section,
    recipe_section,
    trained_rates,
)
from clifctl.report.page.section import Section, paragraph
from clifctl.report.page.spikes import spikes_section
from clifctl.results.activity import NetActivity
from clifctl.results.report import Chapter, ShownSection

# Nothing is loaded and nothing is run, whatever a browser is asked for.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page_of(chapters: Sequence[Chapter], command: str) -> tuple[str, tuple[ShownSection, ...]]:
    """The page of these chapters as HTML, and what is on it."""
    every = [(chapter, _sections(chapter)) for chapter in chapters]
    title = chapters[0].title if len(chapters) == 1 else f"Report of {len(chapters)} sources"
    body = [
        element("h1", title),
        element("p", element("span", "made by"), element("code", command), class_="command"),
        _contents(every),
        *(_chapter(at, *one, alone=len(every) == 1) for at, one in enumerate(every)),
        _footer(),
    ]
    shown = tuple(
        ShownSection(
            source=chapter.source, section=one.title, command=one.command, missing=one.missing
        )
        for chapter, sections in every
        for one in sections
    )
    return _document(title, body), shown


def _document(title: str, body: Sequence[Element]) -> str:
    style = Element("style")  # its text is this file, and not escaped
    style.text = (resources.files(__package__) / "page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", content=_POLICY, **{"http-equiv": "Content-Security-Policy"}),
        element("meta", name_="color-scheme", content="light dark"),
        element("title", title),
        style,
    )
    tree = element("html", head, element("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{as_html(tree)}\n"


def _contents(every: Sequence[tuple[Chapter, Sequence[Section]]]) -> Element:
    """Links to every chapter and section."""
    items = []
    for at, (chapter, sections) in enumerate(every):
        links = [
            element("li", element("a", one.title, href=f"#s{at}-{number}"))
            for number, one in enumerate(sections)
        ]
        if len(every) == 1:
            items += links
        else:
            name = element("a", chapter.title, href=f"#s{at}")
            items.append(element("li", name, element("ul", *links)))
    return element("nav", element("ul", *items), aria_label="Contents")


def _chapter(at: int, chapter: Chapter, sections: Sequence[Section], *, alone: bool) -> Element:
    head = [] if alone else [element("h2", chapter.title, id=f"s{at}")]
    source = element("p", "From ", element("code", chapter.source), class_="note")
    shown = [_section(f"s{at}-{number}", one) for number, one in enumerate(sections)]
    return element("section", *head, source, *shown)


def _section(anchor: str, one: Section) -> Element:
    missing = None if one.missing is None else paragraph(f"Not here: {one.missing}.", "warning")
    made = None
    if one.command is not None:
        label = "made by" if one.missing is None else "to make it"
        made = element("p", element("span", label), element("code", one.command), class_="command")
    return element("section", element("h3", one.title, id=anchor), made, missing, *one.parts)


def _footer() -> Element:
    commit = git_commit()
    which = "" if commit is None else f", commit {commit[:12]}"
    said = f"clifctl {clifctl.__version__}{which}, numerics version {clifctl.NUMERICS_VERSION}"
    return element("footer", said)


def _sections(chapter: Chapter) -> list[Section]:
    """What a chapter shows, each with its command."""
    found = _of_run(chapter)
    if chapter.result is not None:
        made = chapter.command or command_of(chapter.result)
        found += [_made_by(one, made) for one in sections_of(chapter.result)]
    for absent in chapter.absent:
        found.append(Section(absent.what, command=absent.command, missing=absent.why))
    if chapter.more:
        items = [
            element("li", f"{what}: ", element("code", command)) for what, command in chapter.more
        ]
        said = paragraph("What else can be shown of this net, and what makes it:")
        found.append(Section("Not in this report", (said, element("ul", *items))))
    return found


def _of_run(chapter: Chapter) -> list[Section]:
    run, trained, seen = chapter.run, chapter.trained, chapter.activity
    found: list[Section] = []
    if run is not None:
        shown = command_line("runs", "show", run.row.run)
        found += [_made_by(one, chapter.command) for one in glance(run, trained)]
        found.append(_made_by(curves_section(run), shown))
    again = command_line("report", chapter.source, *chapter.opened_with)
    net = (chapter.checkpoint, *chapter.opened_with)
    if seen is not None:
        found.append(_evaluated(chapter, seen))
    if trained is not None:
        found += [_made_by(one, chapter.command) for one in trained_rates(trained)]
    elif seen is not None and seen.evaluation is not None and seen.evaluation.firing_rates:
        rates = rates_section(seen.evaluation.firing_rates, seen.neuron, _of_samples(seen))
        found.append(_made_by(rates, again))
    if seen is not None:
        found.append(_made_by(spikes_section(seen), again))
    if chapter.energy is not None:
        whose = "the samples above" if trained is None else "the run's result"
        given = f"With the firing rates of {whose}; measured on all test data they are counted "
        given += "spike by spike, by the command."
        cost = energy_section(chapter.energy, given=given)
        found.append(_made_by(cost, command_line("energy", *net, "--per-layer")))
    recipe = chapter.recipe if run is None else run.resolved_recipe
    if recipe is not None:
        same = None if run is None else command_line("train", f"{run.row.run}/recipe.yaml")
        found.append(_made_by(recipe_section(recipe), same))
    if run is not None:
        found.append(_made_by(machine_section(run.manifest), chapter.command))
    return found


def _evaluated(chapter: Chapter, seen: NetActivity) -> Section:
    """Accuracy on the samples that there was time for."""
    net = (chapter.checkpoint, *chapter.opened_with)
    command = command_line("eval", *net, "--per-class", "--confusion")
    if seen.evaluation is None:
        why = (
            f"too few of the {seen.samples:,} test samples are evaluated in the time that a page "
            "takes; --samples N takes as long as it takes"
        )
        return Section("Evaluation", command=command, missing=why)
    known = () if chapter.run is None else chapter.run.published.accuracies
    paper = (known[0].accuracy_percent, known[0].source) if known else None
    shown = [accuracy_figure(seen.evaluation, seen.timesteps, seen.neuron, paper)]
    shown += class_figures(seen.evaluation.per_class, seen.class_names)
    if seen.evaluation.confusion:
        shown.append(confusion_figure(seen.evaluation.confusion, seen.class_names))
    if seen.evaluation.samples == seen.samples:
        return Section("Evaluation", (figures(*shown),), command)
    note = (
        f"Of {seen.samples:,} test samples {seen.evaluation.samples:,}, evenly chosen, were "
        "evaluated in the time that a page takes: the command evaluates all."
    )
    return Section("Evaluation", (paragraph(note, "warning"), figures(*shown)), command)


def _of_samples(seen: NetActivity) -> str:
    count = 0 if seen.evaluation is None else seen.evaluation.samples
    return f"{count:,} test samples."


def _made_by(one: Section, command: str | None) -> Section:
    if one.command is not None or command is None:
        return one
    return Section(one.title, one.parts, visible(command), one.missing)

"""`report`: what there is of runs, results and checkpoints. It trains nothing: nets are run
forwards for as long as a page may take, everything else is read from files."""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clifctl.commands import command_line
from clifctl.errors import ClifctlError, RunFolderError, UsageError
from clifctl.experiments.runs import compare_runs, list_runs, show_run
from clifctl.files import parse_json
from clifctl.reading import MOST_TEXT_BYTES, read_text
from clifctl.results.activity import NetActivity
from clifctl.results.compare_neurons import NeuronComparison
from clifctl.results.convert import DeployResult
from clifctl.results.decoding import UnreadableResult, decode
from clifctl.results.documents import result_of
from clifctl.results.energy import EnergyResult
from clifctl.results.gradients import GradientsResult
from clifctl.results.report import Absent, Chapter
from clifctl.results.result import Result
from clifctl.results.train import TrainResult
from clifctl.results.truncate_bptt import TruncationResult
from clifctl.training import run_folder

if TYPE_CHECKING:
    from clifctl.experiments.checkpoints import CheckpointOptions

GRID, GRIDS_RESULT = "grid.json", "result.json"
# Seconds after which no other net is run, and that the forward passes of all of them take.
_LATEST, _FORWARD = 5.0, 2.0
_KINDS = "a run folder, a results folder, a checkpoint, or a JSON result of a command"


def _default_options() -> "CheckpointOptions":
    from clifctl.experiments.eval import DEFAULT

    return DEFAULT


@dataclass(frozen=True)
class ReportOptions:
    """How checkpoints are opened, and on how many samples of the test data each net is run: None,
    as many as there is time for; 0: no net is run. `opened_with` are the words of a command line
    that open them so. `say` is told what takes a while."""

    checkpoint: Callable[[], "CheckpointOptions"] = _default_options
    samples: int | None = None
    opened_with: tuple[str, ...] = ()
    say: Callable[[str], None] = field(default=lambda line: None)


def gather(sources: Sequence[Path], options: ReportOptions) -> tuple[Chapter, ...]:
    """What there is of each source: runs side by side first, where there are several.

    Raises ClifctlError for a source that is not there, or is none. What a run or checkpoint does
    not have, or cannot show here, is in its chapter, with the reason.
    """
    started = time.monotonic()
    gathered = [_opened(path) for path in dict.fromkeys(sources)]
    nets = sum(chapter.checkpoint is not None for chapter in gathered)
    chapters: list[Chapter] = []
    for chapter in gathered:
        if chapter.checkpoint is not None:
            late = time.monotonic() - started > _LATEST
            late = late and any(one.checkpoint is not None for one in chapters)
            chapter = _looked_at(chapter, options, _FORWARD / nets, late=late)
        chapters.append(chapter)
    results = [type(chapter.result) for chapter in chapters]
    chapters = [replace(chapter, more=_more(chapter, results)) for chapter in chapters]
    runs = [Path(chapter.run.row.run) for chapter in chapters if chapter.run is not None]
    if len(set(runs)) > 1:
        together = Chapter(
            title="Runs side by side",
            source=", ".join(map(str, runs)),
            result=compare_runs(list(dict.fromkeys(runs))),
            command=command_line("runs", "compare", *runs),
        )
        chapters.insert(0, together)
    return tuple(chapters)


def _opened(path: Path) -> Chapter:
    """What the files of a source say, no net opened."""
    if not path.exists():
        raise UsageError(f"'{path}' is not there", hint=f"report takes {_KINDS}")
    if path.is_dir():
        return _of_folder(path)
    if path.suffix.lower() == ".json":
        return _of_result(path)
    if (path.parent / run_folder.RECIPE).is_file() and run_folder.is_run_file(path.name):
        if path not in run_folder.checkpoints(path.parent):
            raise UsageError(f"'{path}' is no checkpoint", hint=f"the run is '{path.parent}'")
        chapter = _of_run(path.parent)
        title = f"{chapter.title}, {path.name}"
        return replace(chapter, title=title, source=str(path), checkpoint=str(path))
    return Chapter(title=path.name, source=str(path), checkpoint=str(path))


def _of_folder(path: Path) -> Chapter:
    if (path / run_folder.RECIPE).is_file():
        return _of_run(path)
    if (path / GRID).is_file() and (path / GRIDS_RESULT).is_file():
        found = _of_result(path / GRIDS_RESULT)
        return replace(found, title=path.absolute().name, source=str(path))
    listed = list_runs(path)
    if not listed.runs:
        if listed.damaged:
            first = listed.damaged[0]
            raise RunFolderError(f"'{first.run}': {first.problem}", hint="report needs a run")
        raise RunFolderError(
            f"there is no run in '{path}'", hint=f"report takes {_KINDS}; clifctl train makes runs"
        )
    absent: tuple[Absent, ...] = ()
    if (path / GRID).is_file():
        why = "this folder was written by an older clifctl, or its grid is not finished"
        told = _command_of_run(Path(listed.runs[0].run))
        absent = (Absent(what="Comparison of the trials", why=why, command=told),)
    return Chapter(
        title=f"Runs in {path.name or path}",
        source=str(path),
        result=listed,
        command=command_line("runs", "ls", path),
        absent=absent,
    )


def _of_run(path: Path) -> Chapter:
    shown = show_run(path)
    found = run_folder.checkpoints(path)
    return Chapter(
        title=path.absolute().name,
        source=str(path),
        run=shown,
        trained=_trained(path),
        checkpoint=str(found[0]) if found else None,
        command=_command_of_run(path),
        absent=() if found else (Absent(what="Net", why="the run has saved no checkpoint yet"),),
    )


def _trained(path: Path) -> TrainResult | None:
    """The result of a finished run; None of any other, and of one that a newer clifctl wrote."""
    try:
        return decode(TrainResult, _document(path / run_folder.RESULT))
    except (UsageError, UnreadableResult):
        return None


def _of_result(path: Path) -> Chapter:
    try:
        result = result_of(_document(path))
    except UnreadableResult as unreadable:
        raise UsageError(
            f"'{path}' is no result of a command: {unreadable}",
            hint="commands write one with --json, or -o FILE.json",
        ) from None
    return Chapter(
        title=path.name,
        source=str(path),
        result=result,
        command=_command_of_grid(result),
    )


def _document(path: Path) -> object:
    try:
        return parse_json(read_text(path, MOST_TEXT_BYTES))
    except OSError as refused:
        raise UsageError(f"cannot read '{path}': {refused.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"'{path}' is not UTF-8") from None
    except ValueError as broken:
        raise UsageError(f"'{path}' {broken}") from None


def _command_of_run(path: Path) -> str | None:
    """The command line that began a run, by its manifest."""
    words = run_folder.read_manifest(path).get("command")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    if not words:
        return None
    program = Path(words[0])
    is_ours = program.stem == "clifctl" or program.parent.name == "clifctl"
    # Who trains from Python has a script of his own there.
    return command_line(*words[1:]) if is_ours else shlex.join(words)


def _command_of_grid(result: Result) -> str | None:
    """The command line of a grid's result, by the manifest of a trial that is here."""
    folder = getattr(result, "results_folder", None)
    if not isinstance(folder, str):
        return None
    told = (_command_of_run(Path(folder) / trial.trial) for trial in getattr(result, "trials", ()))
    return next(filter(None, told), None)


def _looked_at(chapter: Chapter, options: ReportOptions, seconds: float, *, late: bool) -> Chapter:
    """A chapter with what a forward pass of its checkpoint shows, and what the net costs."""
    assert chapter.checkpoint is not None
    path = Path(chapter.checkpoint)
    if options.samples == 0:
        return _without(chapter, "Spikes and accuracy", "no net was run (--samples 0)", None)
    if late:
        again = command_line("report", chapter.source, *options.opened_with)
        why = "a page is made in some seconds, and they were spent on the nets above"
        return _without(chapter, "Spikes and accuracy", why, again)
    options.say(f"looking at '{path}'")
    from clifctl.experiments.activity import net_activity
    from clifctl.experiments.checkpoints import open_checkpoint

    try:
        how = options.checkpoint()
        opened = open_checkpoint(path, how)
    except ClifctlError as refused:
        if chapter.run is None:
            raise
        return _without(chapter, "Spikes and accuracy", _in_words(refused), None)
    given = options.opened_with
    chapter = replace(chapter, recipe=opened.recipe.document, opened_with=given)
    try:
        found = net_activity(opened, how, samples=options.samples, seconds=seconds)
    except ClifctlError as refused:
        again = command_line("eval", path, *given)
        return _without(chapter, "Spikes and accuracy", _in_words(refused), again)
    chapter = replace(chapter, activity=found)
    is_last = path.name == run_folder.LAST  # whose rates the run has measured
    rates = _rates(chapter.trained if is_last else None, found)
    if not rates:
        return chapter
    try:
        return replace(chapter, energy=_energy(path, how, rates))
    except ClifctlError as refused:
        again = command_line("energy", path, *given, "--per-layer")
        return _without(chapter, "Energy", _in_words(refused), again)


def _more(chapter: Chapter, results: Sequence[type]) -> tuple[tuple[str, str], ...]:
    """What else there is to know of a net, and the commands that make it, results with which the
    report is to be made again; nothing of kinds that are in the `results`."""
    if chapter.activity is None or not chapter.activity.layers:
        return ()
    net, run = (chapter.checkpoint, *chapter.opened_with), chapter.run
    known: list[tuple[str, type, tuple[object, ...]]] = [
        ("Gradients by lag", GradientsResult, ("gradients", *net, "-o", "gradients.json")),
        ("Energy, spikes counted one by one", EnergyResult, ("energy", *net, "-o", "energy.json")),
        ("Deployment on LIF neurons", DeployResult, ("convert", *net)),
    ]
    if run is not None:
        recipe = f"{run.row.run}/{run_folder.RECIPE}"
        seeds = ("--seeds", 8, "-o")
        compared = ("compare-neurons", recipe, *seeds, "compared.json")
        windows = ("truncate-bptt", recipe, *seeds, "windows.json")
        known += [
            ("Comparison of neurons", NeuronComparison, compared),
            ("Windows of BPTT", TruncationResult, windows),
        ]
    return tuple((what, command_line(*words)) for what, kind, words in known if kind not in results)


def _rates(trained: TrainResult | None, found: NetActivity) -> dict[str, float]:
    """Firing rates by layer: those that the run measured on all test data, else those of now."""
    layers = () if trained is None else trained.firing_rates
    if not layers and found.evaluation is not None:
        layers = found.evaluation.firing_rates
    return {layer.layer: layer.firing_rate for layer in layers}


def _energy(path: Path, how: "CheckpointOptions", rates: dict[str, float]) -> EnergyResult:
    from clifctl.experiments.energy import EnergyOptions, energy

    return energy([str(path)], EnergyOptions(rates=rates, per_layer=True, checkpoint=how))


def _without(chapter: Chapter, what: str, why: str, command: str | None) -> Chapter:
    missing = Absent(what=what, why=why, command=command)
    return replace(chapter, absent=(*chapter.absent, missing))


def _in_words(refused: ClifctlError) -> str:
    return refused.message if refused.hint is None else f"{refused.message}; {refused.hint}"

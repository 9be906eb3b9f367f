"""`truncate-bptt`: the grid of Table 3 and Figure 2a, window k by time constant tau."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from clifctl.errors import ArgumentError, UsageError, unknown_name
from clifctl.experiments.grid.cells import CellGrid, plan_cells, run_cells
from clifctl.experiments.grid.grid import GridOptions
from clifctl.experiments.grid.seeds import seeds_of
from clifctl.experiments.grid.summary import (
    CORRECTION,
    BySeed,
    describe,
    differences,
    is_significant,
    machine_notes,
    summarise,
    undecided,
)
from clifctl.experiments.published import (
    figure_of_windows,
    protocol_note,
    published_truncation,
    with_full_bptt,
)
from clifctl.models import WINDOW_MODES
from clifctl.recipe.load import LoadedRecipe, open_recipe
from clifctl.results.events import GridObserver
from clifctl.results.summary import ESTIMATES
from clifctl.results.truncate_bptt import TruncationResult, TruncationRow, TruncationStep

DEFAULT_WINDOWS = (1, 2, 3)
# What the conclusions are about, in their order.
CONCLUDED = ("train_loss_train_mode", "accuracy_percent_last")


@dataclass(frozen=True)
class TruncationAxes:
    """What the grid varies: `seeds` seeds from the recipe's on, windows k (None: 1, 2, 3 and T) and
    time constants tau; and what the window means. None of the last two: the recipe's own."""

    seeds: int
    windows: Sequence[int] | None = None
    taus: Sequence[float] | None = None
    window_mode: str | None = None


@dataclass(frozen=True)
class TruncationGrid(CellGrid[tuple[float, int]]):
    """A grid that can start: its cells are (tau, k)."""

    window_mode: str


def plan_truncation(
    reference: str, overrides: Sequence[str], axes: TruncationAxes, options: GridOptions
) -> TruncationGrid:
    """Everything that the grid needs, checked. Writes nothing.

    Raises ClifctlError for a window, a tau, a neuron or a recipe that will not do.
    """
    source = open_recipe(reference, overrides)
    base = source.variant()
    recipe = base.recipe
    seeds = seeds_of(recipe.train.seed, axes.seeds)
    windows = _windows(axes.windows, recipe.timesteps)
    taus = _taus(axes.taus, base)
    mode = _window_mode(axes.window_mode, recipe.neuron.window_mode)

    def variant(cell: tuple[float, int], seed: int) -> tuple[LoadedRecipe, str]:
        tau, window = cell
        # k = T is full BPTT, under whatever mode: one trial, not three.
        full = window == recipe.timesteps
        loaded = source.variant(
            [
                f"neuron.window={'null' if full else window}",
                f"neuron.window_reading={'sliding' if full else mode}",
                f"train.seed={seed}",
                *([f"neuron.tau={tau!r}"] if axes.taus is not None else []),
            ]
        )
        return loaded, f"tau = {tau:g}, k = {window}, seed {seed}"

    cells = [(tau, window) for tau in taus for window in windows]
    planned = plan_cells(base, cells, seeds, variant, options)
    return TruncationGrid(**vars(planned), window_mode=mode)


def truncate_bptt(planned: TruncationGrid, observe: GridObserver) -> TruncationResult:
    """Run what is not finished of a planned grid, and compare each window with the next."""
    run = run_cells(planned, observe)
    measured = run.measured
    recipe = planned.recipe.recipe
    paper = published_truncation(with_full_bptt(recipe))
    rows = tuple(
        TruncationRow(
            tau=tau,
            window=window,
            full=window == recipe.timesteps,
            summary=summarise(measured[tau, window]),
            published_percent=paper.accuracy_percent.get((tau, window))
            if paper and (planned.window_mode == "sliding" or window == recipe.timesteps)
            else None,
        )
        for tau, window in planned.cells
    )
    steps = _steps(measured)
    notes = [*machine_notes(list(measured.values()))]
    if paper is not None and any(row.published_percent is not None for row in rows):
        notes.append(f"Table {paper.table}: best epoch on the test set, one seed. {paper.note}")
        notes += filter(None, (protocol_note(recipe),))
    notes += filter(None, (figure_of_windows(recipe),))
    result = TruncationResult(
        recipe=planned.recipe.name,
        data=recipe.data.dataset.name,
        model=recipe.model.model.name,
        neuron=recipe.neuron.neuron.name,
        timesteps=recipe.timesteps,
        window_reading=planned.window_mode,
        epochs=recipe.train.epochs,
        seeds_asked=len(planned.seeds),
        correction=CORRECTION,
        results_folder=str(planned.grid.folder.path),
        rows=rows,
        steps=steps,
        conclusions=conclusions(steps),
        notes=tuple(notes),
        trials=run.statuses,
    )
    planned.grid.folder.keep(result)
    return result


def _windows(asked: Sequence[int] | None, timesteps: int) -> list[int]:
    if asked is None:
        return sorted({min(k, timesteps) for k in (*DEFAULT_WINDOWS, timesteps)})
    windows = sorted(asked)
    for window in windows:
        if not 1 <= window <= timesteps:
            raise ArgumentError(
                "windows",
                window,
                f"must be between 1 and T = {timesteps}",
                hint=f"k = {timesteps} is full BPTT; timesteps=N after the recipe changes T",
            )
    return windows


def _taus(asked: Sequence[float] | None, base: LoadedRecipe) -> list[float]:
    choice = base.recipe.neuron
    if "tau" not in choice.neuron.hyperparameters.model_fields:
        if asked is None:
            raise UsageError(
                f"neuron '{choice.neuron.name}' has no tau to make a grid of",
                hint="choose a leaky neuron, as in neuron.name=lif",
            )
        raise ArgumentError(
            "taus",
            ",".join(f"{tau:g}" for tau in asked),
            f"neuron '{choice.neuron.name}' has no tau",
            hint="choose a leaky neuron, as in neuron.name=lif",
        )
    if asked is None:
        return [float(choice.hyperparameters.tau)]  # type: ignore[attr-defined]
    taus = sorted(asked)
    for tau in taus:
        if not 1 < tau < float("inf"):
            raise ArgumentError(
                "taus",
                f"{tau:g}",
                "must be greater than 1",
                hint="tau is the membrane time constant in time steps; the decay is 1 - 1/tau",
            )
    return taus


def _window_mode(asked: str | None, recipes: str) -> str:
    if asked is not None and asked not in WINDOW_MODES:
        raise ArgumentError(
            "window_mode",
            None,
            unknown_name("window mode", asked, WINDOW_MODES),
            hint="sliding is the mode that fits the paper best",
        )
    return asked or recipes


def _steps(measured: Mapping[tuple[float, int], BySeed]) -> tuple[TruncationStep, ...]:
    """From each window to the next, tau by tau."""
    places = [
        (shorter, longer) for shorter, longer in pairwise(measured) if shorter[0] == longer[0]
    ]
    found = differences([(measured[longer], measured[shorter]) for shorter, longer in places])
    return tuple(
        TruncationStep(tau=shorter[0], window_from=shorter[1], window_to=longer[1], differences=one)
        for (shorter, longer), one in zip(places, found, strict=True)
        if one is not None
    )


def conclusions(steps: Sequence[TruncationStep]) -> tuple[str, ...]:
    """What a longer window does to the training loss and to the accuracy, tau by tau."""
    if not steps:
        return ("One window: there is nothing to compare it with.",)
    n = min(one.n for step in steps for one in [step.differences[CONCLUDED[0]]] if one)
    if n == 1:
        return (
            "One seed: there is no error bar and no p value, and nothing can be concluded about "
            "any difference. Give at least 4 with --seeds.",
        )
    sentences = []
    for tau in dict.fromkeys(step.tau for step in steps):
        here = [step for step in steps if step.tau == tau]
        for name in CONCLUDED:
            quantity = ESTIMATES[name]
            shown, open_ = [], []
            for step in here:
                one = step.differences[name]
                place = f"k = {step.window_from} to {step.window_to}"
                if one is None:
                    continue
                if is_significant(one):
                    shown.append(describe(place, one, quantity))
                else:
                    open_.append(undecided(place, one, quantity))
            parts = ["; ".join(shown)] if shown else []
            if open_:
                parts.append(f"no change can be concluded from {', '.join(open_)}")
            sentences.append(f"tau = {tau:g}, {quantity.title}: {'; '.join(parts)}.")
    return tuple(sentences)

"""`eval` -> report: after each time step, per class and per layer."""

import dataclasses
from collections.abc import Iterable

from clifctl.report.published import published_tables
from clifctl.report.render import (
    Column,
    Report,
    Table,
    columns_of,
    document_of,
    list_table,
    record_table,
)
from clifctl.results.eval import ClassCount, ConfusedPair, Confusion, EvalResult, LayerRate
from clifctl.results.firing_rates import RateOfLayer, net_firing_rate

_CONFUSION = "confusion"
_PAIR = ("label", "name", "decided", "decided_name", "samples", "share_percent")
_MOST_COLUMNS = 20  # classes of a matrix that can be read
_MOST_PAIRS = 20


def eval_report(result: EvalResult) -> Report:
    """The result table of `eval`."""
    summary = record_table(
        f"{result.checkpoint or result.recipe}: evaluated",
        result,
        *("checkpoint", "recipe", "data", "model", "neuron", "timesteps", "epoch", "seed"),
        *("batch_statistics", "batch_size", "samples", "accuracy_percent"),
        *("accuracy_top5_percent", "loss", "cross_entropy", "firing_rate", "seconds"),
        *("device", "target", "connections", *(("picture",) if result.picture else ())),
    )
    published = published_tables(result.published, result.accuracy_percent)
    tables = (summary, *published, _per_step(result), *rate_tables(result.firing_rates))
    per_class = () if result.per_class is None else (_per_class(result.per_class),)
    tables = (*tables, *per_class)
    if result.confusion is None:
        return Report(document_of(result), tables)
    every = list_table("confusion", ConfusedPair, result.confusion.pairs(), *_PAIR, name=_CONFUSION)
    shown = (*tables, _confusion(result.confusion))
    return Report(document_of(result), shown, data=(*tables, every))


def rate_tables(layers: tuple[LayerRate, ...]) -> tuple[Table, ...]:
    """The firing rate of each spiking layer; no table for a net without any."""
    if not layers:
        return ()
    columns = ("layer", "neurons", "firing_rate", "firing_rate_per_step")
    title = "firing rates [spikes/neuron/step], test data"
    notes = rate_notes(layers)
    table = list_table(
        title, LayerRate, layers, *columns, short=True, notes=notes, name="firing-rates"
    )
    return (table,)


def rate_notes(layers: Iterable[RateOfLayer]) -> tuple[str, ...]:
    """What stands below the firing rates of layers: that of their net."""
    rate = net_firing_rate(layers)
    return () if rate is None else (f"over all neurons: {rate:.4f}",)


def _per_step(result: EvalResult) -> Table:
    seen = len(result.accuracy_percent_per_step)
    whole = seen < result.timesteps  # a net of logits of the whole sequence
    top5 = result.accuracy_top5_percent_per_step or (None,) * seen
    rows = zip(result.accuracy_percent_per_step, top5, result.cross_entropy_per_step, strict=True)
    return Table(
        "after the last time step" if whole else "after each time step",
        (
            Column("step", "time step"),
            Column("accuracy_percent", "accuracy [%]", 2),
            Column("accuracy_top5_percent", "top 5 [%]", 2),
            Column("cross_entropy", "cross entropy of the mean so far", 4),
        ),
        tuple(
            {
                "step": step,
                "accuracy_percent": first,
                "accuracy_top5_percent": among,
                "cross_entropy": loss,
            }
            for step, (first, among, loss) in enumerate(rows, result.timesteps - seen + 1)
        ),
        notes=(
            "The net gives logits of the whole sequence alone: none of each step."
            if whole
            else "Decided by the sum of the logits up to that step; the cross entropy is that of "
            "their mean.",
        ),
        name="steps",
    )


def _per_class(counts: tuple[ClassCount, ...]) -> Table:
    return Table(
        "per class, after the last time step",
        columns_of(
            ClassCount,
            *("label", *(("name",) if any(count.name for count in counts) else ())),
            *("samples", "recall_percent", "precision_percent"),
            Column("mistaken", "mistaken for"),
        ),
        tuple({**dataclasses.asdict(count), "mistaken": _mistaken(count)} for count in counts),
        notes=(
            "Mistaken for: the class that most of its wrong samples were assigned to (how many).",
        ),
        name="classes",
    )


def _mistaken(count: ClassCount) -> str | None:
    if count.mistaken_for is None:
        return None
    name = f" '{count.mistaken_for_name}'" if count.mistaken_for_name else ""
    return f"{count.mistaken_for}{name} ({count.mistaken_count})"


def _confusion(confusion: Confusion) -> Table:
    """The matrix; of more classes than can be read the pairs that are confused most."""
    if len(confusion.counts) > _MOST_COLUMNS:
        return _most_confused(confusion)
    names = confusion.class_names
    every = range(len(confusion.counts))
    columns = (
        Column("label", "class"),
        *([Column("name", "name")] if names else []),
        *(Column(f"decided_{label}", str(label), 0) for label in every),
    )
    rows = tuple(
        {
            "label": label,
            "name": names[label] if names else None,
            **{f"decided_{decided}": row[decided] or None for decided in every},
        }
        for label, row in enumerate(confusion.counts)
    )
    notes = ("A row for each class; columns: how many of its samples were decided to be which.",)
    title = "confusion matrix, after the last time step"
    return Table(title, columns, rows, notes=notes, keys=2 if names else 1, name=_CONFUSION)


def _most_confused(confusion: Confusion) -> Table:
    pairs = confusion.most_confused(_MOST_PAIRS)
    wrong = sum(pair.samples for pair in confusion.pairs() if pair.label != pair.decided)
    shown = sum(pair.samples for pair in pairs)
    columns = [column for column in _PAIR if confusion.class_names or "name" not in column]
    note = (
        f"{shown:,} of {wrong:,} wrong samples, among {len(confusion.counts):,} classes; "
        "csv, jsonl and JSON have every pair."
    )
    title = "most confused pairs of classes, after the last time step"
    return list_table(title, ConfusedPair, pairs, *columns, notes=(note,), name=_CONFUSION)

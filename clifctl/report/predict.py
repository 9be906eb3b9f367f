"""`predict` -> report: a row a sample, in parts or as a whole."""

import dataclasses
from collections.abc import Sequence

from clifctl.report.render import Column, Report, Table, columns_of, document_of
from clifctl.results.predict import Prediction, PredictResult

_COLUMNS = ("file", "index", "label", "class_name", "probability", "decided_after_step")


def predict_part(predictions: Sequence[Prediction], title: str = "") -> Report:
    """Some of the predictions; the first part has the title."""
    data = tuple(map(_row, predictions))
    names = any(one.class_name is not None for one in predictions)
    columns = [name for name in _COLUMNS if name != "class_name" or names]
    asked = predictions[0].top is not None if predictions else False
    more = [Column("top", "most probable")] if asked else []
    shown = Table(
        title,
        columns_of(Prediction, *columns, *more, short=True),
        tuple({**row, "top": _in_words(one)} for row, one in zip(data, predictions, strict=True)),
        optional=("index",),
    )
    every = columns_of(Prediction, *_COLUMNS, *(["top"] if asked else []))
    return Report({}, (shown,), data=(Table(title, every, data),))


def predict_report(result: PredictResult) -> Report:
    """All predictions, and what could not be used."""
    part = predict_part(result.predictions, f"{result.checkpoint}: predictions")
    notes = tuple(f"not used: {one.problem}" for one in result.refused)
    tables = tuple(dataclasses.replace(table, notes=notes) for table in part.tables)
    return dataclasses.replace(part, document=document_of(result), tables=tables)


def _row(prediction: Prediction) -> dict[str, object]:
    row = dataclasses.asdict(prediction)
    if prediction.top is None:
        del row["top"]
    return row


def _in_words(prediction: Prediction) -> str:
    """The most probable classes, with their probabilities."""
    found = (
        f"{one.label if one.class_name is None else one.class_name} {one.probability:.3f}"
        for one in prediction.top or ()
    )
    return ", ".join(found)

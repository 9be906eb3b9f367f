"""`gradients` -> report: shares by lag, reach, windows, split."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from clifctl.amounts import counted
from clifctl.report.render import Column, Report, Table, data_tables, document_of
from clifctl.results.gradients import GradientsResult, LayerGradients

# Lags that a table shows; all of them are in the other formats.
LAGS = (*range(9), 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 2048)
_LAYER = Column("layer", "layer")


def gradients_report(result: GradientsResult) -> Report:
    """A table of shares first; csv and jsonl have a row for each layer and lag."""
    shown = [lag for lag in LAGS if lag < result.timesteps]
    tables = [_shares(result, shown), _reach(result, shown)]
    if any(layer.split for layer in result.layers):
        if result.timesteps > 1:
            tables += [_vanished(result, shown), *_complementary(result, shown)]
        tables.append(_split(result))
    if result.windows:
        tables.append(_windows(result))
    tables[-1] = dataclasses.replace(tables[-1], notes=(*tables[-1].notes, *result.notes))
    return Report(document_of(result), tuple(tables), data=_data(result))


def _lag_columns(shown: Sequence[int], digits: int, lag: str = "lag") -> tuple[Column, ...]:
    return tuple(Column(f"lag_{number}", f"{lag} {number}", digits) for number in shown)


def _lag_rows(
    result: GradientsResult,
    shown: Sequence[int],
    value: Callable[[LayerGradients, int], float | None],
) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "layer": layer.layer,
            "neurons": layer.neurons,
            "temporal_share_percent": _percent(layer.temporal_share),
            **{f"lag_{number}": value(layer, number) for number in shown},
        }
        for layer in result.layers
    )


def _shares(result: GradientsResult, shown: Sequence[int]) -> Table:
    state = f"epoch {result.epoch}" if result.trained else "fresh weights"
    whole = "-" if result.temporal_share is None else f"{100 * result.temporal_share:.1f} %"
    share = Column("temporal_share_percent", "temporal share [%]", 1)
    return Table(
        f"{result.source}: {result.model}, {result.neuron}, T = {result.timesteps}, {state}, "
        f"{counted(result.samples, 'sample')} of "
        f"{result.data if result.input == 'data' else 'noise'}: "
        f"temporal share {whole}",
        (_LAYER, share, *_lag_columns(shown, 1)),
        _lag_rows(result, shown, lambda layer, lag: _percent(layer.lags[lag].share)),
        notes=(
            "Lag d: what a layer's gradient has from d time steps later (2-norm), as a share of "
            "the norms of all lags [%]. Lag 0 is spatial; the temporal share is the rest.",
        ),
        name="lags",
    )


def _reach(result: GradientsResult, shown: Sequence[int]) -> Table:
    return Table(
        "reach of the last time step's loss, through the whole net",
        (_LAYER, *_lag_columns(shown, 3, "T -")),
        _lag_rows(result, shown, lambda layer, lag: layer.reach[lag]),
        notes=(
            "Norm of the gradient of the last step's loss with respect to a layer's input current "
            "at step T - d, relative to that at T.",
        ),
        name="lags",
    )


def _vanished(result: GradientsResult, shown: Sequence[int]) -> Table:
    later = [lag for lag in shown if lag > 0]
    return Table(
        "share of neurons and steps whose part II is zero (Eq. 14) [%]",
        (_LAYER, *_lag_columns(later, 1)),
        _lag_rows(result, later, lambda layer, lag: _percent(layer.lags[lag].vanished_share)),
        notes=(
            "Part II is the product of 1 - threshold * surrogate gradient over the steps between "
            "(clif, and a hard reset: with what their reset subtracts).",
        ),
        name="lags",
    )


def _complementary(result: GradientsResult, shown: Sequence[int]) -> list[Table]:
    """For CLIF: what does not pass the membrane potential alone."""
    if result.layers[0].lags[-1].complementary_norm is None:
        return []

    def share(layer: LayerGradients, number: int) -> float | None:
        lag = layer.lags[number]
        if lag.complementary_norm is None or not lag.norm:
            return None
        return _percent(lag.complementary_norm / lag.norm)

    later = [lag for lag in shown if lag > 0]
    table = Table(
        "what passes the complementary potential, relative to all of that lag [%]",
        (_LAYER, *_lag_columns(later, 1)),
        _lag_rows(result, later, share),
        notes=("Norms: the rest, through the membrane potential alone, is not 100 minus that.",),
        name="lags",
    )
    return [table]


def _split(result: GradientsResult) -> Table:
    columns = (
        Column("layer", "layer"),
        Column("spatial", "spatial", 2),
        Column("m1", "M1", 2),
        Column("m2", "M2", 2),
        Column("error_max", "error, largest"),
        Column("error_relative", "error, relative"),
    )
    rows = []
    for layer in result.layers:
        if layer.split is None:
            continue
        found = layer.split
        rows.append(
            {
                "layer": layer.layer,
                "spatial": _over(found.spatial_norm_per_step, found.whole_norm_per_step),
                "m1": _over(found.m1_norm_per_step, found.whole_norm_per_step),
                "m2": _over(found.m2_norm_per_step, found.whole_norm_per_step),
                "error_max": f"{found.error_max:.1e}",
                "error_relative": None
                if found.error_relative is None
                else f"{found.error_relative:.1e}",
            }
        )
    return Table(
        f"spatial, M1 and M2 part at each time step, formula {result.formula} ({result.dtype})",
        columns,
        tuple(rows),
        notes=(
            "Norm of each part over that of the whole gradient, step 1 to T. Error: of the sum of "
            "the parts against the gradient, in the largest entry, and in the norm.",
        ),
        name="split",
    )


def _windows(result: GradientsResult) -> Table:
    columns = (
        Column("window", "window k"),
        Column("cosine", "cosine", 4),
        Column("distance", "relative distance", 4),
        Column("lowest", "lowest cosine of a weight", 4),
        Column("weight", "which"),
    )
    rows = []
    for row in result.windows:
        known = [
            (value, name) for name, value in row.cosine_of_weights.items() if value is not None
        ]
        lowest, weight = min(known, default=(None, None))
        rows.append(
            {
                "window": f"{row.window} (full)" if row.window == result.timesteps else row.window,
                "cosine": row.cosine,
                "distance": row.distance_relative,
                "lowest": lowest,
                "weight": weight,
            }
        )
    return Table(
        "truncated BPTT: the weights' gradient with window k in every layer, against the full one",
        columns,
        tuple(rows),
        name="windows",
    )


def _data(result: GradientsResult) -> tuple[Table, ...]:
    """A row for each layer and lag, for each layer's split, for each window."""
    lags = (
        {
            "layer": layer.layer,
            "neurons": layer.neurons,
            "temporal_share": layer.temporal_share,
            **dataclasses.asdict(lag),
            "reach": layer.reach[lag.lag],
        }
        for layer in result.layers
        for lag in layer.lags
    )
    split = (
        {"layer": layer.layer, **dataclasses.asdict(layer.split)}
        for layer in result.layers
        if layer.split is not None
    )
    windows = (dataclasses.asdict(row) for row in result.windows)
    return data_tables(("lags", lags), ("split", split), ("windows", windows))


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _over(parts: Sequence[float], whole: Sequence[float]) -> list[float | None]:
    return [part / norm if norm else None for part, norm in zip(parts, whole, strict=True)]

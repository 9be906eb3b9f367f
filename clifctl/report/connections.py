"""How the connections of a net run -> a table, a line each."""

import dataclasses

from clifctl.report.render import Column, Table, columns_of
from clifctl.results.connections import ConnectionPaths


def connection_tables(paths: tuple[ConnectionPaths, ...], note: str) -> tuple[Table, ...]:
    """Layer by layer, what runs how and why; no table without any. `note` says of what step."""
    if not paths:
        return ()
    columns = columns_of(
        ConnectionPaths,
        *("layer", "connection", "maps", "active_percent", "open_percent"),
        *("forward", "weight_gradient", "input_gradient", Column("reason", "why")),
    )
    rows = tuple(
        {
            **dataclasses.asdict(path),
            "maps": "x".join(map(str, path.maps)) or None,
            "reason": _reason(path),
        }
        for path in paths
    )
    title = "how the connections run"
    return (Table(title, columns, rows, notes=(note,), name="connections"),)


def _reason(path: ConnectionPaths) -> str:
    """Of what is dense; where nothing is, of the forward pass."""
    ran = (
        (path.forward, path.forward_reason),
        (path.weight_gradient, path.weight_gradient_reason),
        (path.input_gradient, path.input_gradient_reason),
    )
    dense = dict.fromkeys(why for how, why in ran if how == "dense" and why is not None)
    return "; ".join(dense) or path.forward_reason or ""

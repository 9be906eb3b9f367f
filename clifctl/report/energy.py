"""Energy -> report: each row in both accountings, the paper's own cells beside them."""

import dataclasses
import math
from typing import Any

from clifctl.report.render import (
    Column,
    Report,
    Table,
    columns_of,
    document_of,
    list_table,
    record_table,
)
from clifctl.results.energy import (
    MEMORY_KEYS,
    SOP_KEYS,
    Cost,
    EnergyResult,
    EnergyRow,
    LayerCost,
    NeuronCostResult,
    OperationRow,
    PublishedCost,
    RateRow,
)

_NET = (*columns_of(EnergyRow, "source", "neuron", "timesteps", short=True),)
_NET += (Column("accounting", "accounting"),)
_SOP = columns_of(Cost, *SOP_KEYS)
_COUNTED = (*columns_of(EnergyRow, "parameters"), *_SOP, *columns_of(Cost, "functions"))
_MEMORY = columns_of(Cost, *MEMORY_KEYS)
_OPERATION = columns_of(LayerCost, "layer", "kind", "fed_by")
_SHAPES = columns_of(LayerCost, "input_shape", "output_shape", "fan_out")
_SPIKES = columns_of(LayerCost, "firing_rate", short=True)
_COUNTED_SPIKES = (*columns_of(LayerCost, "spike_fan_out"), *_SPIKES)
_SCALE = 1e6  # the paper prints operations in millions
_SIGNIFICANT = 5  # digits of the largest energy of a table


def energy_report(result: EnergyResult, *, per_layer: bool) -> Report:
    """One table a method, rates, and tables a row of what each operation costs, if asked for."""
    lines = tuple(line for row in result.rows for line in _lines(row))
    tables = []
    if "sop" in result.methods:
        columns = (*_NET, *_fitting(_COUNTED, lines))
        tables.append(Table("synaptic operations (Table 6)", columns, lines))
    if "memory" in result.methods:
        columns = (*_NET, *_fitting(_MEMORY, lines))
        tables.append(Table("memory accesses (Table 7)", columns, lines))
    # Assumptions stand below the numbers that they are about.
    tables[-1] = dataclasses.replace(tables[-1], notes=result.assumptions)
    tables += [_rates(row) for row in result.rows if row.firing_rates]
    if per_layer:
        tables += [table for row in result.rows for table in _layers(row, result.methods)]
    else:  # they were needed for a picture alone
        without = tuple(dataclasses.replace(row, layers=None) for row in result.rows)
        result = dataclasses.replace(result, rows=without)
    return Report(document_of(result), tuple(tables))


def _fitting(columns: tuple[Column, ...], lines: tuple[dict[str, Any], ...]) -> tuple[Column, ...]:
    """`columns` with as many digits as the largest energy in millijoules needs, and in microjoules
    as many as that one needs."""
    fitted = []
    for unit in ("_mj", "_uj"):
        keys = [column.key for column in columns if column.key.endswith(unit)]
        largest = max((line[key] or 0.0 for line in lines for key in keys), default=0.0)
        needed = _SIGNIFICANT - 1 - math.floor(math.log10(largest)) if largest else 0
        fitted.append(dict.fromkeys(keys, needed))
    digits = fitted[0] | fitted[1]
    return tuple(
        dataclasses.replace(column, digits=max(column.digits or 0, digits[column.key]))
        if column.key in digits
        else column
        for column in columns
    )


def _lines(row: EnergyRow) -> list[dict[str, Any]]:
    """One flat line an accounting."""
    shared = {
        "source": row.source,
        "data": row.data,
        "model": row.model,
        "neuron": row.neuron,
        "timesteps": row.timesteps,
        "parameters": row.parameters,
        "rates": row.rates,
        "accuracy_percent": row.accuracy_percent,
    }
    lines = [{**shared, "accounting": "paper", **dataclasses.asdict(row.paper)}]
    if row.published is not None:
        lines.append({**shared, "accounting": "(published)", **_printed(row.published)})
    lines.append({**shared, "accounting": "corrected", **dataclasses.asdict(row.corrected)})
    return lines


def _printed(published: PublishedCost) -> dict[str, Any]:
    """The published cells under the names of the computed ones, with the T that they are of."""
    cells = dataclasses.asdict(published)
    del cells["note"]
    for name in ("parameters", "acs", "macs"):
        cells[name] = round(cells.pop(f"{name}_millions") * _SCALE)
    return {**dataclasses.asdict(Cost()), **cells}


def _rates(row: EnergyRow) -> Table:
    measured = ("firing_rate_sample_std", "firing_rate_per_step") if row.rates == "measured" else ()
    title = f"{row.source}, {row.neuron}: firing rates [spikes/neuron/step], {row.rates}"
    columns = ("layer", "neurons", "firing_rate", *measured)
    return list_table(title, RateRow, row.firing_rates, *columns, short=True)


def _layers(row: EnergyRow, methods: tuple[str, ...]) -> list[Table]:
    """Every operation of a net: where it stands and its synaptic operations; its accesses."""
    lines = []
    for layer in row.layers or ():
        line = dataclasses.asdict(layer)
        for accounting in ("paper", "corrected"):
            line |= {f"{accounting}_{key}": value for key, value in line.pop(accounting).items()}
        lines.append(line)
    every = tuple(lines)
    total = _MEMORY[-1:]
    title = f"{row.source}, {row.neuron}: every operation"
    tables = []
    if "sop" in methods:
        columns = (*_of("paper", _SOP), *_of("corrected", _SOP))
        spikes = _COUNTED_SPIKES if row.rates == "measured" else _SPIKES
        columns = (*_OPERATION, *_SHAPES, *spikes, *_fitting(columns, every))
        tables.append(Table(f"{title}, synaptic operations", columns, every))
    if "memory" in methods:
        columns = (*_of("paper", total), *_of("corrected", _MEMORY))
        columns = (*_OPERATION, *_fitting(columns, every))
        keys = ("paper_total_mj", "corrected_total_mj")
        charged = tuple(line for line in every if any(line[key] != 0.0 for key in keys))
        tables.append(Table(f"{title} with memory accesses", columns, charged))
    return tables


def _of(accounting: str, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(
        Column(f"{accounting}_{column.key}", f"{accounting}: {column.label}", column.digits)
        for column in columns
    )


def neuron_cost_report(result: NeuronCostResult) -> Report:
    """What a step computes, and of what that is made up."""
    summary = record_table(
        f"{result.neuron}: cost of a step, per element and time step",
        result,
        *("neuron", "multiplications", "additions", "functions", "states", "macs", "acs"),
        *("sop_energy_pj", "operations_energy_pj"),
        notes=result.assumptions,
    )
    columns = ("operation", "count", "charged_as")
    operations = list_table("operations", OperationRow, result.operations, *columns)
    return Report(document_of(result), (summary, operations))

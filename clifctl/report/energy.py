"""Energy -> report: each row in both accountings, the paper's own cells beside them."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from clifctl.amounts import ENERGIES, energy_unit
from clifctl.report.eval import rate_notes
from clifctl.report.render import (
    Column,
    Report,
    Table,
    columns_of,
    data_tables,
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
    SynapticOperations,
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
_ROW = columns_of(EnergyRow, "source", "neuron", "timesteps", short=True)
_SYNAPTIC = columns_of(SynapticOperations, "dense", "effective", "effective_acs", "effective_macs")
_CHARGED = columns_of(
    LayerCost,
    *("layer", "function", "kind", "fed_by", "input_shape", "output_shape", "steps"),
    *("dense_synaptic_operations", "effective_synaptic_operations", "charged_as"),
)
_SCALE = 1e6  # the paper prints operations in millions
_SIGNIFICANT = 4  # digits of the largest energy of a column
_LONG = 1e5  # an energy that has a fitting unit from here on


def energy_report(result: EnergyResult, *, per_layer: bool, operations: bool = False) -> Report:
    """One table a method, the synaptic operations by NeuroBench's names, rates, and tables a row
    of what each operation costs, or is charged as, if asked for."""
    if not per_layer and not operations:  # they were needed for a picture alone
        without = tuple(dataclasses.replace(row, layers=None) for row in result.rows)
        result = dataclasses.replace(result, rows=without)
    lines = tuple(line for row in result.rows for line in _lines(row))
    counted = []
    if "sop" in result.methods:
        title = "synaptic operations (Table 6)"
        counted.append(Table(title, (*_NET, *_COUNTED), lines, keys=len(_NET), name="sop"))
    if "memory" in result.methods:
        title = "memory accesses (Table 7)"
        counted.append(Table(title, (*_NET, *_MEMORY), lines, keys=len(_NET), name="memory"))
    tables = [_fitting(table) for table in counted]
    # Assumptions stand below the numbers that they are about.
    tables[-1] = dataclasses.replace(tables[-1], notes=result.assumptions)
    synaptic = Table(
        "synaptic operations of an inference, as NeuroBench names them",
        (*_ROW, *_SYNAPTIC),
        tuple(_synaptic(row) for row in result.rows if row.synaptic is not None),
        keys=len(_ROW),
        name="synaptic",
    )
    if "sop" in result.methods and synaptic.rows:
        tables.append(synaptic)
    tables += [_rates(row) for row in result.rows if row.firing_rates]
    if operations:
        tables += [_operations(row) for row in result.rows if row.layers]
    layers = [table for row in result.rows if per_layer for table in _layers(row, result.methods)]
    data = data_tables(
        ("firing-rates", _of_rows(result, "firing_rates")), ("layers", _of_rows(result, "layers"))
    )
    if synaptic.rows:
        counted.append(synaptic)
    return Report(document_of(result), (*tables, *map(_fitting, layers)), data=(*counted, *data))


def _of_rows(result: EnergyResult, name: str) -> Iterator[dict[str, Any]]:
    """What every row has of `name`, for csv and jsonl."""
    for row in result.rows:
        for one in getattr(row, name) or ():
            yield {"source": row.source, "neuron": row.neuron, **_line(one)}


def _fitting(table: Table) -> Table:
    """A table for a reader: all its energies in one unit that fits the largest (that of its first
    energy, which is the paper's, where numbers are not too long for it), with at least so many
    digits as are declared and _SIGNIFICANT of the largest in each column."""
    units = {column.key: column.key[-2] + "J" for column in table.columns if _is_energy(column)}
    factors = {key: 1.0 / ENERGIES[unit] for key, unit in units.items()}  # to mJ
    largest = {
        key: max((abs(line[key] or 0.0) for line in table.rows), default=0.0) * factor
        for key, factor in factors.items()
    }
    usual = next(iter(units.values()))
    most = max(largest.values())
    unit = usual if 1.0 <= most * ENERGIES[usual] < _LONG else energy_unit(most)
    unit = unit if most else usual
    columns = []
    for column in table.columns:
        if column.key in units:
            scale = factors[column.key] * ENERGIES[unit]
            digits = (column.digits or 0) - round(math.log10(scale))
            if own := largest[column.key] * ENERGIES[unit]:
                digits = max(digits, _SIGNIFICANT - 1 - math.floor(math.log10(own)))
            label = column.label.replace(f"[{units[column.key]}]", f"[{unit}]")
            column = Column(column.key, label, max(digits, 0))
        columns.append(column)
    rows = tuple(
        {
            key: value * factors[key] * ENERGIES[unit] if key in units and value else value
            for key, value in line.items()
        }
        for line in table.rows
    )
    return dataclasses.replace(table, columns=tuple(columns), rows=rows)


def _is_energy(column: Column) -> bool:
    return column.key.endswith(("_mj", "_uj"))


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
    rates = row.firing_rates
    notes = rate_notes(rates)
    return list_table(title, RateRow, rates, *columns, short=True, notes=notes, name="firing-rates")


def _layers(row: EnergyRow, methods: tuple[str, ...]) -> list[Table]:
    """Every operation of a net: where it stands and its synaptic operations; its accesses."""
    every = tuple(map(_line, row.layers or ()))
    if not every:
        return []
    total = _MEMORY[-1:]
    title = f"{row.source}, {row.neuron}: every operation"
    tables = []
    if "sop" in methods:
        columns = (*_of("paper", _SOP), *_of("corrected", _SOP))
        spikes = _COUNTED_SPIKES if row.rates == "measured" else _SPIKES
        columns = (*_OPERATION, *_SHAPES, *spikes, *columns)
        tables.append(Table(f"{title}, synaptic operations", columns, every, name="layers"))
    if "memory" in methods:
        columns = (*_of("paper", total), *_of("corrected", _MEMORY))
        columns = (*_OPERATION, *columns)
        keys = ("paper_total_mj", "corrected_total_mj")
        charged = tuple(line for line in every if any(line[key] != 0.0 for key in keys))
        tables.append(Table(f"{title} with memory accesses", columns, charged, name="layers"))
    return tables


def _operations(row: EnergyRow) -> Table:
    """What each operation of a net was counted as."""
    title = f"{row.source}, {row.neuron}: every operation, and what `corrected` charges it as"
    return Table(title, _CHARGED, tuple(map(_line, row.layers or ())), name="layers")


def _synaptic(row: EnergyRow) -> dict[str, Any]:
    counts = row.synaptic
    shared = {"source": row.source, "neuron": row.neuron, "timesteps": row.timesteps}
    return shared if counts is None else shared | dataclasses.asdict(counts)


def _line(one: Any) -> dict[str, Any]:
    """A layer's rates or costs as one flat line."""
    line = dataclasses.asdict(one)
    for accounting in ("paper", "corrected"):
        cost = line.pop(accounting, {})
        line |= {f"{accounting}_{key}": value for key, value in cost.items()}
    return line


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
    operations = list_table(
        "operations", OperationRow, result.operations, *columns, name="operations"
    )
    return Report(document_of(result), (summary, operations))

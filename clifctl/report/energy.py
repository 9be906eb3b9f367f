"""Energy -> report: each row in both accountings, the paper's own cells beside them."""

import dataclasses
import math
from typing import Any

from clifctl.report.render import Column, Report, Table, document_of, record_table
from clifctl.results.energy import Cost, EnergyResult, EnergyRow, NeuronCostResult, PublishedCost

_NET = (
    Column("source", "source"),
    Column("neuron", "neuron"),
    Column("timesteps", "T"),
    Column("accounting", "accounting"),
)
_SOP = (
    Column("acs", "ACs", 0),
    Column("macs", "MACs", 0),
    Column("sop_energy_uj", "energy [uJ]", 3),
)
_COUNTED = (
    Column("parameters", "parameters", 0),
    *_SOP,
    Column("functions", "functions", 0),
)
_MEMORY = (
    Column("potential_mj", "potential [mJ]", 4),
    Column("parameters_mj", "parameters [mJ]", 4),
    Column("in_out_mj", "in/out [mJ]", 4),
    Column("operations_mj", "operations [mJ]", 4),
    Column("addressing_uj", "addressing [uJ]", 4),
    Column("total_mj", "total [mJ]", 4),
)
_OPERATION = (
    Column("layer", "layer"),
    Column("kind", "kind"),
    Column("fed_by", "fed by"),
)
_SHAPES = (
    Column("input_shape", "input"),
    Column("output_shape", "output"),
    Column("fan_out", "mean fan-out", 2),
)
_SPIKES = (Column("firing_rate", "rate", 4),)
_COUNTED_SPIKES = (Column("spike_fan_out", "fan-out of spikes", 2), *_SPIKES)
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
    columns: tuple[Column, ...] = (
        Column("layer", "layer"),
        Column("neurons", "neurons", 0),
        Column("firing_rate", "mean", 4),
    )
    measured = row.rates == "measured"
    if measured:
        columns += (
            Column("firing_rate_sample_std", "s.d. over samples", 4),
            Column("firing_rate_per_step", "at each time step", 3),
        )
    title = f"{row.source}, {row.neuron}: firing rates [spikes/neuron/step], {row.rates}"
    return Table(title, columns, tuple(map(dataclasses.asdict, row.firing_rates)))


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
        Column("neuron", "neuron"),
        Column("multiplications", "multiplications"),
        Column("additions", "additions"),
        Column("functions", "functions (sigmoid, exp, tanh)"),
        Column("states", "states, each read and written once"),
        Column("macs", "MACs, functions included", 0),
        Column("acs", "ACs besides", 0),
        Column("sop_energy_pj", "energy, SOP method [pJ]", 1),
        Column("operations_energy_pj", "energy, memory method, without accesses [pJ]", 1),
        notes=result.assumptions,
    )
    columns = (
        Column("operation", "operation"),
        Column("count", "times"),
        Column("charged_as", "charged as"),
    )
    rows = tuple(map(dataclasses.asdict, result.operations))
    return Report(document_of(result), (summary, Table("operations", columns, rows)))

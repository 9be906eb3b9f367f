"""`dynamics` -> report: firing rates, autocorrelations, f-I curves, traces."""

from collections.abc import Iterator, Sequence

from clifctl.amounts import counted
from clifctl.report.render import Column, Report, Table, data_tables, document_of
from clifctl.results.dynamics import Autocorrelation, DynamicsResult

# Lags that a table shows; JSON has all.
LAGS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)


def dynamics_report(result: DynamicsResult, *, traces: bool) -> Report:
    """Rates, autocorrelations over the largest T (csv and jsonl: of every T and lag), f-I curves,
    and every time step of the first trial if `traces`."""
    tables = [
        _rates(result),
        *(_autocorrelations(result, kind, title) for kind, title in _KINDS.items()),
        _currents(result),
    ]
    if traces:
        tables.append(_traces(result))
    notes = Table("what it is", (), (), notes=(_input(result), *result.notes), name="notes")
    data = data_tables(
        ("rates", _flat_rates(result)),
        ("autocorrelations", _flat_autocorrelations(result)),
        ("currents", _flat_currents(result)),
        ("traces", _traces(result).rows),
    )
    return Report(document_of(result), (*tables, notes), data=data)


_KINDS = {
    "mean_removed": "mean removed, relative to lag 0",
    "normalised": "relative to lag 0",
    "raw": "raw, as in the paper",
}


def _input(result: DynamicsResult) -> str:
    trials = trials_of(result)
    if result.rate is not None:
        return (
            f"Input: at each time step a spike of weight {result.weight:g} with probability "
            f"{result.rate:g}, {trials} from seed {result.seed}; the same for every neuron."
        )
    if result.weight is not None:
        return f"Input: a constant current of {result.weight:g}."
    return f"Input: {result.input}, {trials}."


def trials_of(result: DynamicsResult) -> str:
    """How many trials there are, in words."""
    return f"{counted(result.trials, 'trial')}"


def _rates(result: DynamicsResult) -> Table:
    columns = (
        Column("neuron", "neuron"),
        Column("timesteps", "T"),
        Column("rate", "firing rate [spikes/step]", 4),
        Column("interval_95", "95 % interval"),
        Column("trials", "trials"),
    )
    return Table("firing rate", columns, tuple(_rate_rows(result)), keys=2, name="rates")


def _rate_rows(result: DynamicsResult) -> list[dict[str, object]]:
    rows = []
    for neuron in result.neurons:
        for row in neuron.rates:
            low, high = row.interval_95_low, row.interval_95_high
            rows.append(
                {
                    "neuron": neuron.neuron,
                    "timesteps": row.timesteps,
                    "rate": row.rate.mean,
                    "rate_standard_error": row.rate.standard_error,
                    "interval_95_low": low,
                    "interval_95_high": high,
                    "interval_95": None if low is None else f"{low:.4f} to {high:.4f}",
                    "trials": row.rate.n,
                }
            )
    return rows


def _flat_rates(result: DynamicsResult) -> Iterator[dict[str, object]]:
    shown = "interval_95"  # the same once more, in words
    for row in _rate_rows(result):
        yield {key: value for key, value in row.items() if key != shown}


def longest(result: DynamicsResult, number: int) -> list[Autocorrelation]:
    """The autocorrelations of a neuron over the largest T."""
    found = result.neurons[number].autocorrelations
    return [one for one in found if one.timesteps == result.timesteps[-1]]


def _autocorrelations(result: DynamicsResult, kind: str, title: str) -> Table:
    lags = [lag for lag in LAGS if lag < len(longest(result, 0)[0].raw)]
    columns = (
        Column("neuron", "neuron"),
        Column("signal", "signal"),
        *(Column(f"lag_{lag}", f"lag {lag}", 3) for lag in lags),
        Column("description", "what"),
    )
    rows = tuple(
        {
            "neuron": neuron.neuron,
            "signal": one.signal,
            "description": one.description,
            **{f"lag_{lag}": getattr(one, kind)[lag] for lag in lags},
        }
        for number, neuron in enumerate(result.neurons)
        for one in longest(result, number)
    )
    title = f"autocorrelation, {title} (T = {result.timesteps[-1]})"
    return Table(title, columns, rows, keys=2, name="autocorrelations")


def _currents(result: DynamicsResult) -> Table:
    columns = (
        Column("current", "constant input", 1),
        *(Column(neuron.neuron, neuron.neuron, 4) for neuron in result.neurons),
    )
    rows = tuple(
        {
            "current": current,
            **{neuron.neuron: neuron.rates_of_currents[n] for neuron in result.neurons},
        }
        for n, current in enumerate(result.currents)
    )
    title = f"f-I curve: firing rate [spikes/step] on a constant input (T = {result.timesteps[-1]})"
    return Table(
        title,
        columns,
        rows,
        notes=(
            "A current that brings the membrane potential to the threshold only in the limit "
            "(threshold / tau for lif and clif) gives few spikes or none, and those are due to "
            "rounding.",
        ),
    )


def _flat_autocorrelations(result: DynamicsResult) -> Iterator[dict[str, object]]:
    return (
        {
            "neuron": neuron.neuron,
            "timesteps": one.timesteps,
            "signal": one.signal,
            "lag": lag,
            **{kind: getattr(one, kind)[lag] for kind in ("raw", "normalised", "mean_removed")},
        }
        for neuron in result.neurons
        for one in neuron.autocorrelations
        for lag in range(len(one.raw))
    )


def _flat_currents(result: DynamicsResult) -> Iterator[dict[str, object]]:
    return (
        {"neuron": neuron.neuron, "current": current, "rate": rate}
        for neuron in result.neurons
        for current, rate in zip(result.currents, neuron.rates_of_currents, strict=True)
    )


def _traces(result: DynamicsResult) -> Table:
    """Every time step of the first trial, a row for each neuron; a signal that it has not: None."""
    states = list(dict.fromkeys(s for n in result.neurons for s in n.traces.states if s != "u"))
    keys = ("neuron", "time_step", "x", "u", "threshold", *states, "spike")
    rows = []
    for neuron in result.neurons:
        traces = neuron.traces
        signals: dict[str, Sequence[float] | None] = {
            "x": result.x,
            "u": traces.u,
            "threshold": traces.threshold,
            "spike": traces.spikes,
            **traces.states,
        }
        for t in range(result.timesteps[-1]):
            row: dict[str, object] = {"neuron": neuron.neuron, "time_step": t + 1}
            for key in keys[2:]:
                signal = signals.get(key)
                row[key] = None if signal is None else signal[t]
            rows.append(row)
    columns = tuple(
        Column(
            key, key.replace("_", " "), 3 if key not in ("neuron", "time_step", "spike") else None
        )
        for key in keys
    )
    return Table("the first trial, step by step", columns, tuple(rows), keys=2, name="traces")

"""The `models` commands -> report."""

from clifctl.report.connections import connection_tables
from clifctl.report.render import Report, Table, document_of, list_table, record_table
from clifctl.results.models import (
    LayerRow,
    ModelCheck,
    ModelList,
    ModelRow,
    ModelShown,
    OptionRow,
    UseRow,
)

_STEP = "In a training step with fresh weights, on noise."


def models_report(result: ModelList) -> Report:
    """Every net, a line each."""
    columns = ("model", "options", "title")
    table = list_table("models", ModelRow, result.models, *columns, optional=("options",))
    return Report(document_of(result), (table,))


def model_report(result: ModelShown) -> Report:
    """One net: what it is, its keys and its layers."""
    return Report(document_of(result), _tables(result))


def check_report(result: ModelCheck) -> Report:
    """The same, with what commands can do with it, and how its connections run."""
    uses = list_table(
        "what commands can do with it",
        UseRow,
        result.uses,
        *("command", "possible", "note"),
        name="uses",
    )
    connections = connection_tables(result.connections, _STEP)
    return Report(document_of(result), (*_tables(result.shown), uses, *connections))


def _tables(result: ModelShown) -> tuple[Table, ...]:
    summary = record_table(
        f"{result.model}: {result.title}",
        result,
        *("data", "input_shape", "classes", "timesteps", "neuron", "parameters", "neurons"),
        "logits",
    )
    options = list_table(
        "keys", OptionRow, result.options, *("name", "default", "description"), name="options"
    )
    layers = list_table(
        "layers",
        LayerRow,
        result.layers,
        *("layer", "kind", "output", "parameters"),
        notes=("Outputs are those of one time step of one sample.",),
        name="layers",
    )
    return summary, options, layers

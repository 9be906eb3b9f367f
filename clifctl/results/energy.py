"""What `energy` and `neurons show --cost` return. Numbers that need unknown rates are None."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from clifctl.results.quantities import (
    LAYER_RATE,
    NEURONS,
    PARAMETERS,
    RATE_PER_STEP,
    TIMESTEPS,
    Quantity,
)
from clifctl.results.result import Result

# The numbers of one accounting, in the order of display; those of the memory method last.
SOP_KEYS = ("acs", "macs", "sop_energy_uj")
MEMORY_KEYS = (
    "potential_mj",
    "parameters_mj",
    "in_out_mj",
    "operations_mj",
    "addressing_uj",
    "total_mj",
)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One accounting: synaptic operations, then memory accesses. Additions that a multiplication
    stands beside are part of its MAC; `functions` are evaluations of sigmoid, exp and the like,
    which `macs` holds at the stated price (None: the accounting has no rule for them)."""

    acs: Annotated[float | None, Quantity("ACs", digits=0)] = None
    macs: Annotated[float | None, Quantity("MACs", digits=0)] = None
    functions: Annotated[float | None, Quantity("functions", digits=0)] = None
    sop_energy_uj: Annotated[float | None, Quantity("energy", "uJ", 3)] = None
    potential_mj: Annotated[float | None, Quantity("potential", "mJ", 4)] = None
    parameters_mj: Annotated[float | None, Quantity("parameters", "mJ", 4)] = None
    in_out_mj: Annotated[float | None, Quantity("in/out", "mJ", 4)] = None
    operations_mj: Annotated[float | None, Quantity("operations", "mJ", 4)] = None
    addressing_uj: Annotated[float | None, Quantity("addressing", "uJ", 4)] = None
    total_mj: Annotated[float | None, Quantity("total", "mJ", 4)] = None


@dataclass(frozen=True, kw_only=True)
class PublishedCost:
    """The paper's own cells, as printed: parameters and operations in millions, those of one time
    step for a spiking net of `timesteps`. `note` says what to know before they are compared.
    Results of older versions lack these three."""

    acs_millions: float
    macs_millions: float
    sop_energy_uj: float
    potential_mj: float
    parameters_mj: float
    in_out_mj: float
    operations_mj: float
    addressing_uj: float
    total_mj: float
    timesteps: int | None = None
    parameters_millions: float | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One operation of a net. `fed_by`: image, spikes or values; `firing_rate` is that of its
    input, spikes per neuron and step; `fan_out` the mean number of outputs that an input reaches,
    `spike_fan_out` that of the spikes that were counted (None: they were not, or reach alike many
    from everywhere). `function` is that of torch (None for neurons), computed `steps` times in an
    inference. `dense_synaptic_operations` are the connections of input and output values in an
    inference, `effective_synaptic_operations` those whose input is not zero, as NeuroBench has
    them. An operation of kind `unpriced` has no cost that is known, and is in no total.
    """

    layer: str
    kind: str
    fed_by: str
    input_shape: Annotated[tuple[int, ...], Quantity("input")]
    output_shape: Annotated[tuple[int, ...], Quantity("output")]
    parameters: int
    fan_out: Annotated[float | None, Quantity("mean fan-out", digits=2)]
    firing_rate: Annotated[float | None, replace(LAYER_RATE, short="rate")]
    paper: Cost
    corrected: Cost
    spike_fan_out: Annotated[float | None, Quantity("fan-out of spikes", digits=2)] = None
    function: str | None = None
    steps: int | None = None
    dense_synaptic_operations: Annotated[
        int | None, Quantity("dense synaptic operations", digits=0)
    ] = None
    effective_synaptic_operations: Annotated[
        float | None, Quantity("effective synaptic operations", digits=0)
    ] = None
    charged_as: str | None = None


@dataclass(frozen=True, kw_only=True)
class SynapticOperations:
    """The connections of a net in one inference, by NeuroBench's names: `dense` are all of input
    and output values, `effective_acs` those with spikes, `effective_macs` those with other values
    that are not zero, `effective` both. None: firing rates are not known."""

    dense: Annotated[int, Quantity("dense synaptic operations", digits=0)]
    effective: Annotated[float | None, Quantity("effective synaptic operations", digits=0)]
    effective_acs: Annotated[float | None, Quantity("effective ACs", digits=0)]
    effective_macs: Annotated[float | None, Quantity("effective MACs", digits=0)]


@dataclass(frozen=True, kw_only=True)
class UnpricedOperation:
    """An operation without a price that is known: the module in which it stands (empty: the net's
    own forward), and the function of torch."""

    layer: str
    function: str


@dataclass(frozen=True, kw_only=True)
class RateRow:
    """The firing rate of one layer of neurons: spikes per neuron and step, its standard deviation
    over samples and its value at each time step (where it was measured)."""

    layer: str
    neurons: Annotated[int, NEURONS]
    firing_rate: Annotated[float, LAYER_RATE]
    firing_rate_sample_std: Annotated[float | None, Quantity("s.d. over samples", digits=4)] = None
    firing_rate_per_step: Annotated[tuple[float, ...] | None, RATE_PER_STEP] = None


@dataclass(frozen=True, kw_only=True)
class EnergyRow:
    """One neuron in one net. `rates` says where its firing rates come from; `data` is None of a
    module that no recipe names. No total has anything of the operations that are `unpriced`."""

    source: str
    model: str
    data: str | None
    neuron: str
    timesteps: Annotated[int, TIMESTEPS]
    parameters: Annotated[int, PARAMETERS]
    rates: str
    accuracy_percent: float | None
    paper: Cost
    corrected: Cost
    published: PublishedCost | None
    firing_rates: tuple[RateRow, ...] = ()
    layers: tuple[LayerCost, ...] | None = None
    synaptic: SynapticOperations | None = None
    unpriced: tuple[UnpricedOperation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EnergyResult(Result):
    """Every row, the assumptions, and the defects of the published accounting, each
    with what the corrected one does."""

    schema: ClassVar[str] = "clifctl.energy/1"

    methods: tuple[str, ...]
    constants: dict[str, Any]
    rows: tuple[EnergyRow, ...]
    assumptions: tuple[str, ...]
    defects: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class OperationRow:
    """One kind of operation in a neuron's step, and what it is charged as."""

    operation: str
    count: Annotated[int, Quantity("times")]
    charged_as: str


@dataclass(frozen=True, kw_only=True)
class NeuronCostResult(Result):
    """What a neuron's step computes, per element and time step; `macs` and `acs` with the price of
    its functions, energies with the constants of 45 nm."""

    schema: ClassVar[str] = "clifctl.neuron.cost/1"

    neuron: str
    hyperparameters: dict[str, Any]
    multiplications: int
    additions: int
    functions: Annotated[int, Quantity("functions (sigmoid, exp, tanh)")]
    states: Annotated[int, Quantity("states, each read and written once")]
    macs: Annotated[float, Quantity("MACs, functions included", digits=0)]
    acs: Annotated[float, Quantity("ACs besides", digits=0)]
    sop_energy_pj: Annotated[float, Quantity("energy, SOP method", "pJ", 1)]
    operations_energy_pj: Annotated[
        float, Quantity("energy, memory method, without accesses", "pJ", 1)
    ]
    operations: tuple[OperationRow, ...]
    assumptions: tuple[str, ...]

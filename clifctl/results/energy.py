"""What `energy` and `neurons show --cost` return. Numbers that need unknown firing rates: None."""

from dataclasses import dataclass
from typing import Any, ClassVar

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

    acs: float | None = None
    macs: float | None = None
    functions: float | None = None
    sop_energy_uj: float | None = None
    potential_mj: float | None = None
    parameters_mj: float | None = None
    in_out_mj: float | None = None
    operations_mj: float | None = None
    addressing_uj: float | None = None
    total_mj: float | None = None


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
    from everywhere).
    """

    layer: str
    kind: str
    fed_by: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    fan_out: float | None
    firing_rate: float | None
    paper: Cost
    corrected: Cost
    spike_fan_out: float | None = None


@dataclass(frozen=True, kw_only=True)
class RateRow:
    """The firing rate of one layer of neurons: spikes per neuron and step, its standard deviation
    over samples and its value at each time step (where it was measured)."""

    layer: str
    neurons: int
    firing_rate: float
    firing_rate_sample_std: float | None = None
    firing_rate_per_step: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class EnergyRow:
    """One neuron in one net. `rates` says where its firing rates come from."""

    source: str
    model: str
    data: str
    neuron: str
    timesteps: int
    parameters: int
    rates: str
    accuracy_percent: float | None
    paper: Cost
    corrected: Cost
    published: PublishedCost | None
    firing_rates: tuple[RateRow, ...] = ()
    layers: tuple[LayerCost, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class EnergyResult:
    """Every row, what was taken for granted, and the defects of the published accounting, each
    with what the corrected one does."""

    schema: ClassVar[str] = "clifctl.energy/1"

    methods: tuple[str, ...]
    constants: dict[str, Any]
    rows: tuple[EnergyRow, ...]
    assumptions: tuple[str, ...]
    defects: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class OperationRow:
    """One kind of operation in a neuron's step, and as what it is charged."""

    operation: str
    count: int
    charged_as: str


@dataclass(frozen=True, kw_only=True)
class NeuronCostResult:
    """What a neuron's step computes, per element and time step; `macs` and `acs` with the price of
    its functions, energies with the constants of 45 nm."""

    schema: ClassVar[str] = "clifctl.neuron.cost/1"

    neuron: str
    hyperparameters: dict[str, Any]
    multiplications: int
    additions: int
    functions: int
    states: int
    macs: float
    acs: float
    sop_energy_pj: float
    operations_energy_pj: float
    operations: tuple[OperationRow, ...]
    assumptions: tuple[str, ...]

"""What `convert` returns."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from clifctl.results.quantities import NEURONS, SECONDS, TEST_SAMPLES, TIMESTEPS, Quantity
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class DeployedRow:
    """The net on LIF neurons with one reset. `v_reset` is None for the soft one; `recalibrated`:
    with batch norm statistics that were estimated with these neurons. `choice` is the data that the
    reset is chosen on; `published_percent` the paper's, on test data."""

    reset: str
    v_reset: float | None
    recalibrated: bool
    accuracy_percent_choice: float
    cross_entropy_choice: float
    accuracy_percent_test: float
    firing_rate: float | None
    published_percent: float | None
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """The row of Table 8 that stands beside: accuracies in the order of the settings."""

    table: int
    row: str
    accuracy_percent_trained: float
    accuracy_percent: tuple[float | None, ...]
    note: str | None


@dataclass(frozen=True, kw_only=True)
class DeployResult(Result):
    """A checkpoint for LIF neurons, and how its reset was chosen.

    `chosen_on` is validation (held out of the training data), train (in-sample) or test (the
    paper's way). `..._given` is what the net gives with the neurons that it came with: those of its
    training (`trained_neuron`), unless it had been `converted_before`.
    `norms_folded` are the batch norms that went into the weights before them, `norms_kept` those
    that could not; both are None where that was not asked for. `accuracy_percent_test` is that of
    the net as it was written.
    """

    schema: ClassVar[str] = "clifctl.convert.lif/1"

    checkpoint: str
    output: Annotated[str, Quantity("written")]
    recipe: str
    data: str
    model: str
    trained_neuron: Annotated[str, Quantity("trained with")]
    converted_before: bool
    timesteps: Annotated[int, TIMESTEPS]
    epoch: int | None
    chosen_on: str
    samples_choice: int
    samples_test: int
    recalibration_batches: int | None
    accuracy_percent_choice_given: float
    accuracy_percent_test_given: float
    firing_rate_given: float | None
    accuracy_percent_test: Annotated[float, Quantity("test accuracy", "%", 2)]
    settings: tuple[DeployedRow, ...]
    chosen: DeployedRow
    published: PublishedRow | None
    norms_folded: tuple[str, ...] | None
    norms_kept: tuple[str, ...] | None
    seconds: Annotated[float, SECONDS]
    device: str
    target: str
    connections: str = "dense"


@dataclass(frozen=True, kw_only=True)
class ReaderRow:
    """What a program that reads the file finds in it, beside clifctl's net in float64.

    `spikes` are those of the net. A sample differs by its spikes (`mismatches`) or its logits; it
    is `excused` where its first mismatch is a membrane potential so near the threshold that the
    reader's rounding explains it. `verdict`: same, same
    but for rounding, differs, cannot read it, or not run, with the reason in `note`. `holds` says
    that nothing speaks against the file.
    """

    reader: str
    version: str | None
    arithmetic: str
    spikes: Annotated[int | None, Quantity("spikes", digits=0)]
    mismatches: Annotated[int | None, Quantity("mismatches", digits=0)]
    samples_differing: int | None
    samples_excused: int | None
    output_difference: float | None
    verdict: str
    holds: bool
    note: str | None


@dataclass(frozen=True, kw_only=True)
class NirResult(Result):
    """A NIR graph of a LIF net, and what readers find in it. `v_threshold` is None where it differs
    by channel or layer, `v_reset` where it differs by layer. `verified` is None where it was not
    asked for; a graph that does not hold is not written. `positions` are neurons times steps times
    samples, each of which may spike; in `layers_silent`, by node, none does."""

    schema: ClassVar[str] = "clifctl.convert.nir/1"

    checkpoint: str
    output: str
    written: bool
    recipe: str
    data: str
    model: str
    timesteps: int
    profile: str
    v_threshold: float | None
    reset: str
    v_reset: float | None
    dt_s: Annotated[float, Quantity("time step", "s")]
    nodes: dict[str, int]
    edges: int
    bytes: int
    verified: bool | None
    samples: Annotated[int | None, TEST_SAMPLES]
    neurons: Annotated[int, NEURONS]
    positions: Annotated[int | None, Quantity("neurons x steps x samples", digits=0)]
    layers_silent: tuple[str, ...] | None
    readers: tuple[ReaderRow, ...]
    seconds: Annotated[float, SECONDS]

"""What a report shows of a net that it has run: accuracy, spikes of some samples, potentials."""

from dataclasses import dataclass

from clifctl.results.eval import Evaluation


@dataclass(frozen=True, kw_only=True)
class ShownSample:
    """A sample: its number in the test data, its class, and the class that was decided after each
    time step (by the logits summed so far). `picture` is `[height][width]` of grey values (or of
    red, green and blue) from 0 to 255, None of what is no picture."""

    number: int
    label: int
    decided: tuple[int, ...]
    picture: tuple[tuple[int | tuple[int, int, int], ...], ...] | None


@dataclass(frozen=True, kw_only=True)
class LayerSpikes:
    """Spikes of some neurons of a layer, `numbers` of all its `neurons`: for each sample, neuron
    and time step how many."""

    layer: str
    neurons: int
    numbers: tuple[int, ...]
    spikes: tuple[tuple[tuple[float, ...], ...], ...]


@dataclass(frozen=True, kw_only=True)
class NeuronTrace:
    """One neuron in the first of the samples, an entry a time step: as in `dynamics`."""

    layer: str
    number: int
    x: tuple[float, ...]
    spikes: tuple[float, ...]
    u: tuple[float, ...] | None
    threshold: tuple[float, ...] | None
    states: dict[str, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class NetActivity:
    """A net on `evaluation.samples` of the `samples` of its test data, evenly chosen (None: there
    was no time for any), and on the few that are `shown`."""

    samples: int
    evaluation: Evaluation | None
    class_names: tuple[str, ...] | None
    timesteps: int
    neuron: str
    shown: tuple[ShownSample, ...]
    layers: tuple[LayerSpikes, ...]
    traces: tuple[NeuronTrace, ...]
    notes: tuple[str, ...] = ()

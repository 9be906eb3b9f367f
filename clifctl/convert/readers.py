"""Programs that read a NIR file, and whether they find the same spikes in it.

Each reader runs on the same samples and gives the spikes of every layer of neurons at every step.
They are compared with those of clifctl's own net in float64, one by one, and so are the logits: the
read-out has no neurons whose spikes could tell. Readers round. So a spike may differ where a
membrane potential lies within MARGIN of the threshold (in thresholds), and what differs after it in
the same sample is its consequence; and where all spikes are the same, logits may differ by MARGIN
of the largest one. Anything else is a mismatch.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.convert.interpreter import interpret
from clifctl.convert.nir_nodes import DT_S
from clifctl.errors import ConversionError

MARGIN = {"float64": 1e-9, "float32": 1e-5}


@dataclass(frozen=True)
class ReaderOutput:
    """What a reader finds: `outputs` `[T, N, classes]`, `spikes` `[T, N, *]` by node; `distance` of
    the membrane potentials from the threshold, in thresholds, from a reader that says it."""

    outputs: Tensor
    spikes: Mapping[str, Tensor]
    distance: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Reader:
    """A program that reads NIR. `package` must be there (None: it always is); `read` takes a file,
    inputs `[T, N, *]` and the nodes whose spikes are asked for. `kinds` are the types of nodes that
    it knows (None: all), `misread` those of another meaning there than in NIR, with what it is."""

    name: str
    package: str | None
    arithmetic: str
    read: Callable[[Path, Tensor, Sequence[str]], ReaderOutput]
    kinds: frozenset[str] | None = None
    misread: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str | None:
        """The installed version, None where the package is missing."""
        if self.package is None or find_spec(self.package) is None:
            return None
        return version(self.package)

    @property
    def missing(self) -> str | None:
        """The package that it needs and that is not installed."""
        needed = () if self.package is None else (self.package, "nirtorch")
        return next((package for package in needed if find_spec(package) is None), None)

    def unreadable(self, kinds: Collection[str]) -> str | None:
        """Why a graph of nodes of these types is not for this program; None where it is."""
        unknown = [] if self.kinds is None else sorted(set(kinds) - self.kinds)
        if unknown:
            return f"it has no {' and no '.join(unknown)}"
        return next((why for kind, why in self.misread.items() if kind in kinds), None)


@dataclass(frozen=True)
class Comparison:
    """How a reader's output differs from the reference. `mismatches` are spikes. A sample differs
    where a spike does, or its logits do by more than the margin; it is `excused` where its first
    mismatch lies within the margin. `output_difference` is the largest one of logits."""

    mismatches: int
    samples_differing: int
    samples_excused: int
    output_difference: float

    @property
    def holds(self) -> bool:
        """Whether there is no difference that rounding does not explain."""
        return self.samples_differing == self.samples_excused


def compare(
    reference: ReaderOutput, found: ReaderOutput, distance: Mapping[str, Tensor], margin: float
) -> Comparison:
    """Compare spikes step by step, then logits. `distance` `[T, N, *]` by node is how far from the
    threshold each membrane potential is; nodes are in the order in which they run.

    Raises ConversionError where a shape is another one."""
    wrong = {
        name: _shaped(found.spikes[name], spikes, f"the spikes of '{name}'") != spikes
        for name, spikes in reference.spikes.items()
    }
    mismatches = sum(int(where.sum()) for where in wrong.values())
    logits = reference.outputs
    off = (_shaped(found.outputs, logits, "the logits") - logits).abs()  # [T, N, classes]
    close = (off <= margin * logits.abs().max()).all(-1).all(0)  # [N]; never true of NaN
    differing = excused = 0
    for sample in range(logits.shape[1]):
        first = _first(wrong, sample) if mismatches else None
        if first is not None:
            name, step = first
            near = distance[name][step, sample].abs() <= margin
            differing += 1
            excused += bool(near[wrong[name][step, sample]].all())
        elif not close[sample]:
            differing += 1
    return Comparison(mismatches, differing, excused, float(off.max()))


def _shaped(given: Tensor, wanted: Tensor, what: str) -> Tensor:
    """`given` in the type of `wanted`, if it is of its shape."""
    if given.shape != wanted.shape:
        raise ConversionError(
            f"reads another graph: {what} are {list(given.shape)}, not {list(wanted.shape)}"
        )
    return given.to(wanted.dtype)


def _first(wrong: Mapping[str, Tensor], sample: int) -> tuple[str, int] | None:
    """The layer and step of a sample's first mismatch."""
    steps = next(iter(wrong.values())).shape[0]
    for step in range(steps):
        for name, where in wrong.items():
            if bool(where[step, sample].any()):
                return name, step
    return None


def _own(path: Path, inputs: Tensor, nodes: Sequence[str]) -> ReaderOutput:
    import nir

    activity = interpret(nir.read(path), inputs, dt=DT_S)
    spikes = {name: activity.spikes[name] for name in nodes}
    return ReaderOutput(activity.outputs, spikes, activity.distance)


@torch.no_grad()
def _spikingjelly(path: Path, inputs: Tensor, nodes: Sequence[str]) -> ReaderOutput:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    net = import_from_nir(path, dt=DT_S, dtype=torch.float64)
    outputs, state = [], None
    with _recorded(net, nodes, lambda output: output[0]) as spikes:
        for x in inputs.double():
            output, state = net(x, state)
            outputs.append(output)
    return ReaderOutput(torch.stack(outputs), {name: torch.stack(spikes[name]) for name in nodes})


@torch.no_grad()
def _snntorch(path: Path, inputs: Tensor, nodes: Sequence[str]) -> ReaderOutput:
    import nir
    from snntorch.import_nir import import_from_nir

    net = import_from_nir(nir.read(path))
    steps, samples = inputs.shape[:2]
    outputs = []
    with _recorded(net, nodes, lambda output: output) as spikes:
        # Its Flatten knows no batch: a sample at a time.
        for sample in inputs.float().unbind(1):
            for module in net.modules():
                if hasattr(module, "reset_mem"):
                    module.reset_mem()
            state = None
            for x in sample:
                output, state = net(x, state)
                outputs.append(output)
    found = {name: _by_step(spikes[name], samples, steps) for name in nodes}
    return ReaderOutput(_by_step(outputs, samples, steps), found)


def _by_step(values: Sequence[Tensor], samples: int, steps: int) -> Tensor:
    """Values in the order sample, step as `[T, N, *]`."""
    return torch.stack(list(values)).unflatten(0, (samples, steps)).transpose(0, 1)


@contextlib.contextmanager
def _recorded(
    net: nn.Module, nodes: Sequence[str], pick: Callable[[Any], Tensor]
) -> Iterator[dict[str, list[Tensor]]]:
    """Within it, what the modules `nodes` of `net` give is kept."""
    kept: dict[str, list[Tensor]] = {name: [] for name in nodes}

    def keeper(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: kept[name].append(pick(output).detach().clone())

    handles = [net.get_submodule(name).register_forward_hook(keeper(name)) for name in nodes]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


_COMMON = frozenset(
    ("Input", "Output", "Affine", "Linear", "Conv2d", "AvgPool2d", "Flatten", "LIF", "CubaLIF")
)
INTERPRETER = Reader("clifctl's interpreter", None, "float64", _own)
# In the order of display.
READERS = (
    INTERPRETER,
    Reader(
        "SpikingJelly", "spikingjelly", "float64", _spikingjelly, kinds=_COMMON | {"Conv1d", "IF"}
    ),
    Reader(
        *("snnTorch", "snntorch", "float32", _snntorch),
        kinds=_COMMON | {"IF"},
        misread={"IF": "it reads an IF as a leaky neuron (beta = 0.9), and none of r = 1/dt"},
    ),
)


def read_with(reader: Reader, path: Path, inputs: Tensor, nodes: Sequence[str]) -> ReaderOutput:
    """Let `reader` read the file and run it; what it prints is dropped.

    Raises ConversionError where it cannot, with the reader's own words.
    """
    logging.getLogger("spikingjelly").setLevel(logging.ERROR)
    silence = contextlib.redirect_stdout(io.StringIO())
    try:
        with silence, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return reader.read(path, inputs, nodes)
    except ConversionError:
        raise
    except Exception as refused:
        # What another program raises at a file that it does not understand is its own affair.
        said = str(refused).strip().splitlines() or [type(refused).__name__]
        raise ConversionError(f"cannot read it: {said[0][:160]}") from refused

"""`convert --to nir`: a LIF net as a NIR graph, read back by others before it is kept."""

import tempfile
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import clifctl
from clifctl.commands import command_line
from clifctl.convert.deployment import require_deployable
from clifctl.convert.graph import LayerGraph, read_net
from clifctl.convert.nir_file import is_nir
from clifctl.convert.nir_graph import Profile, nir_graph, node_name
from clifctl.convert.nir_net import NirNet
from clifctl.convert.nir_nodes import DT_S, WRITABLE
from clifctl.convert.readers import (
    INTERPRETER,
    MARGIN,
    READERS,
    Reader,
    ReaderOutput,
    compare,
    read_with,
)
from clifctl.data import batches
from clifctl.devices import CPU
from clifctl.errors import ConversionError, DataError, RunFailed, UsageError
from clifctl.experiments.build import load_data, repeat_of, run_on
from clifctl.experiments.convert import ConvertOptions
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.files import write_output
from clifctl.models import SpikingNet, firing_modules
from clifctl.recipe.schema import Recipe
from clifctl.results.convert import NirResult, ReaderRow

if TYPE_CHECKING:
    import nir

SAMPLES = 16
SAME, ROUNDED, DIFFERS = "same", "same but for rounding", "differs"
UNREADABLE, NOT_RUN = "cannot read it", "not run"


@dataclass(frozen=True)
class NirOptions:
    """Which graph is written, and on how many test samples it is verified (None: it is not)."""

    profile: Profile = "portable"
    samples: int | None = SAMPLES


def export(path: Path, options: ConvertOptions, how: NirOptions) -> NirResult:
    """Write the LIF net of the checkpoint `path`, or of the NIR graph `path`, as a NIR graph, if
    every reader finds its spikes.

    Everything runs on the CPU, in float64. Raises ClifctlError where the net cannot be written or
    the data for the verification are missing; nothing is written then, and nothing where a reader
    finds other spikes (`verified` is False).
    """
    started = time.perf_counter()
    _require_usable(options, how)
    opened = options.opened(path)
    asked = ExecutionOptions(CPU, "reference", "dense", options.checkpoint.execution.threads)
    execution = asked.resolve(torch.float64).for_step(0)
    recipe = run_on(options.checkpoint.placed(opened.recipe), execution.kernels)
    torch.set_num_threads(execution.threads.count)
    net = opened.net(recipe, execution.device).double().eval()
    if not is_nir(path):
        _require_writable(path, net, recipe, how.profile)
    if isinstance(net, NirNet):
        net.fill()  # in the float64 of the file, which float32 has rounded
    _require_finite(net, path)
    layers = read_net(net, recipe.data.input_shape)
    about = {"program": f"clifctl {clifctl.__version__}", "dt_s": DT_S, "profile": how.profile}
    graph = nir_graph(layers, profile=how.profile, metadata=about)
    content = _serialised(graph)
    kinds = Counter(type(node).__name__ for node in graph.nodes.values())
    rows: tuple[ReaderRow, ...] = ()
    positions = silent = None
    if how.samples is not None:
        inputs, reference = _reference(net, recipe, layers, how.samples)
        positions = sum(spikes.numel() for spikes in reference.spikes.values())
        silent = tuple(name for name, spikes in reference.spikes.items() if not spikes.any())
        options.say(f"reading it back, on {inputs.shape[1]} test samples")
        rows = _readings(content, inputs, reference, kinds)
    verified = all(row.holds for row in rows) if rows else None
    if verified is not False:
        write_output(options.out, lambda file: file.write(content))
    return NirResult(
        checkpoint=str(path),
        output=str(options.out),
        written=verified is not False,
        recipe=opened.name,
        data=recipe.data.dataset.name,
        model=recipe.model.model.name,
        timesteps=recipe.timesteps,
        profile=how.profile,
        v_threshold=_common(net, "v_threshold", None),
        reset=_common(net, "reset", "hard") or "hard",
        v_reset=_common(net, "v_reset", 0.0),
        dt_s=DT_S,
        nodes=dict(kinds),
        edges=len(graph.edges),
        bytes=len(content),
        verified=verified,
        samples=None if how.samples is None else inputs.shape[1],
        neurons=sum(torch.Size(layer.shape).numel() for layer in layers.of_kind("neuron")),
        positions=positions,
        layers_silent=silent,
        readers=rows,
        seconds=time.perf_counter() - started,
    )


def _require_usable(options: ConvertOptions, how: NirOptions) -> None:
    if find_spec("nir") is None:
        raise UsageError(
            "--to nir needs the package nir, which is not installed",
            hint="pip install 'clifctl[nir]'",
        )
    if how.samples is not None and how.samples < 1:
        raise UsageError(
            f"--samples {how.samples}: must be 1 or more", hint="--no-verify reads nothing back"
        )
    asked = options.checkpoint.execution
    device, target = asked.device, asked.target
    if device not in ("auto", CPU) or target not in ("auto", "reference"):
        given = device if device not in ("auto", CPU) else target
        raise UsageError(
            f"--to nir runs on the CPU with the reference alone, in float64; '{given}' was given",
            hint="leave --device and --target out",
        )


def _require_finite(net: SpikingNet, path: Path) -> None:
    """Raise RunFailed for weights that have no meaning, whatever is compared."""
    for name, tensor in net.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise RunFailed(f"'{path}': {name} is not finite", hint="its weights are not usable")


def _require_writable(path: Path, net: SpikingNet, recipe: Recipe, profile: Profile) -> None:
    """Raise ConversionError, with the command that helps, for neurons that NIR cannot express."""
    to_lif = command_line("convert", path, "--to", "lif", "--reset", "hard", "-o", "hard.pt")
    first = f"{to_lif}, then {command_line('convert', 'hard.pt', '--to', 'nir')}"
    for name, layer in firing_modules(net).items():
        whose = (
            f"'{path}': its layer '{name}' is of" if recipe.own_neurons else f"'{path}' is a net of"
        )
        neuron, values = layer.neuron, layer.hyperparameters
        if neuron.name not in WRITABLE:
            require_deployable(neuron, values, whose)
            raise ConversionError(
                f"{whose} '{neuron.name}', which NIR cannot express: put it on LIF neurons first",
                hint=first,
            )
        if getattr(values, "reset", None) != "soft":
            continue
        if neuron.name == "if":
            raise ConversionError(
                f"{whose} 'if' that resets softly: NIR has no field for that, and readers would "
                "reset hard",
                hint="train with neuron.reset=hard",
            )
        if profile == "portable":
            raise ConversionError(
                f"{whose} 'lif' that resets softly: NIR has no field for that, and readers would "
                "reset hard",
                hint=f"find a hard reset: {first}; or write it as loops that few readers know: "
                "--profile exact",
            )


def _common(net: SpikingNet, key: str, otherwise: Any) -> Any:
    """The constant `key` of the net's spiking neurons, None where they differ in it."""
    layers = (layer for layer in firing_modules(net).values() if layer.neuron.spiking)
    found = {getattr(layer.hyperparameters, key, otherwise) for layer in layers}
    return found.pop() if len(found) == 1 else None


def _serialised(graph: "nir.NIRGraph") -> bytes:
    """The file's content."""
    import nir

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.nir"
        nir.write(path, graph)
        return path.read_bytes()


@torch.no_grad()
def _reference(
    net: SpikingNet, recipe: Recipe, layers: LayerGraph, samples: int
) -> tuple[Tensor, ReaderOutput]:
    """The first test samples `[T, N, *]`, and what clifctl's own net makes of them."""
    try:
        data = load_data(recipe)
    except DataError as missing:
        hint = "--no-verify writes the graph without reading it back"
        raise DataError(
            missing.message, hint=f"{missing.hint}; {hint}" if missing.hint else hint
        ) from None
    inputs, _ = next(iter(batches(data.test, samples)))
    spikes: dict[str, Tensor] = {}

    def keeper(name: str) -> Any:
        # A copy: the net may add to its spikes in place, as `out += shortcut` does.
        return lambda module, given, output: spikes.__setitem__(name, output[0].clone())

    handles = [
        module.register_forward_hook(keeper(name)) for name, module in firing_modules(net).items()
    ]
    try:
        repeat = repeat_of(recipe)
        logits, _ = net(inputs.double(), repeat=repeat)
    finally:
        for handle in handles:
            handle.remove()
    in_order = {node_name(layer.name): spikes[layer.name] for layer in layers.of_kind("neuron")}
    shown = inputs.double().expand(recipe.timesteps, *inputs.shape[1:])
    return shown, ReaderOutput(logits, in_order)


def _readings(
    content: bytes, inputs: Tensor, reference: ReaderOutput, kinds: Collection[str]
) -> tuple[ReaderRow, ...]:
    """Every reader's row, for a graph of nodes of the types `kinds`."""
    nodes = list(reference.spikes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.nir"
        path.write_bytes(content)
        distance = read_with(INTERPRETER, path, inputs, nodes).distance
        return tuple(
            _row(reader, path, inputs, nodes, reference, distance, kinds) for reader in READERS
        )


def _row(
    reader: Reader,
    path: Path,
    inputs: Tensor,
    nodes: Sequence[str],
    reference: ReaderOutput,
    distance: Any,
    kinds: Collection[str],
) -> ReaderRow:
    row: dict[str, Any] = {
        "reader": reader.name,
        "version": reader.version,
        "arithmetic": reader.arithmetic,
        **dict.fromkeys(("spikes", "mismatches", "samples_differing", "samples_excused")),
        "output_difference": None,
        "note": None,
    }
    if reader.missing is not None:
        note = f"the package {reader.missing} is not installed: pip install {reader.missing}"
        return ReaderRow(**{**row, "verdict": NOT_RUN, "holds": True, "note": note})
    unreadable = reader.unreadable(kinds)
    if unreadable is not None:
        return ReaderRow(**{**row, "verdict": NOT_RUN, "holds": True, "note": unreadable})
    try:
        reading = read_with(reader, path, inputs, nodes)
        found = compare(reference, reading, distance, MARGIN[reader.arithmetic])
    except ConversionError as refused:
        return ReaderRow(**{**row, "verdict": UNREADABLE, "holds": False, "note": refused.message})
    verdict = DIFFERS if not found.holds else ROUNDED if found.mismatches else SAME
    row["spikes"] = int(sum(spikes.sum() for spikes in reference.spikes.values()))
    return ReaderRow(**{**row, **asdict(found), "verdict": verdict, "holds": found.holds})

"""`bench neurons`: fused kernels against the plain loop, SpikingJelly and a memory-copy bound.

First the gate: a kernel whose numbers are wrong gets no times. Then the contestants take turns
(A B C A B C ...), so that a machine that slows down slows all of them.
"""

import math
import os
import platform
import re
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import clifctl
from clifctl.errors import RunFailed, UsageError, unknown_name
from clifctl.experiments.provenance import device_name
from clifctl.kernels import resolve_target
from clifctl.models import NeuronChoice
from clifctl.neurons import NEURONS
from clifctl.results import BenchResult, BenchRow, BenchRun
from clifctl.training.device import OWN_THREADS, resolve_device, resolve_threads

DTYPES = {"float32": torch.float32, "float64": torch.float64}
DEFAULT_SHAPE = "6x16x64x32x32"
GATE_SHAPE = (6, 3, 5, 7)
MOST_REPEATS = 1000
MOST_STEPS = 4096
# Forward and backward must read x and write the output, read x and its gradient and write the
# gradient of x: five transfers of x's size. A copy makes two, a read and a write.
TRANSFERS, COPY_TRANSFERS = 5, 2
# The plain loop keeps up to some twenty tensors of x's size (GLIF), and makes as many gradients.
BYTES_PER_INPUT_BYTE = 40
# float64: rounding alone. A learnable's gradient is a sum over all elements, in another order.
EXACT, EXACT_SUM = 1e-12, 1e-9
# float32: spikes that may differ, error of the gradient elsewhere, and a shift of the input that is
# larger than rounding: what it moves lies on a jump (threshold, edge) and is left out, up to 1 %.
DIFFERING_SHARE, GRADIENT_ERROR, SHIFT, LEFT_OUT_SHARE = 1e-3, 1e-4, 2e-6, 1e-2


@dataclass(frozen=True)
class _Contestant:
    """One way to run a neuron: `run` maps x to its output, from the initial state each time."""

    run: Callable[[Tensor], Tensor]
    leaves: tuple[Tensor, ...]

    def infer(self, x: Tensor) -> Tensor:
        """The output, nothing kept for backward."""
        with torch.no_grad():
            return self.run(x)

    def gradients(self, x: Tensor, g: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The output for x, and the gradients of x and the learnables for `g` at the output."""
        x = x.detach().requires_grad_()
        output = self.run(x)
        wanted = (x, *self.leaves)
        found = torch.autograd.grad(output, wanted, g, allow_unused=True, materialize_grads=True)
        return output.detach(), list(found)


@dataclass(frozen=True)
class _Setting:
    """What is the same for every contestant of a run."""

    device: torch.device
    dtype: torch.dtype
    target: str
    repeats: int


def bench_neurons(
    neurons: Sequence[str] | None = None,
    *,
    shape: str = DEFAULT_SHAPE,
    repeats: int = 7,
    device: str = "cpu",
    threads: int | None = None,
    dtype: str = "float32",
    say: Callable[[str], None] = lambda line: None,
) -> BenchResult:
    """Time `neurons` (None: all) on an input of `shape` `TxNxC[x*features]`.

    Raises UsageError for a name, shape or number that cannot be used, RunFailed where a kernel does
    not do what the reference does.
    """
    names = _names(neurons)
    if dtype not in DTYPES:
        raise UsageError(unknown_name("dtype", dtype, DTYPES), hint=f"one of {', '.join(DTYPES)}")
    if not 1 <= repeats <= MOST_REPEATS:
        raise UsageError(
            f"--repeats {repeats}: must be between 1 and {MOST_REPEATS}", hint="7 is the default"
        )
    sizes = _sizes(shape, DTYPES[dtype])
    where = resolve_device(device)
    target = resolve_target("auto", where, DTYPES[dtype])
    if target.name == "reference":
        raise UsageError(
            f"device '{where}': there is no fused kernel to measure", hint="use --device cpu"
        )
    count = OWN_THREADS if threads is None else resolve_threads(threads, 0).count
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    setting = _Setting(where, DTYPES[dtype], target.name, repeats)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        for name in names:
            say(f"{name}: comparing {target.name} with the reference")
            _gate(name, sizes, setting)
        rows = []
        for number, name in enumerate(names, 1):
            say(f"{name}: measuring ({number} of {len(names)})")
            rows.append(_measure(name, sizes, setting))
    finally:
        torch.set_num_threads(before)
    return BenchResult(
        started=started,
        shape=sizes,
        dtype=dtype,
        repeats=repeats,
        device=str(where),
        machine=_machine(where),
        threads=count,
        target=target.name,
        versions=_versions(),
        rows=tuple(rows),
    )


def _names(neurons: Sequence[str] | None) -> list[str]:
    known: Mapping[str, Any] = NEURONS
    names = list(known) if neurons is None else list(dict.fromkeys(neurons))
    for name in names:
        if name not in known:
            raise UsageError(
                unknown_name("neuron", name, known), hint="--neurons takes names with commas: a,b"
            )
    return names


def _sizes(shape: str, dtype: torch.dtype) -> tuple[int, ...]:
    hint = f"--shape takes time steps x samples x channels [x more], as in {DEFAULT_SHAPE}"
    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9}){2,7}", shape):
        raise UsageError(f"--shape '{shape}': not 3 to 8 whole numbers with x between", hint=hint)
    sizes = tuple(int(size) for size in shape.split("x"))
    if 0 in sizes:
        raise UsageError(f"--shape '{shape}': every size must be at least 1", hint=hint)
    if sizes[0] > MOST_STEPS:
        raise UsageError(f"--shape '{shape}': at most {MOST_STEPS} time steps", hint=hint)
    needed = math.prod(sizes) * dtype.itemsize * BYTES_PER_INPUT_BYTE
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise UsageError(
            f"--shape '{shape}': the plain loop may need {needed / 2**30:,.1f} GiB of memory, "
            f"this machine has {available / 2**30:,.1f} GiB",
            hint="a smaller shape will do",
        )
    return sizes


def _shape_of(name: str, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """`sizes`, with time folded into the batch for a neuron that has none (ReLU)."""
    most = NEURONS[name].max_timesteps
    return (1, sizes[0] * sizes[1], *sizes[2:]) if most == 1 else sizes


def _contestant(layer: nn.Module) -> _Contestant:
    return _Contestant(lambda x: layer(x)[0], tuple(layer.parameters()))


def _ours(
    name: str, shape: tuple[int, ...], setting: _Setting, dtype: torch.dtype
) -> tuple[_Contestant, _Contestant, nn.Module]:
    """The fused kernel and the plain loop, with equal learnables; and the layer of the first."""
    neuron = NEURONS[name]
    pair = []
    for target in (setting.target, "reference"):
        torch.manual_seed(0)
        choice = NeuronChoice(neuron, neuron.hyperparameters(), target=target)
        pair.append(choice.layer(shape[2], shape[0]).to(setting.device, dtype))
    return _contestant(pair[0]), _contestant(pair[1]), pair[0]


def _peer(name: str, shape: tuple[int, ...], layer: nn.Module, x: Tensor) -> _Contestant | str:
    """SpikingJelly's node for the neuron, with the learnables of `layer`; or why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = import_module("spikingjelly.activation_based.neuron")
            surrogate = import_module("spikingjelly.activation_based.surrogate").Rect(1.0)
            reset = import_module("spikingjelly.activation_based.functional").reset_net
    except ImportError as missing:
        return f"SpikingJelly cannot be imported ({missing})"
    shared = {"surrogate_function": surrogate, "step_mode": "m"}
    same = {**shared, "v_reset": None, "decay_input": False}
    makers: dict[str, Callable[[], nn.Module]] = {
        "lif": lambda: nodes.LIFNode(tau=2.0, **same),
        "plif": lambda: nodes.ParametricLIFNode(init_tau=2.0, **same),
        "klif": lambda: nodes.KLIFNode(tau=2.0, **same),
        "glif": lambda: nodes.GatedLIFNode(T=shape[0], **shared),
        "glif_channel": lambda: nodes.GatedLIFNode(T=shape[0], inplane=shape[2], **shared),
        "clif": lambda: nodes.ComplementaryLIFNode(tau=2.0, **shared),
    }
    if name in ("glif", "glif_channel") and len(shape) != 5:
        return "SpikingJelly's node takes images alone"
    if name not in makers:
        return "no node of SpikingJelly is set against it"
    node = makers[name]().to(x)
    with torch.no_grad():
        for parameter, tensor in node.named_parameters():
            tensor.copy_(layer.get_parameter(parameter))

    def run(x: Tensor) -> Tensor:
        reset(node)
        output: Tensor = node(x)
        return output

    return _Contestant(run, tuple(node.parameters()))


def _tensors(
    shape: tuple[int, ...], setting: _Setting, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Input current and gradient of the output, the same numbers every time."""
    generator = torch.Generator().manual_seed(0)
    x = 0.6 + 0.8 * torch.randn(shape, generator=generator)
    g = torch.randn(shape, generator=generator)
    return x.to(setting.device, dtype), g.to(setting.device, dtype)


def _gate(name: str, sizes: tuple[int, ...], setting: _Setting) -> None:
    """Raise RunFailed unless the kernel does what the reference does: exactly in float64, up to
    rounding in float32, on a small input and on one sample of the input that is timed."""
    small, sample = (_shape_of(name, s) for s in (GATE_SHAPE, (sizes[0], 1, *sizes[2:])))
    problem = (
        _wrong_in_float64(name, small, setting)
        or _wrong_in_float64(name, sample, setting)
        or _wrong_in_float32(name, sample, setting)
    )
    if problem:
        raise RunFailed(
            f"neuron '{name}': target '{setting.target}' does not do what the reference does: "
            f"{problem}",
            hint="nothing was timed: a wrong kernel has no speed",
        )


def _wrong_in_float64(name: str, shape: tuple[int, ...], setting: _Setting) -> str | None:
    x, g = _tensors(shape, setting, torch.float64)
    fused, eager, _ = _ours(name, shape, setting, torch.float64)
    given, expected = fused.gradients(x, g), eager.gradients(x, g)
    share = float((given[0] != expected[0]).double().mean())
    if share > 0:
        return f"{100 * share:.3g} % of the outputs differ in float64"
    for number, (ours, reference) in enumerate(zip(given[1], expected[1], strict=True)):
        error = float((ours - reference).abs().max() / reference.abs().max().clamp(min=1.0))
        allowed, of = (EXACT_SUM, "a learnable parameter") if number else (EXACT, "the input")
        if not error <= allowed:
            return f"the gradient of {of} is off by {error:.2g} in float64"
    return None


def _wrong_in_float32(name: str, shape: tuple[int, ...], setting: _Setting) -> str | None:
    x, g = _tensors(shape, setting, torch.float32)
    fused, eager, _ = _ours(name, shape, setting, torch.float32)
    output, (gradient, *_) = fused.gradients(x, g)
    expected, (reference, *_) = eager.gradients(x, g)
    differing = output != expected
    share = float(differing.double().mean())
    if share >= DIFFERING_SHARE:
        return f"{100 * share:.3g} % of the outputs differ in float32"
    scale = reference.abs().max().clamp(min=1.0)
    _, exact, _ = _ours(name, shape, setting, torch.float64)
    low, high = (exact.gradients(x.double() + by, g.double())[1][0] for by in (-SHIFT, SHIFT))
    left_out = (differing | ((low - high).abs() > GRADIENT_ERROR * scale)).any(0)
    error = float(((gradient - reference).abs().amax(0) * ~left_out).max() / scale)
    if not error < GRADIENT_ERROR:
        return f"the gradient of the input is off by {error:.2g} in float32"
    share = float(left_out.double().mean())
    return None if share < LEFT_OUT_SHARE else f"{100 * share:.3g} % lie on a jump in float32"


def _measure(name: str, sizes: tuple[int, ...], setting: _Setting) -> BenchRow:
    shape = _shape_of(name, sizes)
    x, g = _tensors(shape, setting, setting.dtype)
    ours, eager, layer = _ours(name, shape, setting, setting.dtype)
    contestants = {"ours": ours, "eager": eager}
    peer = _peer(name, shape, layer, x)
    if isinstance(peer, _Contestant):
        differing = float((peer.infer(x) != ours.infer(x)).double().mean())
        if differing < DIFFERING_SHARE:
            contestants["peer"] = peer
        else:
            peer = f"other spikes than this neuron ({100 * differing:.3g} %)"
    copied = torch.empty_like(x)
    jobs: dict[tuple[str, str], Callable[[], object]] = {("copy", ""): lambda: copied.copy_(x)}
    for who, contestant in contestants.items():
        jobs[who, "forward"] = partial(contestant.infer, x)
        jobs[who, "both"] = partial(contestant.gradients, x, g)
    times = _interleaved(jobs, setting)
    runs = {
        who: _run(times[who, "forward"], times[who, "both"], _saved_bytes(contestant, x) / x.nbytes)
        for who, contestant in contestants.items()
    }
    fused, loop, theirs = runs["ours"], runs["eager"], runs.get("peer")
    copy_ms = statistics.median(times["copy", ""])
    bound_ms = copy_ms * TRANSFERS / COPY_TRANSFERS
    both_ms = fused.forward_backward_ms
    return BenchRow(
        neuron=name,
        shape=shape,
        ours=fused,
        eager=loop,
        peer=theirs,
        peer_missing=peer if isinstance(peer, str) else None,
        copy_ms=copy_ms,
        memory_bound_ms=bound_ms,
        eager_forward_ratio=loop.forward_ms / fused.forward_ms,
        eager_forward_backward_ratio=loop.forward_backward_ms / both_ms,
        peer_forward_ratio=theirs.forward_ms / fused.forward_ms if theirs else None,
        peer_forward_backward_ratio=theirs.forward_backward_ms / both_ms if theirs else None,
        ours_memory_bound_ratio=both_ms / bound_ms,
    )


def _interleaved(
    jobs: Mapping[tuple[str, str], Callable[[], object]], setting: _Setting
) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of each job in each round, after one round that does not count."""
    times: dict[tuple[str, str], list[float]] = {key: [] for key in jobs}
    for turn in range(setting.repeats + 1):
        for key, job in jobs.items():
            started = time.perf_counter()
            job()
            if setting.device.type == "cuda":
                torch.cuda.synchronize(setting.device)
            if turn:
                times[key].append(1000.0 * (time.perf_counter() - started))
    return times


def _run(forward: list[float], both: list[float], saved: float) -> BenchRun:
    return BenchRun(
        forward_ms=statistics.median(forward),
        forward_min_ms=min(forward),
        forward_max_ms=max(forward),
        forward_backward_ms=statistics.median(both),
        forward_backward_min_ms=min(both),
        forward_backward_max_ms=max(both),
        saved_bytes_ratio=saved,
    )


def _saved_bytes(contestant: _Contestant, x: Tensor) -> int:
    """Bytes that autograd keeps between forward and backward: each storage once, learnable
    parameters themselves not counted."""
    own = {leaf.untyped_storage()._cdata for leaf in contestant.leaves}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is given out twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        contestant.run(x.detach().requires_grad_())
    return sum(storage.nbytes() for storage in kept.values())


def _machine(device: torch.device) -> str:
    """The GPU's name, or the CPU's as the kernel gives it."""
    if device.type == "cpu":
        with suppress(OSError):
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return device_name(device)


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"clifctl": clifctl.__version__, "torch": torch.__version__}
    found["python"] = platform.python_version()
    for package in ("numba", "spikingjelly"):
        found[package] = None
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found

"""The GPU target without a GPU: values in Triton's interpreter, machine code, devices, refusals."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from clifctl.errors import NeuronError, TargetError
from clifctl.kernels import resolve_target, scan, targets
from clifctl.kernels.cpu import numba_target
from clifctl.kernels.gpu.registers import (
    CAPABILITIES,
    TIMESTEPS,
    compile_for,
    kernels_of,
    resources,
)
from clifctl.kernels.gpu.triton_launch import (
    BUDGET,
    HISTORY,
    LONGEST,
    NEIGHBOURS,
    THREADS,
    elements_per_thread,
    segments,
    tile,
)
from clifctl.kernels.ir.prologue import with_norm
from clifctl.models import MODELS, NeuronChoice
from clifctl.models.mlp import MLPOptions
from clifctl.models.snn5 import SNN5Options
from clifctl.neurons import NEURONS, LeakyHyperparameters, Neuron, State
from clifctl.training.loss import tet_loss

NAMES = list(NEURONS)
with_triton = pytest.mark.skipif(
    targets.triton_missing() is not None, reason=str(targets.triton_missing())
)


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    if missing := targets.triton_missing():
        pytest.skip(missing)
    child = Path(__file__).with_name("interpreted.py")
    done = subprocess.run([sys.executable, child], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    observed: dict[str, Any] = json.loads(done.stdout)
    return observed


@pytest.mark.parametrize("name", [*NAMES, "own", "no state / at all"])
def test_values_equal_the_reference(interpreted: dict[str, Any], name: str) -> None:
    outcomes = [o for o in interpreted["outcomes"] if o["neuron"] == name]
    assert len(outcomes) >= 3
    assert [o for o in outcomes if not o["passed"]] == []
    if name != "relu":
        assert {o["timesteps"] for o in outcomes} >= {1, 5, 13}


def test_sequences_of_several_segments_were_compared(interpreted: dict[str, Any]) -> None:
    whole = {o["neuron"] for o in interpreted["outcomes"] if o["timesteps"] == 16}
    assert len(whole) >= 4


def test_every_window_dtype_and_quantity_was_compared(interpreted: dict[str, Any]) -> None:
    cases = [o["case"].split("-") for o in interpreted["outcomes"]]
    assert {case[0] for case in cases} == {"triton"}
    assert {case[1] for case in cases} == {"float32", "bfloat16", "float16"}
    assert {case[3] for case in cases} >= {
        *("full", "sliding:1", "sliding:2", "sliding:5", "chunked:2", "prefix:2", "chunked:3"),
        *("prefix:12",),
    }
    kinds = {o["quantity"].split(" ")[0] for o in interpreted["outcomes"]}
    assert kinds >= {"gradient", "learnable", "state"}


@pytest.mark.parametrize("name", ["clif", "glif_channel", "plif", "relu"])
def test_kernels_with_batch_norm_inside(interpreted: dict[str, Any], name: str) -> None:
    outcomes = [o for o in interpreted["outcomes"] if o["neuron"] == f"{name} after batch norm"]
    assert len(outcomes) >= (2 if name == "clif" else 1)
    assert [o for o in outcomes if not o["passed"]] == []


def test_batch_norm_and_neuron_in_one(interpreted: dict[str, Any]) -> None:
    errors = interpreted["norm and neuron"]
    assert len(errors) == 8
    assert max(errors.values()) < 2e-5, errors


@pytest.mark.parametrize("part", ["[1, 1, 1]", "[3, 1, 1]", "[2, 0, 4]", "[5, 2, 3, 4]", "nan"])
def test_edges(interpreted: dict[str, Any], part: str) -> None:
    found = {name: held for name, held in interpreted["edges"].items() if part in name}
    assert len(found) == (1 if part == "nan" else 2)
    assert all(found.values()), found


def test_nothing_waits_for_the_device_or_depends_on_values(interpreted: dict[str, Any]) -> None:
    """What a CUDA graph cannot hold is not among the operations around the kernels."""
    called = interpreted["operations"]
    assert "aten.sum.dim_IntList" in called  # the partial sums: the list is not empty
    forbidden = ["item", "_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select"]
    forbidden += ["unique", "_to_cpu", "pin_memory", "rand"]
    assert [name for name in called if any(f".{f}" in name for f in forbidden)] == []


@with_triton
@pytest.mark.parametrize(
    "name",
    # The one with most registers, and two of the others.
    [
        pytest.param(
            name,
            marks=[] if name in ("glif_channel", "clif", "relu") else [pytest.mark.exhaustive],
        )
        for name in NAMES
    ],
)
def test_machine_code_has_no_spill(name: str) -> None:
    neuron = NEURONS[name]
    steps = min(6, neuron.max_timesteps or 6)
    found = [
        compile_for(neuron, neuron.hyperparameters(), kernel, steps, torch.float32, 90)
        for kernel in kernels_of(neuron, steps)
    ]
    if neuron.max_timesteps is None:  # several segments
        found.append(
            compile_for(neuron, neuron.hyperparameters(), "backward", 64, torch.bfloat16, 80)
        )
    for used in found:
        assert 8 <= used.registers <= 255
        assert (used.stack_bytes, used.local_bytes) == (0, 0), used


@with_triton
@pytest.mark.machine_code
@pytest.mark.parametrize("name", NAMES)
def test_machine_code_of_everything_has_no_spill(name: str) -> None:
    neuron = NEURONS[name]
    found = list(resources(neuron, neuron.hyperparameters()))
    steps = 1 if neuron.max_timesteps == 1 else len(TIMESTEPS)
    assert len(found) >= steps * 2 * 3 * len(CAPABILITIES)
    assert [used for used in found if used.stack_bytes or used.local_bytes] == []
    assert max(used.compile_s for used in found) < 10.0


@with_triton
@pytest.mark.machine_code
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("steps", [1, 6, 20])
@pytest.mark.parametrize("name", ["clif", "glif_channel"])
def test_machine_code_with_batch_norm_inside_has_no_spill(
    name: str, steps: int, capability: int
) -> None:
    neuron = with_norm(NEURONS[name])
    found = [
        compile_for(neuron, neuron.hyperparameters(), kernel, steps, dtype, capability)
        for kernel in kernels_of(neuron, steps)
        for dtype in (torch.float32, torch.bfloat16)
    ]
    assert len(found) == (4 if steps == 1 else 6)
    assert [used for used in found if used.stack_bytes or used.local_bytes] == []
    assert all(8 <= used.registers <= 255 for used in found)


@with_triton
def test_a_spill_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from clifctl.kernels.gpu import triton_target

    monkeypatch.setitem(triton_target.OPTIONS, "maxnreg", 32)
    neuron = NEURONS["clif"]
    used = compile_for(neuron, neuron.hyperparameters(), "backward", 10, torch.float32, 80)
    assert used.stack_bytes > 0


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 16, 20, 37, 64, 997])
@pytest.mark.parametrize("states", [0, 1, 2, 3, 7, 40])
def test_segments_make_up_the_sequence(steps: int, states: int) -> None:
    cut = segments(steps, states)
    assert cut.head + cut.length * cut.count == steps
    longest = max(cut.head, cut.length)
    assert 1 <= longest <= LONGEST
    assert longest == 1 or longest * states <= HISTORY
    assert (cut.count == 0) == (cut.length == 0)


def test_the_rule_of_launch() -> None:
    assert [elements_per_thread(held) for held in (1, 16, 17, 32, 33, 500)] == [4, 4, 2, 2, 1, 1]
    assert elements_per_thread(BUDGET) == 1
    for inner in (None, 1, 3, NEIGHBOURS, 1000):
        chosen = tile(20, inner)
        assert chosen.block * chosen.channels == 2 * THREADS
        if inner is not None:
            assert chosen.channels * inner >= NEIGHBOURS


@pytest.mark.usefixtures("fresh_constants")
@pytest.mark.parametrize("name", ["clif", "glif_channel", "relu"])
def test_a_net_on_a_gpu_that_is_not_there_has_its_shapes_and_devices(name: str) -> None:
    steps = NEURONS[name].max_timesteps or 4
    choice = NeuronChoice(NEURONS[name], NEURONS[name].hyperparameters())
    with FakeTensorMode():
        options = SNN5Options(channels=(2, 3, 2, 3, 4))
        build = MODELS["snn5"].build
        with torch.device("cuda"):
            net = build(options, input_shape=(1, 24, 24), classes=5, timesteps=steps, neuron=choice)
        logits = net(torch.empty(1, 3, 1, 24, 24, device="cuda").expand(steps, -1, -1, -1, -1))
        logits = logits[0] if isinstance(logits, tuple) else logits
        targets = torch.zeros(3, dtype=torch.int64, device="cuda")
        loss = tet_loss(logits, targets, tet_lambda=0.05, tet_mean=1.0)
        assert loss.device.type == logits.device.type == "cuda"
        assert logits.shape == (steps, 3, 5)
        assert loss.requires_grad


@pytest.mark.usefixtures("fresh_constants")
def test_low_precision_on_a_gpu_that_is_not_there() -> None:
    neuron = NEURONS["glif_channel"]
    with FakeTensorMode():
        choice = NeuronChoice(neuron, neuron.hyperparameters())
        x = torch.empty(4, 3, 6, 5, device="cuda", dtype=torch.bfloat16)
        # Parameters that were left behind on the CPU are found.
        with pytest.raises(NeuronError, match="parameter 'alpha' is on 'cpu', the input on 'cuda"):
            choice.layer(6, 4)(x)
        with torch.device("cuda"):
            layer = choice.layer(6, 4)
        spikes, state = layer(x)
        assert (spikes.dtype, spikes.device.type) == (torch.bfloat16, "cuda")
        assert [(s.dtype, tuple(s.shape)) for s in state] == [(torch.float32, (3, 6, 5))] * 2
        with pytest.raises(NeuronError, match="state 'u' is on 'cpu', the input on 'cuda"):
            layer(x, tuple(s.to("cpu") for s in state))


def _counted(kernel: type, way: str, runs: Counter[str]) -> Any:
    right = getattr(kernel, way)

    def run(self: Any, *arguments: Any) -> Any:
        runs[way] += 1
        return right(self, *arguments)

    return run


@pytest.mark.filterwarnings("ignore")  # of torch's compiler about itself
@pytest.mark.parametrize(("name", "norm"), [("clif", "per_step"), ("plif", "folded")])
def test_torch_compile_takes_a_net_in_one_piece(
    name: str, norm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The eager net's numbers within rounding; each scan done once on the way there, once back."""
    torch._dynamo.reset()
    runs: Counter[str] = Counter()
    for way in ("forward", "backward"):
        monkeypatch.setattr(
            numba_target.NumbaKernel, way, _counted(numba_target.NumbaKernel, way, runs)
        )
    results = []
    for compiled in (False, True):
        torch.manual_seed(0)
        choice = NeuronChoice(NEURONS[name], NEURONS[name].hyperparameters(), window=2)
        options = MLPOptions(hidden=(5, 6), batch_norm=norm, dropout=0.0)
        build = MODELS["mlp"].build
        net = build(options, input_shape=(4,), classes=3, timesteps=4, neuron=choice)
        x = torch.randn(4, 7, 4)
        run = torch.compile(net, backend="aot_eager", fullgraph=True) if compiled else net
        run(x)  # compiles
        net.zero_grad()
        runs.clear()
        out = run(x)
        out = out[0] if isinstance(out, tuple) else out
        out.square().sum().backward()
        gradients = [p.grad for p in net.parameters()] + list(net.buffers())
        results.append((out.detach(), gradients, dict(runs)))
    # The eager net runs prepared layers, whose sums differ in the last digits.
    (expected, wanted, _), (given, found, seen) = results
    assert torch.allclose(given, expected, atol=1e-6)
    for a, b in zip(found, wanted, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, atol=1e-5)
    assert seen == {"forward": 2, "backward": 2}  # two layers


@pytest.mark.parametrize("name", ["e", "row", "v_sum", "g_x", "carry", "x_1", "tl", "range"])
def test_names_that_kernels_use_are_refused(name: str) -> None:
    from clifctl.kernels.gpu import triton_target

    neuron = Neuron(
        "probe", "", "", lambda x, s, p: (x, s), (State(name, ""),), LeakyHyperparameters
    )
    with pytest.raises(NeuronError, match="generated kernels use themselves"):
        triton_target.source(neuron, neuron.hyperparameters(), 2)


# --- which target, and why


def test_cuda_tensors_take_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "find_spec", lambda name: True)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/cc")
    chosen = resolve_target("auto", "cuda", torch.bfloat16)
    assert chosen.name == "triton"
    assert chosen.reason == "auto: the fused kernel for tensors on a GPU"
    assert resolve_target("triton", "cuda:1").name == "triton"
    assert resolve_target("auto", "cpu").name == "numba"
    double = resolve_target("auto", "cuda", torch.float64)
    assert double.name == "reference"
    assert "no kernels for torch.float64" in double.reason
    assert resolve_target("auto", "mps").name == "reference"


def test_what_triton_cannot_do_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = NEURONS["lif"].parameters()
    monkeypatch.setattr(targets, "find_spec", lambda name: True)
    with pytest.raises(TargetError, match="the tensor is on 'cpu'") as on_cpu:
        scan(torch.zeros(2, 3), None, parameters, target="triton")
    assert "target auto takes what the device has" in str(on_cpu.value.hint)
    assert "TRITON_INTERPRET=1" in str(on_cpu.value.hint)
    with pytest.raises(TargetError, match="no kernels for float64") as double:
        resolve_target("triton", "cuda", torch.float64)
    assert "reference takes every" in str(double.value.hint)
    monkeypatch.setattr(targets, "find_spec", lambda name: None)
    with pytest.raises(TargetError, match="Triton is not installed") as missing:
        resolve_target("triton", "cuda")
    assert "reference runs everywhere" in str(missing.value.hint)
    fallback = resolve_target("auto", "cuda")
    assert fallback.name == "reference"
    assert "Triton is not installed" in fallback.reason
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(TargetError, match="needs a C compiler"):
        resolve_target("triton", "cuda")
    assert "C compiler" in resolve_target("auto", "cuda").reason
    neuron = NEURONS["lif"]
    with pytest.raises(TargetError, match="cannot be compiled for a GPU: Triton is not installed"):
        compile_for(neuron, neuron.hyperparameters(), "forward", 2, torch.float32, 80)

"""Batch norm inside the neuron's kernel: the numbers of norm and neuron one after the other."""

import itertools
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl.errors import NeuronError, TargetError
from clifctl.kernels import norm_scan
from clifctl.kernels.ir.adjoint import adjoint
from clifctl.kernels.ir.prologue import NORM, with_norm
from clifctl.kernels.ir.trace import trace
from clifctl.kernels.parity import Case, Distances, check
from clifctl.models import NeuronChoice, TemporalBatchNorm
from clifctl.models.layers import SpikingLayer
from clifctl.neurons import NEURONS, LeakyHyperparameters, Learnable, Neuron, spike

# --- the kernels with a prologue


def _case(neuron: Neuron, dtype: str, window: str, shape: str) -> Case:
    surrogate = "rectangle" if "surrogate" in neuron.hyperparameters.model_fields else "none"
    return Case("numba", dtype, surrogate, window, shape, "defaults", "given")


# Each neuron in float64; the other functions and the other dtype for a few: they compile for long.
PARITY = [
    *((name, "float64", "full", "37x7") for name in NEURONS),
    ("glif_channel", "float64", "full", "2x3x19x23"),
    ("clif", "float64", "sliding:2", "3x5x3x2"),
    ("clif", "float32", "full", "2x3x19x23"),
    ("plif", "float32", "full", "3x5x3x2"),
]


# To compile a neuron takes seconds. These have parameters of every shape, two states, and no time.
FIRST = ("clif", "plif", "glif_channel", "relu")


def _marks(name: str) -> list[pytest.MarkDecorator]:
    return [] if name in FIRST else [pytest.mark.exhaustive]


@pytest.mark.parametrize(
    ("name", "dtype", "window", "shape"),
    [pytest.param(*case, marks=_marks(case[0])) for case in PARITY],
)
def test_kernels_equal_the_reference(name: str, dtype: str, window: str, shape: str) -> None:
    neuron = with_norm(NEURONS[name])
    outcome = check(neuron, _case(NEURONS[name], dtype, window, shape))
    assert outcome.passed, outcome


def test_the_neuron_itself_is_left_as_it_is() -> None:
    neuron = NEURONS["glif_channel"]
    normed_neuron = with_norm(neuron)
    assert normed_neuron is with_norm(neuron)
    assert normed_neuron.states == neuron.states
    assert normed_neuron.learnables == (*neuron.learnables, *NORM)
    assert normed_neuron.hyperparameters is neuron.hyperparameters


def test_a_neuron_that_uses_the_names_itself_is_refused() -> None:
    own = Neuron(
        "own", "", "", lambda x, s, p: (spike(x * p.norm_scale), ()), (), LeakyHyperparameters,
        learnables=(Learnable("norm_scale", "", "scalar", lambda p, T: 1.0),),
    )  # fmt: skip
    with pytest.raises(NeuronError, match="'norm_scale' cannot be the name"):
        with_norm(own)


# --- norm and neuron as one operator, against one after the other


@dataclass(frozen=True)
class Setting:
    """One choice of everything."""

    neuron: str
    phase: str
    mode: str
    layout: str
    window: str
    repeat: int
    state: str

    def __str__(self) -> str:
        return "-".join(str(getattr(self, field.name)) for field in fields(self))


PHASES = ("training", "evaluation", "batch_statistics", "frozen", "no_affine", "cumulative")
MODES = ("per_step", "folded")
LAYOUTS = ("images", "channels_last", "vectors", "transposed")
WINDOWS = ("full", "chunked:2", "prefix:2")
STATES = ("initial", "given")
STEPS, CHANNELS = 4, 3


def _settings() -> list[Setting]:
    """Every neuron in every phase; the rest turns at different speeds."""
    found = []
    for i, name in enumerate(NEURONS):
        one_step = NEURONS[name].max_timesteps == 1
        for j, phase in enumerate(PHASES):
            window = "full" if one_step else WINDOWS[(i + 2 * j) % 3]
            repeat = STEPS if (i + j) % 3 == 0 and not one_step else 1
            layout, mode = LAYOUTS[(i + j + i // 4) % 4], MODES[(i // 2 + j) % 2]
            state = STATES[(i // 3 + j // 2) % 2]
            found.append(Setting(name, phase, mode, layout, window, repeat, state))
    # Compiled for clif alone: a sliding window.
    found += [
        Setting("clif", "training", "per_step", "images", "sliding:2", 1, "given"),
        Setting("clif", "training", "folded", "channels_last", "sliding:2", STEPS, "initial"),
        Setting("clif", "frozen", "per_step", "vectors", "sliding:3", 1, "given"),
    ]
    return found


SETTINGS = _settings()


def test_the_settings_cover_every_pair() -> None:
    axes = {"phase": PHASES, "mode": MODES, "layout": LAYOUTS, "window": WINDOWS}
    axes |= {"repeat": (1, STEPS), "state": STATES}  # type: ignore[dict-item]
    for first, second in itertools.combinations(axes, 2):
        seen = {(getattr(s, first), getattr(s, second)) for s in SETTINGS}
        assert seen >= set(itertools.product(axes[first], axes[second])), (first, second)
    for name in NEURONS:
        own = [s for s in SETTINGS if s.neuron == name]
        assert {s.mode for s in own} == set(MODES)
        assert {s.phase for s in own} == set(PHASES)


def _numbers(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _steps(setting: Setting) -> int:
    return 1 if NEURONS[setting.neuron].max_timesteps == 1 else STEPS


def _input(setting: Setting, steps: int) -> Tensor:
    lead = steps if setting.repeat == 1 else 1
    if setting.layout == "vectors":
        return 0.7 + 1.6 * _numbers(lead, 7, CHANNELS, seed=1)
    x = 0.7 + 1.6 * _numbers(lead, 5, CHANNELS, 3, 4, seed=1)
    if setting.layout == "channels_last":
        return x.movedim(2, -1).contiguous().movedim(-1, 2)
    if setting.layout == "transposed":  # neither: it is copied
        return x.transpose(3, 4).contiguous().transpose(3, 4)
    return x


def _norm(setting: Setting, dtype: torch.dtype = torch.float64) -> TemporalBatchNorm:
    affine = setting.phase != "no_affine"
    momentum = None if setting.phase == "cumulative" else 0.1
    norm = TemporalBatchNorm(CHANNELS, setting.mode, momentum=momentum, affine=affine)
    norm = norm.to(dtype)
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([0.5, -0.2, 1.0]))
        norm.running_var.copy_(torch.tensor([1.5, 0.7, 3.0]))
        norm.num_batches_tracked.fill_(3)
        if norm.weight is not None and norm.bias is not None:
            norm.weight.copy_(torch.tensor([1.3, -0.8, 0.6]))
            norm.bias.copy_(torch.tensor([0.9, 0.4, -0.2]))
    if setting.phase in ("evaluation", "frozen", "batch_statistics"):
        norm.eval()
    norm.batch_statistics = setting.phase == "batch_statistics"
    return norm


def _layer(setting: Setting, steps: int, dtype: torch.dtype = torch.float64) -> SpikingLayer:
    neuron = NEURONS[setting.neuron]
    mode, _, k = setting.window.partition(":")
    torch.manual_seed(0)  # some parameters start at random
    choice = NeuronChoice(
        neuron,
        neuron.hyperparameters(),
        window=int(k) if k else None,
        window_mode=mode if k else "sliding",
    )
    layer = choice.layer(CHANNELS, steps).double()
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters()):
            parameter.add_(0.2 * _numbers(*parameter.shape, seed=10 + seed))
    layer.train(setting.phase != "evaluation")
    return layer.to(dtype)


@dataclass
class Result:
    """What one run gives, by name, and the elements `[N, *]` whose loss counted."""

    values: dict[str, Tensor]
    node: str


def _run(
    setting: Setting, target: str, dtype: torch.dtype = torch.float64, kept: Tensor | None = None
) -> Result:
    steps = _steps(setting)
    layer, norm = _layer(setting, steps, dtype), _norm(setting, dtype)
    layer.target = target
    x = _input(setting, steps).to(dtype).requires_grad_()
    state = None
    if setting.state == "given":
        state = tuple(
            (0.3 * _numbers(*x.shape[1:], seed=20 + i)).to(dtype).requires_grad_()
            for i in range(len(layer.neuron.states))
        )
    out, final = layer(x, state, norm, setting.repeat)
    weights = [_numbers(*t.shape, seed=30 + i).to(dtype) for i, t in enumerate((out, *final))]
    mask = torch.ones_like(x[0]) if kept is None else kept.to(dtype)
    terms = zip((out, *final), weights, strict=True)
    torch.stack([(t * g * mask).sum() for t, g in terms]).sum().backward()
    values = {"output": out, **{f"state {i}": s for i, s in enumerate(final)}}
    values["gradient of x"] = _gradient(x)
    values |= {f"gradient of state {i}": _gradient(s) for i, s in enumerate(state or ())}
    for module in (norm, layer):
        values |= {f"gradient of {n}": _gradient(p) for n, p in module.named_parameters()}
    values |= dict(norm.named_buffers())
    found = {name: tensor.detach() for name, tensor in values.items()}
    return Result(found, type(out.grad_fn).__name__)


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _error(found: Tensor, expected: Tensor) -> float:
    difference = (found.double() - expected).abs().max()
    return float(difference / expected.abs().max().clamp(min=1.0))


def _params(settings: list[Setting]) -> list[Any]:
    return [pytest.param(s, id=str(s), marks=_marks(s.neuron)) for s in settings]


@pytest.mark.parametrize("setting", _params(SETTINGS))
def test_one_operator_gives_the_numbers_of_two(setting: Setting) -> None:
    found, expected = _run(setting, "numba"), _run(setting, "reference")
    assert "NormScan" in found.node
    assert "NormScan" not in expected.node
    assert found.values.keys() == expected.values.keys()
    for name, tensor in expected.values.items():
        given = found.values[name]
        assert (given.shape, given.dtype) == (tensor.shape, tensor.dtype), name
        assert _error(given, tensor) < 1e-10, name
    assert expected.values["gradient of x"].abs().max() > 1e-3


@pytest.mark.parametrize("setting", _params(SETTINGS[::7] + SETTINGS[-3:]))
def test_running_averages_are_those_of_torch_step_by_step(setting: Setting) -> None:
    values = _run(setting, "numba").values
    fresh = _norm(setting)
    theirs = nn.BatchNorm2d(CHANNELS, momentum=fresh.momentum, affine=fresh.weight is not None)
    theirs = theirs.double().train(fresh.training)
    theirs.load_state_dict(fresh.state_dict())
    x = _input(setting, _steps(setting)).repeat_interleave(setting.repeat, 0)
    if setting.neuron == "relu":
        x = x[:1]
    x = x.view(*x.shape, *[1] * (5 - x.dim()))
    for batch in x if setting.mode == "per_step" else [x.flatten(0, 1)]:
        theirs(batch)
    for name, buffer in theirs.named_buffers():
        assert values[name].dtype == buffer.dtype
        assert torch.allclose(values[name], buffer, atol=1e-13, rtol=0), name
    updates = 0 if not fresh.training else len(x) if setting.mode == "per_step" else 1
    assert values["num_batches_tracked"].item() == 3 + updates


# --- single precision


def _compared(name: str, mode: str, channels_last: bool) -> dict[str, float]:
    """Of each gradient: its error in float32 against float64, relative to its size (norms)."""
    torch.manual_seed(0)
    values = NEURONS[name].hyperparameters()
    layer = NeuronChoice(NEURONS[name], values, target="reference").layer(16, 6)
    norm = TemporalBatchNorm(16, mode)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.add_(0.3 * torch.randn(16)).add_(0.3)
    x = 3.0 + 2.0 * torch.randn(6, 8, 16, 9, 11)
    if channels_last:
        x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    g = torch.randn(x.shape)
    with torch.no_grad(), Distances() as distances:
        deepcopy(layer).double()(x.double(), None, deepcopy(norm).double())
    assert distances.nearest is not None
    kept = distances.nearest > 1e-4
    assert kept.double().mean() > 0.99
    found: list[dict[str, Tensor]] = []
    for dtype, target in ((torch.float64, "reference"), (torch.float32, "numba")):
        one, other = deepcopy(layer).to(dtype), deepcopy(norm).to(dtype)
        one.target = target
        leaf = x.to(dtype, copy=True).requires_grad_()
        out, _ = one(leaf, None, other)
        (out * (g * kept).to(dtype)).sum().backward()
        named = [*one.named_parameters(), *other.named_parameters(), ("x", leaf)]
        found.append({key: _gradient(tensor).double() for key, tensor in named})
    exact, ours = found
    return {key: float((ours[key] - g).norm() / g.norm()) for key, g in exact.items()}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("name", "mode"), [("clif", "per_step"), ("plif", "folded")])
def test_gradients_in_single_precision(name: str, mode: str, channels_last: bool) -> None:
    compared = _compared(name, mode, channels_last)
    assert compared.keys() >= {"x", "weight", "bias"}
    # As many roundings as a chain of six steps there and back has, independent and in every one
    # half a unit in the last place at most: their root mean square, twice.
    program = trace(NEURONS[name], NEURONS[name].hyperparameters())
    roundings = 6 * (len(program.instructions) + len(adjoint(program).instructions))
    for key, relative in compared.items():
        assert relative <= 2 * roundings**0.5 * 2**-24, (key, relative * 2**24)


# --- edges


def _small(mode: str = "per_step", steps: int = 2) -> tuple[SpikingLayer, TemporalBatchNorm]:
    layer = NeuronChoice(NEURONS["lif"], NEURONS["lif"].hyperparameters()).layer(3, steps).double()
    return layer, TemporalBatchNorm(3, mode).double()


@pytest.mark.parametrize("target", ["numba", "reference"])
def test_one_value_a_channel_has_no_statistics(target: str) -> None:
    layer, norm = _small()
    layer.target = target
    x = _numbers(2, 1, 3, seed=0)
    with pytest.raises(ValueError, match=r"more than (1|one) value"):
        layer(x[:1], None, norm)
    assert norm.num_batches_tracked.item() == 0
    folded = _small("folded")[1]
    assert layer(x, None, folded)[0].shape == x.shape  # two values over time
    norm.eval()
    assert layer(x, None, norm)[0].shape == x.shape


@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 5, 1, 2, 2), (2, 5)])
def test_other_channels_are_refused(shape: tuple[int, ...]) -> None:
    layer, norm = _small()
    for module in (norm.train(), norm.eval()):
        with pytest.raises(ValueError, match=r"must be \[T, N, 3, \*\]"):
            layer(_numbers(*shape, seed=0), None, module)


def test_an_empty_batch_has_empty_results_in_evaluation() -> None:
    layer, norm = _small()
    x = torch.zeros(2, 0, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    out, final = layer(x, None, norm.eval())
    assert out.shape == x.shape
    assert final[0].shape == x.shape[1:]
    out.sum().backward()
    assert x.grad is not None
    assert norm.weight is not None
    assert torch.equal(norm.weight.grad, torch.zeros(3).double())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(value: float) -> None:
    layer, norm = _small()
    x = _numbers(2, 5, 3, 4, seed=0)
    x[1, 2, 1, 3] = value
    out, _ = layer(x.requires_grad_(), None, norm)
    assert out[1, :, 1].isnan().all()
    assert out[0].isfinite().all()
    assert out[:, :, [0, 2]].isfinite().all()
    out.sum().backward()
    assert x.grad is not None
    assert x.grad[:, :, 1].isnan().any()
    assert norm.running_mean.isfinite().tolist() == [True, False, True]


def test_autocast_rounds_no_running_average() -> None:
    found = []
    for enabled in (False, True):
        layer, norm = (module.float() for module in _small())
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            layer(1.2345 + _numbers(2, 5, 3, 4, seed=0).float(), None, norm)
        found.append(norm.running_mean)
    assert torch.equal(found[0], found[1])


def test_the_reference_has_no_norm_inside() -> None:
    layer, norm = _small()
    x = _numbers(2, 5, 3, seed=0)
    with pytest.raises(TargetError, match="no batch norm inside the kernel of target 'reference'"):
        norm_scan(x, None, layer.neuron.parameters(), norm.before(x, 2), target="reference")


def test_only_the_input_is_kept() -> None:
    layer, norm = _small()
    x = _numbers(2, 5, 3, 4, seed=0).requires_grad_()
    current = x * 2
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        if t.numel() > 2 * 2 * 3:  # mean and deviation of each step and channel
            kept[t.untyped_storage()._cdata] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        layer(current, None, norm)
    assert kept == {current.untyped_storage()._cdata: 2 * 5 * 3 * 4 * 8}


def test_the_operator_holds_what_torch_asks_of_it() -> None:
    from clifctl.kernels import fused

    layer, norm = _small()
    values = layer.hyperparameters
    for channels_last in (False, True):
        x = _numbers(2, 5, 3, 4, 2, seed=0)
        if channels_last:
            x = x.movedim(2, -1).contiguous().movedim(-1, 2)
        x.requires_grad_()
        call = fused.call_name(with_norm(layer.neuron), values, "numba", None, given_state=False)
        arguments: tuple[Any, ...] = (x, [], norm.before(x, 2).tensors, call, 2, False)
        checks = ("test_schema", "test_faketensor", "test_autograd_registration")
        torch.library.opcheck(torch.ops.clifctl.norm_scan.default, arguments, test_utils=checks)

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clifctl.errors import NeuronError, TargetError
from clifctl.kernels import Norm, initial_state, norm_scan, resolve_target, scan
from clifctl.neurons import (
    NEURONS,
    Hyperparameters,
    LeakyHyperparameters,
    Learnable,
    Neuron,
    Parameters,
    State,
    spike,
)

SPIKING = [name for name, neuron in NEURONS.items() if neuron.spiking]
FUSED = "numba"
LIF = NEURONS["lif"].parameters()
TARGETS = ["reference", FUSED]


def of(name: str, x: Tensor, **values: Any) -> Parameters:
    """A neuron with fresh learnable parameters for an input like `x`, in its dtype."""
    neuron = NEURONS[name]
    hyperparameters = neuron.hyperparameters(**values)
    torch.manual_seed(0)
    learnables = {
        p.name: p.start(hyperparameters, channels=x.shape[2], timesteps=x.shape[0]).to(x.dtype)
        for p in neuron.learnables
    }
    return neuron.parameters(learnables, **values)


def current(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (0.6 + torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


def gradient(name: str, x: Tensor, g: Tensor, **options: Any) -> Tensor:
    x = x.clone().requires_grad_()
    values = {"tau": options.pop("tau")} if "tau" in options else {}
    out, _ = scan(x, None, of(name, x, **values), **options)
    (out * g).sum().backward()
    assert x.grad is not None
    return x.grad


def states_by_hand(name: str, x: Tensor, tau: float) -> tuple[list[Tensor], ...]:
    """u, s and m of every step, from the equations."""
    v, m = torch.zeros_like(x[0]), torch.zeros_like(x[0])
    us, ss, ms = [], [], []
    for current_t in x:
        u = (1 - 1 / tau) * v + current_t
        s = (u >= 1).to(x.dtype)
        m = m * torch.sigmoid(u / tau) + s
        v = u - s * (1 + torch.sigmoid(m)) if name == "clif" else u - s
        us.append(u)
        ss.append(s)
        ms.append(m)
    return us, ss, ms


def windowed_by_hand(name: str, x: Tensor, g: Tensor, k: int, tau: float) -> Tensor:
    """The windowed gradient by the two-state recursion: for each t, errors from t..t+k-1 only."""
    steps, decay = len(x), 1 - 1 / tau
    us, ss, ms = states_by_hand(name, x, tau)
    zero = torch.zeros_like(x[0])
    h = [((u - 1).abs() <= 0.5).to(x.dtype) for u in us]
    grads = []
    for t in range(steps):
        last = min(t + k - 1, steps - 1)
        du, dm = zero, zero  # totals of step j + 1
        for j in range(last, t - 1, -1):
            q = torch.sigmoid(ms[j])
            r_next = torch.sigmoid(us[j + 1] / tau) if j < last else zero
            m_before = ms[j - 1] if j > 0 else zero
            r = torch.sigmoid(us[j] / tau)
            if name == "clif":
                phi = -decay * ss[j] * q * (1 - q)
                psi = m_before * r * (1 - r) / tau + h[j]
                epsilon = decay * (1 - (1 + q) * h[j])
                dm = phi * du + r_next * dm
                du = g[j] * h[j] + epsilon * du + psi * dm
            else:
                du = g[j] * h[j] + decay * (1 - h[j]) * du
        grads.append(du)
    return torch.stack(grads)


@pytest.mark.parametrize("name", ["lif", "clif"])
@pytest.mark.parametrize("tau", [1.1, 2.0, 5.0])
@pytest.mark.parametrize("k", [1, 2, 5, 7, None])
@pytest.mark.parametrize("target", TARGETS)
def test_gradient_is_the_recursion_of_the_window(
    name: str, tau: float, k: int | None, target: str
) -> None:
    x, g = current(7, 3, 37), current(7, 3, 37, seed=1)
    expected = windowed_by_hand(name, x, g, k or 7, tau)
    given = gradient(name, x, g, window=k, tau=tau, target=target)
    assert torch.allclose(given, expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("name", SPIKING)
def test_window_changes_no_value(name: str) -> None:
    x = current(6, 2, 9)
    parameters = of(name, x)
    full, full_state = scan(x, None, parameters)
    for k in (1, 3, 6):
        out, state = scan(x, None, parameters, window=k)
        assert torch.equal(out, full)
        assert all(torch.equal(a, b) for a, b in zip(state, full_state, strict=True))


@pytest.mark.parametrize("name", SPIKING)
def test_full_window_is_full_bptt_for_the_initial_state_too(name: str) -> None:
    x = current(5, 2, 30)
    gradients = []
    for window in (None, 5):
        parameters = of(name, x)
        start = tuple(s.requires_grad_() for s in initial_state(x, parameters))
        out, final = scan(x, start, parameters, window=window)
        (out.sum() + final[0].sum()).backward()
        gradients.append([s.grad for s in start])
    for a, b in zip(*gradients, strict=True):
        assert a is not None
        assert torch.equal(a, b)
        assert a.abs().sum() > 0


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(SPIKING),
    target=st.sampled_from(TARGETS),
    steps=st.integers(1, 9),
    cut=st.integers(0, 8),
    seed=st.integers(0, 1000),
)
def test_a_sequence_in_two_pieces_is_the_same_sequence(
    name: str, target: str, steps: int, cut: int, seed: int
) -> None:
    cut = min(cut, steps - 1)
    x, g = current(steps, 2, 5, seed=seed), current(steps, 2, 5, seed=seed + 1)
    whole = gradient(name, x, g, target=target)
    parameters = of(name, x)

    def piece(first: int, last: int) -> Parameters:
        """Parameters of these steps alone."""
        own = {
            p.name: parameters.learnables[p.name][first:last] if p.by_step
            else parameters.learnables[p.name]
            for p in NEURONS[name].learnables
        }  # fmt: skip
        return NEURONS[name].parameters(own)

    pieces = x.clone().requires_grad_()
    outputs, state = [], None
    for first, last in ((0, cut), (cut, steps)):
        if first < last:
            out, state = scan(pieces[first:last], state, piece(first, last), target=target)
            outputs.append(out)
    joined = torch.cat(outputs)
    (joined * g).sum().backward()
    assert torch.equal(joined.detach(), scan(x, None, parameters, target=target)[0])
    assert pieces.grad is not None
    assert torch.allclose(pieces.grad, whole, atol=1e-13, rtol=0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), tau=st.floats(1.05, 10), threshold=st.floats(0.2, 3))
def test_clif_equals_lif_at_one_time_step(seed: int, tau: float, threshold: float) -> None:
    x, g = current(1, 3, 11, seed=seed), current(1, 3, 11, seed=seed + 1)
    outs, grads = [], []
    for name in ("lif", "clif"):
        leaf = x.clone().requires_grad_()
        out, _ = scan(leaf, None, NEURONS[name].parameters(tau=tau, v_threshold=threshold))
        (out * g).sum().backward()
        outs.append(out.detach())
        grads.append(leaf.grad)
    assert torch.equal(*outs)
    assert torch.equal(grads[0], grads[1])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 12))
def test_clif_stays_in_the_ranges_that_its_equations_imply(seed: int, steps: int) -> None:
    x = current(steps, 2, 13, seed=seed)
    out, (_, m) = scan(x, None, NEURONS["clif"].parameters())
    assert set(out.unique().tolist()) <= {0.0, 1.0}
    assert (m >= 0).all()
    assert (m[out[-1] == 1] >= 1).all()


@pytest.mark.parametrize("name", SPIKING)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_computes_in_float32(name: str, dtype: torch.dtype) -> None:
    x = current(6, 3, 31, dtype=dtype)
    parameters = of(name, x)
    out, state = scan(x, None, parameters)
    exact, exact_state = scan(x.float(), None, parameters)
    assert out.dtype == dtype
    assert torch.equal(out.float(), exact)
    for a, b in zip(state, exact_state, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", SPIKING)
def test_non_contiguous_and_empty_inputs(name: str) -> None:
    x = current(5, 7, 3)
    swapped = x.transpose(1, 2)
    parameters = of(name, swapped)
    assert torch.equal(
        scan(swapped, None, parameters)[0], scan(swapped.contiguous(), None, parameters)[0]
    )
    empty = torch.zeros(4, 0, 3, requires_grad=True)
    out, _ = scan(empty, None, of(name, empty))
    out.sum().backward()
    assert out.shape == (4, 0, 3)
    assert empty.grad is not None
    assert empty.grad.shape == (4, 0, 3)


@pytest.mark.parametrize("name", SPIKING)
def test_nan_comes_out_visibly(name: str) -> None:
    x = current(4, 1, 3)
    x[1, 0, 1] = math.nan
    out, _ = scan(x, None, of(name, x))
    assert out[1:, 0, 1].isnan().all()
    assert not out[:, 0, [0, 2]].isnan().any()


# --- a neuron of a user: three states, one learnable parameter of each shape, a `where` ---------


def _step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    v, w, b = state
    u = p.leak * v + p.gain * x - b
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    w = torch.where(u > 0, w + u / p.tau, w * p.decay)
    return s, (u - s * p.v_threshold, w, 0.5 * b + 0.1 * s + 0.05 * torch.tanh(w))


USER = Neuron(
    name="user",
    title="a neuron that nobody has seen",
    paper="none",
    step=_step,
    states=(State("v", "membrane"), State("w", "trace", 0.25), State("b", "adaptation")),
    hyperparameters=LeakyHyperparameters,
    learnables=(
        Learnable("leak", "membrane leak", "scalar", lambda p, T: 0.0, torch.sigmoid),
        Learnable("gain", "input gain", "channel", lambda p, T: 1.0),
        Learnable("decay", "decay of the trace", "step", lambda p, T: p.tau / 4),
    ),
)


def user_parameters(channels: int, steps: int) -> Parameters:
    hyperparameters = LeakyHyperparameters()
    tensors = {
        learnable.name: learnable.start(hyperparameters, channels=channels, timesteps=steps)
        .double()
        .requires_grad_()
        for learnable in USER.learnables
    }
    return USER.parameters(tensors)


def test_learnable_parameters_get_gradients_of_their_own_shape() -> None:
    x = current(5, 2, 3, 4, 2).requires_grad_()
    parameters = user_parameters(3, 5)
    assert {n: list(t.shape) for n, t in parameters.learnables.items()} == {
        "leak": [],
        "gain": [3],
        "decay": [5],
    }
    out, final = scan(x, None, parameters)
    (out.sum() + sum((s.square().sum() for s in final), torch.zeros(()))).backward()
    for name, tensor in parameters.learnables.items():
        assert tensor.grad is not None, name
        assert tensor.grad.shape == tensor.shape
        assert tensor.grad.abs().sum() > 0, name


def test_learnable_parameters_are_broadcast_by_their_shape() -> None:
    x = current(4, 2, 3)
    parameters = user_parameters(3, 4)
    out, final = scan(x, None, parameters)
    v, w, b = torch.zeros(2, 3).double(), torch.full((2, 3), 0.25).double(), torch.zeros(2, 3)
    for t in range(4):
        u = 0.5 * v + 1.0 * x[t] - b
        s = (u >= 1).double()
        w = torch.where(u > 0, w + u / 2, w * 0.5)
        v, b = u - s, 0.5 * b + 0.1 * s + 0.05 * torch.tanh(w)
        assert torch.equal(out[t], s)
    for a, expected in zip(final, (v, w, b), strict=True):
        assert torch.allclose(a, expected, atol=1e-14)


def test_windowed_gradients_of_learnables_sum_the_unrolls() -> None:
    x = current(5, 2, 3)
    parameters = user_parameters(3, 5)
    out, _ = scan(x, None, parameters, window=2)
    out.sum().backward()
    got = parameters.learnables["gain"].grad
    expected = torch.zeros(3).double()
    for last in range(5):
        fresh = user_parameters(3, 5)
        cut = user_parameters(3, 5)
        first = max(0, last - 1)
        decay = {"decay": fresh.learnables["decay"][: first or 1]}
        state = None
        if first:
            before = USER.parameters({**cut.learnables, **decay})
            state = tuple(s.detach() for s in scan(x[:first], None, before)[1])
        piece = USER.parameters(
            {**fresh.learnables, "decay": fresh.learnables["decay"][first : last + 1]}
        )
        scan(x[first : last + 1], state, piece)[0][-1].sum().backward()
        grad = fresh.learnables["gain"].grad
        assert grad is not None
        expected += grad
    assert got is not None
    assert torch.allclose(got, expected, atol=1e-14)


# --- what is refused ------------------------------------------------------------------------------


def _returning(result: Any, **changes: Any) -> Parameters:
    neuron = Neuron(
        name="broken",
        title="",
        paper="",
        step=lambda x, state, p: result(x, state),
        states=(State("v", ""),),
        hyperparameters=Hyperparameters,
        **changes,
    )
    return neuron.parameters()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x, state: (x, ()), "returned 0 states, declared are 1"),
        (lambda x, state: (x.sum(), state), "output of shape"),
        (lambda x, state: (x, (x.sum(),)), "state 'v' of shape"),
    ],
)
def test_a_step_that_breaks_the_contract_is_named(result: Any, message: str) -> None:
    with pytest.raises(NeuronError, match=message):
        scan(torch.zeros(2, 3, 4), None, _returning(result), target="reference")


def test_a_step_that_uses_an_undeclared_parameter_is_named() -> None:
    neuron = Neuron(
        name="broken",
        title="",
        paper="",
        step=lambda x, state, p: (x * p.gain, state),
        states=(),
        hyperparameters=LeakyHyperparameters,
    )
    with pytest.raises(NeuronError, match=r"p\.gain"):
        scan(torch.zeros(2, 3), None, neuron.parameters())


@pytest.mark.parametrize("window", [0, -1, 4])
def test_a_window_outside_the_sequence_is_refused(window: int) -> None:
    with pytest.raises(NeuronError, match="window must be between 1 and T = 3"):
        scan(torch.zeros(3, 2), None, NEURONS["lif"].parameters(), window=window)


def test_bad_shapes_and_types_are_refused() -> None:
    lif = NEURONS["lif"].parameters()
    with pytest.raises(NeuronError, match=r"\[T, N, \*features\]"):
        scan(torch.zeros(3), None, lif)
    with pytest.raises(NeuronError, match="floating point"):
        scan(torch.zeros(3, 2, dtype=torch.long), None, lif)
    with pytest.raises(NeuronError, match="the number of states is 1, got 2"):
        scan(torch.zeros(3, 2), (torch.zeros(2), torch.zeros(2)), lif)
    with pytest.raises(NeuronError, match=r"state 'v' must be \[2\], got \[3\]"):
        scan(torch.zeros(3, 2), (torch.zeros(3),), lif)
    with pytest.raises(NeuronError, match=r"input must be \[T, N, C"):
        scan(torch.zeros(5, 2).double(), None, user_parameters(3, 5))
    with pytest.raises(NeuronError, match="'gain' must be"):
        scan(torch.zeros(5, 2, 4).double(), None, user_parameters(3, 5))
    with pytest.raises(NeuronError, match="learnable parameter 'leak' is missing"):
        USER.parameters()
    with pytest.raises(NeuronError, match="unknown learnable parameter 'w'"):
        NEURONS["lif"].parameters({"w": torch.zeros(())})


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("clif",), "with its parameters, got 'clif'", "NEURONS['clif'].parameters()"),
        (("clif2",), "with its parameters, got 'clif2'", "NEURONS['if'].parameters()"),
        ((NEURONS["plif"],), "got Neuron", ".parameters_at_start(channels=C, timesteps=T)"),
        ((LIF, torch.zeros(2, 4)), "a tuple with a tensor for each of v", "None begins"),
        ((LIF, ()), "the number of states is 1, got 0", "in this order: v"),
        ((LIF, None, [[0.5]]), "must be a tensor [T, N, *features], got list", "torch.as_tensor"),
        ((LIF, None, None, "2"), "window must be a whole number of time steps, got '2'", "None"),
    ],
)
def test_what_is_no_neuron_input_or_state_is_told(
    arguments: tuple[Any, ...], message: str, hint: str
) -> None:
    neuron, state, x, window = [*arguments, None, None, None][:4]
    ones = torch.ones(2)
    norm = Norm(torch.zeros(3, 2), torch.ones(3, 2), ones, ones, None, 3)
    given = torch.zeros(3, 2, 4) if x is None else x
    for run in (scan, partial(norm_scan, norm=norm)):
        with pytest.raises(NeuronError) as told:
            run(given, state, neuron, window=window)
        assert message in told.value.message
        assert hint in str(told.value.hint)


def test_relu_has_no_time() -> None:
    with pytest.raises(NeuronError, match="at most 1 time step"):
        scan(torch.zeros(2, 3), None, NEURONS["relu"].parameters())


def test_target_explains_itself_and_is_never_replaced() -> None:
    assert resolve_target("auto").name == FUSED
    assert resolve_target("auto", "mps").name == "reference"
    with pytest.raises(TargetError, match="the tensor is on 'cuda'"):
        resolve_target(FUSED, "cuda")
    with pytest.raises(TargetError, match="no kernels for"):
        resolve_target(FUSED, "cpu", torch.complex64)
    assert resolve_target("auto").reason
    assert resolve_target("reference").reason == "asked for"
    with pytest.raises(TargetError, match="unknown kernel target 'cuda'"):
        scan(torch.zeros(2, 3), None, NEURONS["lif"].parameters(), target="cuda")


def test_a_neuron_may_have_any_name() -> None:
    lif = NEURONS["lif"]
    x = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    expected, _ = scan(x, None, lif.parameters(), target=FUSED)
    for name in ("LIF (ours)", "a/b", "../x", "Ümlaut"):
        given, _ = scan(x, None, replace(lif, name=name).parameters(), target=FUSED)
        assert torch.equal(given, expected)


def test_a_graph_of_another_process_says_what_it_needs() -> None:
    from clifctl.kernels.fused import fused_scan

    with pytest.raises(NeuronError, match="'nobody-0123', which this process has not built"):
        fused_scan(torch.randn(2, 3), [], "nobody-0123 numba 0 none 0")

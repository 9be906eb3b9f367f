"""What a step may use, what is refused, and what the generated program is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.errors import NeuronError
from clifctl.kernels import scan
from clifctl.kernels.ir.adjoint import RULES, adjoint
from clifctl.kernels.ir.program import COMPARISONS, LOGIC, OPERATIONS, Builder
from clifctl.kernels.ir.trace import trace
from clifctl.neurons import LeakyHyperparameters, Learnable, Neuron, State, spike

Step = Callable[..., Any]


def neuron_of(step: Step, states: str = "v", learnables: str = "", name: str = "probe") -> Neuron:
    return Neuron(
        name=name,
        title="",
        paper="",
        step=step,
        states=tuple(State(s, "") for s in states.split()),
        hyperparameters=LeakyHyperparameters,
        learnables=tuple(Learnable(p, "", "scalar", lambda h, T: 0.5) for p in learnables.split()),
    )


def test_every_operation_has_a_rule_or_no_gradient() -> None:
    assert set(OPERATIONS) == set(RULES) | set(COMPARISONS) | set(LOGIC)
    assert 12 <= len(RULES) <= 16


# Each uses x and v such that values lie on both sides of every kink, and exactly on it.
OPERATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "arithmetic": lambda x, v: (x + 2) * v - v / (x * x + 1) + 3 / (2 - v.abs() * 0.1),
    "power": lambda x, v: x**2 + v**3 - x.square() * torch.pow(v, 1),
    "functions": lambda x, v: torch.sigmoid(x) * v.tanh() + torch.exp(-x.abs()) - (-v).sigmoid(),
    "relu": lambda x, v: torch.relu(x) + torch.nn.functional.relu(v - 1) * x.relu(),
    "clamp": lambda x, v: x.clamp(-0.7, 0.7) + torch.clamp(v, min=0.4) * v.clamp(max=x),
    "extremes": lambda x, v: torch.minimum(x, v) * 2 + torch.maximum(x, 0.5 * v) + torch.max(x, v),
    "where": lambda x, v: torch.where(x > v, x * v, v) + torch.where(x <= 0, 0.0, v),
    "logic": lambda x, v: (
        torch.where((x > 0) & ~(v >= 1) | (x == v), x, 2 * v) + (v != 1).to(x.dtype)
    ),
    "detach": lambda x, v: x * v.detach() + (x * v).detach() * v,
    "spike": lambda x, v: spike(x - v) * v + spike(x * v - 1, "triangle", 2.0),
}


HALVES = [list(OPERATORS)[:5], list(OPERATORS)[5:]]  # compiled together: a state for each


@pytest.mark.parametrize("operators", HALVES, ids="-".join)
def test_operations_equal_torch_in_value_and_gradient(operators: list[str]) -> None:
    def step(x: Tensor, states: tuple[Tensor, ...], p: Any) -> Any:
        values = [OPERATORS[name](x, v) for name, v in zip(operators, states, strict=True)]
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total, tuple(0.5 * value + x for value in values)

    neuron = neuron_of(step, states=" ".join(f"of_{name}" for name in operators))
    grid = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5], dtype=torch.float64)
    xs, vs = torch.meshgrid(grid, grid, indexing="ij")
    # Each operator's own: its gradient reaches x through its final state alone.
    for number, operator in [*enumerate(operators), (None, "all")]:
        results = []
        for target in ("reference", "numba"):
            x = xs.reshape(1, 1, -1).repeat(3, 1, 1).clone().requires_grad_()
            v = [vs.reshape(1, -1).clone().requires_grad_() for _ in operators]
            out, finals = scan(x, tuple(v), neuron.parameters(), target=target)
            counted = finals if number is None else finals[number : number + 1]
            loss = sum(((final * final).sum() for final in counted), out.sum() * (number is None))
            loss.backward()
            gradients = [x.grad, *(state.grad for state in v)]
            results.append([out.detach(), *(f.detach() for f in finals), *gradients])
        for reference, given in zip(*results, strict=True):
            assert reference is not None
            assert given is not None
            assert torch.allclose(given, reference, rtol=1e-12, atol=1e-12), operator


@pytest.mark.parametrize(
    ("step", "part"),
    [
        (lambda x, s, p: (torch.sin(x), s), "uses sin, which has no derivative rule"),
        (lambda x, s, p: (x.cumsum(0), s), "uses cumsum"),
        (lambda x, s, p: (x**1.5, s), "a power of 1.5"),
        (lambda x, s, p: (x.sum(), s), "uses sum"),
        (lambda x, s, p: (x[0], s), "uses getitem"),
        (lambda x, s, p: (x.to(torch.float32), s), r"to\(...\) other than to\(x.dtype\)"),
        (lambda x, s, p: (x if x.mean() > 0 else -x, s), "decides by the value of a tensor"),
        (lambda x, s, p: (x * float("nan"), s), "nan as a value"),
        (lambda x, s, p: x, "must return"),
        (lambda x, s, p: (x, s[0]), "must return"),
        (lambda x, s, p: (x, ()), "returned 0 states, declared are 1"),
        (lambda x, s, p: (x * p.gain, s), r"p\.gain, which the neuron does not declare"),
    ],
)
def test_what_a_step_may_not_do_is_named(step: Step, part: str) -> None:
    with pytest.raises(NeuronError, match=part) as caught:
        scan(torch.zeros(2, 3), None, neuron_of(step).parameters(), target="numba")
    assert "probe" in caught.value.message or "p.gain" in caught.value.message


@pytest.mark.parametrize("name", ["t", "n", "t0", "const_1", "v_row", "g_x", "exp", "steps"])
def test_names_that_kernels_use_are_refused(name: str) -> None:
    neuron = neuron_of(lambda x, s, p: (x, s), states=name)
    with pytest.raises(NeuronError, match="generated kernels use themselves"):
        scan(torch.zeros(2, 3), None, neuron.parameters(), target="numba")


def test_names_that_could_be_taken_for_constants_are_kept_apart() -> None:
    def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> Any:
        return 0.3 * x * p.c0 + 0.7 * p.c1, (0.2 * state[0],)

    neuron = neuron_of(step, learnables="c0 c1")
    x = torch.ones(2, 3, dtype=torch.float64)
    tensors = {"c0": torch.tensor(2.0).double(), "c1": torch.tensor(5.0).double()}
    out, _ = scan(x, None, neuron.parameters(tensors), target="numba")
    assert torch.allclose(out, torch.full_like(out, 0.3 * 2 + 0.7 * 5), atol=1e-15)


@pytest.mark.parametrize("name", ["x", "out", "1a", "v"])
def test_impossible_names_are_refused_at_declaration(name: str) -> None:
    with pytest.raises(NeuronError, match="cannot be the name"):
        neuron_of(lambda x, s, p: (x, s), states=f"v {name}")


def test_the_builder_simplifies_only_what_is_exact() -> None:
    b = Builder()
    product = b.emit("mul", "x", "y")
    assert b.emit("mul", "y", "x") == product
    assert b.emit("mul", "x", 1.0) == "x"
    assert b.emit("add", "x", 0.0) == "x"
    assert b.emit("neg", b.emit("neg", "x")) == "x"
    assert b.emit("mul", 2.0, 3.0) == 6.0
    # 0 * x is NaN for an infinite x: it must be computed.
    assert b.emit("mul", "x", 0.0) not in ("x", 0.0)


def test_the_adjoint_is_reduced_to_what_is_asked_for() -> None:
    from clifctl.neurons import NEURONS

    program = trace(NEURONS["clif"], NEURONS["clif"].hyperparameters())
    backward = adjoint(program)
    assert set(backward.outputs) == {"g_x", "g_v", "g_m"}
    assert program.uses("sigmoid") == 2
    reduced = backward.only(backward.outputs)
    assert reduced.uses("sigmoid") == 2  # recomputed once, not once more for the derivative
    given = [i.result for i in program.instructions if i.op == "sigmoid"]
    assert backward.only(backward.outputs, given).uses("sigmoid") == 0

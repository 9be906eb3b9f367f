import pytest
import torch

from clifctl.energy.neuron_cost import NeuronCost, charged_as, step_cost
from clifctl.kernels.ir.program import OPERATIONS, Instruction
from clifctl.neurons import NEURONS, LeakyHyperparameters, Neuron, State, spike


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", (0, 1, 0, 0)),  # max(x, 0)
        ("if", (0, 3, 0, 1)),  # + x, - threshold, - s
        ("ilif", (1, 9, 0, 1)),  # v/2, + x, 4 thresholds, 3 sums of spikes, - s
        ("lif", (1, 3, 0, 1)),  # v/2, + x, - threshold, - s
        ("clif", (4, 5, 2, 2)),  # v/2, u/2, m * sigmoid, s * (1 + sigmoid)
        ("plif", (1, 3, 0, 1)),  # 1 - w is the same for every element
        ("alif", (3, 5, 0, 2)),
        ("glif", (5, 5, 0, 2)),  # gates and their products once a layer
    ],
)
def test_cost_by_hand(name: str, expected: tuple[int, ...]) -> None:
    neuron = NEURONS[name]
    assert step_cost(neuron, neuron.hyperparameters()) == NeuronCost(*expected)


def test_hyperparameters_count() -> None:
    lif = NEURONS["lif"]
    values = lif.hyperparameters(decay_input=True, v_threshold=0.5)
    cost = step_cost(lif, values)
    assert cost.multiplications > step_cost(lif, lif.hyperparameters()).multiplications


def test_somebodys_own_neuron() -> None:
    def step(x, state, p):  # type: ignore[no-untyped-def]
        (v,) = state
        u = torch.tanh(v) / (1 + x * x) + torch.where(x > 0.5, x, -x)
        s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
        return s, (torch.clamp(u, 0.0, 2.0) * (1 - s),)

    neuron = Neuron("own", "", "", step, (State("v", ""),), LeakyHyperparameters)
    # x*x, clamp*(1-s); 1+, +where, x>0.5, u-th, two of clamp, 1-s; tanh and the division
    assert step_cost(neuron, LeakyHyperparameters()) == NeuronCost(2, 7, 2, 1)


def test_every_operation_of_a_step_has_a_cost() -> None:
    kinds = {
        op: charged_as(Instruction("t", op, ("x",) * arity), frozenset("x"))
        for op, arity in OPERATIONS.items()
    }
    assert kinds["div"] == kinds["sigmoid"] == "function"
    assert kinds["mul"] == "multiplication"
    assert kinds["sub"] == kinds["ge"] == "addition"
    assert kinds["where"] == kinds["spike"] == "wire"
    assert set(kinds.values()) == {"function", "multiplication", "addition", "wire"}

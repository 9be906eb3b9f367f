"""SpikingJelly's neurons as an independent oracle: equations of its own, torch's autograd."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import neuron as oracle
from spikingjelly.activation_based import surrogate
from torch import Tensor, nn

from clifctl.kernels import scan
from clifctl.neurons import NEURONS, SURROGATES

T = 6
# Their Rect's alpha is its height, and it excludes its edge; at 1 and off the edge it is ours.
RECTANGLE = surrogate.Rect(alpha=1.0)


@dataclass(frozen=True)
class Case:
    """The same neuron twice: `ours` are hyperparameters, `theirs` builds SpikingJelly's module."""

    name: str
    neuron: str
    ours: dict[str, Any]
    theirs: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 5, 4, 3)
    # Every kernel takes a second or two to compile: choices that others cover stay eager.
    compiled: bool = True


# One name for each choice of a leaky neuron, in our words and in theirs.
RESETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "soft": ({}, {"v_reset": None}),
    "hard": ({"reset": "hard"}, {"v_reset": 0.0}),
    "hard_below": ({"reset": "hard", "v_reset": -0.06}, {"v_reset": -0.06}),
    "detached": ({"detach_reset": True}, {"v_reset": None, "detach_reset": True}),
    "decayed": ({"decay_input": True}, {"v_reset": None, "decay_input": True}),
    "tau": ({"tau": 3.3, "v_threshold": 0.7}, {"v_reset": None, "tau": 3.3, "v_threshold": 0.7}),
    "all": (
        {"reset": "hard", "v_reset": -0.06, "detach_reset": True, "decay_input": True, "tau": 1.4},
        {"v_reset": -0.06, "detach_reset": True, "decay_input": True, "tau": 1.4},
    ),
}


# Those of a neuron without a leak.
PLAIN_RESETS = {
    **{name: RESETS[name] for name in ("soft", "hard", "hard_below", "detached")},
    "threshold": ({"v_threshold": 0.7}, {"v_reset": None, "v_threshold": 0.7}),
}


def _leaky(
    neuron: str,
    module: type[nn.Module],
    *,
    tau: str = "tau",
    compiled: tuple[str, ...] = ("all",),
    choices: Mapping[str, Any] = RESETS,
    **also: bool,
) -> list[Case]:
    def case(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> Case:
        options = {**also, **theirs}
        if "decay_input" in inspect.signature(module).parameters:
            options = {"decay_input": False, **options}
        if "tau" in options:
            options[tau] = options.pop("tau")
        return Case(
            "-".join([neuron, *(key for key, chosen in also.items() if chosen), name]),
            neuron,
            {**ours, **also},
            lambda: module(surrogate_function=RECTANGLE, step_mode="m", **options),
            compiled=name in compiled,
        )

    return [case(name, *choices[name]) for name in choices]


def _surrogate(name: str, function: nn.Module) -> Case:
    return Case(
        f"clif-{name}",
        "clif",
        {"surrogate": name},
        lambda: oracle.ComplementaryLIFNode(surrogate_function=function, step_mode="m"),
        compiled=name == "rectangle",
    )


def _glif(neuron: str, channels: int | None) -> Case:
    return Case(
        neuron,
        neuron,
        {},
        lambda: oracle.GatedLIFNode(T=T, inplane=channels, surrogate_function=RECTANGLE),
    )


CASES = [
    *_leaky("if", oracle.IFNode, compiled=("soft", "hard_below"), choices=PLAIN_RESETS),
    *_leaky("lif", oracle.LIFNode, compiled=("soft", "hard", "hard_below", "detached", "decayed")),
    *_leaky("plif", oracle.ParametricLIFNode, tau="init_tau"),
    *_leaky("klif", oracle.KLIFNode, scale_reset=False),
    *_leaky("klif", oracle.KLIFNode, scale_reset=True),
    _glif("glif", None),
    _glif("glif_channel", 5),
    _surrogate("rectangle", RECTANGLE),
    _surrogate("sigmoid", surrogate.Sigmoid(alpha=4.0)),
    _surrogate("triangle", surrogate.PiecewiseQuadratic(alpha=1.0)),
    _surrogate("arctangent", surrogate.ATan(alpha=2.0)),
    Case(
        "clif-tau",
        "clif",
        {"tau": 3.3, "v_threshold": 0.7},
        lambda: oracle.ComplementaryLIFNode(3.3, 0.7, surrogate_function=RECTANGLE, step_mode="m"),
        shape=(7, 11),
        compiled=False,
    ),
]


def _double(module: nn.Module) -> nn.Module:
    """Their module in float64, every parameter moved off its start value and off all others."""
    module = module.double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(
                0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            )
    return module


@pytest.mark.parametrize(
    ("case", "target"),
    [
        pytest.param(case, target, id=f"{case.name}-{target}")
        for case in CASES
        for target in ("reference", "numba")
        if case.compiled or target == "reference"
    ],
)
def test_spikes_and_gradients_are_those_of_spikingjelly(case: Case, target: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, T, *case.shape, generator=generator, dtype=torch.float64)
    x = 0.6 + x

    theirs = _double(case.theirs())
    their_x = x.clone().requires_grad_()
    their_spikes = theirs(their_x)
    (their_spikes * weight).sum().backward()

    learnables = {
        name: parameter.detach().clone().requires_grad_()
        for name, parameter in theirs.named_parameters()
    }
    our_x = x.clone().requires_grad_()
    parameters = NEURONS[case.neuron].parameters(learnables, **case.ours)
    our_spikes, final = scan(our_x, None, parameters, target=target)
    (our_spikes * weight).sum().backward()

    assert 0.1 < our_spikes.mean() < 0.9
    assert torch.equal(our_spikes, their_spikes)
    torch.testing.assert_close(final[0], theirs.v, rtol=0, atol=1e-12)
    _agree(our_x, their_x)
    assert set(learnables) == {learnable.name for learnable in NEURONS[case.neuron].learnables}
    for name, parameter in theirs.named_parameters():
        _agree(learnables[name], parameter)


def _agree(ours: Tensor, theirs: Tensor) -> None:
    assert ours.grad is not None
    assert theirs.grad is not None
    assert bool((theirs.grad != 0).any())
    # Relative to the largest: the gradient of a layer's parameter is a sum over all its neurons.
    scale = max(1.0, float(theirs.grad.abs().max()))
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-12 * scale)


def test_every_surrogate_has_its_oracle() -> None:
    assert set(SURROGATES) <= {case.ours.get("surrogate") for case in CASES}

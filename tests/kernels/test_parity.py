"""Parity of every fused target with the reference, generated from the table of neurons."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from clifctl.kernels.cpu import numba_target
from clifctl.kernels.parity import SHAPES, Case, all_cases, axes, check, covering_cases
from clifctl.neurons import NEURONS, Neuron

NEURONS_HERE = list(NEURONS.values())
SPIKING = [neuron for neuron in NEURONS_HERE if neuron.spiking]
# What one kernel takes (float16 is converted), and the windows of its two backward functions.
HELD = {"float32": ("float32", "float16"), "float64": ("float64",), "bfloat16": ("bfloat16",)}
WINDOWS = (("full", "chunked:2", "prefix:2", "sliding:1"), ("sliding:2", "sliding:5"))


def has_surrogate(neuron: Neuron) -> bool:
    """Whether its surrogate gradient can be chosen."""
    return "surrogate" in neuron.hyperparameters.model_fields


def cheap_cases() -> list[tuple[Neuron, Case]]:
    """Every neuron with every dtype, window, shape and choice, and every pair of dtype, window,
    surrogate, shape and state on some neuron.

    To run a case takes milliseconds, to compile a function seconds: a neuron is compiled for each
    dtype with one surrogate and one backward function. Every neuron with every surrogate is in the
    full product.
    """
    cases = []
    for i, neuron in enumerate(SPIKING):
        for j, (held, dtypes) in enumerate(HELD.items()):
            # float64 with the default surrogate is compiled by other tests as well.
            turn = (i + j) % 4 if held != "float64" else (i + 1) % 4 if i < 4 else 0
            # Two of the three dtypes one function, the third the other.
            function = int(j == i % 3) ^ int(i % 2)
            for (k, window), dtype in itertools.product(enumerate(WINDOWS[function]), dtypes):
                shape = list(SHAPES)[(i + j + k) % 3]
                state = ("given", "initial")[(i + j // 2 + k) % 2]
                surrogate = axes(neuron)["surrogate"][turn if has_surrogate(neuron) else 0]
                cases.append(
                    (neuron, Case("numba", dtype, surrogate, window, shape, "defaults", state))
                )
        for number, choice in enumerate(axes(neuron)["choices"][1:]):
            shape, state = list(SHAPES)[number % 3], ("given", "initial")[number % 2]
            surrogate = "rectangle" if has_surrogate(neuron) else "none"
            cases.append(
                (neuron, Case("numba", "float64", surrogate, "full", shape, choice, state))
            )
    cases += [one for one in covering_cases(NEURONS_HERE) if not one[0].spiking]
    return cases


COVERING = cheap_cases()


def exhaustive(neuron: Neuron, case: Case) -> bool:
    """Whether another neuron's kernel has the same lines: the conversions of bfloat16, and one
    choice by itself, where this neuron has all of them turned at once."""
    if neuron.name in ("lif", "clif"):
        return False
    choices = axes(neuron)["choices"]
    return case.dtype == "bfloat16" or case.choices not in ("defaults", choices[-1])


@pytest.mark.parametrize(
    ("neuron", "case"),
    [
        pytest.param(
            neuron,
            case,
            id=f"{neuron.name}-{case}",
            marks=[pytest.mark.exhaustive] if exhaustive(neuron, case) else [],
        )
        for neuron, case in COVERING
    ],
)
def test_covering(neuron: Neuron, case: Case) -> None:
    outcome = check(neuron, case)
    assert outcome.passed, outcome


@pytest.mark.product
@pytest.mark.parametrize("name", NEURONS)
def test_full_product(name: str) -> None:
    failed = [o for o in (check(NEURONS[name], case) for case in all_cases(NEURONS[name]))
              if not o.passed]  # fmt: skip
    assert not failed, failed[:5]


@pytest.mark.parametrize(
    "made", [cheap_cases(), covering_cases(NEURONS_HERE)], ids=["here", "check"]
)
def test_the_covering_set_covers_every_pair(made: list[tuple[Neuron, Case]]) -> None:
    values = axes(SPIKING[0])
    del values["choices"]
    for first, second in itertools.combinations(values, 2):
        seen = {(getattr(case, first), getattr(case, second)) for _, case in made}
        assert seen >= set(itertools.product(values[first], values[second])), (first, second)
    for neuron in SPIKING:
        own = [case for other, case in made if other is neuron]
        for axis, expected in axes(neuron).items():
            given = {getattr(case, axis) for case in own}
            if axis == "surrogate" and made == COVERING and has_surrogate(neuron):
                assert len(given) >= 2
            else:
                assert given == set(expected), (neuron.name, axis)
    assert 80 < len(made) < len(list(all_cases(SPIKING[0]))) / 5


def test_little_is_left_out() -> None:
    cases = [(n, c) for n, c in COVERING if c.dtype == "float32" and n.spiking]
    assert len(cases) > 10
    excluded = [check(n, c).excluded_percent for n, c in cases]
    assert sum(excluded) / len(excluded) < 0.1


def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    neuron = NEURONS["plif"]
    right = numba_target.NumbaKernel.backward

    def off(self: Any, *args: Any, **options: Any) -> Any:
        gradients = right(self, *args, **options)
        return replace(gradients, learnables=tuple(g * (1 + 1e-9) for g in gradients.learnables))

    monkeypatch.setattr(numba_target.NumbaKernel, "backward", off)
    case = next(c for c in all_cases(neuron) if c.dtype == "float64" and c.window == "full")
    outcome = check(neuron, case)
    assert not outcome.passed
    assert outcome.quantity == "learnable w"


def test_only_the_input_is_kept_for_backward() -> None:
    from clifctl.kernels import scan

    for name, neuron in NEURONS.items():
        steps = 1 if name == "relu" else 6
        x = torch.randn(steps, 4, 8, 5, requires_grad=True)
        learnables = {
            p.name: p.start(neuron.hyperparameters(), channels=8, timesteps=steps).requires_grad_()
            for p in neuron.learnables
        }
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out, _ = scan(x, None, neuron.parameters(learnables), target="numba")
        assert out.requires_grad
        # Besides x there are the learnables and what their transforms keep: a few numbers.
        assert x.numel() * 4 <= sum(kept.values()) <= x.numel() * 4 * 1.6
        if not neuron.learnables:
            assert sum(kept.values()) == x.numel() * 4, name

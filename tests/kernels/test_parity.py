"""Parity of every fused target with the reference, generated from the table of neurons."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from clifctl.kernels import numba_target
from clifctl.kernels.parity import Case, all_cases, axes, check, covering_cases
from clifctl.neurons import NEURONS, Neuron

COVERING = covering_cases(list(NEURONS.values()))


@pytest.mark.parametrize(
    ("neuron", "case"), COVERING, ids=[f"{neuron.name}-{case}" for neuron, case in COVERING]
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


def test_the_covering_set_covers_every_pair() -> None:
    import itertools

    spiking = [neuron for neuron in NEURONS.values() if neuron.spiking]
    values = axes(spiking[0])
    del values["choices"]
    for first, second in itertools.combinations(values, 2):
        seen = {(getattr(case, first), getattr(case, second)) for _, case in COVERING}
        assert seen >= set(itertools.product(values[first], values[second]))
    for neuron in spiking:
        own = [case for other, case in COVERING if other is neuron]
        for axis, expected in axes(neuron).items():
            assert {getattr(case, axis) for case in own} == set(expected), (neuron.name, axis)
    assert 80 < len(COVERING) < len(list(all_cases(spiking[0]))) / 10


def test_little_is_left_out() -> None:
    cases = [(n, c) for n, c in COVERING if c.dtype == "float32" and n.spiking]
    assert len(cases) > 10
    excluded = [check(n, c).excluded_percent for n, c in cases]
    assert sum(excluded) / len(excluded) < 0.1


def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    neuron = NEURONS["plif"]
    right = numba_target.Kernel.backward

    def off(self: Any, *args: Any, **options: Any) -> Any:
        gradients = right(self, *args, **options)
        return replace(gradients, learnables=tuple(g * (1 + 1e-9) for g in gradients.learnables))

    monkeypatch.setattr(numba_target.Kernel, "backward", off)
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

"""The exact splits of the gradient in float64, against autograd and against sums written out."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clifctl.analysis.splits import FORMULAS, Paths, membrane_part, paths_of, split, vanished
from clifctl.kernels import scan
from clifctl.neurons import NEURONS

EXACT = 1e-12


def case(
    neuron: str, steps: int, seed: int, **values: Any
) -> tuple[Paths, Tensor, Tensor, Tensor, Any]:
    """The paths of random neurons, what arrives, the input current, autograd's gradient."""
    generator = torch.Generator().manual_seed(seed)
    x = 0.6 + torch.randn(steps, 5, 13, generator=generator, dtype=torch.float64)
    g = torch.randn(steps, 5, 13, generator=generator, dtype=torch.float64)
    parameters = NEURONS[neuron].parameters(**values)
    leaf = x.clone().requires_grad_()
    spikes, _ = scan(leaf, None, parameters, target="reference")
    (gradient,) = torch.autograd.grad(spikes, leaf, g)
    return paths_of(NEURONS[neuron], parameters.hyperparameters, x), g, x, gradient, parameters


LIFS = [
    {}, {"reset": "hard"}, {"reset": "hard", "v_reset": -0.06}, {"detach_reset": True},
    {"decay_input": True, "surrogate": "triangle"}, {"v_threshold": 0.5, "surrogate_width": 2.0},
    {"reset": "hard", "detach_reset": True, "v_reset": 0.2, "decay_input": True},
]  # fmt: skip


@pytest.mark.parametrize("values", LIFS, ids=lambda values: "-".join(map(str, values.values())))
def test_lif_splits_add_up_to_autograds_gradient(values: dict[str, Any]) -> None:
    paths, g, _, gradient, _ = case("lif", 20, 1, **values)
    for formula in FORMULAS:
        parts = split(paths, g, formula)
        assert float((parts.whole - gradient).abs().max()) < EXACT
        assert not parts.m2.any()
    assert float(gradient.abs().max()) > 0.1


@settings(max_examples=20, deadline=None)
@given(
    steps=st.integers(1, 20), tau=st.sampled_from([1.1, 1.5, 2.0, 5.0]), seed=st.integers(0, 10**6),
    threshold=st.sampled_from([0.5, 1.0]), surrogate=st.sampled_from(["rectangle", "sigmoid"]),
)  # fmt: skip
def test_clif_splits_add_up_to_autograds_gradient(
    steps: int, tau: float, seed: int, threshold: float, surrogate: str
) -> None:
    values = {"tau": tau, "v_threshold": threshold, "surrogate": surrogate}
    paths, g, _, gradient, _ = case("clif", steps, seed, **values)
    spatial = g * paths.h
    for formula in ("exact", "exact-xi"):
        parts = split(paths, g, formula)
        assert float((parts.whole - gradient).abs().max()) < EXACT
        assert torch.equal(parts.spatial, spatial)


def test_the_parts_are_the_sums_of_the_specification() -> None:
    """D1 and D2, term by term."""
    paths, g, _, gradient, _ = case("clif", 9, 3)
    assert paths.psi is not None
    assert paths.phi is not None
    assert paths.rho is not None
    last, zero = 8, torch.zeros_like(gradient[0])
    P, xi = g * paths.h, paths.eps + paths.phi * paths.psi
    dm = [zero] * 10
    mu = [zero] * 10
    for t in range(last + 1):
        for later in range(t + 1, last + 1):
            chain = gradient[later] * paths.phi[later - 1]
            for j in range(t + 1, later):
                chain = chain * paths.rho[j]
            dm[t] = dm[t] + chain
            if later >= t + 2:
                mu[t] = mu[t] + chain
    for formula, factor, potential in (("exact", paths.eps, dm), ("exact-xi", xi, mu)):
        parts = split(paths, g, formula)
        for t in range(last + 1):
            m1 = zero
            for later in range(t + 1, last + 1):
                m1 = m1 + (P[later] + paths.psi[later] * potential[later]) * factor[t:later].prod(0)
            assert float((parts.m1[t] - m1).abs().max()) < EXACT
            assert float((parts.m2[t] - paths.psi[t] * potential[t]).abs().max()) < EXACT


def test_what_the_paper_prints_is_not_the_gradient() -> None:
    paths, g, _, gradient, _ = case("clif", 8, 0)
    error = float((split(paths, g, "paper").whole - gradient).abs().max())
    assert 0.01 < error < 2.0
    # Without a path through m that could be counted twice, it is.
    paths, g, _, gradient, _ = case("clif", 1, 0)
    assert torch.equal(split(paths, g, "paper").whole, gradient)


@pytest.mark.parametrize("neuron", ["lif", "clif"])
def test_lags_by_windows_are_products_of_jacobians(neuron: str) -> None:
    """D3: P[t'] times the first entry of (1, 0) J[t] ... J[t'-1]."""
    steps = 11
    paths, g, x, gradient, parameters = case(neuron, steps, 5)
    P = g * paths.h
    before, total = torch.zeros_like(x), torch.zeros_like(x)
    for lag in range(steps):
        leaf = x.clone().requires_grad_()
        spikes, _ = scan(leaf, None, parameters, window=lag + 1, target="reference")
        (within,) = torch.autograd.grad(spikes, leaf, g)
        part, before = within - before, within
        total = total + part
        for t in range(steps - lag):
            expected = P[t + lag] * first_entry(paths, t, t + lag)
            assert float((part[t] - expected).abs().max()) < EXACT
        assert not (part[steps - lag :].abs() > EXACT).any()
        membrane = membrane_part(paths, g, lag)
        if neuron == "lif":
            assert float((membrane - part[: steps - lag]).abs().max()) < EXACT
    assert float((total - gradient).abs().max()) < EXACT


def first_entry(paths: Paths, t: int, later: int) -> Tensor:
    row = [torch.ones_like(paths.h[0]), torch.zeros_like(paths.h[0])]
    for j in range(t, later):
        if paths.psi is None or paths.phi is None or paths.rho is None:
            row[0] = row[0] * paths.eps[j]
            continue
        xi = paths.eps[j] + paths.phi[j] * paths.psi[j]
        row = [
            row[0] * xi + row[1] * paths.phi[j],
            row[0] * paths.psi[j] * paths.rho[j + 1] + row[1] * paths.rho[j + 1],
        ]
    return row[0]


def test_part_two_vanishes_where_the_membrane_was_in_the_window() -> None:
    """Eq. 14: by hand, for one LIF neuron whose u is 0.4, 0.6, 1.6, 0.9."""
    u = [0.4, 0.6, 1.6, 0.9]
    v = [0.0, 0.4, 0.6, 0.6]
    x = torch.tensor([a - 0.5 * b for a, b in zip(u, v, strict=True)], dtype=torch.float64)
    paths = paths_of(NEURONS["lif"], NEURONS["lif"].hyperparameters(), x.view(4, 1, 1))
    assert paths.h.flatten().tolist() == [0.0, 1.0, 0.0, 1.0]
    assert vanished(paths, 1).flatten().tolist() == [False, True, False]
    assert vanished(paths, 2).flatten().tolist() == [True, True]
    assert vanished(paths, 3).flatten().tolist() == [True]
    clif = paths_of(NEURONS["clif"], NEURONS["clif"].hyperparameters(), x.view(4, 1, 1))
    assert not vanished(clif, 3).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_part_two_is_zero_whatever_the_threshold(dtype: torch.dtype) -> None:
    """With a surrogate as wide as the threshold, 1 - threshold * h is 0 or 1, but for rounding."""
    generator = torch.Generator().manual_seed(2)
    x = 0.6 + torch.randn(5, 3, 7, generator=generator, dtype=dtype)
    for hundredths in range(1, 151):
        width = hundredths / 100
        values = NEURONS["lif"].hyperparameters(v_threshold=width, surrogate_width=width)
        paths = paths_of(NEURONS["lif"], values, x * width)
        inside = paths.h > 0
        assert inside.any()
        assert torch.equal(vanished(paths, 1), inside[:-1])
        assert torch.equal(vanished(paths, 2), inside[:-2] | inside[1:-1])


def test_other_neurons_are_refused() -> None:
    plif = NEURONS["plif"]
    with pytest.raises(ValueError, match="plif"):
        paths_of(plif, plif.hyperparameters(), torch.zeros(2, 1, 1))

"""Single neurons: traces against the step by hand, rates and autocorrelations."""

import pytest
import torch

from clifctl.analysis.autocorrelation import autocorrelation, normalised, without_mean
from clifctl.analysis.simulation import EVALUATE, rates_of, simulate
from clifctl.kernels.ir.program import OPERATIONS
from clifctl.neurons import NEURONS

# Neurons with one threshold: a membrane potential that an integer says has several.
SPIKING = [
    name
    for name, neuron in NEURONS.items()
    if neuron.spiking and neuron.hyperparameters().most_spikes == 1
]


def poisson(p: float, weight: float, steps: int, trials: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(11)
    return (torch.rand(steps, trials, generator=generator) < p).float() * weight


@pytest.mark.parametrize("name", SPIKING)
def test_the_membrane_potential_explains_every_spike(name: str) -> None:
    neuron = NEURONS[name]
    torch.manual_seed(0)
    x = poisson(0.4, 0.9, 37, 5)
    values = neuron.parameters({p.name: torch.zeros(()) for p in neuron.learnables}).hyperparameters
    found = simulate(neuron, values, x, target="reference")
    assert found.u is not None
    assert found.threshold is not None
    assert found.u.shape == found.threshold.shape == found.spikes.shape == (37, 5)
    assert torch.equal((found.u - found.threshold >= 0).float(), found.spikes)
    assert 0.0 < float(found.spikes.mean()) < 1.0
    assert list(found.states) == [state.name for state in neuron.states]
    if "u" in found.states:
        assert torch.allclose(found.u, found.states["u"])
    torch.manual_seed(0)
    rates = rates_of(neuron, values, x, target="reference")
    assert torch.allclose(rates, found.spikes.double().mean(0))


def test_clif_by_hand() -> None:
    """Two steps of current 1.2, tau 2: see the equations in clifctl/neurons/clif.py."""
    neuron = NEURONS["clif"]
    x = torch.full((2, 1), 1.2, dtype=torch.float64)
    found = simulate(neuron, neuron.hyperparameters(), x, target="reference")
    assert found.u is not None
    sigmoid = torch.sigmoid(torch.tensor([1.0], dtype=torch.float64)).item()
    v = 1.2 - (1 + sigmoid)
    assert found.spikes.flatten().tolist() == [1.0, 0.0]
    assert found.u.flatten().tolist() == pytest.approx([1.2, 1.2 + v / 2], rel=1e-12)
    assert found.states["m"][0].item() == 1.0
    later = torch.sigmoid(found.u[1] / 2).item()
    assert found.states["m"][1].item() == pytest.approx(later, rel=1e-12)
    assert list(found.signals) == ["u", "v", "m"]


def test_every_operation_of_a_program_can_be_evaluated() -> None:
    assert set(EVALUATE) == set(OPERATIONS)


@pytest.mark.parametrize(
    ("p", "weight", "rates", "mean_removed"),
    [
        (0.3, 1.0, (0.297, 0.149), {"u": (0.06, -0.01, 0.00), "m": (0.33, 0.12, 0.02)}),
        (0.7, 1.0, (0.699, 0.350), {"m": (0.08, 0.26, 0.08)}),
        (0.5, 0.8, (0.212, 0.185), {"m": (0.33, 0.19, 0.01)}),
        (0.2, 1.5, (0.198, 0.198), {}),
    ],
)
def test_the_poisson_experiment(
    p: float, weight: float, rates: tuple[float, float], mean_removed: dict[str, tuple[float, ...]]
) -> None:
    """What another program found with other random numbers, in 20 trials of 512 steps: rates within
    two standard errors, autocorrelations within three of the difference."""
    x = poisson(p, weight, 512, 20)
    for name, expected in zip(("lif", "clif"), rates, strict=True):
        neuron = NEURONS[name]
        found = simulate(neuron, neuron.hyperparameters(), x, target="reference")
        of_trials = found.spikes.double().mean(0)
        error = float(of_trials.std()) / 20**0.5
        assert abs(float(of_trials.mean()) - expected) < 2 * error + 0.0005
        if name == "lif":
            continue
        for signal, lags in mean_removed.items():
            r = normalised(autocorrelation(without_mean(found.signals[signal]), 4))[[1, 2, 4]]
            errors = r.std(1) / 20**0.5
            for lag, (value, error) in enumerate(zip(r.mean(1), errors, strict=True)):
                assert abs(float(value) - lags[lag]) < 3 * 2**0.5 * float(error) + 0.005


def test_autocorrelation_by_hand() -> None:
    x = torch.tensor([[1.0], [2.0], [0.0], [3.0]])
    assert autocorrelation(x, 3).flatten().tolist() == [14 / 4, 2 / 4, 6 / 4, 3 / 4]
    assert normalised(autocorrelation(x, 1)).flatten().tolist() == [1.0, 2 / 14]
    assert without_mean(x).flatten().tolist() == [-0.5, 0.5, -1.5, 1.5]

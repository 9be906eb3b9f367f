import pytest
import torch

from clifctl.errors import NeuronError
from clifctl.neurons import SURROGATES, spike


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_derivative_is_the_finite_difference_of_its_primitive(name: str, width: float) -> None:
    surrogate = SURROGATES[name]
    # A grid that avoids the kinks at +-width/2 by more than the step of the difference.
    at = torch.linspace(-2.013, 2.017, 401, dtype=torch.float64)
    step = 1e-6
    difference = (surrogate.primitive(at + step, width) - surrogate.primitive(at - step, width)) / (
        2 * step
    )
    assert torch.allclose(surrogate.derivative(at, width), difference, atol=1e-8)


@pytest.mark.parametrize("width", [1.0, 2.0])
def test_rectangle_counts_its_edge_as_inside(width: float) -> None:
    at = torch.tensor([-width / 2, width / 2, width / 2 + 1e-9], dtype=torch.float64)
    inside = SURROGATES["rectangle"].derivative(at, width)
    assert inside.tolist() == [1 / width, 1 / width, 0.0]


def test_spike_fires_at_equality_and_shows_nan() -> None:
    out = spike(torch.tensor([-0.1, 0.0, 0.1, float("nan"), float("inf")]))
    assert out[[0, 1, 2, 4]].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert out[3].isnan()


def test_spike_gradient_is_the_surrogate() -> None:
    distance = torch.tensor([-0.6, -0.5, 0.2, 0.6], dtype=torch.float64, requires_grad=True)
    (spike(distance, "rectangle", 1.0) * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert distance.grad is not None
    assert distance.grad.tolist() == [0.0, 2.0, 3.0, 0.0]


def test_unknown_surrogate_names_the_nearest() -> None:
    with pytest.raises(NeuronError, match="did you mean 'rectangle'"):
        spike(torch.zeros(1), "rectangel")

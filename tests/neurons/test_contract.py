from typing import Any

import pytest
import torch

from clifctl.errors import NeuronError
from clifctl.neurons import NEURONS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tau": 1.0}, "greater than 1"),
        ({"tau": "2"}, "must be a number"),
        ({"tau": float("nan")}, "finite"),
        ({"v_threshold": 0.0}, "greater than 0"),
        ({"tau": "2"}, "tau = '2': must be a number"),
        ({"taus": 2.0}, r"unknown hyperparameter 'taus' \(did you mean 'tau'"),
        ({"surrogate": "rect"}, "unknown surrogate 'rect'"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(NeuronError, match=message):
        NEURONS["clif"].parameters(**values)


def test_learnable_parameters_can_be_had_as_they_are_before_training() -> None:
    with pytest.raises(NeuronError, match="learnable parameter 'w' is missing") as missing:
        NEURONS["plif"].parameters()
    assert ".parameters_at_start(channels=C, timesteps=T)" in str(missing.value.hint)
    found = NEURONS["glif_channel"].parameters_at_start(channels=3, timesteps=5)
    shapes = {name: tuple(tensor.shape) for name, tensor in found.learnables.items()}
    assert shapes["conduct"] == (5, 3)
    plif = NEURONS["plif"].parameters_at_start(channels=3, timesteps=5, tau=4.0)
    assert torch.sigmoid(plif.learnables["w"]).item() == pytest.approx(0.25)
    wrong: Any = 0.5
    with pytest.raises(NeuronError, match=r"'w' must be a tensor, got 0\.5"):
        NEURONS["plif"].parameters({"w": wrong})
    with pytest.raises(NeuronError, match="a mapping from their names") as values:
        NEURONS["clif"].parameters(wrong)
    assert "given by name" in str(values.value.hint)


def test_every_neuron_describes_itself() -> None:
    names = "if lif plif klif glif glif_channel clif alif cuba tclif ilif relu"
    assert list(NEURONS) == names.split()
    for name, neuron in NEURONS.items():
        assert neuron.name == name
        assert neuron.title
        assert neuron.paper
        for field in neuron.hyperparameters.model_fields.values():
            assert field.description
        for state in neuron.states:
            assert state.description

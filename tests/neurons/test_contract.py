import pytest

from clifctl.errors import NeuronError
from clifctl.neurons import NEURONS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tau": 1.0}, "greater than 1"),
        ({"tau": "2"}, "valid number"),
        ({"tau": float("nan")}, "finite"),
        ({"v_threshold": 0.0}, "greater than 0"),
        ({"taus": 2.0}, "Extra inputs"),
        ({"surrogate": "rect"}, "unknown surrogate 'rect'"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(NeuronError, match=message):
        NEURONS["clif"].parameters(**values)


def test_every_neuron_describes_itself() -> None:
    names = "lif plif klif glif glif_channel clif alif cuba tclif relu"
    assert list(NEURONS) == names.split()
    for name, neuron in NEURONS.items():
        assert neuron.name == name
        assert neuron.title
        assert neuron.paper
        for field in neuron.hyperparameters.model_fields.values():
            assert field.description
        for state in neuron.states:
            assert state.description

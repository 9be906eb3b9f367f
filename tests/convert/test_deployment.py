"""Nets on LIF neurons: the shift identity, what can be deployed, batch norm estimated anew."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clifctl.convert.deployment import (
    PAPER_RESETS,
    Reset,
    lif_of,
    recalibrate,
    require_deployable,
)
from clifctl.convert.folding import fold_net
from clifctl.convert.graph import read_net
from clifctl.errors import ConversionError, UsageError
from clifctl.kernels import scan
from clifctl.models import NeuronChoice, TemporalBatchNorm
from clifctl.neurons import NEURONS
from clifctl.paper import deployment

LIF = NEURONS["lif"]


@given(shift=st.integers(0, 512), seed=st.integers(0, 2**16), tau=st.sampled_from([2.0, 4.0]))
@settings(max_examples=30, deadline=None)
def test_a_hard_reset_to_v_r_is_a_zero_reset_with_a_higher_threshold(
    shift: int, seed: int, tau: float
) -> None:
    """On a grid of 2^-10 float64 rounds nothing, so that ties are equal too."""
    v_reset = -shift / 1024
    x = torch.randint(-512, 2048, (5, 3, 7), generator=torch.Generator().manual_seed(seed))
    current = x.double() / 1024
    biased = LIF.parameters(reset="hard", v_reset=v_reset, tau=tau)
    raised = LIF.parameters(reset="hard", v_threshold=1 - v_reset, tau=tau)
    spikes, (v,) = scan(current, None, biased, target="reference")
    same, (shifted,) = scan(current, None, raised, target="reference")
    assert torch.equal(spikes, same)
    assert torch.equal(v, shifted + v_reset)
    assert 0 < spikes.sum() < spikes.numel()


def test_the_columns_are_those_of_the_papers_table() -> None:
    published = deployment("cifar10", "clif")
    assert published is not None
    assert [None, *PAPER_RESETS] == list(published.accuracy_percent)


def test_constants_that_both_neurons_have_stay() -> None:
    clif = NEURONS["clif"]
    values = clif.hyperparameters(tau=1.5, v_threshold=0.8, surrogate="sigmoid", surrogate_width=2)
    choice = lif_of(NeuronChoice(clif, values, window=2, target="reference"), Reset(-0.06))
    assert choice.neuron is LIF
    assert (choice.window, choice.target) == (2, "reference")
    assert dict(choice.hyperparameters) == {
        **dict(values),
        "reset": "hard",
        "v_reset": -0.06,
        "detach_reset": False,
        "decay_input": False,
    }
    assert dict(lif_of(choice, Reset()).hyperparameters)["reset"] == "soft"


@pytest.mark.parametrize("v_reset", [1.0, -1.0, 3.0])
def test_a_reset_must_lie_below_the_threshold(v_reset: float) -> None:
    choice = NeuronChoice(LIF, LIF.hyperparameters())
    with pytest.raises(UsageError, match="must lie between -1 and 1, the threshold"):
        lif_of(choice, Reset(v_reset))


@pytest.mark.parametrize(
    ("name", "said"),
    [("relu", "an ANN"), ("plif", "learned parameters \\(w\\)"), ("glif", "learned parameters")],
)
def test_what_cannot_run_on_lif_is_refused(name: str, said: str) -> None:
    neuron = NEURONS[name]
    with pytest.raises(ConversionError, match=said):
        require_deployable(neuron, neuron.hyperparameters(), "net.pt")


def test_statistics_are_the_mean_over_all_batches(lif_net: object) -> None:
    net, shape = lif_net("mlp")
    norms = [module for module in net.modules() if isinstance(module, TemporalBatchNorm)]
    generator = torch.Generator().manual_seed(3)
    batches = [torch.randn(2, 9, *shape, generator=generator).double() for _ in range(3)]
    recalibrate(net, iter(batches), repeat=1)
    inner = net.get_submodule("features.0.connection")
    currents = torch.stack([torch.stack([inner(x) for x in batch]) for batch in batches])
    assert torch.allclose(norms[0].running_mean, currents.mean((0, 1, 2)), atol=1e-12)
    assert torch.allclose(norms[0].running_var, currents.var(2).mean((0, 1)), atol=1e-12)
    assert not torch.equal(norms[1].running_mean, torch.zeros_like(norms[1].running_mean))
    assert [norm.momentum for norm in norms] == [0.1, 0.1]
    assert not any(module.training for module in net.modules())


def test_a_norm_that_was_folded_has_no_statistics_to_estimate(lif_net: object) -> None:
    net, shape = lif_net("mlp")
    x = torch.randn(2, 9, *shape, generator=torch.Generator().manual_seed(3)).double()
    fold_net(net, read_net(net, shape))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    recalibrate(net, iter([x, 2 * x]), repeat=1)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name

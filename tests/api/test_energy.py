"""`clifctl.energy_of`: the command's numbers, and those of anybody's module worked by hand."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import clifctl as package
from clifctl.errors import ArgumentError, EnergyError, ModelError
from clifctl.nn import CLIF, LIF, FoldTime, ReLU


class TwoLayers(nn.Module):
    """3 features, 4 neurons, 5 neurons, 2 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.one = FoldTime(nn.Linear(3, 4))
        self.first = LIF(v_threshold=0.5)
        self.two = FoldTime(nn.Linear(4, 5))
        self.second = LIF(v_threshold=0.5)
        self.out = FoldTime(nn.Linear(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.second(self.two(self.first(self.one(x))))
        result: Tensor = self.out(spikes)
        return result


def plain(document: dict[str, Any]) -> Any:
    return json.loads(json.dumps(document))


def test_the_numbers_are_those_of_the_command(
    clifctl: Callable[..., Any], run: Path, recipe: package.Recipe
) -> None:
    command = clifctl("energy", "run/last.pt", "--per-layer", "--json").json
    loaded = package.load(run / "last.pt")
    by_path = package.energy_of("run/last.pt", per_layer=True)
    assert plain(by_path.to_dict()) == command
    for one in (package.energy_of(loaded), package.energy_of(loaded.net, loaded.recipe)):
        own, theirs = one.rows[-1], by_path.rows[-1]
        assert (own.paper, own.corrected) == (theirs.paper, theirs.corrected)
        assert own.firing_rates == theirs.firing_rates
        assert own.accuracy_percent == theirs.accuracy_percent
    rates = [0.1, 0.2, 0.1, 0.2, 0.3]
    Path("rates.json").write_text(json.dumps({"rates": rates}))
    arguments = ["digits_snn5", "timesteps=3", "--rates", "rates.json", "--method", "sop"]
    command = clifctl("energy", *arguments, "--constants", "7nm", "--json").json
    given = package.energy_of(
        "digits_snn5", timesteps=3, rates=rates, methods=["sop"], constants="7nm"
    )
    expected = plain(given.to_dict())
    assert expected["rows"][1].pop("rates") == "given"
    assert command["rows"][1].pop("rates") == "rates.json"
    assert expected == command
    changed = package.load_recipe("digits_snn5", timesteps=3)
    by_layer = {row.layer: row.firing_rate for row in given.rows[1].firing_rates}
    again = package.energy_of(changed, rates=by_layer, methods=["sop"], constants="7nm")
    assert again == given


def test_a_module_is_costed_as_the_net_of_a_recipe_is() -> None:
    recipe = package.load_recipe("digits_events_snn5", **{"model.channels": [2, 3, 2, 2, 4]})
    rates = [0.1, 0.2, 0.1, 0.2, 0.3]
    of_recipe = package.energy_of(recipe, rates=rates, per_layer=True)
    net = package.build_net(recipe)
    shape, steps = recipe.input_shape, recipe.timesteps
    own = package.energy_of(net, input_shape=shape, timesteps=steps, rates=rates, per_layer=True)
    for mine, theirs in zip(own.rows, of_recipe.rows, strict=True):
        assert mine.corrected == theirs.corrected
        assert mine.layers is not None
        assert theirs.layers is not None
        assert [one.corrected for one in mine.layers] == [one.corrected for one in theirs.layers]
        assert (mine.source, mine.data, mine.parameters) == ("SequentialNet", None, net_size(net))


def net_size(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_a_module_by_hand() -> None:
    """Weights that let every neuron of the first layer spike in each of 3 steps, and none of the
    second: 4 spikes reach 5 neurons in a step, and besides there are biases. The input is
    multiplied: 3 values reach 4 neurons."""
    net = TwoLayers()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.one[0].bias.fill_(5.0)
        net.two[0].weight.fill_(-1.0)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    batches = [torch.rand(3, 5, 3), torch.rand(3, 2, 3)]
    result = package.energy_of(net.train(), inputs=iter(batches), per_layer=True)
    own = result.rows[1]
    assert own.layers is not None
    assert [(row.layer, row.neurons, row.firing_rate) for row in own.firing_rates] == [
        ("net.first.neurons", 4, 1.0),
        ("net.second.neurons", 5, 0.0),
    ]
    counted = {layer.layer: layer.corrected for layer in own.layers}
    assert counted["net.one.0"].macs == 3 * 3 * 4
    assert (counted["net.two.0"].macs, counted["net.two.0"].acs) == (0, 3 * (4 * 5 + 5))
    assert (counted["net.out.0"].macs, counted["net.out.0"].acs) == (0, 3 * 2)
    assert net.training
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    given = package.energy_of(net, input_shape=[3], timesteps=3, rates=[1.0, 0.0], per_layer=True)
    assert given.rows[1].corrected == own.corrected
    assert "net.first.neurons" in (result._repr_html_() or "")
    unknown = package.energy_of(net, input_shape=[3], timesteps=3)
    assert unknown.rows[1].rates == "unknown"
    assert unknown.rows[1].corrected.total_mj is None


def test_what_cannot_be_costed_is_told() -> None:
    shape: dict[str, Any] = {"input_shape": [3], "timesteps": 2}
    with pytest.raises(ArgumentError, match=r"^input_shape: a module needs it"):
        package.energy_of(TwoLayers(), timesteps=2)
    with pytest.raises(ArgumentError, match=r"^timesteps = 4: that of the inputs is 2"):
        package.energy_of(TwoLayers(), inputs=torch.rand(2, 1, 3), timesteps=4)
    with pytest.raises(ArgumentError, match=r"^inputs: a batch is \[3, 1, 3\]"):
        package.energy_of(TwoLayers(), inputs=[torch.rand(2, 1, 3), torch.rand(3, 1, 3)])
    with pytest.raises(ModelError, match="Linear runs no layer of neurons"):
        package.energy_of(nn.Linear(3, 3), **shape)
    two = nn.Sequential(LIF(), CLIF())
    with pytest.raises(EnergyError, match="several kinds of neurons: lif, clif"):
        package.energy_of(two, **shape)
    with pytest.raises(EnergyError, match="too few firing rates: 1 for 2"):
        package.energy_of(TwoLayers(), **shape, rates=[0.5])
    with pytest.raises(EnergyError, match="the paper has no"):
        package.energy_of(TwoLayers(), **shape, rates="paper")
    with pytest.raises(ArgumentError, match=r"^input_shape: the recipe says"):
        package.energy_of("digits_snn5", input_shape=[1, 8, 8])


def test_an_ann_is_one_row() -> None:
    ann = nn.Sequential(FoldTime(nn.Linear(3, 3)), ReLU())
    (row,) = package.energy_of(ann, input_shape=[3], timesteps=1).rows
    assert (row.neuron, row.rates, row.corrected.macs) == ("relu", "none", 9)


class Bessel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.i0e(x)


def test_what_has_no_price_is_named() -> None:
    result = package.energy_of(nn.Sequential(LIF(), Bessel()), input_shape=[3], timesteps=2)
    for row in result.rows:
        assert [(one.layer, one.function) for one in row.unpriced] == [("net.1", "special_i0e")]
    assert "special_i0e in 'net.1'" in result.assumptions[0]


def test_that_rates_are_measured_is_logged(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="clifctl"):
        package.energy_of(run / "last.pt")
    said = [(one.levelname, one.getMessage()) for one in caplog.records if "meas" in one.message]
    assert said == [("INFO", f"measuring firing rates of '{run / 'last.pt'}' on its test data")]


@pytest.mark.parametrize("step_mode", ["m", "s"])
def test_spikingjellys_nodes_are_costed_as_ours(step_mode: str) -> None:
    from spikingjelly.activation_based import layer, neuron

    linear, out = (nn.Linear(n, m) for n, m in ((3, 4), (4, 2)))
    ours = nn.Sequential(FoldTime(linear), LIF(tau=3.0, decay_input=True), FoldTime(out))
    theirs = nn.Sequential(
        layer.SeqToANNContainer(linear) if step_mode == "m" else linear,
        neuron.LIFNode(tau=3.0, v_reset=None, step_mode=step_mode),
        layer.SeqToANNContainer(out) if step_mode == "m" else out,
    )
    with torch.no_grad():
        linear.bias.fill_(3.5)
    inputs = 5 * torch.rand(3, 6, 3)
    costs = [package.energy_of(net, inputs=inputs).rows[1] for net in (ours, theirs)]
    assert costs[0].firing_rates[0].firing_rate == costs[1].firing_rates[0].firing_rate > 0
    assert costs[0].corrected == costs[1].corrected
    assert isinstance(theirs[1], neuron.LIFNode)  # a copy was measured


def test_a_module_with_a_recipe_is_evaluated_on_its_data() -> None:
    recipe = package.load_recipe("digits_snn5", timesteps=2)
    net = nn.Sequential(FoldTime(nn.Flatten(), nn.Linear(64, 5)), LIF(), FoldTime(nn.Linear(5, 10)))
    result = package.evaluate(net, recipe)
    assert result.samples == 500
    assert [layer.layer for layer in result.firing_rates] == ["net.1.neurons"]
    row = package.energy_of(net, recipe).rows[-1]
    assert row.accuracy_percent == result.accuracy_percent
    assert row.firing_rates[0].firing_rate == result.firing_rates[0].firing_rate
    narrow = nn.Sequential(FoldTime(nn.Flatten(), nn.Linear(64, 5)), LIF())
    with pytest.raises(ModelError, match="and 10 classes: it must be"):
        package.evaluate(narrow, recipe)

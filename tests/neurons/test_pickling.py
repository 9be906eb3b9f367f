"""Neurons, layers and nets through pickle, torch.save and copy."""

import copy
import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from clifctl.errors import NeuronError
from clifctl.models import MODELS, NeuronChoice, SpikingLayer, SpikingNet
from clifctl.neurons import (
    NEURONS,
    LeakyHyperparameters,
    Learnable,
    Neuron,
    State,
    pickling,
)
from clifctl.neurons.clif import step
from clifctl.neurons.loading import FOREIGN_NEURONS, load_neuron

OWN = """
from pathlib import Path
from pydantic import Field
from clifctl.neurons import LeakyHyperparameters, Learnable, Neuron, State, spike
with (Path(__file__).parent / "runs").open("a") as runs:
    runs.write("x")

class Own(LeakyHyperparameters):
    gain: float = Field(1.0, description="gain")

FOO = Neuron(
    name="foo", title="", paper="",
    step=lambda x, state, p: (spike(p.k * x - p.v_threshold), (state[0] + p.gain * x,)),
    states=(State("v", "membrane", lambda p: p.gain),),
    hyperparameters=Own,
    learnables=(Learnable("k", "scale", "scalar", lambda p, T: 1.0),),
)
"""


def start(p: LeakyHyperparameters) -> float:
    return p.tau


def built(**changed: object) -> Neuron:
    parts = {"step": step, "states": (State("v", "v"), State("m", "m", start))}
    parts |= {"name": "mine", "title": "", "paper": "", "hyperparameters": LeakyHyperparameters}
    return Neuron(**{**parts, **changed})


def layer_of(neuron: Neuron, **values: object) -> SpikingLayer:
    choice = NeuronChoice(neuron, neuron.hyperparameters(**values), target="reference")
    return choice.layer(3, 4)


def saved_and_loaded(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


@pytest.mark.parametrize("name", NEURONS)
def test_a_neuron_of_the_table_is_pickled_by_its_name(name: str) -> None:
    neuron = NEURONS[name]
    content = pickle.dumps(neuron)
    assert pickle.loads(content) is neuron
    assert len(content) < 100  # a name, nothing of what it is made of
    assert copy.deepcopy(neuron) is neuron
    assert copy.copy(neuron) is neuron


@pytest.mark.parametrize("neuron", ["plif", "glif_channel", "clif"])
def test_a_net_is_saved_whole_and_loaded(neuron: str) -> None:
    torch.manual_seed(0)
    chosen = NEURONS[neuron]
    choice = NeuronChoice(chosen, chosen.hyperparameters(surrogate_width=0.7), target="reference")
    net: SpikingNet = (
        MODELS["snn5"]
        .build(
            MODELS["snn5"].options(
                channels=(2, 3, 2, 3, 2), kernel_sizes=(3,) * 5, strides=(1,) * 5
            ),
            input_shape=(1, 5, 5),
            classes=3,
            timesteps=2,
            neuron=choice,
        )
        .double()
    )
    x: Tensor = torch.randn(2, 3, 1, 5, 5, dtype=torch.float64)
    logits = net(x)[0]
    logits.square().sum().backward()  # what a step leaves behind is no obstacle
    for other in (saved_and_loaded(net), copy.deepcopy(net)):
        layers = [m for m in other.modules() if isinstance(m, SpikingLayer)]
        assert {layer.neuron for layer in layers} == {chosen}
        assert {layer.hyperparameters for layer in layers} == {choice.hyperparameters}
        # A forward in training mode moves the running averages alone.
        assert torch.equal(other(x)[0], logits)


def test_a_layer_that_was_pickled_before_window_mode_had_that_name_is_loaded() -> None:
    chosen = NEURONS["clif"]
    choice = NeuronChoice(chosen, chosen.hyperparameters(), 2, "prefix", target="reference")
    layer = choice.layer(1, 4)
    state = layer.__getstate__()
    state["window_reading"] = state.pop("window_mode")
    loaded = SpikingLayer.__new__(SpikingLayer)
    loaded.__setstate__(state)
    assert loaded.window_mode == "prefix"


def test_a_neuron_of_a_file_is_found_again_but_the_file_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    monkeypatch.setattr(FOREIGN_NEURONS, "of_files", {})
    neuron = load_neuron(f"{file}:FOO", NEURONS)
    layer = layer_of(neuron, gain=3.0)
    content = pickle.dumps(layer)
    again = pickle.loads(content)
    assert again.neuron is neuron
    assert again.hyperparameters == layer.hyperparameters
    # As in another process:
    monkeypatch.setattr(FOREIGN_NEURONS, "of_files", {})
    with pytest.raises(NeuronError, match=r"own.py:FOO.*has not loaded") as refused:
        pickle.loads(content)
    assert f"load_neuron('{file}:FOO', NEURONS)" in str(refused.value.hint)
    with pytest.raises(NeuronError, match="has not loaded"):
        pickling.named(f"{file}:FOO")
    assert (tmp_path / "runs").read_text() == "x"
    load_neuron(f"{file}:FOO", NEURONS)
    loaded = pickle.loads(content)
    assert loaded.hyperparameters.gain == 3.0
    x = torch.tensor([[[0.5, 1.5, 2.0]]])
    assert torch.equal(loaded(x)[0], layer(x)[0])


def test_a_neuron_that_is_built_in_code_is_its_declaration() -> None:
    neuron = built()
    again = pickle.loads(pickle.dumps(neuron))
    assert again == neuron
    assert again is not neuron
    assert again.states[1].start(LeakyHyperparameters(tau=3.0)) == 3.0


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"step": lambda x, state, p: (x, state)}, "step"),
        ({"states": (State("v", "v", lambda p: 1.0),)}, "initial of 'v'"),
        (
            {"learnables": (Learnable("k", "k", "scalar", lambda p, T: 1.0),)},
            "initial of 'k'",
        ),
    ],
)
def test_what_has_no_name_is_said(changed: dict[str, object], what: str) -> None:
    neuron = built(**changed)
    with pytest.raises(NeuronError, match=rf"neuron 'mine' cannot be pickled: its {what}") as no:
        pickle.dumps(neuron)
    assert "FILE.py:NAME" in str(no.value.hint)
    assert copy.deepcopy(neuron) is neuron  # which needs no name

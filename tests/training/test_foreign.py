"""State dicts of the authors' code: written in their layout, read into our nets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.errors import CheckpointError
from clifctl.models import MODELS, NeuronChoice, SpikingNet
from clifctl.neurons import NEURONS
from clifctl.training.foreign import load_foreign, load_foreign_weights

Run = Callable[..., Any]
SHAPES = {
    "resnet18": (3, 9, 9),
    "vgg11": (2, 32, 32),
    "vgg13": (2, 32, 32),
    "vggsnn": (2, 16, 16),
    "snn5": (3, 24, 24),
    "spike_driven_transformer": (2, 8, 9),
}


def net_of(model: str, neuron: str = "clif", *, seed: int = 0, classes: int = 10) -> SpikingNet:
    torch.manual_seed(seed)
    options = {"channels": (2, 3, 2, 3, 4)} if model == "snn5" else {"width": 2}
    choice = NeuronChoice(NEURONS[neuron], NEURONS[neuron].hyperparameters())
    return MODELS[model].build(
        MODELS[model].options(**options),
        input_shape=SHAPES[model],
        classes=classes,
        timesteps=2,
        neuron=choice,
    )


def theirs(net: SpikingNet) -> dict[str, torch.Tensor]:
    """The weights under the authors' names."""
    found = {}
    for key, value in net.state_dict().items():
        module, _, leaf = key.rpartition(".")
        found[f"{net.authors_names[module]}.{leaf}"] = value
    return found


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("model", SHAPES)
def test_the_authors_checkpoints_load(tmp_path: Path, model: str, prefix: str) -> None:
    path = tmp_path / "checkpoint_max.pth"
    written = net_of(model, "plif", seed=1)
    document = {
        "net": {
            **{prefix + key: value for key, value in theirs(written).items()},
            **{prefix + key: torch.ones(2) for key in written.authors_unused},
        },
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "lr_scheduler": {"T_max": 200},
        "epoch": 199,
        "max_test_acc": 0.9541,
    }
    torch.save(document, path)
    foreign = load_foreign(path)
    assert foreign.epoch == 199
    assert foreign.accuracy_percent == pytest.approx(95.41)
    net = net_of(model, "plif", seed=2)
    load_foreign_weights(net, foreign, path)
    for key, value in written.state_dict().items():
        assert torch.equal(net.state_dict()[key], value), key


def test_clif_and_lif_nets_take_the_same_file_and_plain_state_dicts_too(tmp_path: Path) -> None:
    path = tmp_path / "plain.pt"
    torch.save(net_of("resnet18", "lif").state_dict(), path)  # our own names
    net = net_of("resnet18", "clif", seed=3)
    load_foreign_weights(net, load_foreign(path), path)
    assert torch.equal(net.conv1.weight, net_of("resnet18").conv1.weight)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"

    def refused(change: Callable[[dict[str, torch.Tensor]], object], classes: int = 10) -> Any:
        state = theirs(net_of("resnet18", classes=classes))
        change(state)
        torch.save({"net": state}, path)
        net = net_of("resnet18", seed=4)
        before = {key: value.clone() for key, value in net.state_dict().items()}
        with pytest.raises(CheckpointError) as caught:
            load_foreign_weights(net, load_foreign(path), path)
        assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())
        return caught.value

    missing = refused(lambda state: state.pop("layer1.0.conv1.weight"))
    assert "1 missing: layer1.0.conv1.weight" in missing.message
    renamed = refused(lambda s: s.update({"layer1.0.conv9.weight": s.pop("layer1.0.conv1.weight")}))
    assert "1 unexpected: layer1.0.conv9.weight (near 'layer1.0.conv1.weight')" in renamed.message
    hundred = refused(lambda state: None, classes=100)
    assert "linear.weight is [100, 16], the net has [10, 16]" in hundred.message
    assert hundred.hint is not None
    assert "the file has 100 classes, the data set 10" in hundred.hint
    events = refused(lambda s: s.update({"conv1.weight": s["conv1.weight"][:, :2]}))
    assert events.hint is not None
    assert "images of 2 channels" in events.hint
    plif = refused(lambda state: state.update({"relu1.w": torch.zeros(())}))
    assert "1 unexpected: relu1.w" in plif.message
    many = refused(lambda state: [state.pop(key) for key in list(state) if "bias" in key])
    assert "and" in many.message
    assert "more" in many.message


def test_files_without_a_state_dict_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    for document in ({"net": {"a": 1}}, {}, {"epoch": 3}):
        torch.save(document, path)
        with pytest.raises(CheckpointError, match="holds no state dict of tensors"):
            load_foreign(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds no mapping"):
        load_foreign(path)


def test_eval_takes_weights_of_other_code(clifctl: Run, tiny: list[str], tmp_path: Path) -> None:
    run = clifctl("train", "digits_snn5", *tiny, "--out", "run", "--json").json
    weights = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    names = {"connection": "fwd.0", "norm": "fwd.1"}
    other = {}
    for key, value in weights.items():
        for ours, authors in names.items():
            key = key.replace(f".{ours}.", f".{authors}.")
        other[f"module.{key}"] = value
    torch.save({"net": other, "epoch": 1, "max_test_acc": 0.5}, tmp_path / "theirs.pth")
    plain = clifctl("eval", "theirs.pth")
    assert plain.code == 2
    assert "loads with --recipe, or --model and --data" in plain.err
    shape = ["model.channels=[2,2,2,2,4]", "timesteps=2"]
    by_recipe = clifctl("eval", "theirs.pth", "--recipe", "digits_snn5", *shape, "--json").json
    assert by_recipe["accuracy_percent"] == run["accuracy_percent_last"]
    assert by_recipe["seed"] is None
    assert by_recipe["epoch"] == 1
    bare = ["--model", "snn5", "--data", "digits", "neuron.name=clif", *shape]
    kernels = ["model.kernel_sizes=[3,3,3,3,3]", "model.strides=[1,2,1,1,2]"]
    assert (
        clifctl("eval", "theirs.pth", *bare, *kernels, "--json").json["accuracy_percent"]
        == run["accuracy_percent_last"]
    )
    half = clifctl("eval", "theirs.pth", "--model", "snn5")
    assert half.code == 2
    assert "need --recipe, or both --model and --data" in half.err
    own = clifctl("eval", "run/last.pt", "timesteps=3")
    assert own.code == 2
    assert "evaluated as it was trained" in own.err

"""State dicts of the authors' code: written in their layout, read into our nets."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clifctl.errors import CheckpointError
from clifctl.models import MODELS, NeuronChoice, SpikingNet
from clifctl.neurons import NEURONS
from clifctl.training.checkpoint import read_document
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


@pytest.mark.parametrize("prefix", ["", "module._orig_mod."])
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


def loaded(document: Any, path: Path) -> SpikingNet:
    torch.save(document, path)
    net = net_of("snn5", seed=2)
    load_foreign_weights(net, load_foreign(path), path)
    return net


WRITTEN = theirs(net_of("snn5", seed=1))
PREFIXES = ("module.", "_orig_mod.", "_orig_mod.module.", "model.", "model._orig_mod.", "a.b.c.d.")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("place", ["model_state_dict", "state_dict", "weights_of_mine"])
def test_prefixes_and_places_are_found(tmp_path: Path, prefix: str, place: str) -> None:
    state = {prefix + key: value for key, value in WRITTEN.items()}
    state["criterion.weight"] = torch.ones(10)  # of Lightning's module, not of the net
    net = loaded({place: state, "epoch": 3}, tmp_path / "x.ckpt")
    for key, value in net_of("snn5", seed=1).state_dict().items():
        assert torch.equal(net.state_dict()[key], value), key


def test_parts_that_are_compiled_by_themselves(tmp_path: Path) -> None:
    key = next(iter(WRITTEN))
    first, _, rest = key.partition(".")
    state = {**WRITTEN, f"{first}._orig_mod.{rest}": WRITTEN[key]}
    del state[key]
    assert torch.equal(loaded(state, tmp_path / "x.pt").state_dict()[_own(key)], WRITTEN[key])


def _own(key: str) -> str:
    net = net_of("snn5")
    return next(own for own, name in zip(net.state_dict(), theirs(net), strict=True) if name == key)


class Nobodys(SpikingNet):
    """A net that has no authors, and says nothing of names."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, state: Any = None, repeat: int = 1) -> Any:
        return self.linear(x), ()


def test_a_net_without_authors_takes_its_own_names(tmp_path: Path) -> None:
    written, net = Nobodys(), Nobodys()
    torch.save(written.state_dict(), tmp_path / "weights.pth")
    load_foreign_weights(net, load_foreign(tmp_path / "weights.pth"), tmp_path / "weights.pth")
    assert torch.equal(net.linear.weight, written.linear.weight)
    assert torch.equal(net.linear.bias, written.linear.bias)


def test_counts_of_batches_may_be_missing(tmp_path: Path) -> None:
    kept = {key: value for key, value in WRITTEN.items() if "num_batches_tracked" not in key}
    assert len(kept) < len(WRITTEN)
    state = loaded({"net": kept}, tmp_path / "x.pt").state_dict()
    counts = [value for key, value in state.items() if key.endswith("num_batches_tracked")]
    assert counts == [torch.tensor(0)] * len(counts)
    assert torch.equal(state[_own(next(iter(kept)))], kept[next(iter(kept))])


def test_two_nets_in_one_file_are_not_chosen_from(tmp_path: Path) -> None:
    twice = {prefix + key: value for key, value in WRITTEN.items() for prefix in ("", "ema.")}
    with pytest.raises(CheckpointError, match=r"holds the net 2 times: '', 'ema.'"):
        loaded(twice, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"several state dicts: 2 keys: student, teacher"):
        loaded({"student": WRITTEN, "teacher": WRITTEN}, tmp_path / "x.pt")


def test_what_stands_beside_the_weights_is_read_as_nothing_or_a_number(tmp_path: Path) -> None:
    path = tmp_path / "timm.pth.tar"
    document = {
        "state_dict": WRITTEN,
        "epoch": np.int64(199),
        "max_test_acc": np.float64(0.9541),
        "metric": np.float32(95.41),
        "arch": "sdt",
        "args": Namespace(lr=0.1, output=tmp_path, nested=Namespace(seed=np.uint8(3))),
        "generator": np.random.RandomState(0).get_state(),
        "version": 2,
    }
    loaded(document, path)
    foreign = load_foreign(path)
    assert foreign.epoch == 199
    assert foreign.accuracy_percent == 100.0 * 0.9541


@pytest.mark.parametrize("kind", ["?", "b", "i2", ">i4", "i8", "B", "u2", "u4", ">u8", "f2", ">f8"])
def test_scalars_of_numpy_become_numbers(tmp_path: Path, kind: str) -> None:
    scalar = np.array([1.5]).astype(kind)[0]
    torch.save({"x": scalar, "text": np.str_("no"), "when": np.datetime64(3, "s")}, tmp_path / "x")
    found = read_document(tmp_path / "x")
    assert found == {"x": scalar.item(), "text": None, "when": None}
    assert type(found["x"]) in (bool, int, float)


class Hostile:
    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def test_stand_ins_run_nothing_and_make_nothing(tmp_path: Path) -> None:
    dtype: Any = Hostile(np.dtype, ("f8",), ("|", {"metadata": 1}, "x"))
    scalar, rebuild = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    document = {
        "half": Hostile(scalar, (np.dtype("f8"), b"1234")),
        "dtype": Hostile(scalar, (dtype, b"12345678")),
        "object": Hostile(scalar, (np.dtype("O"), b"12345678")),
        "terabytes": Hostile(rebuild, (np.ndarray, (10**13,), b"b")),
        "attributes": Hostile(Namespace, (), {"__class__": 1, "__setstate__": 2}),
    }
    torch.save(document, tmp_path / "x")
    allowed = set(torch.serialization.get_safe_globals())
    found = read_document(tmp_path / "x")
    assert set(torch.serialization.get_safe_globals()) == allowed
    assert [found[key] for key in ("half", "dtype", "object")] == [None] * 3
    for key in ("terabytes", "attributes"):
        assert type(found[key]).__name__ == "_Nothing"
        assert not hasattr(found[key], "__dict__")


def test_other_codes_classes_are_named(tmp_path: Path) -> None:
    torch.save(net_of("snn5"), tmp_path / "whole.pt")
    with pytest.raises(CheckpointError, match=r"objects of other code, which is not run: ") as told:
        load_foreign(tmp_path / "whole.pt")
    assert "clifctl.models" in told.value.message
    assert told.value.hint is not None
    assert "torch.save(net.state_dict(), FILE)" in told.value.hint
    torch.save({"x": Hostile(print, ("ran",))}, tmp_path / "runs.pt")
    with pytest.raises(CheckpointError, match=r"not run: (builtins\.)?print\b"):
        load_foreign(tmp_path / "runs.pt")
    (tmp_path / "broken.pt").write_bytes(b"no pickle")
    with pytest.raises(CheckpointError, match="not one that can be loaded safely") as told:
        load_foreign(tmp_path / "broken.pt")
    assert told.value.hint == "give a file in which torch.save wrote a state dict"


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
    assert "weights of other code load with --recipe, or with --model and --data" in plain.err
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
    own = clifctl("eval", "run/last.pt", "neuron.tau=3")
    assert own.code == 2
    assert "evaluated as it was trained" in own.err

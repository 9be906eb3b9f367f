"""The nets of SpikingJelly's zoo, as rows of MODELS and as SpikingJelly builds them."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, surrogate
from spikingjelly.activation_based import neuron as theirs
from spikingjelly.activation_based.base import MemoryModule
from spikingjelly.activation_based.model import sew_resnet, spiking_resnet, spiking_vgg
from torch import Tensor, nn

from clifctl.errors import RecipeError
from clifctl.models import MODELS, NeuronChoice, SpikingLayer, SpikingNet
from clifctl.neurons import NEURONS
from clifctl.spikingjelly import CLIFNode
from clifctl.training.foreign import ForeignCheckpoint, load_foreign_weights

T, CLASSES, SHAPE = 2, 3, (3, 32, 32)
# Our neuron and their node of the same constants.
CLIF: Any = ("clif", {}, partial(theirs.ComplementaryLIFNode, surrogate_function=surrogate.Rect()))
IF = (
    "if",
    {"reset": "hard", "detach_reset": True},
    partial(theirs.IFNode, detach_reset=True, surrogate_function=surrogate.Rect()),
)
NODE = partial(CLIFNode, surrogate_function=surrogate.Rect(), target="reference")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For maps of a few pixels threads wait for each other, and do nothing else."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def row(
    name: str, neuron: str = "clif", constants: Any = None, shape: Any = SHAPE, **options: Any
) -> SpikingNet:
    model, chosen = MODELS[name], NEURONS[neuron]
    choice = NeuronChoice(chosen, chosen.hyperparameters(**(constants or {})), target="reference")
    given = model.options(batch_norm="folded", **options)
    return model.build(given, input_shape=shape, classes=CLASSES, timesteps=T, neuron=choice)


ZOO: dict[str, Callable[..., nn.Module]] = {
    "sew_resnet18": partial(sew_resnet.sew_resnet18, cnf="ADD"),
    "sew_resnet34": partial(sew_resnet.sew_resnet34, cnf="ADD"),
    "spiking_resnet18": spiking_resnet.spiking_resnet18,
    "spiking_vgg11": spiking_vgg.spiking_vgg11_bn,
    "spiking_vgg16": spiking_vgg.spiking_vgg16_bn,
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sew_resnet18", 11_689_512),
        ("sew_resnet34", 21_797_672),
        ("spiking_resnet18", 11_689_512),
        ("spiking_vgg11", 132_868_840),
        ("spiking_vgg16", 138_365_992),
    ],
)
def test_parameters_are_those_of_spikingjelly(name: str, expected: int) -> None:
    model, neuron = MODELS[name], NEURONS["if"]
    with torch.device("meta"):
        net = model.build(
            model.options(),
            input_shape=(3, 224, 224),
            classes=1000,
            timesteps=4,
            neuron=NeuronChoice(neuron, neuron.hyperparameters()),
        )
        peer = ZOO[name](spiking_neuron=theirs.IFNode, num_classes=1000)
    sizes = [sum(p.numel() for p in each.parameters()) for each in (net, peer)]
    assert sizes == [expected, expected]
    keys = {_their_key(net, key): tuple(value.shape) for key, value in net.state_dict().items()}
    assert keys == {key: tuple(value.shape) for key, value in peer.state_dict().items()}


def _their_key(net: SpikingNet, key: str) -> str:
    module, _, parameter = key.rpartition(".")
    return f"{net.authors_names[module]}.{parameter}"


NARROW = 16  # by how much a net is narrower than SpikingJelly makes it
OPTIONS = {
    "sew_resnet18": {"width": 64 // NARROW},
    "spiking_resnet18": {"width": 64 // NARROW},
    "spiking_vgg11": {"width": 64 // NARROW, "hidden": 8, "dropout": 0.0},
}


def narrow(name: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> nn.Module:
    """SpikingJelly's net, narrow from the stem on."""
    if name == "spiking_vgg11":
        return narrow_vgg11(monkeypatch, **options)
    kind = sew_resnet.SEWResNet if name == "sew_resnet18" else spiking_resnet.SpikingResNet
    make_layer = kind._make_layer

    def make(net: Any, block: Any, planes: int, *rest: Any, **more: Any) -> nn.Module:
        if planes == net.inplanes == 64:
            net.inplanes = 64 // NARROW
            net.conv1 = layer.Conv2d(3, net.inplanes, 7, 2, 3, bias=False)
            net.bn1 = layer.BatchNorm2d(net.inplanes)
        stage: nn.Module = make_layer(net, block, planes // NARROW, *rest, **more)
        return stage

    with monkeypatch.context() as patched:
        patched.setattr(kind, "_make_layer", make)
        net = ZOO[name](**options)
    net.fc = layer.Linear(512 // NARROW, CLASSES)
    return net


def narrow_vgg11(monkeypatch: pytest.MonkeyPatch, **options: Any) -> nn.Module:
    """`spiking_vgg11_bn` without dropout; its 120 million weights are never made."""
    widths = [v if v == "M" else v // NARROW for v in spiking_vgg.cfgs["A"]]
    with monkeypatch.context() as patched, torch.device("meta"):
        patched.setitem(spiking_vgg.cfgs, "A", widths)
        net: nn.Module = spiking_vgg.spiking_vgg11_bn(**options)
    features = 512 // NARROW * 49
    for place, (given, made) in {0: (features, 8), 3: (8, 8), 6: (8, CLASSES)}.items():
        net.classifier[place] = layer.Linear(given, made)
    for place in (2, 5):
        net.classifier[place] = nn.Identity()  # type: ignore[assignment]
    return net.to_empty(device="cpu")


def weights_for(net: nn.Module) -> dict[str, Tensor]:
    """Weights under the names of `net` that make its neurons fire, and norms that do something."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for key, value in net.state_dict().items():
        if value.dim() > 1:
            drawn = torch.randn(value.shape, generator=generator)
            found[key] = drawn * (12 / value[0].numel()) ** 0.5
        elif key.endswith("num_batches_tracked"):
            found[key] = torch.zeros_like(value)
        else:
            around = 0.0 if key.endswith(("bias", "running_mean")) else 1.0
            found[key] = around + 0.2 * torch.rand(value.shape, generator=generator)
    return found


def run(
    net: nn.Module, kind: type, x: Tensor, pick: Callable[[Any], Tensor]
) -> tuple[list[Tensor], Tensor]:
    """The outputs of all modules of a kind in the order in which they run, and the logits."""
    spikes: list[Tensor] = []
    for module in net.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda m, i, o: spikes.append(pick(o).detach()))
    logits = pick(net(x))
    (logits.mean(0).square().sum() + logits[0, 0, 0]).backward()
    return spikes, logits.detach()


@pytest.mark.parametrize(
    ("name", "neuron"),
    [
        ("sew_resnet18", CLIF),
        ("sew_resnet18", IF),
        ("spiking_resnet18", IF),
        ("spiking_vgg11", CLIF),
    ],
)
def test_spikes_and_gradients_are_those_of_spikingjelly(
    name: str, neuron: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, constants, node = neuron
    nets = [narrow(name, monkeypatch, spiking_neuron=node)]
    if ours == "clif":  # their net with our node too
        nets.append(narrow(name, monkeypatch, spiking_neuron=NODE))
    weights = weights_for(nets[0])
    for peer in nets:
        peer.load_state_dict(weights)
        functional.set_step_mode(peer, "m")
    net = row(name, ours, constants, **OPTIONS[name])
    load_foreign_weights(net, ForeignCheckpoint(weights, None, None), Path("zoo.pt"))
    x = torch.randn(T, 2, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    spikes, logits = run(net.double(), SpikingLayer, x, lambda o: o[0])
    assert all(0.0 < float(of_layer.mean()) < 1.0 for of_layer in spikes)
    mine = {_their_key(net, key): value.grad for key, value in net.named_parameters()}
    for peer in nets:
        their_spikes, expected = run(peer.double(), MemoryModule, x, lambda o: o)
        assert [tuple(s.shape) for s in spikes] == [tuple(s.shape) for s in their_spikes]
        assert all(map(torch.equal, spikes, their_spikes))
        torch.testing.assert_close(logits, expected, rtol=1e-11, atol=1e-11)
        gradients = {key: value.grad for key, value in peer.named_parameters()}
        assert mine.keys() == gradients.keys()
        for key, gradient in gradients.items():
            scale = float(gradient.abs().max())
            assert scale > 0 or key.endswith("conv.bias")
            # Sums of up to 2,048 products, through 18 layers, relative to the largest.
            torch.testing.assert_close(mine[key], gradient, rtol=0, atol=1e-9 * max(scale, 1e-3))


@pytest.mark.parametrize("connect", ["add", "and", "iand"])
def test_how_spikes_meet(connect: str) -> None:
    x, y = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    expected = {"add": x + y, "and": x * y, "iand": torch.tensor([0.0, 0.0, 1.0, 0.0])}
    net = row("sew_resnet18", "lif", width=2, stem="cifar", connect=connect, shape=(2, 8, 8))
    block = net.blocks[0]
    outputs = iter([x, y, x, y])

    class Given:
        def run(self, layer: Any, given: Tensor) -> Tensor:
            return next(outputs).view(1, 1, 1, 1, 4) if layer is block.second else given

    next(outputs)
    found = block(x.view(1, 1, 1, 1, 4), Given())
    assert torch.equal(found.flatten(), expected[connect])
    assert torch.equal(expected[connect], sew_resnet.sew_function(x, y, connect.upper()))


def test_stems() -> None:
    sizes = {}
    for stem in ("imagenet", "cifar"):
        net = row("sew_resnet18", "lif", width=2, stem=stem, shape=(2, 32, 24))
        seen: list[tuple[int, ...]] = []
        net.blocks[0].register_forward_hook(
            lambda m, i, o, seen=seen: seen.append(tuple(o.shape[2:]))
        )
        net(torch.randn(1, 2, 2, 32, 24), repeat=T)
        sizes[stem] = (seen[0], tuple(net.stem.connection.weight.shape))
    assert sizes == {
        "imagenet": ((2, 8, 6), (2, 2, 7, 7)),
        "cifar": ((2, 32, 24), (2, 2, 3, 3)),
    }


def test_what_cannot_be_built() -> None:
    with pytest.raises(RecipeError, match=r"stem=imagenet.*at least 17 x 17.*\[1, 8, 8\]") as small:
        row("sew_resnet18", shape=(1, 8, 8))
    assert "model.stem=cifar" in str(small.value.hint)
    with pytest.raises(RecipeError, match=r"stem=cifar.*at least 5 x 5"):
        row("spiking_resnet18", stem="cifar", shape=(1, 4, 4))
    with pytest.raises(RecipeError, match=r"connect = iand.*'ilif' gives other numbers"):
        row("sew_resnet18", "ilif", connect="iand")
    with pytest.raises(RecipeError, match="'spiking_vgg16': its 5 pools"):
        row("spiking_vgg16", shape=(1, 28, 28))

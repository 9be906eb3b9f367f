"""SpikingJelly's own nets, built with its nodes and with those of clifctl, as people build them."""

import copy
import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, surrogate
from spikingjelly.activation_based import neuron as theirs
from spikingjelly.activation_based.model import sew_resnet, spiking_resnet, spiking_vgg
from torch import Tensor, nn
from torch.func import functional_call

from clifctl.spikingjelly import CLIFNode, LIFNode, PLIFNode

T, CLASSES = 2, 3
LEAKY = {"v_reset": 0.0, "decay_input": True}


NARROW = 16  # by how much each net is narrower than SpikingJelly makes it


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For maps of a few pixels threads wait for each other, and do nothing else."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for model in (spiking_resnet.SpikingResNet, sew_resnet.SEWResNet):

        def make(net: Any, block: Any, planes: int, *rest: Any, made: Any = model._make_layer,
                 **options: Any) -> nn.Module:  # fmt: skip
            stage: nn.Module = made(net, block, planes // NARROW, *rest, **options)
            return stage

        monkeypatch.setattr(model, "_make_layer", make)
    widths = [v if v == "M" else v // NARROW for v in spiking_vgg.cfgs["A"]]
    monkeypatch.setitem(spiking_vgg.cfgs, "A", widths)


def narrow_vgg(**options: Any) -> nn.Module:
    """`spiking_vgg11_bn`; its 120 million weights behind the convolutions are never made."""
    with torch.device("meta"):
        net: nn.Module = spiking_vgg.spiking_vgg11_bn(**options)
    net.avgpool = layer.AdaptiveAvgPool2d((1, 1))
    widths = {0: (512 // NARROW, 8), 3: (8, 8), 6: (8, CLASSES)}
    for place, (given, made) in widths.items():
        net.classifier[place] = layer.Linear(given, made)
    return net.to_empty(device="cpu")


def narrow_resnet(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def narrowed(**options: Any) -> nn.Module:
        net = build(**options)
        net.fc = layer.Linear(512 // NARROW, CLASSES)
        return net

    return narrowed


NETS: dict[str, tuple[Callable[..., nn.Module], tuple[Any, Any, dict[str, Any]]]] = {
    "spiking_resnet18": (
        narrow_resnet(spiking_resnet.spiking_resnet18),
        (CLIFNode, theirs.ComplementaryLIFNode, {}),
    ),
    "sew_resnet18": (
        narrow_resnet(partial(sew_resnet.sew_resnet18, cnf="ADD")),
        (LIFNode, theirs.LIFNode, {**LEAKY, "tau": 1.5, "detach_reset": True}),
    ),
    "spiking_vgg11_bn": (
        narrow_vgg,
        (PLIFNode, theirs.ParametricLIFNode, {**LEAKY, "v_threshold": 0.3}),
    ),
}


def built(name: str) -> tuple[nn.Module, nn.Module]:
    """The net with nodes of clifctl and the one with SpikingJelly's, of equal weights."""
    build, (ours, peer, options) = NETS[name]
    given = {**options, "surrogate_function": surrogate.ATan()}
    mine = build(spiking_neuron=ours, target="reference", num_classes=CLASSES, **given)
    other = build(spiking_neuron=peer, num_classes=CLASSES, **given)
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for key, value in mine.state_dict().items():
        if value.dim() > 1:  # a connection, strong enough to make its neurons fire
            drawn = torch.randn(value.shape, generator=generator)
            weights[key] = drawn * (12 / value[0].numel()) ** 0.5
        elif key.endswith((".w", "bias", "running_mean", "num_batches_tracked")):
            weights[key] = torch.zeros_like(value)
        else:
            weights[key] = torch.ones_like(value)
    for net in (mine, other):
        net.load_state_dict(weights)
        net.double()
        functional.set_step_mode(net, "m")
    return mine, other


def trained(net: nn.Module, x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Logits before one step of training, and the parameters after it."""
    torch.manual_seed(0)  # of dropout
    logits = net(x)
    nn.functional.cross_entropy(logits.mean(0), torch.arange(len(x[0])) % CLASSES).backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    functional.reset_net(net)
    net.zero_grad()
    return logits.detach(), net.state_dict()


@pytest.mark.parametrize("name", NETS)
def test_a_net_of_the_zoo(name: str) -> None:
    mine, other = built(name)
    x = torch.randn(T, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    (logits, weights), (expected, others) = trained(mine, x), trained(other, x)
    assert bool(logits.std() > 0)
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    assert weights.keys() == others.keys()
    for key, value in weights.items():
        torch.testing.assert_close(value, others[key], rtol=1e-7, atol=1e-9, msg=key)
    file = io.BytesIO()
    torch.save(mine, file)
    file.seek(0)
    mine.eval()
    other.eval()
    with torch.no_grad():
        expected = other(x)
        results = [mine(x)]
        functional.reset_net(mine)
        results.append(functional_call(mine, dict(mine.named_parameters()), (x,)))
        functional.reset_net(mine)
        results.append(copy.deepcopy(mine)(x))
        results.append(torch.load(file, weights_only=False).eval()(x))
    for result in results:
        torch.testing.assert_close(result, expected, rtol=1e-7, atol=1e-7)
        assert torch.equal(result, results[0])

"""Convolutions 1x1 with a stride and few channels, which torch gets wrong on a CPU."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from clifctl.experiments.bench.plain_nets import plain_net
from clifctl.kernels import mark_spikes
from clifctl.models import MODELS, SpikingNet, fold_time
from clifctl.models.convolution import CHANNEL_BLOCK, Convolution, conv2d
from clifctl.training.memory import held_for_backward

Build = Callable[..., tuple[SpikingNet, Tensor]]
ATEN = torch.ops.aten
# operation -> where its input, weight and stride stand among its arguments
PLACES: dict[Any, tuple[int, int, int]] = {
    ATEN.convolution.default: (0, 1, 3),
    ATEN.convolution_backward.default: (1, 2, 4),
}


def innermost(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class Watched(TorchDispatchMode):
    """Refuses the convolutions that overrun."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PLACES:
            x, weight, stride = (args[place] for place in PLACES[func])
            few = weight.shape[2:] == (1, 1) and weight.shape[1] < CHANNEL_BLOCK
            inner = any(t.is_contiguous(memory_format=torch.channels_last) for t in (x, weight))
            assert not (few and inner and max(stride) > 1), f"{func} {x.shape} {weight.shape}"
            self.calls.append(func)
        return func(*args, **(kwargs or {}))


def convolutions(net: nn.Module) -> list[nn.Conv2d]:
    return [module for module in net.modules() if isinstance(module, nn.Conv2d)]


def test_every_nets_convolutions_are_ours(narrow_net: Build) -> None:
    strided = {}
    for model in MODELS:
        found = convolutions(narrow_net(model)[0])
        assert all(isinstance(convolution, Convolution) for convolution in found)
        strided[model] = sum(m.kernel_size == (1, 1) and max(m.stride) > 1 for m in found)
    assert strided["resnet18"] == strided["snn5"] == 3


CASES = [(model, torch.float32) for model in MODELS]
CASES += [("resnet18", torch.bfloat16), ("snn5", torch.float16)]


@pytest.mark.parametrize(("model", "dtype"), CASES)
def test_no_net_reaches_the_overrun(model: str, dtype: torch.dtype, narrow_net: Build) -> None:
    net, images = narrow_net(model)
    with Watched() as watched, torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        net(images, repeat=2)[0].float().square().sum().backward()
        with torch.no_grad():
            net.eval()(images, repeat=2)
    assert (ATEN.convolution_backward.default in watched.calls) == bool(convolutions(net))


@pytest.mark.parametrize("model", ["resnet18", "snn5"])
def test_nor_does_a_contestant_of_the_benchmark(model: str, narrow_net: Build) -> None:
    source, images = narrow_net(model)
    net = plain_net(source, lambda layer, channels: nn.ReLU())
    with Watched() as watched:
        net.to(memory_format=torch.channels_last)(images[0]).sum().backward()
    assert ATEN.convolution_backward.default in watched.calls


def gradients(tensors: Iterable[Tensor], g: Tensor, run: Any) -> list[Tensor]:
    """The result, and its gradients for all of `tensors`: x, weights and bias."""
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    out = run(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, g)]


@pytest.mark.parametrize("channels", [1, 7, 15])
@pytest.mark.parametrize(("stride", "padding"), [((2, 2), (0, 0)), ((1, 3), (0, 0)), (2, 1)])
def test_values_are_those_of_float64(channels: int, stride: Any, padding: Any) -> None:
    draw = torch.Generator().manual_seed(channels)
    conv = Convolution(channels, 5, 1, stride, padding)
    x = torch.randn(6, channels, 9, 7, generator=draw)
    exact = (x.double(), conv.weight.double(), conv.bias.double())

    def reference(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return F.conv2d(a, b, c, conv.stride, conv.padding)

    g = torch.randn(reference(*exact).shape, generator=draw)
    expected = gradients(exact, g.double(), run=reference)
    # What all products and sums add up to without their signs: rounding is relative to it.
    sizes = gradients((t.abs() for t in exact), g.double().abs(), run=reference)
    terms = max(channels + 1, 5, g.numel() // 5)
    for dtype in (torch.float32, torch.float64):
        own = [innermost(t) if t.dim() == 4 else t for t in (t.to(dtype) for t in exact)]
        found = gradients(
            own, innermost(g.to(dtype)),
            run=lambda a, b, c: conv2d(a, b, c, conv.stride, conv.padding),
        )  # fmt: skip
        for one, wanted, size in zip(found, expected, sizes, strict=True):
            bound = terms * torch.finfo(dtype).eps * size
            assert ((one.double() - wanted).abs() <= bound).all()


def test_the_weights_keys_are_torchs() -> None:
    ours, theirs = Convolution(3, 5, 1, 2), nn.Conv2d(3, 5, 1, 2)
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(0)
    first = Convolution(3, 5, 1, 2).weight
    torch.manual_seed(0)
    assert torch.equal(first, nn.Conv2d(3, 5, 1, 2).weight)


class Followed(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


def test_who_follows_operations_sees_one_convolution() -> None:
    conv, x = Convolution(3, 5, 1, 2), torch.randn(2, 3, 6, 6)
    with Followed() as followed:
        conv(x)
    assert [name for name in followed.names if name != "__get__"] == ["conv2d"]


def test_spikes_are_kept_as_bits_alone() -> None:
    conv = Convolution(3, 5, 1, 2).to(memory_format=torch.channels_last)
    spikes = innermost((torch.rand(8, 3, 8, 8) < 0.2).float()).view(2, 4, 3, 8, 8)
    mark_spikes(spikes)
    assert held_for_backward(lambda: fold_time(conv, spikes), conv.parameters()) == 8 * 3 * 64 / 8


# The overrun's reproducer: torch's own module crashes or hangs in this loop on a CPU with AVX2.
CHILD = """
import torch
from clifctl.models.convolution import Convolution
for threads, channels in ((1, 7), (2, 2)):
    torch.set_num_threads(threads)
    conv = Convolution(channels, 14, 1, 2).to(memory_format=torch.channels_last)
    x = torch.randn(100, channels, 32, 32).contiguous(memory_format=torch.channels_last)
    for _ in range(30):
        out = conv(x)
        out.backward(torch.ones_like(out))
print(all(p.grad.isfinite().all() for p in conv.parameters()))
"""


def test_the_reproducer_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ, "DNNL_MAX_CPU_ISA": "AVX2"},  # a lesser CPU stays as it is
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr

"""Products, sums and pools of spikes, and where spikes are plain floats."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.kernels import Spikes, scan, sparse
from clifctl.kernels.cpu.paths import recorded_paths
from clifctl.models.layers import Pool, SharedDropout, flatten_features, fold_time, masked
from clifctl.neurons import NEURONS, Parameters

SHAPE = (3, 2, 8, 6, 7)


def exact(*size: int, seed: int = 0) -> Tensor:
    """Multiples of 1/64 in [-1, 1]: sums of their products with spikes are exact in any order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-64, 65, size, generator=generator) / 64


def current(*size: int, seed: int = 1) -> Tensor:
    """Channels innermost, as the neuron's output then lies too."""
    x = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    return x.movedim(2, -1).contiguous().movedim(-1, 2).requires_grad_()


LIF = Parameters(NEURONS["lif"], NEURONS["lif"].hyperparameters(), {})


def neuron(x: Tensor, connections: str = "auto") -> Tensor:
    return scan(x, None, LIF, connections=connections)[0]


def conv(channels: int, out: int = 5) -> nn.Conv2d:
    module = nn.Conv2d(channels, out, 3, padding=1)
    with torch.no_grad():
        for number, p in enumerate(module.parameters()):
            p.copy_(exact(*p.shape, seed=number))
    return module


def loss(y: Tensor) -> Tensor:
    return (y * exact(*y.shape, seed=7)).sum()


def _dropout(s: Tensor) -> Tensor:
    torch.manual_seed(3)
    return SharedDropout(0.5)(s)


def _torch_dropout(s: Tensor) -> Tensor:
    torch.manual_seed(3)
    return F.dropout(s, 0.5)


def _attention(s: Tensor) -> Tensor:
    """Two layers' spikes, and a mask of channels that is spikes too."""
    other = neuron(current(*s.shape, seed=5), "auto" if isinstance(s, Spikes) else "dense")
    return masked(masked(s, other), other[:, :, :, :1, :1])


def _mask(s: Tensor) -> Tensor:
    columns = masked(s, s).sum((3, 4)) / 4
    chosen = neuron(columns, "auto" if isinstance(s, Spikes) else "dense")
    return masked(s, chosen[..., None, None])


# What becomes of spikes, and whether what a convolution then reads is known to be sparse.
CHANGES: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "dropout": (_dropout, True),
    "torch's dropout": (_torch_dropout, True),
    "attention": (_attention, False),
    "mask": (_mask, True),
    "squared": (lambda s: s * s, True),
    "scaled": (lambda s: s * 0.5, True),
    "tensor": (lambda s: s * torch.tensor(-0.25), True),
    "numbers": (lambda s: s * exact(len(s[0, 0]), 1, 1), True),
    "max_pool": (Pool(nn.MaxPool2d(2)), True),
    "wide max_pool": (Pool(nn.MaxPool2d(3, 2, 1)), True),
    "avg_pool": (Pool(nn.AvgPool2d(2)), True),
    "wide avg_pool": (Pool(nn.AvgPool2d((4, 2), (2, 1), (1, 1))), True),
    "ceil": (Pool(nn.AvgPool2d(4, ceil_mode=True)), True),
    "step": (lambda s: s[1:], True),
    "sample": (lambda s: s[:, :1].contiguous(), False),
    "sum": (lambda s: s + s, True),
    "learned": (lambda s: s * exact(len(s[0, 0]), 1, 1).requires_grad_(), False),
}


@pytest.mark.parametrize("channels", [8, 5])
@pytest.mark.parametrize("name", list(CHANGES))
def test_what_becomes_of_spikes_is_what_becomes_of_floats(name: str, channels: int) -> None:
    """Values, and gradients through a convolution behind it, bit for bit."""
    change, known = CHANGES[name]
    results = []
    for how in ("auto", "dense"):
        x, module = current(3, 2, channels, 6, 7), conv(channels)
        s = change(neuron(x, how))
        if how == "auto" and channels == 8:
            assert isinstance(s, Spikes) == known
        with recorded_paths():
            y = fold_time(module, s)
            loss(y).backward()
        results.append((s.detach() + 0, y.detach(), x.grad, module.weight.grad))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)
        assert a.abs().sum() > 0


def test_sums_over_features_are_counted() -> None:
    for size in (SHAPE, (3, 2, 9), (2, 3, 5, 3, 3)):
        x = torch.randn(size, generator=torch.Generator().manual_seed(0))
        spikes, floats = neuron(x), neuron(x, "dense")
        assert isinstance(spikes, Spikes)
        rest = tuple(range(2, len(size)))
        for dims in (rest, (0, *rest), (0, 1, *rest), (1,), (2,)):
            for dtype in (torch.float64, None):
                found = spikes.sum(dims, dtype=dtype)
                expected = floats.sum(dims, dtype=dtype)
                assert torch.equal(found, expected)
                assert found.dtype == expected.dtype
        assert torch.equal(spikes[1].sum(), floats[1].sum())
        assert torch.equal(spikes.sum(-1, keepdim=True), floats.sum(-1, keepdim=True))


def test_a_gradient_times_spikes_is_no_spike() -> None:
    s = neuron(current(*SHAPE)).detach()
    x = exact(*SHAPE).requires_grad_()
    (x * s).sum().backward()
    assert type(x.grad) is Tensor
    assert torch.equal(x.grad, s + 0)


@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_sparse_values(density: float) -> None:
    """Frames of events: what is not 0 alone reaches the kernels, and their gradient is whole."""
    generator = torch.Generator().manual_seed(0)
    active = torch.rand(4, 16, 6, 7, generator=generator) < density
    results = []
    for wrap in (sparse, lambda x: x):
        x, module = (exact(4, 16, 6, 7) * active).requires_grad_(), conv(16, 16)
        with recorded_paths() as paths:
            y = module(wrap(x))
            loss(y).backward()
        results.append((y.detach(), x.grad, module.weight.grad))
        if wrap is sparse:
            ways = [(p.direction, p.event) for p in paths]
            assert ways == [
                ("forward", density < 0.5),
                ("weight_gradient", density < 0.5),
                ("input_gradient", False),
            ]
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_sparse_values_are_a_copy_and_nothing_else_is_wrapped() -> None:
    x = exact(2, 3, 4, 5)
    wrapped = sparse(x)
    expected = x.clone()
    x.zero_()
    assert torch.equal(wrapped + 0, expected)
    assert sparse(x.double()).dtype == torch.float64
    assert type(sparse(x.to("meta"))) is Tensor


def test_features_of_a_sample_are_its_pixels_innermost() -> None:
    for channels in (8, 5):
        x = current(3, 2, channels, 6, 7)
        spikes, floats = neuron(x), neuron(x, "dense")
        flat = flatten_features(spikes)
        assert isinstance(flat, Spikes)
        assert torch.equal(flat + 0, flatten_features(floats))
        assert flat.is_contiguous()


# --- plain floats -------------------------------------------------------------------------------


PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "vmap": lambda x: torch.func.vmap(neuron, 1, 1)(x[:, :, None]).squeeze(2),
    "double": lambda x: neuron(x.double()).float(),
    "half": lambda x: neuron(x.to(torch.bfloat16)).float(),
    "dense": lambda x: neuron(x, "dense"),
    "maps of lines": lambda x: neuron(x.flatten(3)).view(x.shape),
    "reference": lambda x: scan(x, None, LIF, target="reference")[0],
}


@pytest.mark.parametrize("name", list(PLAIN))
def test_where_spikes_are_floats(name: str) -> None:
    x = exact(*SHAPE).mul_(2)
    found = PLAIN[name](x)
    assert not isinstance(found, Spikes)
    assert torch.equal(found, neuron(x) + 0)


def test_spikes_within_transforms_autocast_and_without_gradients() -> None:
    x, module = current(*SHAPE), conv(8)
    s = neuron(x)
    plain = s + 0
    expected = module(plain.flatten(0, 1)).detach()
    of = torch.func.grad(lambda s: loss(module(s.flatten(0, 1))))
    assert torch.equal(of(s.detach()), of(plain.detach()))
    each = torch.func.vmap(lambda s: module(s))(s.detach())
    assert torch.equal(each.flatten(0, 1), expected)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            y = module(neuron(x).flatten(0, 1))
            assert torch.equal(y, expected)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = (module(t.flatten(0, 1)) for t in (s, plain))
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, wanted)

    def flat(given: Any) -> Any:
        return module(given.flatten(0, 1))

    compiled: Any = torch.compile(flat, backend="eager")
    assert torch.equal(compiled(s).detach(), expected)


def test_a_neuron_reads_spikes() -> None:
    found = []
    for how in ("auto", "dense"):
        x = current(*SHAPE)
        y = neuron(neuron(x, how), how)
        loss(y).backward()
        found.append((y.detach() + 0, x.grad))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)

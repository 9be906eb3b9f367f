"""Spikes as a tensor of their own kind: bits below autograd, and in every respect that somebody can
see the float tensor that they stand for."""

import copy
import io
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.dlpack import from_dlpack

from clifctl.kernels import Spikes, as_spikes, scan
from clifctl.kernels.cpu.paths import Path, recorded_paths
from clifctl.kernels.cpu.rule import Choice
from clifctl.kernels.spikes import connections
from clifctl.neurons import NEURONS, Parameters

SHAPE = (3, 2, 8, 5, 6)


def exact(*size: int, seed: int = 0, grid: int = 64) -> Tensor:
    """Multiples of 1/64 in [-1, 1]: sums of their products with spikes are exact in any order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-grid, grid + 1, size, generator=generator) / grid


def neuron(x: Tensor, connections: str = "auto", **options: Any) -> Tensor:
    """Spikes of a layer of LIF neurons for `x` `[T, N, *]`; Rectangle surrogate."""
    lif = NEURONS["lif"]
    parameters = Parameters(lif, lif.hyperparameters(**options), {})
    return scan(x, None, parameters, connections=connections)[0]


def current(*size: int, seed: int = 1) -> Tensor:
    """Channels innermost, as the neuron's output then lies too."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size or SHAPE, generator=generator)
    if x.dim() == 5:
        x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    return x.requires_grad_()


def both(*size: int) -> tuple[Tensor, Tensor]:
    """The spikes of the same neurons, as `Spikes` and as floats."""
    spikes, floats = (neuron(current(*size), how) for how in ("auto", "dense"))
    assert isinstance(spikes, Spikes)
    assert type(floats) is Tensor
    # Of a kernel they are a view, which torch does not let anybody change in place.
    return spikes, floats.clone()


def conv(channels: int = 8, out: int = 5, kernel: int = 3, **options: Any) -> nn.Conv2d:
    module = nn.Conv2d(channels, out, kernel, **options)
    with torch.no_grad():
        for number, p in enumerate(module.parameters()):
            p.copy_(exact(*p.shape, seed=number))
    return module


def loss(y: Tensor) -> Tensor:
    """Whose gradient is made of multiples of 1/64."""
    return (y * exact(*y.shape, seed=7)).sum()


# --- what somebody sees -------------------------------------------------------------------------

READS: dict[str, Callable[[Tensor], Any]] = {
    "itself": lambda s: s,
    "step": lambda s: s[1],
    "slice": lambda s: s[:, :, 1:6:2, ::3],
    "mask": lambda s: s[s > 0],
    "picked": lambda s: s[:, torch.tensor([1, 0])],
    "cat": lambda s: torch.cat([s, s * 2]),
    "stack": lambda s: torch.stack(list(s)),
    "mean": lambda s: s.mean((3, 4)),
    "sum": lambda s: s.sum(dtype=torch.float64),
    "permuted": lambda s: s.permute(4, 0, 2, 1, 3),
    "flat": lambda s: s.flatten(2),
    "contiguous": lambda s: s.contiguous(),
    "expanded": lambda s: s[:, :, :, :1].expand(-1, -1, -1, 4, -1),
    "split": lambda s: torch.cat(s.split(3, 2)[::-1], 2),
    "chunked": lambda s: s.unbind(1)[0] - s.chunk(2, 1)[1].squeeze(1),
    "unfold": lambda s: F.unfold(s[0], 2),
    "double": lambda s: s.double(),
    "half": lambda s: s.to(torch.bfloat16),
    "compared": lambda s: (s == 1, s >= 0.5, s.bool()),
    "clone": lambda s: s.clone(memory_format=torch.contiguous_format),
    "like": lambda s: (torch.zeros_like(s), s.new_ones(3)),
    "scaled": lambda s: s * 0.3,
    "plus": lambda s: s + 1 - s / 3,
    "infinite": lambda s: s * float("inf"),
    "padded": lambda s: F.pad(s, (1, 2)),
    "where": lambda s: torch.where(s > 0, 2.0, s),
    "matmul": lambda s: s.flatten(2) @ s.flatten(2).mT,
    "max_pool": lambda s: F.max_pool2d(s[0], 3, 2, 1),
    "avg_pool": lambda s: F.avg_pool2d(s[0], 2),
    "adaptive": lambda s: F.adaptive_avg_pool2d(s[0], 2),
    "as_strided": lambda s: s.as_strided((4, 3), (5, 7), 11),
    "tensor": lambda s: torch.as_tensor(s, dtype=torch.float64),
    "tolist": lambda s: s.tolist(),
    "numpy": lambda s: s.detach().numpy(),
    "array": lambda s: np.asarray(s.detach(), dtype=np.float64),
    "item": lambda s: s[0, 0, 0, 0, 0].item(),
    "float": lambda s: float(s.detach().sum()),
    "repr": lambda s: repr(s.detach()),
    "format": lambda s: f"{s.detach()[0, 0, 0]}",
    "strides": lambda s: (s.shape, s.dtype, s.device, s.numel(), len(s), s.is_leaf, s.layout),
    "pickled": lambda s: pickle.loads(pickle.dumps(s.detach())),
    "copied": lambda s: copy.deepcopy(s.detach()),
    "view_dtype": lambda s: s.detach().view(torch.int32),
    "any": lambda s: (s.any(), s.count_nonzero(), s.max(), s.argmax()),
    "equal": lambda s: torch.equal(s, s.clone()) and bool((s == s).all()),
    "no_grad": torch.no_grad()(lambda s: s.flatten(0, 1).view(3, 2, 8, 30)),
}


@pytest.mark.parametrize("name", list(READS))
def test_who_reads_spikes_gets_floats(name: str) -> None:
    found, expected = (READS[name](s) for s in both())
    same(found, expected)


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        for a, b in zip(found, expected, strict=True):
            same(a, b)
    elif isinstance(expected, Tensor):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        plain = found.floats() if isinstance(found, Spikes) else found
        assert torch.equal(plain.nan_to_num(7.0), expected.nan_to_num(7.0))
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("size", [(3, 2, 8), (2, 3, 5), (1, 1, 3, 1, 1), (2, 3, 5, 4, 3)])
def test_odd_sizes_are_the_same(size: tuple[int, ...]) -> None:
    spikes, floats = both(*size)
    same(spikes[1:], floats[1:])
    same(spikes.flatten(0, 1)[-1], floats.flatten(0, 1)[-1])
    same(spikes[:, 1:].transpose(0, -1), floats[:, 1:].transpose(0, -1))


def test_what_is_saved_is_a_plain_tensor_that_loads_with_weights_only() -> None:
    spikes, floats = both()
    file = io.BytesIO()
    torch.save({"spikes": spikes.detach()}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)["spikes"]
    assert type(loaded) is Tensor
    assert torch.equal(loaded, floats)


def test_torch_refuses_what_it_refuses_of_any_tensor() -> None:
    for s in both():
        with pytest.raises(RuntimeError, match="requires grad"):
            s.numpy()
        with pytest.raises(RuntimeError, match="deepcopy"):
            copy.deepcopy(s)


# --- memory -------------------------------------------------------------------------------------


def test_no_pointer_is_null_and_no_change_behind_one_is_lost() -> None:
    spikes, floats = both()
    assert spikes.data_ptr() != 0
    view = from_dlpack(spikes.detach())
    assert torch.equal(view, floats)
    view += 1
    same(spikes, floats + 1)
    array = both()[0].detach().numpy()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def _fill(s: Tensor) -> None:
    s.data.fill_(2.0)


def _out(s: Tensor) -> None:
    torch.add(torch.ones(SHAPE), 3, out=s.detach())


WRITES: dict[str, Callable[[Tensor], Any]] = {
    "plus": lambda s: s.add_(1),
    "operator": lambda s: operator.iadd(s, 1),
    "times": lambda s: s.mul_(3),
    "step": lambda s: s.__setitem__(0, 4.0),
    "masked": lambda s: s.__setitem__(s > 0, -1.0),
    "moved": lambda s: s.__setitem__(0, s[2]),
    "view": lambda s: s[:, 1].zero_(),
    "flat": lambda s: s.permute(0, 1, 3, 4, 2).view(-1)[7:90].fill_(5),
    "fill": _fill,
    "detached": lambda s: s.detach().sub_(2),
    "copied": lambda s: s.copy_(torch.ones(6)),
    "out": _out,
    "random": lambda s: s.bernoulli_(0.5, generator=torch.Generator().manual_seed(0)),
    "many": lambda s: torch._foreach_add_([s, s[1]], 1.0),
    "clamped": lambda s: s.clamp_(max=0.5).neg_(),
}


@pytest.mark.parametrize("name", list(WRITES))
def test_what_is_written_in_place_is_not_lost(name: str) -> None:
    results = []
    for s in both():
        before, earlier = s, s[1]
        with torch.no_grad():
            WRITES[name](s)
        assert s is before
        results.append((s, earlier, s[2:], s.flatten(0, 1)))
    same(*results)


def test_a_shape_is_not_changed_in_place() -> None:
    spikes, _ = both()
    with pytest.raises(RuntimeError, match="changes the shape"), torch.no_grad():
        spikes.unsqueeze_(0)


def test_gradients_pass_what_was_written_in_place() -> None:
    module, found = conv(), []
    for how in ("auto", "dense"):
        x = current()
        s = neuron(x, how) if how == "auto" else neuron(x, how).clone()
        s.mul_(exact(*SHAPE))
        s[0] = s[1] * 2
        loss(module(s.flatten(0, 1))).backward()
        found.append(x.grad)
    assert torch.equal(*found)
    s = neuron(current())
    y = module(s.flatten(0, 1))
    with torch.no_grad():
        s.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# --- connections --------------------------------------------------------------------------------


class Depthwise(nn.Module):
    """Weights of spikes are no connection of spikes."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(exact(2, 8, 7, 7), x[:, :, :3, :3])


def linear(features: int, out: int, *, bias: bool = True) -> nn.Linear:
    module = nn.Linear(features, out, bias=bias)
    with torch.no_grad():
        for number, p in enumerate(module.parameters()):
            p.copy_(exact(*p.shape, seed=number))
    return module


def transposed() -> nn.Module:
    module = nn.ConvTranspose2d(8, 3, 3)
    nn.init.ones_(module.weight)
    nn.init.zeros_(module.bias)
    return module


# What makes a connection of spikes dense before anybody counts them.
REFUSED = {"dense: a convolution in 2 groups", "dense: a convolution with dilation 2 x 2"}
REFUSED.add("dense: a transposed convolution")
CONSUMERS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "3x3": (lambda: conv(padding=1), True),
    "strided": (lambda: conv(stride=2, bias=False), True),
    "1x1": (lambda: conv(kernel=1), True),
    "1x1 strided": (lambda: conv(kernel=1, stride=2, padding=1), True),
    "same": (lambda: conv(padding="same"), True),
    "5x5": (lambda: conv(kernel=5, padding=(2, 1), stride=(1, 2)), True),
    "channels_last": (lambda: conv(padding=1).to(memory_format=torch.channels_last), True),
    "groups": (lambda: conv(out=4, groups=2), False),
    "dilated": (lambda: conv(dilation=2), False),
    "transposed": (transposed, False),
    "weight": (Depthwise, False),
    "linear": (lambda: nn.Sequential(nn.Flatten(), linear(240, 5)), True),
    "no bias": (lambda: nn.Sequential(nn.Flatten(), linear(240, 5, bias=False)), True),
    "last dimension": (lambda: linear(6, 4), True),
}


@pytest.mark.parametrize("name", list(CONSUMERS))
def test_what_reads_spikes_gives_what_it_gives_of_floats(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit in every direction, with numbers that are exact in any order of summation."""
    make, event = CONSUMERS[name]
    # Whether it pays is another question.
    always = Choice(True, "event-driven: it is tested")
    monkeypatch.setattr(connections, "choose", lambda *shape, values: always)
    results = []
    for how in ("auto", "dense"):
        x, module = current(), make()
        with recorded_paths() as paths:
            y = module(neuron(x, how).flatten(0, 1))
            loss(y).backward()
        results.append((y.detach(), x.grad, *(p.grad for p in module.parameters())))
        if how == "auto":
            assert [p.direction for p in paths if p.event or p.reason not in REFUSED] == (
                ["forward", "weight_gradient", "input_gradient"] if event else []
            )
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)
        assert a.abs().sum() > 0


@pytest.mark.parametrize("value", [-3.0, 30.0])
def test_silent_and_full_layers(value: float) -> None:
    """No spike at all, and nothing but spikes (which is dense)."""
    results = []
    for how in ("auto", "dense"):
        module, x = conv(), current().add(value)
        x.retain_grad()
        y = module(neuron(x, how).flatten(0, 1))
        loss(y).backward()
        results.append((y.detach(), module.weight.grad, x.grad))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_what_autograd_keeps_are_bits() -> None:
    x = current(4, 2, 16, 8, 8)
    module = conv(16)
    spikes = neuron(x)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        module(spikes.flatten(0, 1))
    (saved,) = (t for t in kept if isinstance(t, Spikes))
    assert isinstance(spikes, Spikes)
    assert saved.memory is spikes.memory
    bits = spikes.numel() // 8
    assert sum(t.nbytes for t in saved.parts) == 2 * (bits + 64)  # spikes and windows


def test_an_output_with_nan_are_floats() -> None:
    x = current().detach()
    x[1, 0, 2, 3, 1] = float("nan")
    spikes = neuron(x.requires_grad_())
    assert type(spikes) is Tensor
    assert torch.equal(spikes.isnan(), neuron(x, "dense").isnan())
    assert spikes.isnan().any()


# --- somebody looks at the gradient of spikes ---------------------------------------------------


class Hooked(nn.Module):
    """A neuron whose module hooks tell the gradient of its output."""

    def __init__(self, how: str, seen: list[Tensor]) -> None:
        super().__init__()
        self.how = how
        self.register_full_backward_hook(lambda m, g_in, g_out: seen.append(g_out[0].clone()))

    def forward(self, x: Tensor) -> Tensor:
        return neuron(x, self.how)


Look = Callable[[str, Tensor, nn.Module, list[Tensor]], None]


def _hook(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how)
    s.register_hook(seen.append)
    loss(module(s.flatten(0, 1))).backward()


def _hook_on_view(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how).flatten(0, 1)
    s.register_hook(seen.append)
    loss(module(s)).backward()


def _hook_after(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how)
    y = module(s.clone().flatten(0, 1))
    s.register_hook(seen.append)
    loss(y).backward()


def _node_hook(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how)
    s.grad_fn.register_prehook(lambda g: seen.append(g[0]))
    loss(module(s.flatten(0, 1))).backward()


def _retain(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how)
    s.retain_grad()
    loss(module(s.flatten(0, 1))).backward()
    seen.append(s.grad)


def _grad(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how)
    seen.append(torch.autograd.grad(loss(module(s.flatten(0, 1))), s)[0])


def _inputs(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how)
    loss(module(s.flatten(0, 1))).backward(inputs=[x, s])
    seen += [s.grad, x.grad]


def _edge(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how)
    edge = torch.autograd.graph.get_gradient_edge(s)
    seen.append(torch.autograd.grad(loss(module(s.flatten(0, 1))), edge)[0])


def _leaf(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how).detach().requires_grad_()
    loss(module(s.flatten(0, 1))).backward()
    seen.append(s.grad)


def _parameter(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = nn.Parameter(neuron(x.detach(), how))
    loss(module(s.flatten(0, 1))).backward()
    seen.append(s.grad)


def _data(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how).data
    s.requires_grad = True
    loss(module(s.flatten(0, 1))).backward()
    seen.append(s.grad)


def _module_hook(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    module.register_full_backward_hook(lambda m, g_in, g_out: seen.append(g_in[0]))
    loss(module(neuron(x, how).flatten(0, 1))).backward()


def _neuron_hook(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    loss(module(Hooked(how, seen)(x).flatten(0, 1))).backward()


def _multi(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how)
    torch.autograd.graph.register_multi_grad_hook((s,), lambda g: seen.append(g[0]))
    loss(module(s.flatten(0, 1))).backward()


def _checkpointed(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    def inside(x: Tensor) -> tuple[Tensor, Tensor]:
        s = neuron(x, how)
        return s, module(s.flatten(0, 1))

    s, y = checkpoint(inside, x, use_reentrant=False)
    s.register_hook(seen.append)
    loss(y).backward()


def _reentrant(how: str, x: Tensor, module: nn.Module, seen: list[Tensor]) -> None:
    s = neuron(x, how)
    s.register_hook(seen.append)
    y = checkpoint(lambda s: module(s.flatten(0, 1)), s, use_reentrant=True)
    loss(y).backward()


LOOKS: dict[str, Look] = {
    "hook": _hook, "hook on a view": _hook_on_view, "hook afterwards": _hook_after,
    "hook of a node": _node_hook, "retain_grad": _retain, "autograd.grad": _grad,
    "inputs": _inputs, "gradient edge": _edge, "leaf": _leaf, "parameter": _parameter,
    "data": _data, "hook of a module": _module_hook, "hook of the neuron": _neuron_hook,
    "hook of many": _multi, "checkpoint": _checkpointed, "reentrant": _reentrant,
}  # fmt: skip


@pytest.mark.parametrize("name", list(LOOKS))
def test_who_looks_at_the_gradient_of_spikes_sees_all_of_it(name: str) -> None:
    found = []
    for how in ("auto", "dense"):
        seen: list[Tensor] = []
        LOOKS[name](how, current(), conv(padding=1), seen)
        found.append(seen)
    assert len(found[0]) == len(found[1]) > 0
    for a, b in zip(*found, strict=True):
        assert type(a) is Tensor
        assert torch.equal(a, b)
        assert (a != 0).float().mean() > 0.5 or (a.shape == b.shape and name == "inputs")


def _paths(step: Callable[[Tensor, nn.Module], Any]) -> list[Path]:
    with recorded_paths() as paths:
        step(current(), conv(padding=1))
    return [path for path in paths if path.direction == "input_gradient"]


def test_where_nobody_looks_the_gradient_is_that_at_open_windows() -> None:
    (path,) = _paths(lambda x, module: loss(module(neuron(x).flatten(0, 1))).backward())
    assert path.event
    assert path.density is not None
    assert 0.0 < path.density < 0.6
    (path,) = _paths(lambda x, m: torch.autograd.grad(loss(m(neuron(x).flatten(0, 1))), x))
    assert path.event


def test_a_surrogate_without_a_window_has_a_dense_input_gradient() -> None:
    found = []
    for how in ("auto", "dense"):
        x, module = current(), conv(padding=1)
        with recorded_paths() as paths:
            loss(module(neuron(x, how, surrogate="sigmoid").flatten(0, 1))).backward()
        found.append(x.grad)
        if how == "auto":
            assert [p.event for p in paths] == [True, True, False]
    assert torch.equal(*found)


def test_two_consumers_and_a_shortcut() -> None:
    """Gradients that exist at open windows alone, and one that exists everywhere, are added up."""
    found = []
    for how in ("auto", "dense"):
        x, first, second = current(), conv(out=8, padding=1), conv(out=8, kernel=1)
        s = neuron(x, how).flatten(0, 1)
        y = first(s) + s + second(s)
        loss(y).backward()
        found.append((y.detach(), x.grad, first.weight.grad, second.weight.grad))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_an_operation_made_of_others_copies_what_it_has_to(context: Any) -> None:
    x = (torch.rand(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    with context():
        spikes = as_spikes(x, 1.0)
        assert torch.equal(spikes.flatten(2) + 0, x.flatten(2))
        assert torch.equal(spikes.reshape(15, 16) + 0, x.reshape(15, 16))
        assert torch.equal(spikes.contiguous() + 0, x)

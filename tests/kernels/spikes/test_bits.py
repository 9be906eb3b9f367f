"""Spikes kept for backward as bits: the same numbers, an eighth of a byte each."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from clifctl.kernels import mark_spikes, spike_value, spikes_as_bits
from clifctl.kernels.cpu.source import SLACK
from clifctl.kernels.spikes.bits import pack_bits, unpack_bits
from clifctl.models import MODELS, NeuronChoice
from clifctl.models.layers import SharedDropout, flatten_features, fold_time
from clifctl.models.mlp import MLPOptions
from clifctl.neurons import NEURONS
from clifctl.training.memory import saved_for_backward

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
SHAPE = (3, 5, 4, 6, 7)


def spikes(*shape: int, dtype: torch.dtype = torch.float32, marked: bool = True) -> Tensor:
    """Zeros and ones that need a gradient, known to be spikes or not."""
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(shape, generator=generator) < 0.3).to(dtype).requires_grad_()
    if marked:
        mark_spikes(x)
    return x


def layer(neuron: str, **options: Any) -> Any:
    values = NEURONS[neuron].hyperparameters(**options)
    return NeuronChoice(NEURONS[neuron], values, connections="dense").layer(4, 3)


class Saved:
    """Hooks of a user around the net: notes each storage that is kept."""

    def __init__(self) -> None:
        self.dtypes: list[torch.dtype] = []
        self.bytes: dict[int, int] = {}
        self.given = 0
        self._alive: list[Any] = []

    def _pack(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        self._alive.append(storage)
        self.bytes[storage._cdata] = storage.nbytes()
        self.dtypes.append(x.dtype)
        return x

    def _unpack(self, x: Tensor) -> Tensor:
        self.given += 1
        return x

    def hooks(self) -> Any:
        return torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)


# --- bits themselves


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from(DTYPES),
    st.sampled_from([1.0, 1 / (1 - 0.3), 1 / (1 - 0.1), 1 / (1 - 0.85)]),
    st.integers(0, 2**31),
)
def test_bits_hold_every_element(size: int, dtype: torch.dtype, value: float, seed: int) -> None:
    chosen = torch.rand(size, generator=torch.Generator().manual_seed(seed)) < 0.5
    # As dropout makes it: one times a Python number, in this dtype.
    x = torch.ones(size, dtype=dtype).mul_(value) * chosen
    bits = pack_bits(x)
    assert (bits.dtype, len(bits)) == (torch.uint8, -(-size // 8))
    assert torch.equal(unpack_bits(bits, size, dtype, value), x)


def test_bits_of_many_units_do_not_depend_on_threads() -> None:
    x = (torch.rand(1_000_003, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            bits = pack_bits(x)
            assert torch.equal(unpack_bits(bits, len(x), x.dtype, 1.0), x)
            found.append(bits)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_operators_hold_what_torch_asks_of_them() -> None:
    x = spikes(21).detach()
    torch.library.opcheck(torch.ops.clifctl.pack_bits.default, (x,))
    torch.library.opcheck(
        torch.ops.clifctl.unpack_bits.default, (pack_bits(x), 21, torch.bfloat16, 1.0)
    )


# --- what consumers get


def _attention(x: Tensor) -> Tensor:
    q, k, v = (part.flatten(2) for part in x.chunk(3, 1)) if x.shape[1] % 3 == 0 else [x] * 3
    return (q @ k.transpose(-2, -1)) @ v


def _consumers() -> dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]]:
    torch.manual_seed(0)
    image, vector = (15, 4, 6, 7), (15, 13)
    conv, linear = nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.Linear(13, 3)
    norm = nn.BatchNorm2d(4)
    return {
        "conv": (image, conv),
        "linear": (vector, linear),
        "avg_pool": (image, nn.AvgPool2d(2)),
        "max_pool": (image, nn.MaxPool2d(3, 2)),
        "norm": (image, norm),
        "attention": ((2, 6, 5, 4), _attention),
        "view": (image, lambda x: linear(x.view(-1)[11:].view(-1, 13)[::3])),
        "transposed": (image, lambda x: conv(x.transpose(2, 3).contiguous().transpose(2, 3)[1:])),
        "product": (image, lambda x: x * x.flip(0) + x[1:2] * x),
    }


@pytest.mark.parametrize("name", list(_consumers()))
def test_gradients_are_bit_equal(name: str) -> None:
    results = []
    for marked in (True, False):
        shape, consumer = _consumers()[name]
        x = spikes(*shape, marked=marked)
        with spikes_as_bits():
            y = consumer(x)
        y.square().sum().backward()
        weights = [p.grad for p in consumer.parameters()] if isinstance(consumer, nn.Module) else []
        results.append([y.detach(), x.grad, *weights])
    for a, b in zip(*results, strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b)
        assert a.abs().sum() > 0


def test_bits_are_kept_and_hooks_around_are_called() -> None:
    saved = Saved()
    linear = nn.Linear(13, 3)
    x = spikes(5, 7, 13)
    with saved.hooks():
        y = fold_time(linear, x)
    kept = sorted(saved.bytes.values())
    assert kept == [-(-5 * 7 * 13 // 8), 3 * 13 * 4]  # bits, and the weight
    assert saved.dtypes.count(torch.uint8) == 1
    y.sum().backward()
    assert saved.given == 2
    assert torch.equal(linear.weight.grad, x.detach().flatten(0, 1).sum(0).expand(3, -1))


def test_two_consumers_share_one_storage_of_bits() -> None:
    saved = Saved()
    first, second = nn.Linear(13, 3), nn.Linear(13, 2)
    x = spikes(5, 7, 13)
    with saved.hooks():
        y = fold_time(first, x).sum() + fold_time(second, x[:, 1:].contiguous()).sum()
        y = y + fold_time(second, x).sum() + fold_time(nn.Identity(), x).sum()
    bits = [size for size in saved.bytes.values() if size == -(-5 * 7 * 13 // 8)]
    assert len(bits) == 1
    assert saved.dtypes.count(torch.uint8) == 2
    y.backward()
    assert x.grad is not None


@pytest.mark.parametrize("how", ["neuron", "dropout", "view", "channels-last"])
def test_what_comes_from_a_neuron_is_packed(how: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(SHAPE, requires_grad=True)
    if how == "channels-last":
        x = x.detach().movedim(-3, -1).contiguous().movedim(-1, -3).requires_grad_()
    out, _ = layer("clif")(x)
    assert spike_value(out) == 1.0
    conv = nn.Conv2d(4, 5, 3)
    if how == "dropout":
        out = SharedDropout(0.3)(out)
        assert spike_value(out) == 1 / (1 - 0.3)
        assert set(out.unique().tolist()) == {0.0, torch.tensor(1 / 0.7).item()}
    elif how == "view":
        out = out.transpose(0, 1)[:, ::2].transpose(0, 1)
        assert spike_value(out) == 1.0
    saved = Saved()
    with saved.hooks():
        fold_time(conv, out)
    packed = torch.uint8 in saved.dtypes
    assert packed == (how != "view")  # a part of it, copied to be folded, is not known any more


def test_dropout_keeps_its_mask_and_its_output_as_bits() -> None:
    torch.manual_seed(0)
    x = spikes(*SHAPE)
    saved = Saved()
    with saved.hooks():
        y = SharedDropout(0.3)(x)
    assert sorted(saved.bytes.values()) == [5 * 4 * 6 * 7 // 8]
    y.sum().backward()
    mask = x.grad[:1].expand_as(x)
    assert torch.equal(y, x.detach() * mask)
    assert torch.equal(x.grad, mask)


def test_what_is_not_known_is_never_packed() -> None:
    torch.manual_seed(0)
    x = torch.randn(SHAPE)
    spiking, changed, scaled = (layer("lif")(x.clone().requires_grad_())[0] for _ in range(3))
    changed = changed.mul_(2.0)
    scaled = scaled * 0.5
    relu = layer("relu")(x[:1].requires_grad_())[0]
    elsewhere = (x > 0).float()
    read_otherwise = [
        spiking.detach().view(torch.int32),
        torch.view_as_complex(spiking.detach().view(-1, 2)),
        torch._neg_view(spiking.detach()),
    ]
    for other in (changed, scaled, relu, elsewhere, SharedDropout(0.3)(scaled), *read_otherwise):
        assert spike_value(other) is None
    assert spike_value(spiking) == 1.0
    conv = nn.Conv2d(4, 5, 3)
    for other in (changed, scaled, elsewhere, relu):
        saved = Saved()
        with saved.hooks():
            fold_time(conv, other)
        assert torch.uint8 not in saved.dtypes
        assert other.untyped_storage().nbytes() in saved.bytes.values()


def test_a_change_after_saving_does_not_change_the_gradient() -> None:
    x = spikes(4, 6, marked=False)
    y = x * 1
    mark_spikes(y)
    expected = y.detach().clone()
    linear = nn.Linear(6, 3)
    with spikes_as_bits():
        out = linear(y)
    with torch.no_grad():
        y.add_(3.0)
    out.sum().backward()
    assert torch.equal(linear.weight.grad, expected.sum(0).expand(3, -1))


def test_a_weight_that_was_changed_in_place_is_refused() -> None:
    """As torch refuses it without hooks."""
    linear = nn.Linear(6, 3)
    y = fold_time(linear, spikes(2, 4, 6))
    with torch.no_grad():
        linear.weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_an_operation_that_keeps_its_result_does_not_hold_itself() -> None:
    import weakref

    x = torch.randn(3, 5, requires_grad=True)
    with spikes_as_bits():
        y = torch.sigmoid(x)
    memory = weakref.ref(y.untyped_storage())
    assert memory() is not None
    del y
    assert memory() is None


def test_nothing_is_marked_without_gradients_and_hooks_may_be_refused() -> None:
    with torch.no_grad():
        out, _ = layer("lif")(torch.randn(SHAPE))
        assert spike_value(out) is None
    with torch.inference_mode():
        out, _ = layer("lif")(torch.randn(SHAPE))
        assert fold_time(nn.Flatten(), SharedDropout(0.2)(out)).shape == (3, 5, 168)
    x = torch.randn(2, 3, 6)
    linear = nn.Linear(6, 3)
    gradient = torch.func.grad(lambda x: fold_time(linear, x).sum())(x)
    assert torch.allclose(gradient, linear.weight.sum(0).expand_as(x))


# --- nets


def _net(neuron: str = "clif", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    choice = NeuronChoice(NEURONS[neuron], NEURONS[neuron].hyperparameters())
    settings = MLPOptions(hidden=(13, 9), **options)
    return MODELS["mlp"].build(settings, input_shape=(7,), classes=3, timesteps=4, neuron=choice)


def _gradients(net: nn.Module, run: Callable[[Tensor], Tensor]) -> list[Tensor]:
    torch.manual_seed(1)
    x = torch.randn(4, 6, 7)
    run(x).square().sum().backward()
    return [p.grad for p in net.parameters() if p.grad is not None]


@pytest.mark.parametrize("around", ["save_on_cpu", "checkpoint", "twice"])
def test_a_net_works_within_other_hooks(around: str) -> None:
    from torch.utils.checkpoint import checkpoint

    net = _net(dropout=0.3)
    expected = _gradients(net, lambda x: net(x)[0])
    assert len(expected) >= 8
    other = _net(dropout=0.3)

    def run(x: Tensor) -> Tensor:
        if around == "save_on_cpu":
            with torch.autograd.graph.save_on_cpu():
                return other(x)[0]
        if around == "checkpoint":
            # The running averages are updated again: they are not part of any gradient.
            return checkpoint(lambda x: other(x)[0], x, use_reentrant=False)
        with spikes_as_bits():
            return other(x)[0]

    largest = max(float(b.abs().max()) for b in expected)
    for a, b in zip(_gradients(other, run), expected, strict=True):
        if around == "checkpoint":  # the gradients of what is run again are computed densely
            assert torch.allclose(a, b, rtol=0.0, atol=1e-4 * largest)
        else:
            assert torch.equal(a, b)


def _bytes_by_hand(batch: int, steps: int) -> int:
    """What the net of `_net` keeps, layer by layer, in bytes."""
    elements = steps * batch
    first = 7 * elements * 4 + 13 * elements * 4  # the input, and what the first neuron is given
    second = -(-13 * elements // 8) + 9 * elements * 4
    readout = -(-9 * elements // 8)
    return first + second + readout


@pytest.mark.usefixtures("fresh_constants")
@pytest.mark.parametrize("kind", ["meta", "fake", "cpu"])
def test_bytes_are_counted_before_a_run(kind: str) -> None:
    """With the real size of what is kept: currents as floats, spikes as bits, and statistics."""
    if kind == "fake":
        with FakeTensorMode():
            counted = saved_for_backward(_net(), torch.empty(4, 6, 7), repeat=1)
    else:
        device = torch.device(kind)
        counted = saved_for_backward(
            _net().to(device), torch.ones(4, 6, 7, device=device), repeat=1
        )
    statistics = counted - _bytes_by_hand(6, 4)
    if kind == "cpu":  # the surrogate's windows too, and what may be read behind bits
        statistics -= sum(-(-width * 24 // 8) + 2 * SLACK for width in (13, 9))
    # Mean and inverse of each step and channel; operators keep how many values share them too.
    count = 0 if kind == "cpu" else 4
    assert statistics == sum(2 * 4 * width * 4 + count for width in (13, 9))


def test_the_plain_path_keeps_more() -> None:
    sizes = [
        saved_for_backward(
            _net(fuse_norm=fused).to("meta"), torch.empty(4, 60, 7, device="meta"), repeat=1
        )
        for fused in (True, False)
    ]
    assert sizes[0] < 0.7 * sizes[1]


def test_attention_product_of_spikes() -> None:
    """Both factors of a product are bits, and each gradient is exact."""
    q, k = spikes(2, 5, 6), spikes(2, 6, 5)
    saved = Saved()
    with saved.hooks(), spikes_as_bits():
        product = q @ k
    assert set(saved.dtypes) == {torch.uint8}
    product.sum().backward()
    assert torch.equal(q.grad, k.detach().sum(-1)[:, None].expand_as(q))
    assert F.mse_loss(k.grad, q.detach().sum(1)[..., None].expand_as(k)) == 0


@pytest.mark.parametrize("channels_last", [False, True])
def test_flattened_spikes_are_kept_as_bits(channels_last: bool) -> None:
    steps, batch, *features = SHAPE
    maps = spikes(steps * batch, *features, marked=False).detach()
    if channels_last:
        maps = maps.contiguous(memory_format=torch.channels_last)
    x = maps.view(steps, batch, *features).requires_grad_()
    mark_spikes(x)
    saved = Saved()
    with saved.hooks():
        flat = flatten_features(x)
        read_out = nn.Linear(flat.shape[2], 3)
        out = fold_time(read_out, flat)
    assert spike_value(flat) == 1.0
    assert torch.equal(flat, x.reshape(steps, batch, -1))
    assert torch.uint8 in saved.dtypes
    assert -(-flat.numel() // 8) in saved.bytes.values()
    assert flat.numel() * flat.element_size() not in saved.bytes.values()
    out.sum().backward()
    expected = flat.detach().flatten(0, 1).sum(0).expand(3, -1)
    assert torch.equal(read_out.weight.grad, expected)
    # What is not known to be spikes is not known to be after it either.
    assert spike_value(flatten_features(torch.ones(SHAPE))) is None

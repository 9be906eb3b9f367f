"""The Spike-Driven Transformer against one written step by step from SpikingJelly's neurons."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.errors import RecipeError
from clifctl.kernels import mark_spikes, spike_value
from clifctl.models import MODELS, NeuronChoice, SpikingLayer, SpikingNet, put_neuron
from clifctl.models.layers import Pool, masked
from clifctl.models.spike_driven_transformer import OWN_NEURON
from clifctl.neurons import NEURONS
from clifctl.recipe.load import bare_recipe, load_recipe

NAME = "spike_driven_transformer"
SHAPE, CLASSES, STEPS = (2, 19, 22), 5, 3


def choice(neuron: str = "clif", target: str = "auto", **constants: Any) -> NeuronChoice:
    chosen = NEURONS[neuron]
    return NeuronChoice(chosen, chosen.hyperparameters(**constants), target=target)


def build(
    neuron: NeuronChoice, shape: tuple[int, ...] = SHAPE, *, seed: int = 0, **options: Any
) -> SpikingNet:
    torch.manual_seed(seed)
    net = MODELS[NAME].build(
        MODELS[NAME].options(**options), input_shape=shape, classes=CLASSES, timesteps=STEPS,
        neuron=neuron,
    )  # fmt: skip
    return net.double()


def frames(samples: int, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.full((STEPS, samples, *shape), 0.7).double(), generator=generator)


def louder(net: SpikingNet) -> SpikingNet:
    """With norms that let every layer fire: those of the start leave the last ones silent."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in net.named_parameters():
        if "norm" in name and name.endswith("bias"):
            noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data.copy_(1.6 * noise - 0.6)
    return net


class Written:
    """The net as its authors' code computes it: heads split and put together again, batch norm over
    time and batch, SpikingJelly's LIF. It borrows nothing but the weights."""

    def __init__(self, net: SpikingNet, heads: int) -> None:
        self.net, self.heads = net, heads
        self.rates: list[float] = []

    def fire(self, x: Tensor, v_threshold: float = 1.0) -> Tensor:
        from spikingjelly.activation_based import neuron, surrogate

        node = neuron.LIFNode(
            tau=2.0, decay_input=True, v_threshold=v_threshold, v_reset=0.0, detach_reset=True,
            surrogate_function=surrogate.Sigmoid(4.0), step_mode="m",
        )  # fmt: skip
        spikes: Tensor = node(x)
        self.rates.append(spikes.detach().mean().item())
        return spikes

    def conv(self, x: Tensor, module: Any, norm: Any) -> Tensor:
        size = module.weight.shape[-1]
        y = F.conv2d(x.flatten(0, 1), module.weight, module.bias, padding=size // 2)
        y = F.batch_norm(y, None, None, norm.weight, norm.bias, training=True)
        return y.unflatten(0, x.shape[:2])

    def pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x.flatten(0, 1), 3, 2, 1).unflatten(0, x.shape[:2])

    def tokens(self, x: Tensor) -> Tensor:
        """`[T, N, D, H, W]` as `[T, N, heads, tokens, D / heads]`."""
        return x.flatten(3).unflatten(2, (self.heads, -1)).transpose(3, 4)

    def __call__(self, x: Tensor) -> Tensor:
        part: Any = self.net.embedding
        for number, stage in enumerate(part.stages):
            x = self.fire(self.conv(x, stage.connection, stage.norm))
            x = self.pool(x) if number else x
        sums = self.pool(self.conv(x, part.conv, part.norm))
        x = self.conv(self.fire(sums), part.position, part.position_norm) + sums
        for block in self.net.blocks:
            x = self.attend(x, block.attention)
            mlp: Any = block.mlp
            inner = self.conv(self.fire(x), mlp.hidden.connection, mlp.hidden.norm)
            x = x + self.conv(self.fire(inner), mlp.conv, mlp.norm)
        spikes = self.fire(x.flatten(3).mean(3))
        head: Any = self.net.linear
        return spikes @ head.weight.T + head.bias

    def attend(self, x: Tensor, part: Any) -> Tensor:
        spikes = self.fire(x)
        q, k, v = (
            self.tokens(self.fire(self.conv(spikes, layer.connection, layer.norm)))
            for layer in (part.query, part.key, part.value)
        )
        mask = self.fire((k * v).sum(3, keepdim=True), 0.5)
        chosen = (q * mask).transpose(3, 4).flatten(2, 3).unflatten(3, x.shape[3:])
        return x + self.conv(chosen, part.conv, part.norm)


@pytest.mark.parametrize("heads", [8, 2])
def test_it_is_the_published_net_with_its_own_neurons(heads: int) -> None:
    """Logits and every gradient in float64, for any number of heads."""
    own = choice("lif", "reference", **OWN_NEURON)
    net, other = (louder(build(own, width=2, mlp_ratio=3, batch_norm="folded")) for _ in range(2))
    written = Written(other, heads)
    x = frames(2)
    logits, states = net(x)
    expected = written(x)
    assert logits.shape == (STEPS, 2, CLASSES)
    assert len(states) == len(written.rates) == 19
    assert all(0.01 < rate < 0.99 for rate in written.rates)  # nothing is compared in silence
    assert torch.allclose(logits, expected, atol=1e-12, rtol=0)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2)).double()
    (logits * weights).sum().backward()
    (expected * weights).sum().backward()
    others = dict(other.named_parameters())
    assert len(others) == 59
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        theirs = others[name].grad
        assert theirs is not None, name
        assert torch.allclose(parameter.grad, theirs, atol=1e-9, rtol=1e-9), name


@pytest.mark.parametrize("batch_norm", ["folded", "per_step"])
def test_fused_and_plain_path_are_one(batch_norm: str) -> None:
    """Kernels with the norm inside against the step itself behind a plain norm, in float64."""
    made = []
    for target, fuse in (("auto", True), ("reference", False)):
        neuron = choice("clif", target)
        net = louder(build(neuron, width=1, depth=1, batch_norm=batch_norm, fuse_norm=fuse))
        logits, _ = net(frames(3))
        logits.square().sum().backward()
        made.append((net, logits))
    (fused, one), (plain, other) = made
    assert one.std() > 0.01
    assert torch.allclose(one, other, atol=1e-12, rtol=0)
    theirs = dict(plain.named_parameters())
    for name, parameter in fused.named_parameters():
        assert parameter.grad is not None, name
        gradient = theirs[name].grad
        assert gradient is not None, name
        assert torch.allclose(parameter.grad, gradient, atol=1e-9, rtol=1e-9), name
    kept = dict(plain.named_buffers())
    for name, buffer in fused.named_buffers():
        assert torch.allclose(buffer, kept[name], atol=1e-12, rtol=0), name


@pytest.mark.parametrize(
    ("pools", "shape", "maps"),
    [(3, (2, 128, 128), (16, 16)), (3, (1, 19, 22), (3, 3)), (4, (2, 33, 5), (3, 1)),
     (0, (3, 6, 7), (6, 7))],
)  # fmt: skip
def test_maps_of_any_size(pools: int, shape: tuple[int, ...], maps: tuple[int, int]) -> None:
    with torch.device("meta"):
        net = build(choice(), shape, width=4, pools=pools)
        inputs = torch.empty(STEPS, 1, *shape, dtype=torch.float64)
    sizes = {}
    for name, module in net.named_modules():
        if isinstance(module, SpikingLayer):
            module.register_forward_hook(
                lambda m, i, o, name=name: sizes.update({name: tuple(o[0].shape[2:])})
            )
    assert net(inputs)[0].shape == (STEPS, 1, CLASSES)
    assert sizes["embedding.stages.0.neuron"] == (4, *shape[1:])
    assert sizes["embedding.neuron"] == sizes["blocks.1.mlp.neuron"] == (32, *maps)
    assert sizes["blocks.1.mlp.hidden.neuron"] == (128, *maps)
    assert sizes["blocks.0.attention.kv_neuron"] == sizes["neuron"] == (32,)


def test_the_threshold_behind_k_times_v_is_its_own_and_stays() -> None:
    net = build(choice("lif", v_threshold=0.8), width=1)
    layers = {n: m for n, m in net.named_modules() if isinstance(m, SpikingLayer)}
    for neuron in (None, choice("clif", tau=1.5)):
        if neuron is not None:
            put_neuron(net, neuron)
        thresholds = {n: dict(layer.hyperparameters)["v_threshold"] for n, layer in layers.items()}
        own = [name for name, value in thresholds.items() if value == 0.5]
        assert own == ["blocks.0.attention.kv_neuron", "blocks.1.attention.kv_neuron"]
        usual = 0.8 if neuron is None else 1.0
        assert sorted(thresholds.values())[2:] == [usual] * 17
    assert dict(layers["blocks.0.attention.kv_neuron"].hyperparameters)["tau"] == 1.5


def test_a_neuron_without_a_threshold_is_told() -> None:
    overrides = ["neuron.name=glif", "timesteps=2"]
    notices = bare_recipe("digits", NAME, overrides).notices
    assert len(notices) == 1
    assert "glif has no v_threshold: model.kv_threshold does not apply" in notices[0]
    assert bare_recipe("digits", NAME).notices == ()
    loaded = load_recipe("digits_snn5", [f"model.name={NAME}", *overrides])
    assert notices[0] in loaded.notices
    with pytest.raises(RecipeError, match=r"kv_threshold = 0.7: neuron 'relu' has no v_threshold"):
        build(choice("relu"), width=1, kv_threshold=0.7)
    assert build(choice("clif"), width=1, kv_threshold=0.7).blocks[0].attention.kv_neuron


def test_products_and_maxima_of_spikes_are_spikes() -> None:
    spikes = torch.tensor([[[[[1.0, 0.0, 0.0, 1.0]]]]])
    for marked in (True, False):
        one, other = spikes.clone(), spikes.flip(4).clone()
        if marked:
            mark_spikes(one)
            mark_spikes(other)
        value = 1.0 if marked else None
        assert spike_value(masked(one, other)) == value
        assert spike_value(Pool(nn.MaxPool2d(3, 2, 1))(one)) == value
        assert spike_value(Pool(nn.AvgPool2d(1))(one)) is None
    assert torch.equal(masked(spikes, spikes[..., :1]), spikes)


def test_weights_start_as_published() -> None:
    net = build(choice(), width=16)
    weight = net.blocks[0].mlp.conv.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not any(
        m.bias.any() for m in net.modules() if isinstance(m, nn.Conv2d) and m.bias is not None
    )
    bound = 128**-0.5
    assert 0.8 * bound < net.linear.weight.abs().max().item() <= bound

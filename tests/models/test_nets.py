from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl.errors import RecipeError
from clifctl.models import (
    MODELS,
    FiringRates,
    NeuronChoice,
    SharedDropout,
    SpikingLayer,
    SpikingNet,
    TemporalBatchNorm,
    batch_statistics,
)
from clifctl.models.convolution import Convolution
from clifctl.neurons import NEURONS

Narrow = Mapping[str, tuple[tuple[int, ...], Mapping[str, Any]]]

DIGITS = {
    "channels": (4, 8, 16, 16, 32),
    "kernel_sizes": (3, 3, 3, 3, 3),
    "strides": (1, 2, 1, 1, 2),
}


def build(
    model: str,
    neuron: str = "clif",
    *,
    shape: tuple[int, ...] = (1, 8, 8),
    timesteps: int = 4,
    window: int | None = None,
    classes: int = 10,
    target: str = "auto",
    **options: object,
) -> SpikingNet:
    torch.manual_seed(0)
    chosen = NEURONS[neuron]
    return MODELS[model].build(
        MODELS[model].options(**options),
        input_shape=shape,
        classes=classes,
        timesteps=timesteps,
        neuron=NeuronChoice(chosen, chosen.hyperparameters(), window, target=target),
    )


def images(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_papers_net_has_the_papers_parameters() -> None:
    net = build("snn5", shape=(3, 32, 32))
    count = {"conv": 0, "norm": 0, "linear": 0}
    for module in net.modules():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        kind = {Convolution: "conv", TemporalBatchNorm: "norm", nn.Linear: "linear"}.get(
            type(module)
        )
        if kind:
            count[kind] += own
    assert count == {"conv": 1_640_576, "norm": 1_440, "linear": 2_570}
    rates = FiringRates(net)
    with rates.recording(), torch.no_grad():
        net(torch.randn(1, 2, 3, 32, 32), repeat=2)
    assert sum(rates.neurons.values()) == 38_336
    assert list(rates.neurons.values()) == [16384, 14400, 6272, 1024, 256]


# model, input, classes -> parameters of convolutions, norms and the linear layer; neurons a sample
COUNTS = {
    ("resnet18", (3, 32, 32), 10): (11_163_968, 7_808, 5_130, 557_056),
    ("resnet18", (3, 32, 32), 100): (11_163_968, 7_808, 51_300, 557_056),
    ("vgg11", (2, 48, 48), 10): (9_219_904, 5_504, 250_890, 340_992),
    ("vgg11", (2, 128, 128), 11): (9_219_904, 5_504, 275_979, 2_424_832),
    ("vgg13", (3, 64, 64), 200): (9_404_992, 5_888, 5_017_800, 999_424),
    ("vggsnn", (2, 48, 48), 10): (9_219_904, 5_504, 46_090, 921_600),
    ("vggsnn", (2, 128, 128), 11): (9_219_904, 5_504, 360_459, 6_553_600),
    ("snn5", (3, 32, 32), 10): (1_640_576, 1_440, 2_570, 38_336),
    # The authors' 2,567,051 without the 64 weights a block that their code never uses.
    ("spike_driven_transformer", (2, 128, 128), 11): (2_553_408, 10_688, 2_827, 3_343_104),
    ("spike_driven_transformer", (2, 48, 48), 10): (2_553_408, 10_688, 2_570, 470_784),
}


@pytest.mark.parametrize(("case", "expected"), COUNTS.items(), ids=str)
def test_parameters_and_neurons_are_the_authors(
    case: tuple[str, tuple[int, ...], int], expected: tuple[int, ...]
) -> None:
    model, shape, classes = case
    with torch.device("meta"):
        net = build(model, "lif", shape=shape, classes=classes)
        neurons = []
        for module in net.modules():
            if isinstance(module, SpikingLayer):
                module.register_forward_hook(lambda m, i, o: neurons.append(o[0][0, 0].numel()))
        net.eval()(torch.empty(1, 1, *shape), repeat=1)
    count = {Convolution: 0, TemporalBatchNorm: 0, nn.Linear: 0}
    for module in net.modules():
        if type(module) in count:
            count[type(module)] += sum(p.numel() for p in module.parameters(recurse=False))
    assert (*count.values(), sum(neurons)) == expected
    assert sum(p.numel() for p in net.parameters()) == sum(expected[:3])


class StepByStep:
    """A net as the authors run it: one time step at a time, PyTorch's own batch norm, images given
    anew at every step. It borrows nothing of ours but the weights and the neuron."""

    def __init__(self, net: SpikingNet) -> None:
        self.net = net
        self.norms = []
        for layer in net.features:
            norm = nn.BatchNorm2d(layer.norm.weight.numel()).double()
            norm.load_state_dict(layer.norm.state_dict())
            self.norms.append(norm)

    def __call__(self, frames: Tensor) -> Tensor:
        states = [None] * len(self.norms)
        logits = []
        for x in frames:
            for index, layer in enumerate(self.net.features):
                current = self.norms[index](layer.connection(x))
                spikes, states[index] = layer.neuron(current.unsqueeze(0), states[index])
                x = spikes[0]
            logits.append(self.net.classifier(x.flatten(1)))
        return torch.stack(logits)


@pytest.mark.parametrize("neuron", ["lif", "clif"])
@pytest.mark.parametrize("static", [True, False])
def test_layer_by_layer_equals_step_by_step(neuron: str, static: bool) -> None:
    net = build("snn5", neuron, **DIGITS).double()
    reference = StepByStep(build("snn5", neuron, **DIGITS).double())
    weights = torch.randn(4, 6, 10, generator=torch.Generator().manual_seed(5)).double()
    for seed in range(2):
        x = images(1 if static else 4, 6, 1, 8, 8, seed=seed)
        logits, _ = net(x, repeat=4 if static else 1)
        expected = reference(x.expand(4, -1, -1, -1, -1))
        assert torch.allclose(logits, expected, atol=1e-12, rtol=0)
        (logits * weights).sum().backward()
        (expected * weights).sum().backward()
    compared = 0
    theirs = dict(reference.net.named_parameters())
    norms = {f"features.{i}.norm": norm for i, norm in enumerate(reference.norms)}
    for name, parameter in net.named_parameters():
        module, leaf = name.rsplit(".", 1)
        other = norms[module].get_parameter(leaf) if module in norms else theirs[name]
        assert parameter.grad is not None, name
        assert other.grad is not None, name
        assert torch.allclose(parameter.grad, other.grad, atol=1e-10, rtol=0), name
        compared += 1
    assert compared == 22
    for name, norm in norms.items():
        for key, value in norm.state_dict().items():
            assert torch.allclose(
                net.get_submodule(name).state_dict()[key], value, atol=1e-13, rtol=0
            ), f"{name}.{key}"


def test_a_sequence_may_be_fed_step_by_step_with_states() -> None:
    net = build("snn5", **DIGITS).double().eval()
    x = images(4, 3, 1, 8, 8)
    whole, final = net(x)
    state = None
    pieces = []
    for t in range(4):
        logits, state = net(x[t : t + 1], state)
        pieces.append(logits)
    assert torch.allclose(torch.cat(pieces), whole, atol=1e-13, rtol=0)
    assert state is not None
    for layer, expected in zip(state, final, strict=True):
        for a, b in zip(layer, expected, strict=True):
            assert torch.equal(a, b)


def target_for(model: str) -> str:
    """The transformer's threshold of its own, and its layers without a norm, would have kernels
    compiled for each neuron; those of one neuron are compared in its own tests."""
    return "reference" if model == "spike_driven_transformer" else "auto"


def test_every_net_has_a_narrow_one(narrow: Narrow) -> None:
    assert set(narrow) == set(MODELS), "add a narrow one to conftest.py"


@pytest.mark.parametrize(
    ("neuron", "model"),
    [
        # Every net with one neuron and every neuron in one net; the others for who asks.
        pytest.param(
            neuron,
            model,
            marks=[] if neuron == "clif" or model == "snn5" else [pytest.mark.exhaustive],
        )
        for neuron in NEURONS
        for model in MODELS
    ],
)
def test_every_net_trains_every_parameter_with_every_neuron(
    model: str, neuron: str, narrow: Narrow
) -> None:
    steps = 1 if neuron == "relu" else 3
    shape, options = narrow[model]
    # In float64: kernels/test_normed.py compiles the same kernels.
    net = build(model, neuron, timesteps=steps, shape=shape, target=target_for(model), **options)
    net = net.double()
    logits, states = net(torch.randn(1, 6, *shape, dtype=torch.float64), repeat=steps)
    assert logits.shape == (steps, 6, 10)
    assert logits.isfinite().all()
    assert len(states) == sum(isinstance(m, SpikingLayer) for m in net.modules())
    logits.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, f"{name} got no gradient"


class Stepwise(nn.Module):
    """PyTorch's own batch norm, one time step at a time, in the place of ours."""

    def __init__(self, ours: TemporalBatchNorm) -> None:
        super().__init__()
        self.fused = False
        self.norm = nn.BatchNorm2d(ours.channels).double()
        self.norm.load_state_dict(ours.state_dict())

    def forward(self, x: Tensor, repeat: int = 1) -> Tensor:
        assert x.shape[0] == repeat == 1
        return self.norm(x[0]).unsqueeze(0)


def stepwise(net: SpikingNet) -> dict[str, nn.BatchNorm2d]:
    """Replace every norm of `net`; the norms by name."""
    norms = {}
    for name, module in list(net.named_modules()):
        if isinstance(module, TemporalBatchNorm):
            parent, _, leaf = name.rpartition(".")
            replaced = Stepwise(module)
            setattr(net.get_submodule(parent), leaf, replaced)
            norms[name] = replaced.norm
    return norms


@pytest.mark.parametrize(
    "model", ["resnet18", "vgg11", "vgg13", "vggsnn", "spike_driven_transformer"]
)
@pytest.mark.parametrize("static", [True, False])
def test_image_nets_layer_by_layer_equal_a_loop_over_steps(
    model: str, static: bool, narrow: Narrow
) -> None:
    """Logits, every gradient and the running statistics in float64, dropout's mask included."""
    shape, options = narrow[model]
    ours, loop = (
        build(model, "clif", shape=shape, dropout=0.3, target=target_for(model), **options).double()
        for _ in range(2)
    )
    norms = stepwise(loop)
    masks: dict[int, Tensor] = {}
    for module in loop.modules():
        if isinstance(module, SharedDropout):
            module.forward = _masked(module, masks)  # type: ignore[assignment, method-assign]
    x = images(1 if static else 4, 5, *shape)
    weights = images(4, 5, 10, seed=9)
    torch.manual_seed(1)
    logits, final = ours(x, repeat=4 if static else 1)
    torch.manual_seed(1)
    state, steps = None, []
    for frame in x.expand(4, *x.shape[1:]):
        out, state = loop(frame.unsqueeze(0), state)
        steps.append(out)
    expected = torch.cat(steps)
    assert torch.allclose(logits, expected, atol=1e-11, rtol=0)
    (logits * weights).sum().backward()
    (expected * weights).sum().backward()
    theirs = {name.replace(".norm.", "."): p for name, p in loop.named_parameters()}
    theirs |= dict(loop.named_parameters())
    compared = 0
    for name, parameter in ours.named_parameters():
        owner, _, leaf = name.rpartition(".")
        other = norms[owner].get_parameter(leaf) if owner in norms else theirs[name]
        assert parameter.grad is not None
        assert other.grad is not None
        scale = max(1.0, float(other.grad.abs().max()))
        assert torch.allclose(parameter.grad, other.grad, atol=1e-9 * scale, rtol=0), name
        compared += 1
    assert compared == len(list(ours.parameters())) > 20
    for name, norm in norms.items():
        for key, value in norm.state_dict().items():
            own = ours.get_submodule(name).state_dict()[key]
            assert torch.allclose(own, value, atol=1e-12, rtol=0), f"{name}.{key}"
    assert state is not None
    for layer, other_layer in zip(final, state, strict=True):
        for a, b in zip(layer, other_layer, strict=True):
            assert torch.allclose(a, b, atol=1e-11, rtol=0)


def _masked(module: SharedDropout, masks: dict[int, Tensor]) -> Callable[[Tensor], Tensor]:
    """Dropout as the authors': the mask of the first step serves all others."""

    def forward(x: Tensor) -> Tensor:
        if id(module) not in masks:
            masks[id(module)] = torch.empty_like(x).bernoulli_(1 - module.p).div_(1 - module.p)
        return x * masks[id(module)]

    return forward


def test_image_nets_start_as_the_authors() -> None:
    net = build("vgg11", shape=(2, 48, 48))
    assert net.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not net.classifier.bias.any()
    assert not any(m.bias.any() for m in net.modules() if isinstance(m, nn.Conv2d))
    net = build("resnet18", shape=(3, 32, 32))
    assert net.conv1.bias is None
    assert not net.linear.bias.any()
    weight, bias = net.blocks[2].conv1.weight, net.blocks[2].conv1.bias
    assert weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert 0.0 < bias.abs().max().item() <= (64 * 9) ** -0.5
    assert net.blocks[0].shortcut(bias) is bias  # the identity
    assert net.blocks[2].shortcut.kernel_size == (1, 1)


@pytest.mark.parametrize(
    ("model", "keys", "some"),
    [
        ("resnet18", 126, ["layer2.0.shortcut.bias", "layer4.1.bn2.running_var", "bn1.weight"]),
        ("vgg11", 58, ["layer3.4.weight", "layer5.5.num_batches_tracked", "classifier.1.bias"]),
        ("vgg13", 72, ["layer1.4.bias", "layer2.5.running_mean", "classifier.1.weight"]),
        ("vggsnn", 58, ["features.10.fwd.0.weight", "features.0.fwd.1.bias", "classifier.bias"]),
        ("snn5", 37, ["features.4.fwd.1.running_var", "classifier.weight"]),
        (
            "spike_driven_transformer",
            71,
            ["patch_embed.proj_bn2.weight", "block.0.attn.k_conv.weight", "head.bias"],
        ),
    ],
)
def test_every_module_has_its_name_in_the_authors_checkpoints(
    model: str, keys: int, some: list[str], narrow: Narrow
) -> None:
    shape, options = narrow[model]
    net = build(model, "plif", shape=shape, **options)
    theirs = []
    for key in net.state_dict():
        module, _, leaf = key.rpartition(".")
        theirs.append(f"{net.authors_names[module]}.{leaf}")
    assert len(set(theirs)) == len(theirs)
    assert len([key for key in theirs if not key.endswith(".w")]) == keys
    assert set(some) <= set(theirs)
    if model == "resnet18":
        assert {"layer1.0.relu1.w", "layer4.1.relu2.w", "relu1.w"} <= set(theirs)


def test_initialisation_is_the_authors() -> None:
    net = build("snn5", shape=(3, 32, 32))
    weight = net.features[2].connection.weight  # 128 channels of 5x5: fan_out 3200
    assert weight.std().item() == pytest.approx((2 / 3200) ** 0.5, rel=0.02)
    bias = net.features[2].connection.bias
    bound = (64 * 25) ** -0.5  # PyTorch's default: uniform in 1/sqrt(fan_in)
    assert bias.abs().max().item() <= bound
    assert bias.abs().max().item() > 0.8 * bound


def test_clif_and_lif_nets_are_one_at_one_time_step() -> None:
    x = images(1, 5, 1, 8, 8)
    outs = [build("snn5", n, timesteps=1, **DIGITS).double()(x)[0] for n in ("lif", "clif")]
    assert torch.equal(*outs)


def test_window_reaches_the_layers() -> None:
    net = build("mlp", window=2, hidden=(6,))
    layers = [m for m in net.modules() if isinstance(m, SpikingLayer)]
    assert [layer.window for layer in layers] == [2]
    grads = []
    for window in (None, 1):
        net = build("mlp", window=window, hidden=(16,), timesteps=5).double()
        net(images(5, 8, 1, 8, 8))[0][-1].sum().backward()
        grads.append(net.features[0].connection[1].weight.grad)
    assert not torch.allclose(grads[0], grads[1])


def test_dropout_has_one_mask_for_all_time_steps() -> None:
    torch.manual_seed(0)
    dropout = SharedDropout(0.25)
    out = dropout(torch.ones(5, 40, 30, dtype=torch.float64))
    assert torch.equal(out, out[:1].expand_as(out))
    assert set(out.unique().tolist()) == {0.0, 1 / 0.75}
    assert (out == 0).double().mean().item() == pytest.approx(0.25, abs=0.04)
    dropout.eval()
    assert torch.equal(dropout(torch.ones(2, 3)), torch.ones(2, 3))


def test_firing_rates_are_the_mean_of_the_spikes() -> None:
    net = build("mlp", hidden=(11, 6), timesteps=3).eval()
    rates = FiringRates(net)
    batches = [torch.randn(3, n, 1, 8, 8) for n in (4, 7)]
    spikes: list[Tensor] = []
    handle = net.features[0].neuron.register_forward_hook(lambda m, i, o: spikes.append(o[0]))
    with rates.recording(), torch.no_grad():
        for batch in batches:
            net(batch)
    handle.remove()
    expected = torch.cat(spikes, 1).double().mean((1, 2))
    assert rates.per_step()["features.0.neuron"] == pytest.approx(expected.tolist(), abs=1e-12)
    assert list(rates.per_step()) == ["features.0.neuron", "features.1.neuron"]
    with torch.no_grad():
        net(batches[0])  # outside of recording: not counted
    assert rates.per_step()["features.0.neuron"] == pytest.approx(expected.tolist(), abs=1e-12)


def test_batch_statistics_is_undone() -> None:
    net = build("mlp", hidden=(5,))
    with batch_statistics(net):
        assert net.features[0].norm.batch_statistics
    assert not net.features[0].norm.batch_statistics


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"layer 4 .* leaves no pixel"):
        build("snn5", shape=(1, 8, 8))
    for model in ("snn5", "resnet18", "vgg11", "vggsnn", "spike_driven_transformer"):
        with pytest.raises(RecipeError, match=r"needs images"):
            build(model, shape=(8,))
    with pytest.raises(RecipeError, match=r"'vgg13': its 5 pools leave no pixel of images"):
        build("vgg13", shape=(3, 31, 64))

import pytest
import torch
from torch import Tensor, nn

from clifctl.errors import RecipeError
from clifctl.models import (
    MODELS,
    FiringRates,
    NeuronChoice,
    SequentialNet,
    SharedDropout,
    SpikingLayer,
    TemporalBatchNorm,
    batch_statistics,
)
from clifctl.neurons import NEURONS

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
    **options: object,
) -> SequentialNet:
    torch.manual_seed(0)
    chosen = NEURONS[neuron]
    return MODELS[model].build(
        MODELS[model].options(**options),
        input_shape=shape,
        classes=10,
        timesteps=timesteps,
        neuron=NeuronChoice(chosen, chosen.hyperparameters(), window),
    )


def images(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_papers_net_has_the_papers_parameters() -> None:
    net = build("snn5", shape=(3, 32, 32))
    count = {"conv": 0, "norm": 0, "linear": 0}
    for module in net.modules():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        kind = {nn.Conv2d: "conv", TemporalBatchNorm: "norm", nn.Linear: "linear"}.get(type(module))
        if kind:
            count[kind] += own
    assert count == {"conv": 1_640_576, "norm": 1_440, "linear": 2_570}
    rates = FiringRates(net)
    with rates.recording(), torch.no_grad():
        net(torch.randn(1, 2, 3, 32, 32), repeat=2)
    assert sum(rates.neurons.values()) == 38_336
    assert list(rates.neurons.values()) == [16384, 14400, 6272, 1024, 256]


class StepByStep:
    """A net as the authors run it: one time step at a time, PyTorch's own batch norm, images given
    anew at every step. It borrows nothing of ours but the weights and the neuron."""

    def __init__(self, net: SequentialNet) -> None:
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
    net = build("snn5", neuron, **DIGITS).double()  # type: ignore[arg-type]
    reference = StepByStep(build("snn5", neuron, **DIGITS).double())  # type: ignore[arg-type]
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
    net = build("snn5", **DIGITS).double().eval()  # type: ignore[arg-type]
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


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("neuron", NEURONS)
def test_every_net_trains_every_parameter_with_every_neuron(model: str, neuron: str) -> None:
    steps = 1 if neuron == "relu" else 3
    options = DIGITS if model == "snn5" else {"hidden": (7, 5)}
    net = build(model, neuron, timesteps=steps, **options)  # type: ignore[arg-type]
    logits, states = net(torch.randn(1, 6, 1, 8, 8), repeat=steps)
    assert logits.shape == (steps, 6, 10)
    assert logits.isfinite().all()
    assert len(states) == len(net.features)
    logits.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, f"{name} got no gradient"


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
    outs = [build("snn5", n, timesteps=1, **DIGITS).double()(x)[0] for n in ("lif", "clif")]  # type: ignore[arg-type]
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
    with pytest.raises(RecipeError, match=r"needs images"):
        build("snn5", shape=(8,), **DIGITS)  # type: ignore[arg-type]

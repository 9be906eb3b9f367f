"""Which way every connection of every net goes, and that it makes no difference to the numbers."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl.kernels.cpu import rule
from clifctl.kernels.cpu.paths import recorded_paths
from clifctl.models import MODELS, NeuronChoice, SpikingNet
from clifctl.neurons import NEURONS
from clifctl.training.memory import held_for_backward

T, N = 3, 2
# Net -> options, shape of a sample, connections that read no spikes.
NETS: dict[str, tuple[dict[str, Any], tuple[int, ...], set[str]]] = {
    "resnet18": ({"width": 8}, (3, 16, 16), {"linear"}),
    "vgg11": ({"width": 8}, (2, 32, 32), {"classifier"}),
    "snn5": ({"channels": [4, 8, 8, 8, 8]}, (2, 32, 32), set()),
    "mlp": ({"hidden": (20, 12)}, (9,), set()),
    "spike_driven_transformer": ({"width": 8, "depth": 1}, (2, 16, 16), set()),
}


def net(name: str, connections: str) -> SpikingNet:
    options, shape, _ = NETS[name]
    torch.manual_seed(0)
    clif, model = NEURONS["clif"], MODELS[name]
    choice = NeuronChoice(clif, clif.hyperparameters(), connections=connections)
    return model.build(
        model.options(**options), input_shape=shape, classes=4, timesteps=T, neuron=choice
    )


def frames(name: str) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    size = (T, N, *NETS[name][1])
    return (torch.rand(size, generator=generator) < 0.1).float() * 3


def run(name: str, connections: str) -> tuple[SpikingNet, Tensor, list[Any]]:
    built = net(name, connections)
    with recorded_paths() as paths:
        logits, _ = built(frames(name))
        logits.square().sum().backward()
    return built, logits.detach(), paths


@pytest.mark.parametrize("name", list(NETS))
def test_every_connection_goes_the_way_that_it_should(name: str) -> None:
    built, _, paths = run(name, "auto")
    connections = {
        key: module
        for key, module in built.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    names = {module.weight.data_ptr(): key for key, module in connections.items()}
    dense = NETS[name][2]
    first = next(iter(connections))  # whose input needs no gradient
    for direction in ("forward", "weight_gradient", "input_gradient"):
        found = [names[p.weight] for p in paths if p.direction == direction]
        expected = set(connections) - dense
        if direction == "input_gradient":
            expected.remove(first)
        assert sorted(found) == sorted(expected), direction  # each once
    for path in paths:  # or the rule finds too much of it active
        assert path.event or path.density is not None, path
    assert any(path.event for path in paths)


@pytest.mark.parametrize("name", list(NETS))
def test_values_are_those_of_dense_connections(name: str) -> None:
    """Logits are equal but for rounding. So are gradients, unless it moves a neuron over the edge
    of the surrogate's window: then they differ in the whole net before it."""
    built, logits, _ = run(name, "auto")
    other, expected, paths = run(name, "dense")
    assert not paths
    assert torch.allclose(logits, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    pairs = zip(built.named_parameters(), other.parameters(), strict=True)
    found = {key: (a.grad, b.grad) for (key, a), b in pairs}
    largest = max(float(b.abs().max()) for _, b in found.values())
    for key, (a, b) in found.items():
        assert torch.allclose(a, b, rtol=0.0, atol=1e-2 * largest), key


MANY = {True: 10**12, False: 10**12}


@pytest.mark.parametrize("name", ["snn5", "mlp"])
def test_few_spikes_are_floats_as_with_dense_connections(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, "FEWEST_IN_MAPS", MANY)
    monkeypatch.setattr(rule, "FEWEST_IN_VECTORS", MANY)
    found = []
    for connections in ("auto", "dense"):
        built = net(name, connections)
        x = frames(name).requires_grad_()  # or they would be sparse values
        with recorded_paths() as paths:
            held = held_for_backward(partial(built, x), built.parameters())
            logits = built(x)[0]
            logits.square().sum().backward()
        assert not paths
        found.append((held, [logits, x.grad, *(p.grad for p in built.parameters())]))
    (held, tensors), (expected, others) = found
    assert held == expected
    assert all(torch.equal(a, b) for a, b in zip(tensors, others, strict=True))


def test_few_vectors_of_flattened_maps_are_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "FEWEST_IN_VECTORS", MANY)
    few, logits, paths = run("snn5", "auto")
    assert {path.geometry.channels for path in paths if path.geometry} == {2, 4, 8}
    ran = {path.weight for path in paths}
    assert few.classifier.weight.data_ptr() not in ran
    assert few.features[-1].connection.weight.data_ptr() in ran
    dense, expected, _ = run("snn5", "dense")
    assert torch.allclose(logits, expected, rtol=1e-4, atol=1e-5)
    gradients = zip(few.parameters(), dense.parameters(), strict=True)
    largest = max(float(p.grad.abs().max()) for p in dense.parameters())
    assert all(torch.allclose(a.grad, b.grad, rtol=0.0, atol=1e-2 * largest) for a, b in gradients)


def test_dense_frames_stay_as_they_are() -> None:
    built = net("vgg11", "auto")
    with recorded_paths() as paths, torch.no_grad():
        built(torch.rand(1, N, 2, 32, 32), repeat=T)
    assert [p.geometry.channels for p in paths if p.geometry] == [8, 16, 32, 32, 64, 64, 64]

"""Batch norm and neuron in prepared calls: alike at any number of threads, and no two alike."""

from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.kernels import norm_layer
from clifctl.kernels.cpu.norm_neuron import NormAndNeuron
from clifctl.models import NeuronChoice, TemporalBatchNorm
from clifctl.neurons import NEURONS


def _step(name: str, shape: tuple[int, ...], mode: Any, repeat: int = 1) -> list[Tensor]:
    """Output, final states, gradients and running averages of one training step."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, *features = shape[1:]
    room = torch.randn(shape[0], batch, *features, channels, generator=generator)
    x = (1.0 + 2.0 * room).movedim(-1, 2).requires_grad_()
    torch.manual_seed(0)
    layer = NeuronChoice(NEURONS[name], NEURONS[name].hyperparameters()).layer(channels, shape[0])
    norm = TemporalBatchNorm(channels, mode)
    out, final = layer(x, None, norm, repeat)
    g = torch.randn(out.shape, generator=generator)
    (out * g).sum().backward()
    parameters = [*norm.parameters(), *layer.parameters()]
    found = [out, *final, x.grad, *(p.grad for p in parameters), *norm.buffers()]
    return [torch.as_tensor(tensor).detach().clone() for tensor in found if tensor is not None]


@pytest.mark.parametrize(("mode", "repeat"), [("per_step", 1), ("folded", 1), ("per_step", 4)])
def test_threads_change_no_bit(mode: str, repeat: int) -> None:
    shape = (4 if repeat == 1 else 1, 11, 5, 23, 31)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(_step("clif", shape, mode, repeat))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert torch.equal(a, b)


def test_layers_of_other_neurons_share_no_memory() -> None:
    """Their learnable parameters have the same names and other shapes."""
    shape = (3, 5, 7, 3, 2)
    alone = _step("glif", shape, "per_step")
    _step("glif_channel", shape, "per_step")
    again = _step("glif", shape, "per_step")
    for a, b in zip(alone, again, strict=True):
        assert torch.equal(a, b)


def test_a_layer_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*arguments: Any, **named: Any) -> Any:
        made.append(arguments)
        return NormAndNeuron(*arguments, **named)

    monkeypatch.setattr(norm_layer, "NormAndNeuron", counted)
    monkeypatch.setattr(norm_layer, "_layers", {})
    for _ in range(3):
        _step("clif", (2, 6, 3, 4, 4), "per_step")
    assert len(made) == 1
    _step("clif", (2, 6, 3, 4, 4), "folded")
    assert len(made) == 2


def test_running_averages_that_a_backward_needs_are_noticed_when_they_change() -> None:
    norm = TemporalBatchNorm(3, "per_step")
    versions = [buffer._version for buffer in norm.buffers()]
    layer = NeuronChoice(NEURONS["lif"], NEURONS["lif"].hyperparameters()).layer(3, 2)
    layer(torch.randn(2, 4, 3, 2, 2), None, norm)
    assert all(b._version > v for b, v in zip(norm.buffers(), versions, strict=True))

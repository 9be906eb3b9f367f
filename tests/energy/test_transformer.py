"""The operations of the Spike-Driven Transformer: masks and sums of columns, no multiplication."""

import pytest
import torch

from clifctl.energy.accounting import NetCosts, net_costs
from clifctl.energy.constants import DEFAULT
from clifctl.energy.graph import OperationGraph
from clifctl.energy.tracing import trace_net
from clifctl.models import MODELS, NeuronChoice
from clifctl.neurons import NEURONS

STEPS = 3
RATE = 0.25


def traced(shape: tuple[int, ...] = (2, 10, 9), **options: int) -> OperationGraph:
    row, neuron = MODELS["spike_driven_transformer"], NEURONS["lif"]
    with torch.device("meta"):
        net = row.build(
            row.options(**options), input_shape=shape, classes=11, timesteps=STEPS,
            neuron=NeuronChoice(neuron, neuron.hyperparameters()),
        )  # fmt: skip
    return trace_net(net, shape, STEPS)


def costs(graph: OperationGraph, neuron: str = "lif") -> NetCosts:
    chosen = NEURONS[neuron]
    rates = dict.fromkeys(graph.spiking_layers, RATE) if chosen.spiking else None
    return net_costs(graph, chosen, chosen.hyperparameters(), rates=rates, constants=DEFAULT)


def test_macs_of_the_published_size() -> None:
    graph = traced((2, 128, 128))
    macs = {op.name: op.macs for op in graph.operations if op.kind == "convolution"}
    stage = 301_989_888
    embedding = [9_437_184, stage, stage, stage, 150_994_944]
    block = 4 * 256 * 256**2 + 2 * 256 * 256 * 1024
    assert list(macs.values())[:5] == embedding
    assert sum(macs.values()) == sum(embedding) + 2 * block
    assert len(macs) == 5 + 2 * 6
    assert len(graph.spiking_layers) == 19
    norms = {i for i, op in enumerate(graph.operations) if op.kind == "norm"}
    assert len(norms) == 17
    assert graph.folded_norms(True) == norms
    assert graph.parameters == 2_566_923


def test_operations_in_their_order() -> None:
    graph = traced(width=1, depth=1)
    kinds = [op.kind for op in graph.operations]
    layer = ["convolution", "norm", "neuron"]
    assert kinds == [
        *("image", *layer, *layer, "pool", *layer, "pool", "convolution", "norm", "pool"),
        *("neuron", "convolution", "norm", "sum"),
        *("neuron", *layer, *layer, *layer, "gate", "pool", "neuron", "gate"),
        *("convolution", "norm", "sum", "neuron", *layer, "convolution", "norm", "sum"),
        *("pool", "neuron", "linear"),
    ]
    names = [op.name for op in graph.operations if op.kind == "pool"]
    assert names[:3] == [f"embedding.pools.{number}.pool" for number in (1, 2, 3)]


def test_attention_adds_and_never_multiplies() -> None:
    """D = 8 channels of 2 x 2 tokens, all layers at a rate of 1/4."""
    graph = traced((2, 10, 9), width=1, depth=1)
    found = costs(graph)
    tokens = 2 * 2 * 8
    attention = [layer for layer in found.layers if layer.layer == "blocks.0.attention"]
    assert [layer.kind for layer in attention] == ["gate", "pool", "gate", "sum"]
    assert [layer.fed_by for layer in attention] == ["spikes", "spikes", "spikes", "values"]
    # k * v, the sum of its columns (spikes at a rate of 1/16), q * mask.
    added = [STEPS * tokens * RATE, STEPS * tokens * RATE**2, STEPS * tokens * RATE]
    assert [layer.corrected.acs for layer in attention[:3]] == pytest.approx(added)
    assert {layer.corrected.macs for layer in attention} == {0}
    # Its result feeds a convolution whose input is spikes at the rate of the product.
    projection = next(layer for layer in found.layers if layer.layer == "blocks.0.attention.conv")
    assert projection.firing_rate == RATE**2
    assert projection.corrected.acs == STEPS * (tokens * 8 * RATE**2 + tokens)
    spike_fed = [layer for layer in found.layers if layer.kind == "convolution"][1:]
    assert {layer.fed_by for layer in spike_fed} == {"spikes"}
    assert {layer.corrected.macs for layer in spike_fed} == {0}


def test_the_mask_lies_in_memory_once() -> None:
    """Of q * m, m `[D]` is held as D bits, not as one for each element that it is looked at for."""
    graph = traced((2, 10, 9), width=1, depth=1)
    gate = [layer for layer in costs(graph).layers if layer.kind == "gate"][1]
    tokens = 2 * 2 * 8
    reads = STEPS * tokens * RATE
    expected = sum(
        number * DEFAULT.access_pj(bits / 8)
        for number, bits in (
            (reads, tokens), (reads, 8), (STEPS * tokens * RATE**2, tokens)
        )
    )  # fmt: skip
    assert gate.corrected.in_out_mj == pytest.approx(expected * 1e-9, rel=1e-12)


def test_a_threshold_that_is_not_one_is_multiplied_with() -> None:
    graph = traced(width=1, depth=1)
    by_name = {layer.layer: layer for layer in costs(graph).layers if layer.kind == "neuron"}
    kv, head = by_name["blocks.0.attention.kv_neuron"], by_name["neuron"]
    assert kv.output_shape == head.output_shape == (8,)
    assert kv.corrected.macs == 2 * head.corrected.macs == 2 * STEPS * 8


def test_the_ann_multiplies() -> None:
    """Products of values are dense there; its attention is no cheaper than its arithmetic."""
    found = costs(traced((2, 10, 9), width=1, depth=1), "relu")
    attention = [layer for layer in found.layers if layer.layer == "blocks.0.attention"]
    tokens = 2 * 2 * 8
    assert [layer.corrected.macs for layer in attention] == [tokens, 0, tokens, 0]
    assert found.timesteps == 1

"""Both accountings: the published cells, the worked example of docs/energy.md, the defects."""

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clifctl.energy import as_published
from clifctl.energy.accounting import NetCosts, net_costs
from clifctl.energy.constants import DEFAULT, PRESETS, SIZES, constants_from
from clifctl.energy.defects import DEFECTS
from clifctl.energy.graph import OperationGraph
from clifctl.energy.signals import Signals
from clifctl.energy.tracing import trace_net
from clifctl.errors import EnergyError
from clifctl.models import MODELS, NeuronChoice, SequentialNet, SynapticLayer, TemporalBatchNorm
from clifctl.models.layers import Pool
from clifctl.neurons import NEURONS
from clifctl.paper import counts, energy, firing_rates, memory
from clifctl.results.energy import MEMORY_KEYS, LayerCost

TASKS = ("cifar10", "cifar100", "tiny_imagenet", "dvs_gesture", "cifar10_dvs")


def choice(neuron: str = "lif") -> NeuronChoice:
    return NeuronChoice(NEURONS[neuron], NEURONS[neuron].hyperparameters())


def priced(
    graph: OperationGraph, neuron: str, rates: Mapping[str, float] | None, **options: Any
) -> NetCosts:
    row = NEURONS[neuron]
    values = row.hyperparameters()
    return net_costs(graph, row, values, rates=rates, **{"constants": DEFAULT, **options})


def evenly(graph: OperationGraph, rate: float) -> dict[str, float]:
    return dict.fromkeys(graph.spiking_layers, rate)


def layer(costs: NetCosts, name: str) -> LayerCost:
    return next(found for found in costs.layers if found.layer == name)


def small_net(
    *, timesteps: int = 2, static: bool = True, stride: int = 1, pool: bool = False
) -> OperationGraph:
    """Convolution 3x3 from 1 to 2 maps of 4x4, norm, neuron, [pool,] linear to 3 classes."""
    with torch.device("meta"):
        layers: list[Any] = [
            SynapticLayer(
                nn.Conv2d(1, 2, 3, stride, 1),
                TemporalBatchNorm(2, "per_step"),
                choice().layer(2, timesteps),
            )
        ]
        features = 32 // stride**2
        if pool:
            layers.append(Pool(nn.AvgPool2d(2)))
            features //= 4
        net = SequentialNet(layers, features=features, classes=3, dropout=0.0)
    return trace_net(net, (1, 4, 4), timesteps, repeat=timesteps if static else 1)


@pytest.mark.parametrize("data", TASKS)
def test_published_cells(data: str) -> None:
    exact = counts(data)
    assert exact is not None
    row = MODELS[exact.model]
    with torch.device("meta"):
        net = row.build(
            row.options(), input_shape=exact.input, classes=exact.classes,
            timesteps=exact.timesteps, neuron=choice(),
        )  # fmt: skip
    graph = trace_net(net, exact.input, exact.timesteps)
    share = math.ceil(exact.test_images / exact.evaluation_batch) / exact.test_images
    macs = {"relu": exact.ann_operations, "lif": exact.lif_macs, "clif": exact.clif_macs}
    for neuron, expected in macs.items():
        published = firing_rates(data, neuron)
        rates = (
            dict(zip(graph.spiking_layers, published.firing_rates, strict=True))
            if published
            else None
        )
        paper = priced(graph, neuron, rates, bias_share=share).paper
        assert paper.macs == expected
        assert isinstance(paper.macs, int)
        sop, accesses = energy(data).get(neuron), memory(data).get(neuron)
        if sop is None or accesses is None:
            assert (neuron, data) in (("relu", "dvs_gesture"), ("relu", "cifar10_dvs"))
            continue
        allowed = 0.1 if data == "dvs_gesture" else 0.01
        assert paper.acs == pytest.approx(sop.ac_millions * 1e6, rel=allowed)
        assert paper.sop_energy_uj == pytest.approx(sop.energy_uj, rel=0.01)
        if neuron == "relu":
            assert round(paper.sop_energy_uj or 0.0, 3) == sop.energy_uj
        for key in MEMORY_KEYS:  # half of the last digit, and ties
            assert abs(getattr(paper, key) - getattr(accesses, key)) <= 0.5001e-4, (neuron, key)


def test_what_needs_unknown_rates_is_unknown() -> None:
    graph = small_net()
    costs = priced(graph, "clif", None)
    assert costs.paper.macs is not None
    assert costs.paper.acs is costs.paper.total_mj is costs.paper.sop_energy_uj is None
    assert costs.corrected.macs == 288 + 12 * 64
    assert costs.corrected.acs is costs.corrected.total_mj is costs.corrected.potential_mj is None
    assert None not in asdict(priced(graph, "relu", None).corrected).values()


def test_one_method_leaves_the_other_out() -> None:
    costs = priced(small_net(), "relu", None, methods=("sop",))
    assert costs.paper.acs == 0
    assert {getattr(costs.paper, key) for key in MEMORY_KEYS} == {None}


@pytest.mark.parametrize("neuron", ["relu", "lif", "clif"])
def test_a_net_is_the_sum_of_its_operations(neuron: str) -> None:
    row = MODELS["resnet18"]
    with torch.device("meta"):
        net = row.build(
            row.options(width=4), input_shape=(3, 16, 16), classes=10, timesteps=3, neuron=choice()
        )
    graph = trace_net(net, (3, 16, 16), 3, repeat=3)
    costs = priced(graph, neuron, evenly(graph, 0.125))
    for accounting in ("paper", "corrected"):
        whole = asdict(getattr(costs, accounting))
        for key, value in whole.items():
            parts = [getattr(getattr(part, accounting), key) for part in costs.layers]
            if value is None:
                assert set(parts) == {None}
                continue
            # Table 6's energy comes from rounded columns.
            rounded = (accounting, key) == ("paper", "sop_energy_uj")
            assert sum(parts) == pytest.approx(value, rel=5e-3 if rounded else 1e-12)


def test_the_worked_example_of_the_docs() -> None:
    """Every number was derived by hand in docs/energy.md, in pJ."""
    graph = small_net()
    corrected = priced(graph, "lif", evenly(graph, 0.25)).corrected
    hand = {
        "acs": 214, "macs": 352, "functions": 0, "sop_energy_uj": 1811.8e-6,
        "potential_mj": 21.40625e-9, "parameters_mj": 57.353515625e-9,
        "in_out_mj": 37.744140625e-9, "operations_mj": 1147.8e-9, "addressing_uj": 11.4e-6,
        "total_mj": 1275.70390625e-9,
    }  # fmt: skip
    assert asdict(corrected) == pytest.approx(hand, rel=1e-12)
    ann = priced(graph, "relu", None).corrected
    # 288 + 96 MACs; 32 + 3 biases and 32 comparisons
    assert (ann.macs, ann.acs) == (384, 67)
    assert ann.operations_mj == pytest.approx((384 * 3.2 + 67 * 0.1) * 1e-9)
    text = (Path(__file__).parents[2] / "docs" / "energy.md").read_text(encoding="utf-8")
    for number in ("214", "352", "1811.8", "21.40625", "57.353515625", "37.744140625", "1147.8"):
        assert number in text, number
    assert "1275.70390625" in text


def test_values_after_a_pool_are_multiplied() -> None:
    graph = small_net(pool=True)
    costs = priced(graph, "lif", evenly(graph, 0.25))
    pool, last = layer(costs, "features.1.pool"), layer(costs, "classifier")
    # 16 spikes, each in one window; 8 values times 3 outputs at each of 2 steps
    assert (pool.fed_by, pool.corrected.acs, pool.corrected.macs) == ("spikes", 16, 0)
    assert (last.fed_by, last.corrected.acs, last.corrected.macs) == ("values", 6, 48)
    e = DEFAULT.access_pj
    read, written = 16 * e(4), 16 * e(32)
    assert pool.corrected.in_out_mj == pytest.approx((read + written) * 1e-9)
    assert pool.corrected.addressing_uj == pytest.approx((2 * 16 * 3.2 + 16 * 0.1) * 1e-6)


def test_an_input_that_changes_is_computed_at_every_step() -> None:
    once, each = small_net(timesteps=4), small_net(timesteps=4, static=False)
    stems = [
        layer(priced(graph, "lif", evenly(graph, 0.25)), "features.0.connection").corrected
        for graph in (once, each)
    ]
    assert [stem.macs for stem in stems] == [288, 4 * 288]
    assert [stem.acs for stem in stems] == [32, 4 * 32]


def test_energy_of_an_access() -> None:
    for size, level in zip((0, *SIZES, 2**24), (0.0, 10.0, 20.0, 100.0, 100.0), strict=True):
        assert DEFAULT.access_pj(size) == level
    assert DEFAULT.access_pj(4096) == 5.0
    assert DEFAULT.access_pj(20 * 1024) == 15.0
    assert DEFAULT.access_pj((32 + 496) * 1024) == 60.0


def test_constants_of_a_file_and_presets() -> None:
    own = constants_from({"ac_pj": 1.0, "function_multiplications": 0}, "file")
    assert (own.ac_pj, own.mac_pj, own.name) == (1.0, 4.6, "own")
    assert all(preset.name == name and preset.source for name, preset in PRESETS.items())
    graph = small_net()
    cheap = priced(graph, "clif", evenly(graph, 0.25), constants=own).corrected
    dear = priced(graph, "clif", evenly(graph, 0.25)).corrected
    assert (dear.macs or 0) - (cheap.macs or 0) == 4 * 2 * 64
    assert priced(graph, "relu", None, constants=PRESETS["7nm"]).corrected.sop_energy_uj == (
        pytest.approx((67 * 0.38 + 384 * 1.69) * 1e-6)
    )
    wrong: Any
    for wrong in ([], {"ac": 1}, {"ac_pj": -1}, {"ac_pj": "1"}, {"sram_8_kib_pj": 30.0}):
        with pytest.raises(EnergyError, match="file"):
            constants_from(wrong, "file")


def published_counts(graph: OperationGraph, name: str, neuron: str = "lif") -> dict[str, float]:
    signals = Signals(graph, True, evenly(graph, 0.25))
    number = next(i for i, op in enumerate(graph.operations) if op.name == name)
    factors = as_published.NEURONS[neuron]
    return as_published.accesses(signals, number, factors, graph.timesteps)


def mended(graph: OperationGraph, name: str, neuron: str = "lif") -> Any:
    return layer(priced(graph, neuron, evenly(graph, 0.25)), name).corrected


def test_defect_1_the_ann_is_one_inference() -> None:
    ann = [priced(small_net(timesteps=steps), "relu", None) for steps in (1, 6)]
    assert ann[0].paper == ann[1].paper  # the printed table, not the script
    assert ann[0].corrected == ann[1].corrected
    assert [costs.timesteps for costs in ann] == [1, 1]


def test_defect_2_the_energy_of_an_access_has_no_jumps() -> None:
    assert as_published.access_pj(8192, DEFAULT) == 10.0
    assert as_published.access_pj(8193, DEFAULT) == pytest.approx(0.0004, abs=1e-5)
    sizes = [512 * k for k in range(4096)]
    energies = [DEFAULT.access_pj(size) for size in sizes]
    assert energies == sorted(energies)
    assert max(b - a for a, b in itertools.pairwise(energies)) <= 0.625


def test_defect_3_an_access_costs_by_the_size_of_its_memory() -> None:
    graph = small_net()
    number = 3.0e6
    assert as_published.access_pj(number, DEFAULT) == 100.0
    # 320 reads of the 20 parameters, 80 bytes
    assert mended(graph, "features.0.connection").parameters_mj == (
        pytest.approx(320 * (10 * 80 / 8192) * 1e-9)
    )


def test_defect_4_inputs_of_a_linear_layer_count_once() -> None:
    graph = small_net()
    spikes = 32 * 0.25
    assert published_counts(graph, "classifier")["ac"] == spikes * 32 * 3
    assert mended(graph, "classifier").acs == 2 * spikes * 3 + 2 * 3


def test_defect_5_fan_out_of_a_strided_convolution() -> None:
    row = MODELS["resnet18"]
    with torch.device("meta"):
        net = row.build(
            row.options(width=2), input_shape=(3, 32, 32), classes=10, timesteps=2, neuron=choice()
        )
    graph = trace_net(net, (3, 32, 32), 2, repeat=2)
    strided = next(op for op in graph.operations if op.name == "blocks.2.conv1")
    spikes = 2 * 32 * 32 * 0.25
    counted = published_counts(graph, strided.name)["ac"] - 2 * strided.n_out - 0.25 * strided.n_out
    assert counted == spikes * 1 * 4
    assert strided.fan_out / 4 == (16 * 3 - 1) ** 2 / 32**2  # 2.25 but for the border
    assert mended(graph, strided.name).acs == pytest.approx(
        2 * spikes * strided.fan_out + 2 * strided.n_out
    )


def test_defect_6_a_bias_is_added_once_an_output_and_step() -> None:
    graph = small_net(timesteps=5)
    signals = Signals(graph, True, {**evenly(graph, 0.25)})
    hidden = published_counts(graph, "classifier")
    assert hidden["ac"] == 8 * 32 * 3  # T * s_out, and the last layer fires not at all
    assert mended(graph, "classifier").acs == 5 * 8 * 3 + 5 * 3
    assert signals.graph.operations[-1].bias_operations == 3


def test_defect_7_potentials_of_a_linear_layer() -> None:
    graph = small_net()
    assert published_counts(graph, "classifier")["read_potential"] == 0.0  # (s_in + 1) * s_out
    synaptic = 2 * 8 * 3
    assert mended(graph, "classifier").potential_mj == pytest.approx(
        2 * synaptic * DEFAULT.access_pj(12) * 1e-9
    )


def test_defect_8_spikes_are_those_of_all_steps() -> None:
    two, four = small_net(timesteps=2), small_net(timesteps=4)
    assert published_counts(two, "classifier") | {"mac": 0} == (
        published_counts(four, "classifier") | {"mac": 0}
    )
    ratio = mended(four, "classifier").total_mj / mended(two, "classifier").total_mj
    assert ratio == pytest.approx(2.0)
    # Summed over T the published rates of CIFAR-10 cost more than its ANN, 112 mJ, the image too
    # being there 5 times more: its values meet 64 x 9 weights, each access costs 100 pJ.
    image = 5 * 3 * 32 * 32 * 64 * 9 * 100e-9
    exact = counts("cifar10")
    assert exact is not None
    row = MODELS[exact.model]
    with torch.device("meta"):
        net = row.build(
            row.options(), input_shape=exact.input, classes=10, timesteps=6, neuron=choice()
        )
    graph = trace_net(net, exact.input, 6)
    for neuron, total in (("lif", 206), ("clif", 387)):
        published = firing_rates("cifar10", neuron)
        assert published is not None
        summed = [6 * rate for rate in published.firing_rates]
        rates = dict(zip(graph.spiking_layers, summed, strict=True))
        factors = as_published.NEURONS[neuron]
        more = image * (1 + factors.reads + factors.writes)
        assert round((priced(graph, neuron, rates).paper.total_mj or 0) + more) == total


def test_defect_9_the_first_layer_multiplies() -> None:
    graph = small_net(static=False)
    published = published_counts(graph, "features.0.connection")
    assert published["read_in"] == 16  # each value of the image is a spike, once
    stem = mended(graph, "features.0.connection")
    assert (stem.macs, stem.acs) == (2 * 288, 2 * 32)
    assert stem.in_out_mj == pytest.approx(2 * 288 * DEFAULT.access_pj(64) * 1e-9)


def test_defect_10_shortcuts_norms_and_pools_are_charged() -> None:
    row = MODELS["resnet18"]
    with torch.device("meta"):
        net = row.build(
            row.options(width=2), input_shape=(3, 16, 16), classes=10, timesteps=2, neuron=choice()
        )
    graph = trace_net(net, (3, 16, 16), 2, repeat=2)
    costs = priced(graph, "lif", evenly(graph, 0.25))
    for name in ("blocks.2.shortcut", "pool"):
        assert layer(costs, name).paper.total_mj == 0.0
        assert (layer(costs, name).corrected.total_mj or 0) > 0.0
    identity = layer(costs, "blocks.0")  # 512 spikes of each step are added
    assert identity.corrected.acs == 2 * 2 * 16 * 16 * 0.25
    ann = priced(graph, "relu", None)
    assert layer(ann, "blocks.1.norm1").corrected.macs == 2 * 16 * 16
    pooled = published_counts(small_net(pool=True), "classifier")
    assert pooled["read_in"] == 8 * 0.25  # its values as spikes
    assert mended(small_net(pool=True), "classifier").macs == 2 * 8 * 3


def test_defect_11_clif_is_charged_by_its_step() -> None:
    graph = small_net()
    lif, clif = (published_counts(graph, "features.0.connection", n) for n in ("lif", "clif"))
    for key, factor in (
        ("mac", 3), ("read_potential", 4), ("write_potential", 2), ("addressing_ac", 2),
        ("addressing_mac", 2),
    ):  # fmt: skip
        assert clif[key] == factor * lif[key]
    plain, own = (
        priced(graph, neuron, evenly(graph, 0.25)).corrected for neuron in ("lif", "clif")
    )
    assert own.addressing_uj == plain.addressing_uj
    assert own.parameters_mj == plain.parameters_mj
    m = 2 * 64 * DEFAULT.access_pj(128)
    assert own.potential_mj == pytest.approx((plain.potential_mj or 0) + m * 1e-9)
    assert (own.macs or 0) - (plain.macs or 0) == 64 * (4 + 2 * 4 - 1)
    assert own.functions == 2 * 64


def test_every_defect_is_stated_and_tested() -> None:
    assert [defect.number for defect in DEFECTS] == list(range(1, 12))
    tested = {int(n) for n in re.findall(r"def test_defect_(\d+)_", Path(__file__).read_text())}
    assert tested == set(range(1, 12))
    text = (Path(__file__).parents[2] / "docs" / "energy.md").read_text(encoding="utf-8")
    flat = " ".join(text.split())
    for defect in DEFECTS:
        assert f"| {defect.number} | {defect.published} | {defect.corrected} |" in flat

"""`clifctl energy` through the command line."""

import csv
import io
import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clifctl.data import batches
from clifctl.experiments.build import build_net, load_data
from clifctl.models import SpikingLayer
from clifctl.paper import counts, energy, firing_rates, memory
from clifctl.recipe.load import load_recipe
from clifctl.results.energy import MEMORY_KEYS, SOP_KEYS
from clifctl.training.checkpoint import load_checkpoint

Run = Callable[..., Any]
KEYS = {*SOP_KEYS, *MEMORY_KEYS, "functions"}
# Event data of these shapes are not there: arrays of a person's own stand for them.
EVENTS = ["data.name=npz", "data.shape=[2,48,48]", "data.classes=10"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A tiny LIF net, trained for one epoch on the digits."""
    from clifctl.cli.app import run

    folder = tmp_path_factory.mktemp("energy") / "run"
    tiny = ["model.channels=[2,2,2,2,4]", "timesteps=3", "train.batch_size=256", "train.epochs=1"]
    code = run(["train", "digits_snn5", "neuron.name=lif", *tiny, "--out", str(folder), "-q"])
    assert code == 0
    return folder / "last.pt"


def by_neuron(result: Any) -> dict[str, Any]:
    return {row["neuron"]: row for row in result["rows"]}


@pytest.mark.parametrize("recipe", ["cifar10_resnet18", "cifar100_resnet18", "tiny_imagenet_vgg13"])
def test_the_papers_tables_from_a_recipe(clifctl: Run, recipe: str) -> None:
    data = recipe.rpartition("_")[0]
    exact = counts(data)
    assert exact is not None
    done = clifctl("energy", recipe, "neuron.name=clif", "--rates", "paper", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["schema"] == "clifctl.energy/1"
    assert len(done.json["defects"]) == 11
    assert [row["neuron"] for row in done.json["rows"]] == ["relu", "lif", "clif"]
    macs = {"relu": exact.ann_operations, "lif": exact.lif_macs, "clif": exact.clif_macs}
    for neuron, row in by_neuron(done.json).items():
        assert row["parameters"] == exact.parameters
        assert row["timesteps"] == (1 if neuron == "relu" else 6)
        assert set(row["paper"]) == set(row["corrected"]) == KEYS
        assert row["paper"]["macs"] == macs[neuron]
        cells = memory(data)[neuron]
        for key in MEMORY_KEYS:
            assert abs(row["paper"][key] - getattr(cells, key)) <= 0.5001e-4, (neuron, key)
            assert row["published"][key] == getattr(cells, key)
        assert row["published"]["parameters_millions"] == energy(data)[neuron].parameters_millions
        sop = energy(data)[neuron]
        assert row["paper"]["sop_energy_uj"] == pytest.approx(sop.energy_uj, rel=5e-3)
        assert row["paper"]["acs"] == pytest.approx(1e6 * sop.ac_millions, rel=9e-3)
    ann = by_neuron(done.json)["relu"]
    assert round(ann["paper"]["sop_energy_uj"], 3) == ann["published"]["sop_energy_uj"]


def test_the_five_tasks_fit_one_command(clifctl: Run) -> None:
    tasks = ["cifar10_resnet18", "cifar100_resnet18", "tiny_imagenet_vgg13", "dvs_gesture_vgg11"]
    done = clifctl("energy", *tasks, "cifar10_dvs_vgg11", "--rates", "paper")
    assert done.code == 0, done.err
    table = done.out[: done.out.index("memory accesses")].splitlines()
    printed = [line.split() for line in table if "(published)" in line]
    # Table 6: an ANN, LIF and CLIF of the images, LIF and CLIF of the events.
    assert [words[:3] for words in printed[-4:]] == [
        ["dvs_gesture_vgg11", "lif", "20"],
        ["dvs_gesture_vgg11", "clif", "20"],
        ["cifar10_dvs_vgg11", "lif", "10"],
        ["cifar10_dvs_vgg11", "clif", "10"],
    ]
    assert len(printed) == 3 * 3 + 2 * 2
    assert {words[4] for words in printed if words[0] == "cifar10_resnet18"} == {"11,200,000"}
    assert printed[-1][4:] == ["9,500,000", "12,020,000", "153,870,000", "0.718620", "-"]
    assert "(published) cifar10_dvs_vgg11, clif: of T = 10, where this net has T = 16;" in done.out
    assert "The paper's Figure 11 draws firing rates" in done.out


def test_the_published_row_of_t_10_stands_without_rates_too(clifctl: Run) -> None:
    done = clifctl("energy", "cifar10_dvs_vgg11", "--method", "sop", "--json")
    published = by_neuron(done.json)["clif"]["published"]
    assert (published["timesteps"], published["parameters_millions"]) == (10, 9.5)
    assert published["note"].startswith("of T = 10, where this net has T = 16; ")


def test_a_task_without_a_data_set_from_rates_in_a_file(clifctl: Run) -> None:
    for neuron in ("lif", "clif"):
        published = firing_rates("cifar10_dvs", neuron)
        assert published is not None
        Path("rates.json").write_text(json.dumps({"rates": published.firing_rates}))
        chosen = ["model.name=vgg11", "timesteps=10", f"neuron.name={neuron}", *EVENTS]
        done = clifctl("energy", "tiny_imagenet_vgg13", *chosen, "--rates", "rates.json", "--json")
        row = by_neuron(done.json)[neuron]
        for key in MEMORY_KEYS:
            cell = getattr(memory("cifar10_dvs")[neuron], key)
            assert abs(row["paper"][key] - cell) <= 0.5001e-4, (neuron, key)
        exact = counts("cifar10_dvs")
        assert exact is not None
        assert row["paper"]["macs"] == getattr(exact, f"{neuron}_macs")
        assert row["published"] is None


def _reach(layer: nn.Conv2d, spikes: torch.Tensor) -> int:
    """The sum over all outputs of the spikes that each of them gets."""
    ones = torch.ones_like(layer.weight, dtype=torch.float64)
    where = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return int(F.conv2d((spikes != 0).double(), ones, None, *where).sum())


def test_rates_and_operations_are_those_of_an_independent_count(
    clifctl: Run, trained: Path
) -> None:
    done = clifctl("energy", trained, "--per-layer", "--json")
    assert "measuring firing rates" in done.err
    row = by_neuron(done.json)["lif"]
    checkpoint = load_checkpoint(trained)
    recipe = load_recipe(str(trained.parent / "recipe.yaml")).recipe
    net = build_net(recipe).eval()
    net.load_state_dict(checkpoint.model)
    test = load_data(recipe).test
    counted: dict[str, list[torch.Tensor]] = {}
    reached: dict[str, list[int]] = {}
    for name, module in net.named_modules():
        if isinstance(module, SpikingLayer):
            spikes = counted.setdefault(name, [])
            module.register_forward_hook(lambda m, i, o, to=spikes: to.append(o[0]))
        elif isinstance(module, nn.Conv2d):
            to_outputs = reached.setdefault(name, [])
            module.register_forward_hook(lambda m, i, o, to=to_outputs: to.append(_reach(m, i[0])))
    with torch.no_grad():
        for inputs, _ in batches(test, 100):
            net(inputs, repeat=3)
    assert [rate["layer"] for rate in row["firing_rates"]] == list(counted)
    for rate in row["firing_rates"]:
        fired = torch.cat(counted[rate["layer"]], 1).double().flatten(2)
        assert rate["firing_rate"] == pytest.approx(fired.mean().item(), rel=1e-12)
        assert rate["firing_rate_per_step"] == pytest.approx(fired.mean((1, 2)).tolist())
        assert rate["firing_rate_sample_std"] == pytest.approx(fired.mean((0, 2)).std().item())
    layers = {layer["layer"]: layer for layer in row["layers"]}
    for name, outputs in list(reached.items())[1:]:
        layer = layers[name]
        biases = 3 * prod(layer["output_shape"])
        exact = sum(outputs) / len(test)
        assert layer["corrected"]["acs"] == pytest.approx(exact + biases, rel=1e-12)
        spikes_in = layer["firing_rate"] * 3 * prod(layer["input_shape"])
        assert layer["spike_fan_out"] == pytest.approx(exact / spikes_in, rel=1e-12)
        assert abs(layer["spike_fan_out"] / layer["fan_out"] - 1) > 1e-4
    assert row["accuracy_percent"] == clifctl("eval", trained, "--json").json["accuracy_percent"]
    for accounting in ("paper", "corrected"):
        for key in KEYS - {"functions"}:
            parts = sum(layer[accounting][key] for layer in row["layers"])
            assert parts == pytest.approx(row[accounting][key], rel=1e-12)


def test_given_rates_need_no_data_and_take_any_form(clifctl: Run, trained: Path) -> None:
    measured = by_neuron(clifctl("energy", trained, "--json").json)["lif"]
    rates = {rate["layer"]: rate["firing_rate"] for rate in measured["firing_rates"]}
    Path("named.json").write_text(json.dumps(dict(reversed(rates.items()))))
    Path("listed.json").write_text(json.dumps({"rates": list(rates.values())}))
    for name in ("named.json", "listed.json"):
        done = clifctl("energy", trained, "--rates", name, "--json")
        row = by_neuron(done.json)["lif"]
        assert row["paper"] == measured["paper"]
        # Each place fires alike here, those at borders too.
        assert row["corrected"]["acs"] != measured["corrected"]["acs"]
        assert row["corrected"]["acs"] == pytest.approx(measured["corrected"]["acs"], rel=0.05)
        assert row["rates"] == name
        assert "mean rate times mean fan-out" in " ".join(done.json["assumptions"])
        assert "from its own place" not in " ".join(done.json["assumptions"])


def test_several_sources_make_one_table(clifctl: Run, trained: Path) -> None:
    done = clifctl(
        "energy", trained, "digits_events_snn5", "--method", "sop", "--constants", "7nm",
        "--timesteps", "2", "--format", "csv", "-q",
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [(row["source"], row["neuron"]) for row in rows[::2]] == [
        *((str(trained), "relu"), (str(trained), "lif")),
        *(("digits_events_snn5", "relu"), ("digits_events_snn5", "clif")),
    ]
    assert {row["accounting"] for row in rows} == {"paper", "corrected"}
    assert {row["timesteps"] for row in rows} == {"1", "2"}
    ann = rows[1]
    expected = 0.38 * float(ann["acs"]) + 1.69 * float(ann["macs"])
    assert float(ann["sop_energy_uj"]) == pytest.approx(expected * 1e-6)
    unknown = rows[-1]
    assert (unknown["acs"], unknown["sop_energy_uj"]) == ("", "")
    assert int(unknown["macs"]) > 0


def test_the_ann_of_several_sources_is_one_row(clifctl: Run) -> None:
    done = clifctl(
        "energy", "digits_snn5", "digits_snn5", "digits_events_snn5", "--per-layer", "--json"
    )
    found = [(row["source"], row["neuron"]) for row in done.json["rows"]]
    assert found == [
        *(("digits_snn5", "relu"), ("digits_snn5", "clif"), ("digits_snn5", "clif")),
        *(("digits_events_snn5", "relu"), ("digits_events_snn5", "clif")),
    ]
    paper = ("cifar10_resnet18", "cifar10_resnet18", "--rates", "paper", "--json")
    rows = clifctl("energy", *paper).json["rows"]
    assert [row["neuron"] for row in rows] == ["relu", "lif", "clif", "clif"]


def test_weights_of_other_code(clifctl: Run, trained: Path) -> None:
    torch.save({"net": load_checkpoint(trained).model, "epoch": 1}, "theirs.pth")
    recipe = str(trained.parent / "recipe.yaml")
    theirs = clifctl("energy", "theirs.pth", "--recipe", recipe, "--json").json
    own = clifctl("energy", trained, "--json").json
    assert [row["corrected"] for row in theirs["rows"]] == [row["corrected"] for row in own["rows"]]
    Path("r.json").write_text(json.dumps({"rates": [0.1] * 5}))
    wrong = clifctl("energy", "theirs.pth", "--recipe", "digits_snn5", "--rates", "r.json")
    assert wrong.code == 2
    assert "do not fit the net" in wrong.err


def test_tables_and_picture(clifctl: Run, trained: Path) -> None:
    done = clifctl("energy", trained, "--per-layer", "--plot", "energy.png")
    assert Path("energy.png").read_bytes()[:4] == b"\x89PNG"
    for expected in (
        *("memory accesses (Table 7)", "corrected: one inference", "s.d. over samples"),
        *("fan-out of spikes", "the outputs that it reaches from its own place"),
    ):
        assert expected in " ".join(done.out.split())
    assert "features.4.connection   convolution   spikes" in done.out
    assert clifctl("energy", trained, "--plot", "energy.png").code == 2
    plain = clifctl("energy", "digits_snn5", "--plot", "counts.svg", "--json")
    assert plain.json["rows"][0]["layers"] is None
    assert "<svg" in Path("counts.svg").read_text()


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"rates": [0.1, 0.1, 0.1, 0.1, 1.5]}, "rate 5 ('features.4.neuron') = 1.5"),
        ({"rates": [0.1, -0.1, 0.1, 0.1, 0.1]}, "rate 2 ('features.1.neuron') = -0.1"),
        ({"rates": [0.1, True, 0.1, 0.1, 0.1]}, "must be a number from 0 to 1"),
        ({"rates": [0.1, float("nan"), 0.1, 0.1, 0.1]}, "must be a number from 0 to 1"),
        ({"rates": [0.1] * 4}, "too few firing rates: 4 for 5"),
        ({"rates": [0.1] * 6}, "too many firing rates: 6 for 5"),
        ({"features.7.neuron": 0.1}, "unknown layer of neurons 'features.7.neuron'"),
        ({"features.0.neuron": 0.1}, "1 of 5 layers of neurons have a rate"),
        ({"rates": [0.1] * 5, "more": 1}, "unknown key 'more'"),
        ([0.1] * 5, "holds no firing rates"),
    ],
)
def test_rates_that_cannot_be_used(clifctl: Run, rates: Any, said: str) -> None:
    Path("rates.json").write_text(json.dumps(rates))
    done = clifctl("energy", "digits_snn5", "--rates", "rates.json", "-o", "result.json")
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "hint: " in done.err
    assert not Path("result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits_snn5", "--rates", "none.json"], "cannot read 'none.json'"),
        (["digits_snn5", "--rates", "paper"], "the paper has no firing rates for 'clif' in 'snn5'"),
        (["cifar10_resnet18", "model.width=8", "--rates", "paper"], "in another width"),
        (
            ["cifar10_resnet18", "neuron.name=plif", "--rates", "paper"],
            "no firing rates for 'plif'",
        ),
        (["digits_snn5", "--constants", "45"], "did you mean '45nm'?"),
        (["digits_snn5", "--timesteps", "0"], "--timesteps 0: must be between 1 and"),
        (
            ["digits_snn5", "timesteps=2", "--timesteps", "2"],
            "2: timesteps= was given too",
        ),
        (["digits_snn6"], "unknown recipe 'digits_snn6'"),
        (["none.pt"], "checkpoint 'none.pt' does not exist"),
        (["timesteps=2"], "no checkpoint or recipe was given"),
        (["-", "-"], "stdin was given twice"),
        (["digits_snn5", "--model", "mlp"], "both --model and --data"),
        (["digits_snn5", "--plot", "energy.bmp"], "unknown ending '.bmp'"),
    ],
)
def test_what_cannot_be_costed(clifctl: Run, arguments: list[str], said: str) -> None:
    done = clifctl("energy", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert list(Path().iterdir()) == []


def test_a_checkpoint_is_costed_as_it_was_trained(clifctl: Run, trained: Path) -> None:
    done = clifctl("energy", trained, "neuron.name=clif")
    assert done.code == 2
    assert "is costed as it was trained" in done.err


def test_missing_data_point_to_rates(clifctl: Run, trained: Path) -> None:
    torch.save(load_checkpoint(trained).model, "theirs.pth")
    done = clifctl("energy", "theirs.pth", "--data", "cifar10", "--model", "resnet18")
    assert done.code == 2
    assert "--rates FILE.json" in done.err


def test_rates_of_another_t_are_noted(clifctl: Run) -> None:
    done = clifctl("energy", "cifar10_resnet18", "timesteps=4", "--rates", "paper", "--json")
    assert done.err == "note: the published firing rates are those of T = 6\n"
    published = by_neuron(done.json)["clif"]["published"]
    assert (published["timesteps"], published["macs_millions"]) == (6, 5.12)
    assert published["note"] == "of T = 6, where this net has T = 4"
    of_relu = by_neuron(done.json)["relu"]["published"]["note"]
    assert of_relu.startswith("The released script multiplies the ANN's energy by T")


def test_cost_of_a_neuron(clifctl: Run) -> None:
    done = clifctl("neurons", "show", "clif", "--cost", "--json").json
    assert (done["multiplications"], done["additions"], done["functions"]) == (4, 5, 2)
    # 4 and 4 x 2 MACs, 1 addition besides
    assert (done["macs"], done["acs"]) == (12, 1)
    assert done["sop_energy_pj"] == pytest.approx(12 * 4.6 + 0.9)
    assert done["operations_energy_pj"] == pytest.approx(12 * 3.1 + 13 * 0.1)
    counts_of = {row["operation"]: row["count"] for row in done["operations"]}
    assert counts_of.pop("mul") + counts_of.pop("div", 0) == 4
    assert counts_of == {"add": 3, "sub": 2, "spike": 1, "sigmoid": 2}
    assert clifctl("neurons", "show", "clif", "--cost", "--kernel", "numba").code == 2


def test_what_has_no_price_is_told_and_every_operation_listed(
    clifctl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, input_shape, classes, timesteps, neuron):\n"
        "        super().__init__()\n"
        "        self.fc, self.sn, self.mix = nn.Linear(64, 6), neuron(6), nn.GRU(6, 6)\n"
        "        self.out = nn.Linear(6, classes)\n\n"
        "    def forward(self, x):\n"
        "        return self.out(self.mix(self.sn(self.fc(x.flatten(2))))[0])\n"
    )
    given = ("energy", "digits_snn5", "model.name=net.py:Net", "neuron.name=lif", "timesteps=3")
    done = clifctl(*given, "--operations", "--json")
    assert done.code == 0
    row = by_neuron(done.json)["lif"]
    assert row["unpriced"] == [{"layer": "net.mix", "function": "gru"}]
    assert done.json["assumptions"][0].startswith(
        "NOT COUNTED, no price is known: gru in 'net.mix'"
    )
    mixed = next(one for one in row["layers"] if one["layer"] == "net.mix")
    assert set(mixed["corrected"].values()) == set(mixed["paper"].values()) == {None}
    assert row["synaptic"]["dense"] == 3 * (64 * 6 + 6 * 10)
    listed = clifctl(*given, "--operations")
    assert "NOT COUNTED: no price" in listed.out
    assert "dense MACs + bias" in listed.out

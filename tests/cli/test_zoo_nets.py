"""A net of SpikingJelly's zoo through every command that takes a net."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]
REFERENCE = ["--target", "reference"]


def test_every_command_takes_it(clifctl: Run, data_root: Path) -> None:
    data = f"data={{name: npz, root: {data_root}, shape: [3, 8, 8], classes: 4}}"
    net = "model={name: sew_resnet18, width: 2, stem: cifar}"
    lif = ["neuron.name=lif", "neuron.reset=hard"]
    about = [data, net, *lif, "timesteps=2", "train.epochs=1", "train.batch_size=12"]
    done = clifctl("train", "digits_snn5", *about, "--out", "run", "-q", "--json", *REFERENCE)
    assert done.code == 0, done.err
    layers = [each["layer"] for each in done.json["firing_rates"]]
    assert len(layers) == 1 + 2 * 8 + 3
    assert layers[:3] == ["stem.neuron", "blocks.0.first.neuron", "blocks.0.second.neuron"]
    evaluated = clifctl("eval", "run/last.pt", "--json", *REFERENCE)
    assert evaluated.json["accuracy_percent"] == done.json["accuracy_percent_last"]
    energy = clifctl("energy", "run/last.pt", "--per-layer", "--json", *REFERENCE).json["rows"][-1]
    fed_by = {each["layer"]: each["fed_by"] for each in energy["layers"] if each["kind"] != "norm"}
    # Sums of spikes are spikes; of the last map of one pixel the pool is a copy.
    assert fed_by["stem.connection"] == "image"
    assert fed_by["blocks.7.first.connection"] == fed_by["pool"] == fed_by["linear"] == "spikes"
    shares = clifctl("gradients", "run/last.pt", "--samples", "7", "--json", *REFERENCE)
    assert shares.code == 0, shares.err
    assert len(shares.json["layers"]) == len(layers)
    converted = clifctl("convert", "run/last.pt", "-o", "soft.pt", *REFERENCE)
    assert converted.code == 0, converted.err
    nir = clifctl("convert", "run/last.pt", "--to", "nir", "-o", "net.nir", "--json")
    assert nir.code == 0, nir.err
    assert [reader["verdict"] for reader in nir.json["readers"]] == ["same"] * 3
    assert nir.json["nodes"]["LIF"] == len(layers)
    gated = [*about[:1], net.replace("cifar", "cifar, connect: iand"), *about[2:]]
    assert clifctl("train", "digits_snn5", *gated, "--out", "gated", "-q", *REFERENCE).code == 0
    refused = clifctl("convert", "gated/last.pt", "--to", "nir")
    assert (refused.code, "module 'blocks.0': spike_iand cannot" in refused.err) == (2, True)

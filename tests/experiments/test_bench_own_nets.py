"""`bench train` and `bench eval` of a person's own net: against itself with ReLU, and with
SpikingJelly's nodes."""

from pathlib import Path

import pytest

from clifctl.errors import UsageError
from clifctl.experiments.bench.task import NetBenchOptions
from clifctl.experiments.bench_eval import bench_eval
from clifctl.experiments.bench_train import bench_train
from clifctl.models.own.loading import FOREIGN_MODELS

NET = """
from torch import nn
from clifctl.nn import FoldTime


class Net(nn.Module):
    def __init__(self, input_shape, classes, timesteps, neuron):
        super().__init__()
        self.first = FoldTime(nn.Conv2d(3, 2, 8, 8), nn.BatchNorm2d(2))
        self.spikes = neuron(2)
        self.last = nn.Linear(32, classes)

    def forward(self, x):
        return self.last(self.spikes(self.first(x)).flatten(2))
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetBenchOptions:
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FOREIGN_MODELS, "of_files", {})
    return NetBenchOptions(
        model="net.py:Net", neuron="lif", timesteps=(2,), batch_size=2, repeats=1
    )


def test_a_training_step_of_an_own_net_is_timed(asked: NetBenchOptions) -> None:
    found = bench_train(asked, peak=False)
    assert (found.batch_norm, found.parameters) == ("own", 3 * 64 * 2 + 2 + 4 + 33 * 10)
    measured = {row.contestant for row in found.rows if row.missing is None}
    assert measured == {"ours", "ours_dense", "relu", "sj_multi_step", "sj_step_by_step"}
    assert all(check.float64_gradient_error <= check.float64_allowed for check in found.checks)


def test_the_operations_of_an_own_net_are_counted(asked: NetBenchOptions) -> None:
    found = bench_eval(asked)
    assert {row.batch_size for row in found.operations} == {1, 2}
    # 16 places of 2 maps, each of 3 * 64 values; 32 features for 10 classes.
    assert found.operations[0].relu_macs == 16 * 2 * 192 + 32 * 10
    assert found.operations[0].spiking_macs == 16 * 2 * 192  # once for both steps


def test_what_an_own_net_decides_itself_is_told(asked: NetBenchOptions) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match="decides itself what its batch norm does"):
        bench_train(replace(asked, batch_norm="folded"), peak=False)
    with pytest.raises(UsageError, match="firing rates are set by the batch norms of clifctl"):
        bench_train(replace(asked, rates="paper"), peak=False)

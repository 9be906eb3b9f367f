"""`bench train` and `bench eval` of a person's own net: SpikingJelly's nodes in it."""

from pathlib import Path

import pytest
import torch

from clifctl import trust
from clifctl.experiments.bench.net_contestants import Learner, learner
from clifctl.experiments.bench.net_gate import missing_peers
from clifctl.experiments.bench.task import NetBenchOptions, task_of
from clifctl.experiments.run.execution import ExecutionOptions

NET = """
from torch import nn
from clifctl.nn import FoldTime


class Net(nn.Module):
    def __init__(self, input_shape, classes, neuron):
        super().__init__()
        self.conv, self.sn = FoldTime(nn.Conv2d(3, 4, 5, stride=4)), neuron(4)
        self.norm = FoldTime(NORM)
        self.out = nn.Linear(196, classes)

    def forward(self, x):
        return self.out(self.norm(self.sn(self.conv(x))).flatten(2))
"""
SINGLE = """
from torch import nn
from spikingjelly.activation_based import neuron


class Net(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.conv, self.sn, self.out = nn.Conv2d(3, 4, 5, 4), neuron.IFNode(), nn.Linear(196, 10)

    def forward(self, x):
        return self.out(self.sn(self.conv(x)).flatten(1)).relu()
"""


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (NET.replace("NORM", "nn.Identity()"), []),
        # Batch norm of spikes sees all steps at once here, and one at a time there.
        (NET.replace("NORM", "nn.BatchNorm2d(4)"), ["sj_step_by_step"]),
        (SINGLE, []),
    ],
)
def test_spikingjellys_nodes_take_part_in_an_own_net(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, missing: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"net{len(text)}.py").write_text(text)
    named = f"net{len(text)}.py:Net"
    trust.allow(named)
    how = ExecutionOptions("cpu", "reference")
    asked = NetBenchOptions(model=named, neuron="lif", timesteps=[3], batch_size=2, execution=how)
    task = task_of(asked, least_batch=2)
    assert list(missing_peers(task)) == missing
    steps = [
        learner(who, task, "contiguous", dtype=torch.float64) for who in ("ours", "sj_multi_step")
    ]
    gradients = []
    for one in steps:
        assert isinstance(one, Learner)
        one.step()
        gradients.append(list(one.gradients().values()))
    assert float(gradients[0][0].norm()) > 0
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)

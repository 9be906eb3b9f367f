import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from clifctl.models import MODELS, NeuronChoice, TemporalBatchNorm
from clifctl.neurons import NEURONS


def sample(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.3 + 1.7 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def pair(mode: str, channels: int) -> tuple[TemporalBatchNorm, nn.BatchNorm2d]:
    """Ours and PyTorch's, in float64, with the same unequal weights."""
    ours = TemporalBatchNorm(channels, mode).double()
    theirs = nn.BatchNorm2d(channels).double()
    with torch.no_grad():
        for norm in (ours, theirs):
            norm.weight.copy_(torch.linspace(0.5, 2.0, channels))
            norm.bias.copy_(torch.linspace(-1.0, 1.0, channels))
    return ours, theirs


def assert_same_state(ours: nn.Module, theirs: nn.Module) -> None:
    for (name, a), (other, b) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.allclose(a, b, atol=1e-14, rtol=0), name


def test_per_step_is_batch_norm_called_step_by_step() -> None:
    ours, theirs = pair("per_step", 5)
    for seed in range(3):
        x = sample(4, 3, 5, 7, 6, seed=seed)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        ours.zero_grad()
        theirs.zero_grad()
        out = ours(a)
        expected = torch.stack([theirs(step) for step in b])
        assert torch.allclose(out, expected, atol=1e-13, rtol=0)
        g = sample(*x.shape, seed=10 + seed)
        (out * g).sum().backward()
        (expected * g).sum().backward()
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, atol=1e-12, rtol=0)
        assert ours.weight.grad is not None
        assert torch.allclose(ours.weight.grad, theirs.weight.grad, atol=1e-11, rtol=0)
        assert_same_state(ours, theirs)
    assert ours.num_batches_tracked.item() == 12


def test_folded_is_batch_norm_of_time_and_batch_together() -> None:
    ours, theirs = pair("folded", 3)
    x = sample(4, 3, 3, 5, 2)
    assert torch.allclose(ours(x).flatten(0, 1), theirs(x.flatten(0, 1)), atol=1e-13, rtol=0)
    assert_same_state(ours, theirs)


@pytest.mark.parametrize("mode", ["per_step", "folded"])
def test_repeats_stand_for_equal_steps(mode: str) -> None:
    ours, _ = pair(mode, 3)
    other, _ = pair(mode, 3)
    x = sample(1, 5, 3, 4)
    once = ours(x, repeats=6).expand(6, -1, -1, -1)
    full = other(x.expand(6, -1, -1, -1))
    assert torch.allclose(once, full, atol=1e-13, rtol=0)
    assert torch.allclose(ours.running_mean, other.running_mean, atol=1e-14, rtol=0)
    assert torch.allclose(ours.running_var, other.running_var, atol=1e-14, rtol=0)


@pytest.mark.parametrize("mode", ["per_step", "folded"])
def test_evaluation_uses_the_running_averages(mode: str) -> None:
    ours, theirs = pair(mode, 3)
    x = sample(4, 6, 3, 2, 2)
    ours(x)
    theirs.load_state_dict(ours.state_dict())
    ours.eval()
    theirs.eval()
    assert torch.allclose(ours(x), torch.stack([theirs(step) for step in x]), atol=1e-13, rtol=0)


def test_batch_statistics_in_evaluation_track_nothing() -> None:
    ours, _ = pair("per_step", 3)
    x = sample(4, 6, 3, 2, 2)
    expected = ours(x)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    ours.eval()
    ours.batch_statistics = True
    assert torch.equal(ours(x), expected)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_vectors_are_normalised_too() -> None:
    ours, _ = pair("per_step", 4)
    theirs = nn.BatchNorm1d(4).double()
    theirs.load_state_dict(ours.state_dict())
    x = sample(3, 9, 4)
    assert torch.allclose(ours(x), torch.stack([theirs(step) for step in x]), atol=1e-13, rtol=0)
    assert_same_state(ours, theirs)


CHILD = Path(__file__).with_name("norm_processes.py")


def _child() -> ModuleType:
    spec = importlib.util.spec_from_file_location("clifctl_norm_processes", CHILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found, on 3 and on 2 of 5 samples."""
    folder = tmp_path_factory.mktemp("processes")
    # A file as the meeting point: no port to be free.
    files = [folder / f"{rank}.pt" for rank in range(2)]
    children = [
        subprocess.Popen(
            [sys.executable, CHILD, str(rank), f"file://{folder / 'store'}", str(file)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, file in enumerate(files)
    ]
    for child in children:
        _, errors = child.communicate(timeout=600)
        assert child.returncode == 0, errors
    return [torch.load(file) for file in files]


@pytest.mark.parametrize(
    "mode",
    ["per_step", "folded", "plain per_step", "plain folded", "torch", "steps", "spikingjelly"],
)
def test_two_processes_give_the_numbers_of_one(
    two_processes: list[dict[str, Any]], mode: str
) -> None:
    """Inside the kernel, as a module of its own before it, and as torch's own."""
    child = _child()
    one = child.torchs if mode in child.TORCHS else child.train
    expected = one(slice(None), False, mode.removeprefix("plain "))
    first, second = (found[mode] for found in two_processes)
    for name, tensor in expected.items():
        if name.startswith("sum "):
            given = first[name] + second[name]
        elif name.startswith("same "):
            assert torch.equal(first[name], second[name])
            given = first[name]
        else:
            given = torch.cat([first[name], second[name]], 1)
        assert torch.allclose(given, tensor, atol=1e-10, rtol=1e-10), name
    updates = 8 if mode == "steps" or "per_step" in mode else 2
    assert expected["same num_batches_tracked"].item() == updates


def test_one_process_is_no_run_of_several() -> None:
    x = sample(4, 6, 3, 2, 2)
    alone, other = (pair("per_step", 3)[0] for _ in range(2))
    other.processes = True
    assert torch.equal(alone(x), other(x))
    assert not other.before(x, 4).processes
    with pytest.raises(ValueError, match="more than one value per channel"):
        other.before(x[:, :1, :, 0, 0], 4)


SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"input_shape": (7,), "hidden": (5, 6)},
    "snn5": {"input_shape": (1, 16, 16), "channels": (2, 3, 2, 3, 4)},
}


@pytest.mark.parametrize("name", list(MODELS))
def test_checkpoints_are_those_of_the_plain_path(name: str) -> None:
    """Same keys and shapes, the norms' those of torch: and each loads into the other."""
    options = dict(SMALL.get(name, {"input_shape": (3, 32, 32)}))
    shape = options.pop("input_shape")
    choice = NeuronChoice(NEURONS["plif"], NEURONS["plif"].hyperparameters())
    nets = []
    for fuse in (True, False):
        settings = MODELS[name].options(**options, fuse_norm=fuse)
        with torch.device("meta"):
            nets.append(
                MODELS[name].build(
                    settings, input_shape=shape, classes=3, timesteps=4, neuron=choice
                )
            )
    fused, plain = ({k: tuple(t.shape) for k, t in net.state_dict().items()} for net in nets)
    assert fused == plain
    norms = [k for k, module in nets[0].named_modules() if isinstance(module, TemporalBatchNorm)]
    assert len(norms) >= 2
    keys = set(nn.BatchNorm2d(3).state_dict())
    for norm in norms:
        assert {k.removeprefix(f"{norm}.") for k in fused if k.startswith(f"{norm}.")} == keys

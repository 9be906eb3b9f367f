import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clifctl.errors import CheckpointError, OutputError, RunFailed, UsageError
from clifctl.files import write_atomically
from clifctl.kernels.cpu.source import SLACK, Active, room_for_bits
from clifctl.kernels.spikes.tensor import Spikes
from clifctl.results.eval import Evaluation
from clifctl.results.train import EpochRecord
from clifctl.training import run_folder
from clifctl.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from clifctl.training.device import resolve_device
from clifctl.training.evaluation import evaluate
from clifctl.training.loop import Event, Position, train_epochs
from clifctl.training.loss import hard_labels, step_cross_entropy, tet_loss
from clifctl.training.memory import held_for_backward, saved_for_backward
from clifctl.training.optimizer import OptimizerSection, optimizer_and_schedule
from clifctl.training.precision import ArithmeticName, Precision
from clifctl.training.seal import sealed
from clifctl.training.step import TrainingStep


class Constant(nn.Module):
    """A "net" whose logits are the inputs times one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(
        self, x: torch.Tensor, state: None = None, repeat: int = 1
    ) -> tuple[torch.Tensor, tuple[()]]:
        return (x * self.weight).expand(x.shape[0] * repeat, *x.shape[1:]), ()


def test_tet_loss_by_hand() -> None:
    logits = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]], dtype=torch.float64)  # T=2, N=1, 2 classes
    targets = torch.tensor([1])
    ce = (math.log(1 + math.e) + math.log(1 + math.exp(-2))) / 2
    mse = (0 + 1 + 1 + 1) / 4
    loss = tet_loss(logits, targets, tet_lambda=0.05, tet_mean=1.0)
    assert loss.item() == pytest.approx(0.95 * ce + 0.05 * mse, abs=1e-12)
    assert step_cross_entropy(logits, targets).item() == pytest.approx(ce, abs=1e-12)
    plain = tet_loss(logits, targets, tet_lambda=0.0, tet_mean=1.0)
    assert plain.item() == pytest.approx(ce, abs=1e-12)


def test_cross_entropy_pairs_every_step_with_the_same_label() -> None:
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    targets = torch.tensor([0, 1, 2, 3, 0])
    mean = sum(nn.functional.cross_entropy(step, targets) for step in logits) / 3
    assert torch.allclose(step_cross_entropy(logits, targets), torch.as_tensor(mean))


def test_weights_of_classes_are_targets_too() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.tensor([0, 4, 2, 2])
    whole = nn.functional.one_hot(labels, 5).double()
    hard, soft = (step_cross_entropy(logits, targets) for targets in (labels, whole))
    assert torch.allclose(hard, soft, atol=1e-12)
    other = nn.functional.one_hot(labels.roll(1), 5).double()
    mixed = step_cross_entropy(logits, 0.3 * whole + 0.7 * other)
    assert torch.allclose(mixed, 0.3 * hard + 0.7 * step_cross_entropy(logits, labels.roll(1)))
    assert hard_labels(0.3 * whole + 0.7 * other).tolist() == labels.roll(1).tolist()
    assert hard_labels(labels) is labels


def test_training_and_evaluation_count_the_class_of_the_largest_weight() -> None:
    x = torch.tensor([[[2.0, 1.0], [1.0, 3.0], [1.0, 3.0]]])
    weights = torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.9, 0.1]])
    net = Constant()
    optimizer, schedule = optimizer_and_schedule(
        net, OptimizerSection(lr=0.1, momentum=0.0, weight_decay=0.0, epochs=1)
    )
    step = TrainingStep(
        net,
        optimizer,
        loss=step_cross_entropy,
        repeat=1,
        precision=Precision("float32", torch.device("cpu")),
    )
    record = list(
        train_epochs(
            step,
            schedule,
            Position(),
            training_batches=lambda position: [(x, weights)],
            test=lambda: evaluate(net, [(x, weights)], step_cross_entropy, repeat=1),
            epochs=1,
        )
    )[-1]
    assert isinstance(record, EpochRecord)
    assert record.train_accuracy_percent_train_mode == pytest.approx(200 / 3)
    assert record.test_accuracy_percent == pytest.approx(200 / 3)
    by_hand = -(weights * x[0].log_softmax(1)).sum(1).mean().item()
    assert record.train_loss_train_mode == pytest.approx(by_hand, abs=1e-6)


def test_cosine_schedule_is_the_papers() -> None:
    net = Constant()
    optimizer, schedule = optimizer_and_schedule(
        net, OptimizerSection(lr=0.2, momentum=0.9, weight_decay=1e-3, epochs=10)
    )
    group = optimizer.param_groups[0]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, False, 1e-3)
    rates = []
    for _ in range(10):
        rates.append(group["lr"])
        optimizer.step()
        schedule.step()
    expected = [0.1 * (1 + math.cos(math.pi * epoch / 10)) for epoch in range(10)]
    assert rates == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"schedule": "step", "step_epochs": 2, "step_factor": 0.5}, [0.2, 0.2, 0.1, 0.1, 0.05]),
        ({"schedule": "constant"}, [0.2] * 5),
        ({"schedule": "constant", "warmup_epochs": 2}, [0.1, 0.15, 0.2, 0.2, 0.2]),
        (
            {"schedule": "cosine", "warmup_epochs": 1},
            [0.2, *(0.1 * (1 + math.cos(math.pi * e / 4)) for e in range(4))],
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # of torch's own SequentialLR
def test_schedules(options: dict[str, Any], expected: list[float]) -> None:
    optimizer, schedule = optimizer_and_schedule(
        Constant(),
        OptimizerSection(
            lr=0.2, momentum=0.9, weight_decay=0.0, epochs=5, optimizer="adamw", **options
        ),
    )
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(expected, abs=1e-12)


def test_soft_labels_smoothing_and_the_one_hot_goal() -> None:
    logits = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]], dtype=torch.float64)
    hard, soft = torch.tensor([1]), torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    for targets in (hard, soft):
        loss = tet_loss(logits, targets, tet_lambda=1.0, tet_mean=1.0, tet_target="one_hot")
        assert loss.item() == pytest.approx((1 + 1 + 0 + 1) / 4, abs=1e-12)
        assert step_cross_entropy(logits, targets).item() == pytest.approx(
            step_cross_entropy(logits, hard).item(), abs=1e-12
        )
    # Smoothing by 0.2 over two classes is the soft label (0.1, 0.9).
    mixed = torch.tensor([[0.1, 0.9]], dtype=torch.float64)
    assert step_cross_entropy(logits, hard, 0.2).item() == pytest.approx(
        step_cross_entropy(logits, mixed).item(), abs=1e-12
    )


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_precision(name: ArithmeticName) -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    precision = Precision(name, torch.device("cpu"))

    def take_a_step(loss: torch.Tensor) -> None:
        precision.backward(loss)
        precision.unscale(optimizer)
        precision.step(optimizer)

    x = torch.randn(5, 4)
    with precision.forward():
        out = net(x)
    assert out.dtype == getattr(torch, name)
    before = net.weight.detach().clone()
    expected = before - 0.1 * torch.autograd.grad(net(x).square().sum(), net.weight)[0]
    if name == "float16":
        # The first scale overflows: the step is left out, and the scale halved until it fits.
        take_a_step(out.float().square().sum())
        assert torch.equal(net.weight, before)
    for _ in range(4):
        if torch.equal(net.weight, before):
            optimizer.zero_grad()
            with precision.forward():
                out = net(x)
            take_a_step(out.float().square().sum())
    tolerance = {"float32": 1e-6, "bfloat16": 0.05, "float16": 0.005}[name]
    assert torch.allclose(net.weight, expected, atol=tolerance)
    assert not torch.allclose(net.weight, before, atol=tolerance)


def test_evaluation_sums_logits_over_the_steps_so_far() -> None:
    # Two samples, labels 0 and 1; the second is right only once both steps are summed.
    x = torch.tensor([[[2.0, 1.0], [1.0, 0.5]], [[0.0, 0.5], [0.0, 3.0]]])
    targets = torch.tensor([0, 1])
    net = Constant()
    result = evaluate(
        net,
        [(x[:, :1], targets[:1]), (x[:, 1:], targets[1:])],
        step_cross_entropy,
        repeat=1,
    )
    assert result.accuracy_percent_per_step == (50.0, 100.0)
    assert result.accuracy_percent == 100.0
    assert result.samples == 2
    assert result.loss == pytest.approx(step_cross_entropy(x, targets).item(), abs=1e-6)
    assert result.firing_rate is None
    assert net.training


def records(loss: float = 1.0) -> list[Event]:
    net = Constant()
    optimizer, schedule = optimizer_and_schedule(
        net, OptimizerSection(lr=0.1, momentum=0.0, weight_decay=0.0, epochs=2)
    )
    x, y = torch.ones(1, 4, 3), torch.zeros(4, dtype=torch.long)
    evaluation = Evaluation(
        samples=4,
        loss=0.5,
        cross_entropy=0.4,
        accuracy_percent=75.0,
        accuracy_percent_per_step=(75.0,),
        accuracy_top5_percent_per_step=None,
        cross_entropy_per_step=(1.0,),
        per_class=(),
        confusion=(),
        firing_rate=None,
        firing_rates=(),
    )
    step = TrainingStep(
        net,
        optimizer,
        loss=lambda logits, targets: logits.mean() * loss,
        repeat=1,
        precision=Precision("float32", torch.device("cpu")),
    )
    return list(
        train_epochs(
            step,
            schedule,
            Position(),
            training_batches=lambda position: [(x, y), (x[:, :2], y[:2])],
            test=lambda: evaluation,
            epochs=2,
        )
    )


def test_the_loop_yields_steps_and_epochs() -> None:
    events = records()
    assert [type(event).__name__ for event in events] == ["StepDone", "StepDone", "EpochRecord"] * 2
    first = events[2]
    assert isinstance(first, EpochRecord)
    assert (first.epoch, first.lr, first.test_accuracy_percent) == (1, 0.1, 75.0)
    # Weight 1, then 0.9 after one step of gradient 1 and rate 0.1: mean over 4 + 2 samples.
    assert first.train_loss_train_mode == pytest.approx((4 * 1.0 + 2 * 0.9) / 6, abs=1e-6)


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    with pytest.raises(RunFailed, match="training loss became nan in step 1 of epoch 1") as caught:
        records(loss=float("nan"))
    assert caught.value.exit_code == 1


def test_memory_counts_each_kept_tensor_once() -> None:
    class Squares(nn.Module):
        def forward(
            self, x: torch.Tensor, state: None = None, repeat: int = 1
        ) -> tuple[torch.Tensor, None]:
            # x*x keeps x (twice); exp keeps its result.
            return (x * x).exp(), None

    with torch.device("meta"):
        x = torch.zeros(7, 5, requires_grad=True)
        assert saved_for_backward(Squares(), x, repeat=1) == 2 * 7 * 5 * 4


def test_memory_counts_spikes_as_the_bits_that_they_are() -> None:
    bits = room_for_bits(4 * 3 * 8 * 8)
    spikes = Spikes.whole(Active(bits), (4, 3, 8, 8), window=bits.clone())
    conv = nn.Conv2d(3, 5, 3)
    held = held_for_backward(lambda: conv(spikes), conv.parameters())
    assert held == 2 * len(bits) == 2 * (4 * 3 * 8 * 8 // 8 + SLACK)


# --- checkpoints ------------------------------------------------------------------------------


def checkpoint() -> Checkpoint:
    return Checkpoint("name", {"timesteps": 2}, 3, 97.6, {"weight": torch.tensor(1.5)})


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(checkpoint(), path)
    loaded = load_checkpoint(path)
    assert (loaded.recipe_name, loaded.recipe, loaded.epoch) == ("name", {"timesteps": 2}, 3)
    assert loaded.accuracy_percent == 97.6
    assert torch.equal(loaded.model["weight"], torch.tensor(1.5))
    assert torch.load(path, weights_only=True)["model"].keys() == {"weight"}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("open('executed', 'w').close()",))


def test_files_that_are_no_checkpoint_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good.pt"
    save_checkpoint(checkpoint(), good)
    whole = good.read_bytes()
    bad = {
        "empty.pt": b"",
        "text.pt": b"not a checkpoint",
        "half.pt": whole[: len(whole) // 2],
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"format": "clifctl.checkpoint/1", "model": Hostile()}, tmp_path / "hostile.pt")
    buffer = io.BytesIO()
    torch.save({"format": "clifctl.checkpoint/2", "model": Hostile()}, buffer)
    bad["sealed.pt"] = b"".join(sealed(buffer.getvalue()))
    (tmp_path / "sealed.pt").write_bytes(bad["sealed.pt"])
    torch.save({"net": {}}, tmp_path / "foreign.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"format": "clifctl.checkpoint/1"}, tmp_path / "lacking.pt")
    for name in [*bad, "hostile.pt", "foreign.pt", "list.pt", "lacking.pt", "missing.pt"]:
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(tmp_path / name)
        assert name in caught.value.message
        assert caught.value.hint
    with pytest.raises(CheckpointError, match="is a folder"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="do not fit"):
        load_weights(nn.Linear(2, 2), checkpoint(), tmp_path / "last.pt")


# --- the run folder ---------------------------------------------------------------------------


def make_run(path: Path) -> None:
    path.mkdir()
    for name in (*run_folder.FILES, "my_notes.txt"):
        (path / name).write_text("old")
    (path / run_folder.MANIFEST).write_text('{"schema": "clifctl.manifest/1"}')


def test_an_existing_run_is_kept_unless_told(tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run)
    with pytest.raises(OutputError, match="exists already"):
        run_folder.clear_run_folder(run, overwrite=False)
    assert (run / "last.pt").read_text() == "old"
    run_folder.clear_run_folder(run, overwrite=True)
    # What clifctl wrote is gone, what a person put there is not.
    assert [p.name for p in run.iterdir()] == ["my_notes.txt"]


def test_what_a_killed_start_left_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("old")
    with pytest.raises(OutputError, match="exists already"):
        run_folder.clear_run_folder(tmp_path, overwrite=False)
    run_folder.clear_run_folder(tmp_path, overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="not a run of clifctl"):
            run_folder.clear_run_folder(tmp_path, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_may_become_a_run(tmp_path: Path) -> None:
    run_folder.clear_run_folder(tmp_path, overwrite=False)
    run_folder.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(OutputError, match="made by another process just now"):
        run_folder.make_folder(tmp_path / "a" / "b")


def test_numbered_folders_never_collide(tmp_path: Path) -> None:
    made = [run_folder.claim_numbered_folder(tmp_path, "x").name for _ in range(3)]
    assert made == ["x-1", "x-2", "x-3"]
    (tmp_path / "x-9").mkdir()
    (tmp_path / "x-old").mkdir()
    assert run_folder.claim_numbered_folder(tmp_path, "x").name == "x-10"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "run"):
        with pytest.raises(OutputError, match="file"):
            run_folder.check_run_folder(path, overwrite=True)


def test_no_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A superuser may write anywhere: the answer of the system is replaced, not the folder's mode.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(OutputError, match="no permission"):
        run_folder.check_run_folder(tmp_path / "run", overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(file: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    for name in ("gpu", "meta", "cpu:x"):
        with pytest.raises(UsageError, match="unknown device"):
            resolve_device(name)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no usable CUDA GPU"):
            resolve_device("cuda")

"""LAMB, its groups of weight decay, and timm's cosine schedule."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl.errors import CheckpointError, RecipeError
from clifctl.experiments.build import build_net, optimizer_of, run_on, training_step_of
from clifctl.kernels import resolve_kernels
from clifctl.models import TemporalBatchNorm
from clifctl.recipe.load import load_recipe
from clifctl.recipe.schema import Recipe
from clifctl.training.lamb import Lamb
from clifctl.training.loop import Position
from clifctl.training.loss import step_cross_entropy, tet_loss
from clifctl.training.optimizer import (
    OptimizerSection,
    leaves_out,
    optimizer_and_schedule,
    timm_cosine_lr,
)
from clifctl.training.precision import Precision
from clifctl.training.resume import InProgress, capture, restore
from clifctl.training.step import Sums

CPU = torch.device("cpu")

# What timm 1.0.31's Lamb makes of the parameters of `test_lamb_is_timms` in four steps.
TIMMS_WEIGHT = [
    [1.4425888457308569, -0.15543105814026217],
    [-2.197838633102614, 0.589066994934226],
    [-1.077784110648096, -1.226359353469741],
]
TIMMS_ZEROS = [[-0.03240362208061074, 0.03299139438450913],
               [-0.02989409499019925, 0.03330906741242625]]  # fmt: skip
TIMMS_BIAS = [0.4753890534430536, 0.7238728173393206, -0.7408867080211397]


def drawn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_lamb_is_timms() -> None:
    """With decay, without, and from zero; timm clips gradients to a norm of 1 by itself."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = (nn.Parameter(drawn(generator, *shape)) for shape in ((3, 2), (3,)))
    zeros = nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
    decaying = {"params": [weight, zeros], "weight_decay": 0.06}
    optimizer = Lamb([decaying, {"params": [bias], "weight_decay": 0.0}], 0.03)
    for step in range(4):
        parameters = (weight, zeros, bias)
        gradients = [drawn(generator, *p.shape) * (0.2 if step % 2 else 1.5) for p in parameters]
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm().clamp(min=1.0)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient / norm
        optimizer.step()
    for found, expected in ((weight, TIMMS_WEIGHT), (zeros, TIMMS_ZEROS), (bias, TIMMS_BIAS)):
        timms = torch.tensor(expected, dtype=torch.float64)
        assert torch.allclose(found.detach(), timms, atol=1e-13, rtol=0)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_a_step_that_a_flag_on_the_device_leaves_out_changes_nothing(name: str) -> None:
    """As on a GPU, and its numbers are those of the optimizer that knows no flag."""
    nets = []
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    for fused in (None, True):
        torch.manual_seed(1)
        net = nn.Linear(3, 2, dtype=torch.float64)
        keys: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "epochs": 1}
        optimizer, _ = optimizer_and_schedule(
            net, OptimizerSection(**keys, optimizer=name), fused=fused
        )
        assert leaves_out(optimizer) is bool(fused)
        generator = torch.Generator().manual_seed(2)
        torch.use_deterministic_algorithms(True)  # what is made and not filled is NaN
        for left_out in (True, False, False, True, False):
            for parameter in net.parameters():
                parameter.grad = torch.randn(
                    parameter.shape, generator=generator, dtype=torch.float64
                )
            if left_out and not fused:
                continue
            if fused:
                optimizer.grad_scale = None  # type: ignore[attr-defined]
                optimizer.found_inf = torch.tensor(float(left_out))  # type: ignore[attr-defined]
                if left_out:
                    net.weight.grad[0, 0] = float("inf")
            optimizer.step()
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        nets.append(net)
    for plain, flagged in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.allclose(plain, flagged, rtol=1e-13, atol=1e-14)


def test_steps_that_were_counted_on_the_cpu_go_on_beside_the_parameters() -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    before = Lamb([parameter], 0.1)
    before.step()
    there = nn.Parameter(torch.ones(2, device="meta"))
    after = Lamb([there], 0.1, on_device=True)
    after.load_state_dict(before.state_dict())
    assert after.state[there]["step"].device.type == "meta"
    assert before.state[parameter]["step"].device.type == "cpu"


def test_lamb_by_hand() -> None:
    """One parameter of two numbers, two steps, in plain arithmetic."""
    parameter = nn.Parameter(torch.tensor([[3.0, -4.0]], dtype=torch.float64))
    optimizer = Lamb([parameter], 0.5, betas=(0.8, 0.9), eps=0.1, weight_decay=0.25)
    w, m, v = [3.0, -4.0], [0.0, 0.0], [0.0, 0.0]
    for step, gradient in enumerate(([1.0, 2.0], [-3.0, 0.5]), 1):
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        m = [0.8 * a + 0.2 * g for a, g in zip(m, gradient, strict=True)]
        v = [0.9 * a + 0.1 * g * g for a, g in zip(v, gradient, strict=True)]
        r = [
            (a / (1 - 0.8**step)) / (math.sqrt(b / (1 - 0.9**step)) + 0.1) + 0.25 * c
            for a, b, c in zip(m, v, w, strict=True)
        ]
        ratio = math.hypot(*w) / math.hypot(*r)
        w = [c - 0.5 * ratio * d for c, d in zip(w, r, strict=True)]
        assert parameter.tolist()[0] == pytest.approx(w, abs=1e-14)
    with pytest.raises(ValueError, match="computes no loss"):
        optimizer.step(lambda: 0.0)


def test_timms_cosine() -> None:
    """The rates of timm 1.0.31 for 20 epochs, 4 of them warm-up, and 3 of cool-down."""
    timms = [
        1e-06, 7.574999999999998e-05, 0.00015049999999999997, 0.00022524999999999995,
        0.0002723074641843674, 0.00025753048327204934, 0.00024022886158240857,
        0.00022082862246223424, 0.00019980746418436736, 0.00017768299743083345,
        0.00015499999999999997, 0.00013231700256916655, 0.00011019253581563262,
        8.91713775377657e-05, 6.97711384175914e-05, 5.246951672795061e-05, 3.769253581563263e-05,
        2.580405399268667e-05, 1.7096805137202738e-05, 1.178519061370504e-05, 1e-05, 1e-05, 1e-05,
    ]  # fmt: skip
    optimizer, schedule = optimizer_and_schedule(
        nn.Linear(1, 1),
        OptimizerSection(
            lr=3e-4, weight_decay=0.0, epochs=23, optimizer="lamb", schedule="timm_cosine",
            warmup_epochs=4, warmup_lr=1e-6, min_lr=1e-5, cooldown_epochs=3,
        ),
    )  # fmt: skip
    assert type(optimizer) is Lamb
    rates = []
    for _ in timms:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(timms, rel=1e-12)
    # From lr / epochs of it, where nothing else is said; and without any warm-up.
    options = {"lr": 0.2, "min_lr": 0.1, "epochs": 4}
    assert timm_cosine_lr(0, warmup_lr=0.05, warmup_epochs=4, **options) == 0.05
    assert timm_cosine_lr(0, warmup_lr=0.05, warmup_epochs=0, **options) == 0.2
    assert timm_cosine_lr(2, warmup_lr=0.05, warmup_epochs=0, **options) == pytest.approx(0.15)


def test_what_decays() -> None:
    recipe = load_recipe("digits_snn5", ["train.optimizer=lamb", "train.decayed=weights"]).recipe
    net = build_net(recipe)
    decaying, others = optimizer_of(recipe, net)[0].param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (recipe.train.weight_decay, 0.0)
    weights = {id(parameter) for parameter in decaying["params"]}
    for module in net.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_weight = name == "weight" and not isinstance(module, TemporalBatchNorm)
            assert (id(parameter) in weights) == is_weight
    assert len(decaying["params"]) == 6
    assert len(others["params"]) == 16
    (whole,) = optimizer_of(load_recipe("digits_snn5").recipe, net)[0].param_groups
    assert len(whole["params"]) == 22


def test_cross_entropy_of_the_mean() -> None:
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]], dtype=torch.float64)
    label = torch.tensor([0])
    options = {"tet_lambda": 0.1, "tet_mean": 1.0}
    squares = (1.0 + 1.0 + 1.0 + 0.0) / 4
    of_mean = tet_loss(logits, label, cross_entropy_of="mean", **options)
    assert of_mean.item() == pytest.approx(0.9 * math.log(1 + math.exp(-0.5)) + 0.1 * squares)
    of_steps = tet_loss(logits, label, **options)
    each = (math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(1.0))) / 2
    assert of_steps.item() == pytest.approx(0.9 * each + 0.1 * squares)
    smooth = tet_loss(
        logits, label, tet_lambda=0.0, tet_mean=1.0, label_smoothing=0.2, cross_entropy_of="mean"
    )
    mean = logits.mean(0, keepdim=True)
    assert smooth.item() == pytest.approx(step_cross_entropy(mean, label, 0.2).item())


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("train.min_lr=1e-5", "min_lr is of schedule = timm_cosine, the schedule is cosine"),
        ("train.cooldown_epochs=1", "cooldown_epochs is of schedule = timm_cosine"),
        ("train.warmup_lr=0", "train.warmup_lr = 0: must be greater than 0"),
        ("train.optimizer=lamp", "must be 'sgd', 'adamw' or 'lamb'"),
        ("train.decayed=some", "must be 'all' or 'weights'"),
        ("train.cross_entropy_of=last", "must be 'steps' or 'mean'"),
    ],
)
def test_wrong_keys_are_named(override: str, part: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("digits_snn5", [override])
    assert part in caught.value.message


def test_phases_must_fit() -> None:
    given = ["train.schedule=timm_cosine", "train.epochs=5", "train.warmup_epochs=3"]
    with pytest.raises(RecipeError, match="= 5 must be less than epochs = 5, which they are part"):
        load_recipe("digits_snn5", [*given, "train.cooldown_epochs=2"])
    with pytest.raises(RecipeError, match=r"min_lr and warmup_lr must be at most lr = 0.1"):
        load_recipe("digits_snn5", [*given, "train.min_lr=0.2"])
    assert load_recipe("digits_snn5", [*given, "train.cooldown_epochs=1"]).recipe


def in_progress(recipe: Recipe) -> InProgress:
    torch.manual_seed(0)
    net = build_net(run_on(recipe, resolve_kernels("reference")))
    optimizer, schedule = optimizer_of(recipe, net)
    step = training_step_of(recipe, net, optimizer, Precision("float32", CPU))
    return InProgress(step, schedule, Position(), torch.Generator())


def test_it_goes_on_from_what_a_checkpoint_holds(tmp_path: Path) -> None:
    given = [
        *("train.optimizer=lamb", "train.decayed=weights", "train.schedule=timm_cosine"),
        *("train.epochs=4", "train.warmup_epochs=1", "train.cooldown_epochs=1", "timesteps=8"),
    ]
    recipe = load_recipe("digits_rows_mlp", given).recipe
    x, labels = torch.rand(8, 6, 8), torch.arange(6)

    def epoch(running: InProgress) -> None:
        for number in (1, 2):
            running.step(running.position.epoch, number, x, labels, Sums())
        running.schedule.step()
        running.position.next_epoch()

    whole, first = in_progress(recipe), in_progress(recipe)
    epoch(first)
    file = tmp_path / "state.pt"
    torch.save({"state": capture(first), "weights": first.step.net.state_dict()}, file)
    kept = torch.load(file, weights_only=True)
    again = in_progress(recipe)
    again.step.net.load_state_dict(kept["weights"])
    restore(again, kept["state"], samples=6, steps=2, epochs=4, where="state.pt")
    epoch(whole)
    for running in (whole, again):
        epoch(running)
        assert running.step.optimizer.param_groups[1]["lr"] == pytest.approx(
            timm_cosine_lr(
                2, lr=recipe.train.lr, min_lr=0.0, warmup_lr=0.0, warmup_epochs=1, epochs=3
            )
        )
    for one, two in zip(whole.step.net.parameters(), again.step.net.parameters(), strict=True):
        assert torch.equal(one, two)
    broken = kept["state"] | {"optimizer": in_progress(recipe).step.optimizer.state_dict()}
    broken["optimizer"]["param_groups"][0]["weight_decay"] = 0.5
    with pytest.raises(CheckpointError, match=r"optimizer.weight_decay is 0.5, not"):
        restore(in_progress(recipe), broken, samples=6, steps=2, epochs=4, where="state.pt")

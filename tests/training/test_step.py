"""The training step: accumulation, clipping, what is not finite, precision, determinism."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from clifctl.errors import RunFailed
from clifctl.recipe.load import load_recipe
from clifctl.recipe.train_section import TrainSection
from clifctl.training.device import determinism, evaluating
from clifctl.training.health import LAZY_STEPS, MOST_SKIPPED, first_not_finite
from clifctl.training.loss import step_cross_entropy
from clifctl.training.precision import Precision, resolve_precision
from clifctl.training.saving import Interval, Timer
from clifctl.training.step import COUNTED_TOGETHER, Sums, TrainingStep
from clifctl.training.timing import PHASES, PhaseClock, shares

CPU = torch.device("cpu")


class Net(nn.Module):
    """Two linear layers without batch norm: `[T, N, 3]` to `[T, N, 4]`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 5)
        self.second = nn.Linear(5, 4)

    def forward(self, x: Tensor, state: None = None, repeat: int = 1) -> tuple[Tensor, tuple[()]]:
        return self.second(self.first(x).tanh()), ()


def batch(samples: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, samples, 3, generator=generator)
    return x, torch.arange(samples) % 4


def step_of(
    net: Net, *, fused: bool | None = None, lr: float = 0.1, **options: Any
) -> TrainingStep:
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, fused=fused)
    options = {"precision": Precision("float32", CPU), "loss": step_cross_entropy, **options}
    return TrainingStep(net, optimizer, repeat=1, **options)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_accumulated_gradients_are_those_of_the_whole_batch(parts: int) -> None:
    whole, split = Net().double(), Net().double()
    x, y = batch()
    # Logits are made float32 before the loss: that is how exact it can be.
    one, other = Sums(), Sums()
    steps = step_of(whole), step_of(split, accumulate=parts)
    for number in range(1, 4):
        steps[0](1, number, x.double(), y, one)
        steps[1](1, number, x.double(), y, other)
    for a, b in zip(whole.parameters(), split.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-7)
    assert one.mean_loss() == pytest.approx(other.mean_loss(), abs=1e-6)
    assert int(one.correct) == int(other.correct)
    assert one.samples == other.samples == 21


def test_right_samples_are_counted_together_whenever_they_are_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    asked, at_the_end, expected = Sums(), Sums(), 0
    for number in range(1, 2 * COUNTED_TOGETHER + 4):
        samples = 1 + number % 5
        logits = torch.randn(3, samples, 4, generator=generator)
        targets = torch.randint(4, (samples,), generator=generator)
        expected += int((logits.sum(0).argmax(1) == targets).sum())
        asked.count_later(logits, targets)
        at_the_end.count_later(logits, targets)
        if number % 7 == 0:
            assert int(asked.correct) == expected
    assert int(asked.correct) == int(asked.correct) == int(at_the_end.correct) == expected > 9


def test_clipping_bounds_the_norm_of_the_whole_gradient() -> None:
    x, y = batch()
    free, clipped = Net(), Net()
    start = [p.detach().clone() for p in free.parameters()]
    step_of(free)(1, 1, x, y, Sums())
    step_of(clipped, clip_norm=0.01)(1, 1, x, y, Sums())
    moved = [
        torch.cat([(p - s).flatten() for p, s in zip(net.parameters(), start, strict=True)])
        for net in (free, clipped)
    ]
    assert moved[1].norm().item() == pytest.approx(0.1 * 0.01, rel=1e-3)
    cosine = torch.cosine_similarity(moved[0], moved[1], dim=0)
    assert cosine.item() == pytest.approx(1.0, abs=1e-4)


def broken_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Finite, with a gradient that is not."""
    return (logits.sum() * 0).sqrt() + 1.0


@pytest.mark.parametrize(
    ("breaks", "loss", "parts"),
    [
        ("first", step_cross_entropy, ("training loss became nan", "'first' is the first")),
        ("second", step_cross_entropy, ("training loss became nan", "'second' is the first")),
        (None, broken_loss, ("a gradient is not finite", "the gradient of 'second.bias'")),
        (None, lambda x, y: (x * 0).sum().log(), ("became -inf", "the loss is not")),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_the_step_and_the_layer_are_named(
    breaks: str | None, loss: Callable[[Tensor, Tensor], Tensor], parts: tuple[str, ...], lazy: bool
) -> None:
    net = Net()
    x, y = batch()
    # A fused optimizer is checked some steps later, as on a GPU.
    good = step_of(net, fused=lazy)
    good(1, 1, x, y, Sums())
    good.health.check()
    if breaks:
        with torch.no_grad():
            net.get_submodule(breaks).get_parameter("weight")[0, 0] = math.nan
    before = [p.detach().clone() for p in net.parameters()]
    step = step_of(net, fused=lazy, loss=loss)
    assert step.health.lazy is lazy

    def train() -> None:
        for number in range(2, 2 + LAZY_STEPS):
            step(3, number, x, y, Sums())

    with pytest.raises(RunFailed, match="in step 2 of epoch 3: ") as caught:
        train()
    for part in parts:
        assert part in caught.value.message
    assert "train.clip_norm" in str(caught.value.hint)
    for parameter, value in zip(net.parameters(), before, strict=True):
        assert torch.allclose(parameter, value, rtol=0, atol=0, equal_nan=True)


def test_a_lazy_check_lets_good_steps_through() -> None:
    lazy, eager = Net(), Net()
    steps = step_of(lazy, fused=True), step_of(eager)
    x, y = batch()
    for number in range(1, LAZY_STEPS + 3):
        for step in steps:
            step(1, number, x, y, Sums())
    steps[0].health.check()
    for a, b in zip(lazy.parameters(), eager.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_float16_leaves_steps_out_and_counts_them() -> None:
    net = Net()
    x, y = batch()
    step = step_of(net, precision=Precision("float16", CPU))
    sums = Sums()
    before = net.first.weight.detach().clone()
    step(1, 1, x * 1e4, y, sums)
    for number in range(2, 8):
        step(1, number, x, y, sums)
    skipped = int(step.health.skipped)
    assert 0 <= skipped < 7
    assert not torch.equal(net.first.weight, before)
    assert math.isfinite(sums.mean_loss())
    # Nothing can be learned from a loss that is never finite.
    endless = step_of(Net(), precision=Precision("float16", CPU), loss=lambda a, b: a.sum() / 0)

    def train() -> None:
        for number in range(1, MOST_SKIPPED + 1):
            endless(2, number, x, y, sums)

    with pytest.raises(RunFailed, match=f"float16 left out {MOST_SKIPPED} steps in a row"):
        train()
    assert int(endless.health.skipped) == MOST_SKIPPED


def test_finding_a_layer_leaves_the_net_as_it_is() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x = torch.randn(4, 2)
    assert first_not_finite(net, lambda: net(x)) is None
    x[0, 0] = math.inf
    assert first_not_finite(net, lambda: net(x)) == "0"
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_names_of_precision() -> None:
    def named(name: str) -> str:
        return TrainSection.model_validate({"epochs": 1, "precision": name}).precision

    names = ("off", "bf16", "fp16", "float32", "auto")
    assert [named(n) for n in names] == ["float32", "bfloat16", "float16", "float32", "auto"]
    for wrong in ("half", "true", ""):
        with pytest.raises(ValidationError):
            named(wrong)


def test_auto_takes_bfloat16_where_the_device_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from clifctl.training import precision

    for flags, name in (({"avx2", "amx_bf16"}, "bfloat16"), ({"avx2"}, "float32")):
        monkeypatch.setattr(precision, "_cpu_flags", lambda flags=flags: flags)
        chosen = resolve_precision("auto", CPU)
        assert chosen.name == name
        assert chosen.reason.startswith("auto: the CPU has")
    for capability, name in (((9, 0), "bfloat16"), ((7, 5), "float32")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert resolve_precision("auto", torch.device("cuda")).name == name
    assert resolve_precision("float16", CPU).reason == "asked for"


def test_float16_on_a_cpu_is_said_to_be_slow() -> None:
    assert "train.precision=auto" in (resolve_precision("float16", CPU).note or "")
    assert resolve_precision("float16", torch.device("cuda")).note is None
    assert resolve_precision("bfloat16", CPU).note is None


def test_determinism_is_put_back() -> None:
    def state() -> tuple[bool, ...]:
        cudnn = torch.backends.cudnn
        return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark

    before = state()
    with determinism(True):
        assert state() == (True, True, False)
        with evaluating():
            assert state()[0] is False
        assert state() == (True, True, False)
    with determinism(False):
        assert state() == (False, False, True)
    assert state() == before


def test_what_cannot_repeat_its_bits_ends_the_run() -> None:
    """`put_` without accumulate is one that no device repeats."""

    def put() -> None:
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))

    with pytest.raises(RunFailed, match="bits: put_ does not") as failed, determinism(True):
        put()
    assert "train.deterministic=false" in (failed.value.hint or "")
    assert not torch.are_deterministic_algorithms_enabled()
    with determinism(True), evaluating():
        put()
    with determinism(False):
        put()
    with pytest.raises(RuntimeError, match="something else"), determinism(True):
        raise RuntimeError("something else")


@pytest.mark.parametrize(
    ("text", "interval"),
    [("60s", Interval(seconds=60.0)), ("200steps", Interval(steps=200)), (None, Interval())],
)
def test_intervals(text: str | None, interval: Interval) -> None:
    assert Interval.parse(text) == interval
    assert load_recipe("digits_snn5", [f"train.save_every={text or 'null'}"]).recipe


@pytest.mark.parametrize("text", ["60", "0s", "-1s", "1.5s", "s", "2 minutes", "1e3s"])
def test_intervals_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="60s"):
        Interval.parse(text)


def test_a_timer_counts_steps_or_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    steps, seconds, never = (Timer(Interval.parse(text)) for text in ("2steps", "10s", None))
    assert [steps.is_due() for _ in range(2)] == [False, True]
    steps.saved()
    assert not steps.is_due()
    assert not seconds.is_due()
    now = 10.0
    assert seconds.is_due()
    seconds.saved()
    assert not seconds.is_due()
    now = 1e9
    assert not never.is_due()


def test_the_clock_gives_every_second_to_a_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 4.0, 5.0, 7.0, 10.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    clock = PhaseClock(CPU)
    clock.start()
    for phase in PHASES:
        clock.mark(phase)
    assert dict(clock.read()) == dict(zip(PHASES, [1.0, 3.0, 1.0, 2.0, 3.0], strict=True))
    assert shares(clock.read()).forward_percent == 30.0
    clock.reset()
    assert sum(clock.read().values()) == 0.0


def test_a_compiled_step_gives_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The net as torch traces it, without inductor, whose compiling takes half a minute."""
    traced: list[int] = []
    whole_compile = torch.compile

    def backend(graph: Any, examples: Any) -> Any:
        traced.append(len(examples))
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda net: whole_compile(net, backend=backend))
    plain, compiled = Net(), Net()
    x, y = batch()
    steps = step_of(plain), step_of(compiled, compiled=True)
    for number in range(1, 4):
        for step in steps:
            step(1, number, x, y, Sums())
    assert len(traced) == 1
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        assert torch.equal(a, b)
    # What goes wrong is looked for in the net itself: a compiled one calls no hooks.
    bad = x.clone()
    bad[0, 0] = float("nan")
    with pytest.raises(RunFailed, match="the output of layer 'first' is the first that is not"):
        steps[1](1, 4, bad, y, Sums())


def test_a_net_that_cannot_be_compiled_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, examples: Any) -> Any:
        raise OSError("no compiler here")

    whole_compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda net: whole_compile(net, backend=broken))
    x, y = batch()
    with pytest.raises(RunFailed, match="could not compile the net: no compiler here") as caught:
        step_of(Net(), compiled=True)(1, 1, x, y, Sums())
    assert caught.value.hint is not None
    assert "train.compile=false" in caught.value.hint

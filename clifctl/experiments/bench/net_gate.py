"""The gate of `bench train` and `bench eval`: clifctl's net is compared with its plain path before
it is timed.

In float64 the whole net is compared, in the arithmetic that is timed each layer for itself.
"""

from dataclasses import replace
from typing import Any

import torch

from clifctl.errors import RunFailed
from clifctl.experiments.bench.layer_gate import LayerErrors, layer_errors
from clifctl.experiments.bench.net_contestants import PEERS, Learner, learner
from clifctl.experiments.bench.task import Task
from clifctl.results.bench_eval import EvalBenchCheck
from clifctl.results.bench_train import TrainBenchCheck

GATE_BATCH = 2
# float64, the whole net. A gradient's error is taken relative to its own norm and to this share of
# the norm of all gradients: that of a bias before a batch norm is nothing but rounding.
EXACT, SHARE_OF_ALL = 1e-9, 1e-6
# The timed arithmetic, layer by layer: spikes that may differ, and the error of a gradient, which
# one of them can make some 0.005 of a small layer's.
DIFFERING_SHARE, GRADIENT_ERROR = 1e-3, 5e-2


def gate(task: Task) -> TrainBenchCheck:
    """Raise RunFailed unless `ours` does what the plain path does; what was found."""
    task = replace(task, batch_size=min(task.batch_size, GATE_BATCH))
    loss, gradient = _whole_net(task)
    layers = layer_errors(_learner("ours", task, torch.float32), training=True)
    _require_equal(
        task,
        ("float64, relative error of the loss", loss, EXACT),
        ("float64, relative error of a gradient", gradient, EXACT),
        *_layer_limits(task, layers, training=True),
    )
    return TrainBenchCheck(
        timesteps=task.timesteps,
        batch_size=task.batch_size,
        float64_loss_error=loss,
        float64_gradient_error=gradient,
        float64_allowed=EXACT,
        layer_differing_share=layers.differing,
        layer_differing_share_allowed=DIFFERING_SHARE,
        layer_gradient_error=layers.gradient,
        layer_gradient_error_allowed=GRADIENT_ERROR,
        connection_rounding_share=layers.sum,
    )


def inference_gate(task: Task) -> EvalBenchCheck:
    """The same for inference, where there are no gradients."""
    task = replace(task, batch_size=min(task.batch_size, GATE_BATCH))
    fused, plain = (
        _learner(who, task, torch.float64, training=False) for who in ("ours", "ours_plain")
    )
    expected = plain.infer()
    error = float((fused.infer() - expected).norm() / expected.norm())
    layers = layer_errors(_learner("ours", task, torch.float32, training=False), training=False)
    _require_equal(
        task,
        ("float64, relative error of the logits", error, EXACT),
        *_layer_limits(task, layers, training=False),
    )
    return EvalBenchCheck(
        timesteps=task.timesteps,
        batch_size=task.batch_size,
        float64_logits_error=error,
        float64_allowed=EXACT,
        layer_differing_share=layers.differing,
        layer_differing_share_allowed=DIFFERING_SHARE,
        connection_rounding_share=layers.sum,
    )


# What was compared, what was found, and what is allowed.
Limit = tuple[str, float, float]


def _layer_limits(task: Task, layers: LayerErrors, *, training: bool) -> list[Limit]:
    outputs = f"{task.precision}, share of a layer's outputs that differ"
    sums = f"{task.precision}, error of a connection in shares of what rounding may make"
    gradients = f"{task.precision}, relative error of a layer's gradient"
    limits = [(outputs, layers.differing, DIFFERING_SHARE), (sums, layers.sum, 1.0)]
    return limits + training * [(gradients, layers.gradient, GRADIENT_ERROR)]


def _require_equal(task: Task, *limits: Limit) -> None:
    problems = [
        f"{what} {found:.2g}, allowed is {allowed:.2g}"
        for what, found, allowed in limits
        if not found <= allowed
    ]
    if problems:
        raise RunFailed(
            f"{task.model}, T = {task.timesteps}: the fused net does not do what norm and neuron "
            f"one after the other do: {'; '.join(problems)}",
            hint="nothing was timed: a wrong net has no speed",
        )


def missing_peers(task: Task, *, training: bool = True) -> dict[str, str]:
    """SpikingJelly's contestants that do not take part, and why."""
    missing = {}
    for who in PEERS:
        made = learner(who, task, "contiguous")
        reason = made if isinstance(made, str) else peer_differs(who, task, training=training)
        if reason:
            missing[who] = reason
    return missing


def peer_differs(who: str, task: Task, *, training: bool = True) -> str | None:
    """Why a net of SpikingJelly's nodes is not the same net: its loss in float64, with the batch
    norm that it has in training (folded in multi-step mode, per step in a loop)."""
    task = replace(task, batch_size=min(task.batch_size, GATE_BATCH))
    norm = "folded" if who == "sj_multi_step" else "per_step"
    ours = _learner("ours_plain", task, torch.float64, batch_norm=norm, training=training)
    with torch.no_grad():
        expected = float(ours.loss())
        given = float(_learner(who, task, torch.float64, training=training).loss())
    error = abs(given - expected) / abs(expected)
    return None if error <= EXACT else f"another loss than this net's (off by {error:.2g})"


def _learner(who: str, task: Task, dtype: torch.dtype, **options: Any) -> Learner:
    made = learner(who, task, "channels_last", dtype=dtype, **options)
    assert isinstance(made, Learner)  # asked only for contestants that are there
    return made


def _whole_net(task: Task) -> tuple[float, float]:
    """Errors of loss and gradients in float64."""
    fused, plain = (_learner(who, task, torch.float64) for who in ("ours", "ours_plain"))
    given, expected = float(fused.step()), float(plain.step())
    gradients, references = fused.gradients(), plain.gradients()
    whole = torch.stack([g.norm() for g in references.values()]).norm()
    worst = max(
        float((gradients[name] - g).norm() / (g.norm() + SHARE_OF_ALL * whole))
        for name, g in references.items()
    )
    return abs(given - expected) / abs(expected), worst

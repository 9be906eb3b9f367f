"""The gate of `bench train`: clifctl's net is compared with its plain path before it is timed.

In float64 the whole net is compared. In the arithmetic that is timed it is not: there the two paths
round differently, a membrane potential at the threshold falls on the other side, and in a deep net
one such spike changes every gradient behind it. So each layer is compared for itself, on the input
that it has in the net.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.errors import RunFailed
from clifctl.experiments.bench_train_contestants import Learner, Task, learner
from clifctl.models import SpikingLayer
from clifctl.results import TrainBenchCheck

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
    differing, error = _layer_by_layer(task)
    check = TrainBenchCheck(
        timesteps=task.timesteps,
        batch_size=task.batch_size,
        float64_loss_error=loss,
        float64_gradient_error=gradient,
        float64_allowed=EXACT,
        layer_differing_share=differing,
        layer_differing_share_allowed=DIFFERING_SHARE,
        layer_gradient_error=error,
        layer_gradient_error_allowed=GRADIENT_ERROR,
    )
    problems = [
        f"{what} {found:.2g}, allowed is {allowed:.2g}"
        for what, found, allowed in (
            ("float64, relative error of the loss", loss, EXACT),
            ("float64, relative error of a gradient", gradient, EXACT),
            (
                f"{task.precision}, share of a layer's outputs that differ",
                differing,
                DIFFERING_SHARE,
            ),
            (
                f"{task.precision}, relative error of a layer's gradient",
                error,
                GRADIENT_ERROR,
            ),
        )
        if not found <= allowed
    ]
    if problems:
        raise RunFailed(
            f"{task.model}, T = {task.timesteps}: the fused net does not do what norm and neuron "
            f"one after the other do: {'; '.join(problems)}",
            hint="nothing was timed: a wrong net has no speed",
        )
    return check


def peer_differs(who: str, task: Task) -> str | None:
    """Why a net of SpikingJelly's nodes is not the same net: its loss in float64, with the batch
    norm that it has (folded in multi-step mode, per step in a loop)."""
    task = replace(task, batch_size=min(task.batch_size, GATE_BATCH))
    norm = "folded" if who == "sj_multi_step" else "per_step"
    ours = _learner("ours_plain", task, torch.float64, batch_norm=norm)
    with torch.no_grad():
        expected = float(ours.loss())
        given = float(_learner(who, task, torch.float64).loss())
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


def _layer_by_layer(task: Task) -> tuple[float, float]:
    """In the timed arithmetic: the largest share of differing outputs and error of a gradient."""
    ours = _learner("ours", task, torch.float32)
    found: list[tuple[float, float]] = []
    compare = partial(_compare, found)
    layers = [layer for layer in ours.net.modules() if isinstance(layer, SpikingLayer)]
    handles = [layer.register_forward_pre_hook(compare) for layer in layers]
    ours.loss()
    for handle in handles:
        handle.remove()
    if len(found) != len(layers):
        raise RunFailed(f"{len(found)} of {len(layers)} layers of neurons were compared")
    return max(share for share, _ in found), max(error for _, error in found)


def _compare(found: list[tuple[float, float]], layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Run the layer both ways on the input that the net gives it. The plain path gets it in
    float32: in bfloat16 it would round between norm and neuron, where the kernel does not."""
    x, _, norm, repeat = (*inputs, 1)[:4]
    fused = norm.fused
    results = []
    for norm.fused in (True, False):
        # The layer's own forward: to call the module would end here again.
        given = (x if norm.fused else x.float()).detach().requires_grad_()
        spikes: Tensor = layer.forward(given, None, norm, repeat)[0]
        wanted = [given, norm.weight, norm.bias, *layer.parameters()]
        generator = torch.Generator().manual_seed(0)
        g = torch.randn(spikes.shape, generator=generator).to(x).to(spikes)
        results.append((spikes.detach(), torch.autograd.grad(spikes, wanted, g)))
    norm.fused = fused
    (spikes, gradients), (expected, references) = results
    share = float((spikes != expected).double().mean())
    errors = [
        float((a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-12))
        for a, b in zip(gradients, references, strict=True)
    ]
    found.append((share, max(errors)))

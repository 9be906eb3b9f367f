"""Run by test_triton.py as a child process: Triton's interpreter is chosen before Triton loads.

Prints one JSON object: the outcome of every parity case, and what else was observed.
"""

import itertools
import json
import os
import sys
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from clifctl.kernels import fused, scan
from clifctl.kernels.ir.prologue import with_norm
from clifctl.kernels.parity import Case, axes, check, covering_cases
from clifctl.kernels.window import Window
from clifctl.models import NeuronChoice, TemporalBatchNorm
from clifctl.neurons import NEURONS, LeakyHyperparameters, Learnable, Neuron, State, spike

torch.set_num_threads(1)


def _step(x: Any, state: Any, p: Any) -> Any:
    v, w, b = state
    u = (1 - 1 / p.tau) * v + p.gain * x - b * p.slope
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    w = torch.where(u > 0, 0.9 * w + u / p.tau, torch.minimum(w, 0.5 * u).abs())
    return s, (u - s * p.v_threshold, w, 0.5 * p.drive + 0.1 * torch.tanh(w).clamp(max=0.4))


# Learnable parameters of every shape in one neuron; a state that follows from a parameter alone.
OWN = Neuron(
    name="own",
    title="",
    paper="",
    step=_step,
    states=(State("v", ""), State("w", "", 0.25), State("b", "")),
    hyperparameters=LeakyHyperparameters,
    learnables=(
        Learnable("gain", "", "channel", lambda p, T: 1.0),
        Learnable("slope", "", "scalar", lambda p, T: 0.3),
        Learnable("drive", "", "step_channel", lambda p, T: 0.1),
    ),
)


# No state at all, and a name that is no identifier.
STATELESS = Neuron(
    name="no state / at all",
    title="",
    paper="",
    step=lambda x, state, p: (spike(p.gain * x - 1.0), ()),
    states=(),
    hyperparameters=LeakyHyperparameters,
    learnables=(Learnable("gain", "", "step", lambda p, T: 1.0),),
)


def outcomes() -> list[dict[str, Any]]:
    neurons = [*NEURONS.values(), OWN, STATELESS]
    cases = [(neuron, case, 5) for neuron, case in covering_cases(neurons, "triton")]
    # Sequences of several segments, with and without a rest.
    windows = ("full", "chunked:3", "prefix:12", "sliding:2")
    long = [neuron for neuron in neurons if neuron.max_timesteps is None]
    for number, neuron in enumerate(long):
        # The longest are the slowest here: a few of them.
        steps_of = [(13, windows[number % 4]), (1, "full"), *[(16, "full")] * (number % 4 == 0)]
        for steps, window in steps_of:
            surrogate = next(iter(axes(neuron)["surrogate"]))
            case = Case("triton", "float32", surrogate, window, "3x5x3x2", "defaults", "given")
            cases.append((neuron, case, steps))
    cases += normed()
    return [
        {"neuron": n.name, "case": o.case, "quantity": o.quantity, "error": o.error,
         "allowed": o.allowed, "passed": o.passed, "timesteps": steps}
        for n, o, steps in ((n, check(n, c, steps=steps), steps) for n, c, steps in cases)
    ]  # fmt: skip


def normed() -> list[tuple[Neuron, Case, int]]:
    """A few neurons with batch norm inside the kernel; odd sizes."""
    cases = []
    for name, dtype, window, shape, steps in (
        ("clif", "float32", "full", "3x5x3x2", 5),
        ("clif", "bfloat16", "sliding:2", "37x7", 4),
        ("glif_channel", "float32", "chunked:2", "37x7", 13),
        ("plif", "float16", "full", "3x5x3x2", 16),
        ("relu", "float32", "full", "3x5x3x2", 1),
    ):
        neuron = with_norm(NEURONS[name])
        surrogate = "none" if name == "relu" else "rectangle"
        case = Case("triton", dtype, surrogate, window, shape, "defaults", "given")
        cases.append((neuron, case, steps))
    return cases


def norm_and_neuron() -> dict[str, float]:
    """Largest error of one operator against norm and neuron one after the other, relative to the
    largest value, by case: both layouts, both norms, one step that stands for four."""
    found = {}
    for mode, channels_last, repeat in itertools.product(
        ("per_step", "folded"), (False, True), (1, 4)
    ):
        results = []
        x = 0.7 + torch.randn(4 // repeat, 3, 5, 3, 2, generator=torch.Generator().manual_seed(3))
        g = torch.randn(4, 3, 5, 3, 2, generator=torch.Generator().manual_seed(4))
        if channels_last:
            x = x.movedim(2, -1).contiguous().movedim(-1, 2)
        for target in ("triton", "reference"):
            torch.manual_seed(0)
            choice = NeuronChoice(NEURONS["plif"], NEURONS["plif"].hyperparameters(), target=target)
            layer, norm = choice.layer(5, 4), TemporalBatchNorm(5, mode)
            leaf = x.clone().requires_grad_()
            out, final = layer(leaf, None, norm, repeat)
            ((out * g).sum() + final[0].square().sum()).backward()
            gradients = [p.grad for p in (leaf, *norm.parameters(), *layer.parameters())]
            results.append([out, *final, *gradients, *norm.buffers()])
        found[f"{mode} {channels_last} {repeat}"] = max(
            float((a - b).abs().max() / b.abs().max().clamp(min=1))
            for a, b in zip(*results, strict=True)
        )
    return found


class _Operations(TorchDispatchMode):
    """Notes every operation of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def operations() -> list[str]:
    """What forward and backward call besides the kernels' launch."""
    neuron = NEURONS["glif_channel"]
    values = neuron.hyperparameters()
    learnables = [p.start(values, channels=3, timesteps=4) for p in neuron.learnables]
    x = torch.randn(4, 2, 3, 5)
    with _Operations() as operations:
        for window in (None, Window(2, "sliding"), Window(2, "chunked")):
            call = fused.call_name(neuron, values, "triton", window, given_state=False)
            out, *finals = fused.scan_forward(x, learnables, call)
            fused.scan_backward(x, learnables, [out, *finals], call)
    return sorted(set(operations.seen))


def edges() -> dict[str, Any]:
    """Sizes of 1 and 0, inputs that are not contiguous, NaN, and what is not kept."""
    found: dict[str, Any] = {}
    for name in ("clif", "glif_channel"):
        neuron = NEURONS[name]
        for shape in ((3, 1, 1), (1, 1, 1), (2, 0, 4), (5, 2, 3, 4)):
            learnables = {
                p.name: p.start(neuron.hyperparameters(), channels=shape[2], timesteps=shape[0])
                for p in neuron.learnables
            }
            x = torch.randn(shape).transpose(0, -1).contiguous().transpose(0, -1).requires_grad_()
            results = []
            for target in ("triton", "reference"):
                x.grad = None
                out, final = scan(x, None, neuron.parameters(learnables), target=target)
                (out.sum() + sum(s.sum() for s in final)).backward()
                results.append((out.detach(), x.grad, *(s.detach() for s in final)))
            found[f"{name} {list(shape)}"] = all(
                torch.allclose(a, b, atol=1e-5) for a, b in zip(*results, strict=True)
            )
    x = torch.tensor([[[0.5, float("nan"), float("inf")]]])
    out, _ = scan(x, None, NEURONS["clif"].parameters(), target="triton")
    found["nan"] = bool(out[0, 0, 1].isnan()) and out[0, 0, 2].item() == 1.0
    return found


if __name__ == "__main__":
    found = {"outcomes": outcomes(), "operations": operations(), "edges": edges()}
    json.dump({**found, "norm and neuron": norm_and_neuron()}, sys.stdout)

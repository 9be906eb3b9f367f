"""The gate of `bench neurons`: a kernel is compared with the reference before it is timed."""

import torch

from clifctl.errors import RunFailed
from clifctl.experiments.bench.neuron_contestants import Setting, ours, shape_of, tensors
from clifctl.kernels import TARGET_DTYPES

GATE_SHAPE = (6, 3, 5, 7)
# float64: rounding alone. A learnable's gradient is a sum over all elements, in another order.
EXACT, EXACT_SUM = 1e-12, 1e-9
# float32: spikes that may differ, error of the gradient elsewhere, and a shift of the input that is
# larger than rounding: what it moves lies on a jump (threshold, edge) and is left out, up to 1 %.
DIFFERING_SHARE, GRADIENT_ERROR, SHIFT, LEFT_OUT_SHARE = 1e-3, 1e-4, 2e-6, 1e-2


def gate(name: str, sizes: tuple[int, ...], setting: Setting) -> None:
    """Raise RunFailed unless the kernel does what the reference does: exactly in float64, up to
    rounding in float32, on a small input and on one sample of the input that is timed."""
    small, sample = (shape_of(name, s) for s in (GATE_SHAPE, (sizes[0], 1, *sizes[2:])))
    problem = None
    exact = torch.float64 in TARGET_DTYPES[setting.target]
    for shape in (small, sample):
        if exact:
            problem = problem or _wrong_in_float64(name, shape, setting)
        problem = problem or _wrong_in_float32(name, shape, setting)
    if problem:
        raise RunFailed(
            f"neuron '{name}': target '{setting.target}' does not do what the reference does: "
            f"{problem}",
            hint="nothing was timed: a wrong kernel has no speed",
        )


def _wrong_in_float64(name: str, shape: tuple[int, ...], setting: Setting) -> str | None:
    x, g = tensors(shape, setting, torch.float64)
    fused, eager, _ = ours(name, shape, setting, torch.float64)
    given, expected = fused.gradients(x, g), eager.gradients(x, g)
    share = float((given[0] != expected[0]).double().mean())
    if share > 0:
        return f"{100 * share:.3g} % of the outputs differ in float64"
    for number, (gradient, reference) in enumerate(zip(given[1], expected[1], strict=True)):
        error = float((gradient - reference).abs().max() / reference.abs().max().clamp(min=1.0))
        allowed, of = (EXACT_SUM, "a learnable parameter") if number else (EXACT, "the input")
        if not error <= allowed:
            return f"the gradient of {of} is off by {error:.2g} in float64"
    return None


def _wrong_in_float32(name: str, shape: tuple[int, ...], setting: Setting) -> str | None:
    x, g = tensors(shape, setting, torch.float32)
    fused, eager, _ = ours(name, shape, setting, torch.float32)
    output, (gradient, *_) = fused.gradients(x, g)
    expected, (reference, *_) = eager.gradients(x, g)
    differing = output != expected
    share = float(differing.double().mean())
    if share >= DIFFERING_SHARE:
        return f"{100 * share:.3g} % of the outputs differ in float32"
    scale = reference.abs().max().clamp(min=1.0)
    _, exact, _ = ours(name, shape, setting, torch.float64)
    low, high = (exact.gradients(x.double() + by, g.double())[1][0] for by in (-SHIFT, SHIFT))
    left_out = (differing | ((low - high).abs() > GRADIENT_ERROR * scale)).any(0)
    error = float(((gradient - reference).abs().amax(0) * ~left_out).max() / scale)
    if not error < GRADIENT_ERROR:
        return f"the gradient of the input is off by {error:.2g} in float32"
    # The sums of the learnable parameters, over the elements that are left in.
    sides = (side.gradients(x, g * ~left_out)[1][1:] for side in (fused, eager))
    for number, (given, sum_of_eager) in enumerate(zip(*sides, strict=True)):
        scale = sum_of_eager.abs().max().clamp(min=1.0)
        error = float((given - sum_of_eager).abs().max() / scale)
        if not error < GRADIENT_ERROR:
            return (
                f"the gradient of learnable parameter {number + 1} is off by {error:.2g} in float32"
            )
    share = float(left_out.double().mean())
    if share < LEFT_OUT_SHARE or left_out.sum() <= 1:
        return None
    return f"{100 * share:.3g} % lie on a jump in float32"

"""`scan`: a neuron over a whole sequence. The one entry point for every neuron and target."""

from torch import Tensor

from clifctl.errors import NeuronError, TargetError
from clifctl.kernels import fused, norm_layer, normed, reference
from clifctl.kernels.arguments import (
    check_shapes,
    initial_state,
    learnables_of,
    require_kinds,
    to_be_kept,
)
from clifctl.kernels.backward import refuse_reentrant_checkpoint
from clifctl.kernels.connections import check_connections
from clifctl.kernels.fused import compute_dtype
from clifctl.kernels.norm_layer import BatchNorm
from clifctl.kernels.normed import Norm
from clifctl.kernels.targets import resolve_target
from clifctl.kernels.window import Window, resolve_window
from clifctl.neurons import Parameters


def scan(
    x: Tensor,
    state: tuple[Tensor, ...] | None,
    parameters: Parameters,
    *,
    window: int | None = None,
    window_mode: str = "sliding",
    target: str = "auto",
    connections: str = "auto",
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a neuron over time.

    `x` is the input current `[T, N, *features]`, `state` a tuple of `[N, *features]` in the order
    of the neuron's states (None: their initial values). Returns the output, of the shape and dtype
    of `x`, and the final state. `window` = k in 1..T truncates the gradient, in one of the modes
    of `clifctl.kernels.window`; None is full BPTT. bfloat16 and float16 are computed, and their
    states held, in float32. A fused target keeps `x` alone for backward.

    With `connections` "auto" the output of a binary neuron, float32 on the CPU, are `Spikes`
    (`clifctl.kernels.spikes.tensor`): bits for the connection behind it, floats for whoever asks;
    floats where they are too few (`clifctl.kernels.cpu.rule`).

    Raises NeuronError for a bad shape, dtype, state or window, TargetError for a target that does
    not exist or cannot run these tensors.

    >>> import clifctl, torch
    >>> from clifctl.neurons import NEURONS
    >>> current = torch.full((4, 1, 1), 0.75)  # T = 4, one sample of one feature
    >>> spikes, (v,) = clifctl.scan(current, None, NEURONS["lif"].parameters(tau=2.0))
    >>> spikes.flatten().tolist(), v.shape
    ([0.0, 1.0, 0.0, 1.0], torch.Size([1, 1]))
    """
    require_kinds(x, state, parameters)
    check_shapes(x, state, parameters)
    refuse_reentrant_checkpoint()
    check_connections(connections)
    x, state = to_be_kept(x, state)
    chosen_window = _window(parameters, window, window_mode, x.shape[0])
    chosen = resolve_target(target, x.device, x.dtype)
    learnables = learnables_of(x, parameters)
    if chosen.name == "reference":
        dtype = compute_dtype(x.dtype)
        start = initial_state(x, parameters) if state is None else tuple(s.to(dtype) for s in state)
        output, final = reference.run(
            parameters.neuron,
            parameters.hyperparameters,
            x.to(dtype),
            start,
            learnables,
            chosen_window,
        )
        return output.to(x.dtype), final
    call = fused.call_name(
        parameters.neuron,
        parameters.hyperparameters,
        chosen.name,
        chosen_window,
        state is not None,
    )
    tensors = [*(state or ()), *learnables.values()]
    windows = fused.spikes_as(x, parameters, chosen.name, connections, tensors, steps=len(x))
    if windows is not None:
        x = fused.innermost(x)
    output, *finals = fused.run(x, tensors, call, windows)
    return output, tuple(finals)


def norm_scan(
    x: Tensor,
    state: tuple[Tensor, ...] | None,
    parameters: Parameters,
    norm: Norm | BatchNorm,
    *,
    repeat: int = 1,
    window: int | None = None,
    window_mode: str = "sliding",
    target: str = "auto",
    connections: str = "auto",
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Batch norm and a neuron over time, on a fused target: `scan` of what `norm` makes of `x`.

    `x` is `[T, N, C, *features]`, or `[1, N, C, *features]` for `repeat` = T equal steps. The
    gradient flows through the statistics too where they come from this batch. `x` alone is kept for
    backward. Raises what `scan` raises, and TargetError for the reference, which has no prologue.
    """
    require_kinds(x, state, parameters)
    refuse_reentrant_checkpoint()
    x, state = to_be_kept(x, state)
    how = (repeat, window, window_mode, target, connections)
    if not isinstance(norm, Norm):
        requested = norm_layer.request(x, state, parameters, norm, *how)
        layer = norm_layer.prepared(requested)
        if layer is not None and requested is not None:
            learnables = learnables_of(x, parameters).values()
            return norm_layer.run(layer, x, requested.norm, state, learnables)
        norm.require(x)
    check_connections(connections)
    steps = norm.steps if isinstance(norm, Norm) else len(x) * repeat
    check_shapes(x.expand(steps, *x.shape[1:]), state, parameters)
    chosen_window = _window(parameters, window, window_mode, steps)
    chosen = resolve_target(target, x.device, x.dtype)
    if chosen.name == "reference":
        raise TargetError(
            f"there is no batch norm inside the kernel of target 'reference' ({chosen.reason})",
            hint="model.fuse_norm=false runs norm and neuron one after the other",
        )
    learned = (norm.weight, norm.bias, *(state or ()), *parameters.learnables.values())
    windows = fused.spikes_as(x, parameters, chosen.name, connections, learned, steps=steps)
    if windows is not None:
        x = fused.innermost(x)
    call = fused.call_name(
        parameters.neuron,
        parameters.hyperparameters,
        chosen.name,
        chosen_window,
        state is not None,
        after_norm=True,
    )
    learnables = learnables_of(x, parameters).values()
    if not isinstance(norm, Norm):
        requested = norm_layer.request(x, state, parameters, norm, *how)
        layer = norm_layer.prepared(requested) or norm_layer.prepare(
            requested, x, parameters, steps, chosen_window, chosen.name, call, windows is not None
        )
        if layer is not None and requested is not None:
            return norm_layer.run(layer, x, requested.norm, state, learnables)
        norm = norm.before(x, steps)
    tensors = [*(state or ()), *learnables]
    output, *final = normed.norm_scan(
        x, tensors, norm.tensors, call, norm.steps, norm.processes, windows
    )
    return output, tuple(final)


def _window(parameters: Parameters, k: int | None, mode: str, steps: int) -> Window | None:
    try:
        return resolve_window(k, mode, steps)
    except NeuronError as refused:
        raise NeuronError(f"neuron '{parameters.neuron.name}': {refused.message}") from None

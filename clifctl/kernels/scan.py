"""`scan`: a neuron over a whole sequence. The one entry point for every neuron and target."""

import torch
from torch import Tensor

from clifctl.amounts import counted
from clifctl.errors import NeuronError, TargetError
from clifctl.kernels import fused, norm_layer, normed, reference
from clifctl.kernels.backward import refuse_reentrant_checkpoint
from clifctl.kernels.connections import check_connections
from clifctl.kernels.fused import compute_dtype
from clifctl.kernels.norm_layer import BatchNorm
from clifctl.kernels.normed import Norm
from clifctl.kernels.spikes.tensor import as_floats
from clifctl.kernels.targets import resolve_target
from clifctl.kernels.window import Window, resolve_window
from clifctl.neurons import NEURONS, Parameters


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
    _require_kinds(x, state, parameters)
    _check(x, state, parameters)
    refuse_reentrant_checkpoint()
    check_connections(connections)
    x, state = _to_be_kept(x, state)
    chosen_window = _window(parameters, window, window_mode, x.shape[0])
    chosen = resolve_target(target, x.device, x.dtype)
    learnables = _learnables(x, parameters)
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
    _require_kinds(x, state, parameters)
    refuse_reentrant_checkpoint()
    x, state = _to_be_kept(x, state)
    how = (repeat, window, window_mode, target, connections)
    if not isinstance(norm, Norm):
        requested = norm_layer.request(x, state, parameters, norm, *how)
        layer = norm_layer.prepared(requested)
        if layer is not None and requested is not None:
            learnables = _learnables(x, parameters).values()
            return norm_layer.run(layer, x, requested.norm, state, learnables)
        norm.require(x)
    check_connections(connections)
    steps = norm.steps if isinstance(norm, Norm) else len(x) * repeat
    _check(x.expand(steps, *x.shape[1:]), state, parameters)
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
    learnables = _learnables(x, parameters).values()
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


def _require_kinds(x: object, state: object, parameters: object) -> None:
    """Raise NeuronError for what is no tensor, no tuple of states, or no neuron with its values."""
    if not isinstance(parameters, Parameters):
        known = isinstance(parameters, str) and parameters in NEURONS
        example = parameters if known else next(iter(NEURONS))
        shown = f"'{parameters}'" if isinstance(parameters, str) else type(parameters).__name__
        raise NeuronError(
            f"the neuron must come with its parameters, got {shown}",
            hint=f"NEURONS[{example!r}].parameters(), of clifctl.neurons; "
            "one with learnable parameters: .parameters_at_start(channels=C, timesteps=T)",
        )
    where = f"neuron '{parameters.neuron.name}'"
    if not isinstance(x, Tensor):
        raise NeuronError(
            f"{where}: input must be a tensor [T, N, *features], got {type(x).__name__}",
            hint="torch.as_tensor makes one of numbers or of an array",
        )
    if state is None:
        return
    if not isinstance(state, list | tuple) or not all(isinstance(one, Tensor) for one in state):
        raise NeuronError(
            f"{where}: the states are a tuple with a tensor for each of "
            f"{', '.join(one.name for one in parameters.neuron.states)}",
            hint="None begins with their initial values",
        )


def _to_be_kept(
    x: Tensor, state: tuple[Tensor, ...] | None
) -> tuple[Tensor, tuple[Tensor, ...] | None]:
    """Input and states as torch can keep them for backward: those that inference mode has made are
    copied. Spikes for an input are floats."""
    if torch.compiler.is_compiling():
        return x, state
    x = as_floats(x)
    if not torch.is_grad_enabled():
        return x, state
    x = x.clone() if x.is_inference() else x
    if state is not None:
        state = tuple(s.clone() if s.is_inference() else s for s in state)
    return x, state


def _window(parameters: Parameters, k: int | None, mode: str, steps: int) -> Window | None:
    try:
        return resolve_window(k, mode, steps)
    except NeuronError as refused:
        raise NeuronError(f"neuron '{parameters.neuron.name}': {refused.message}") from None


def _learnables(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    """The transformed learnable parameters, in the dtype of the arithmetic."""
    return {
        declared.name: declared.in_range(
            parameters.learnables[declared.name].to(compute_dtype(x.dtype))
        )
        for declared in parameters.neuron.learnables
    }


def initial_state(x: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
    """The states before the first step for an input `[T, N, *features]`: `[N, *features]` each."""
    dtype = compute_dtype(x.dtype)
    starts = (declared.start(parameters.hyperparameters) for declared in parameters.neuron.states)
    return tuple(torch.full(x.shape[1:], v, dtype=dtype, device=x.device) for v in starts)


def _check(x: Tensor, state: tuple[Tensor, ...] | None, parameters: Parameters) -> None:
    neuron = parameters.neuron
    where = f"neuron '{neuron.name}'"
    if x.dim() < 2 or x.shape[0] < 1:
        raise NeuronError(f"{where}: input must be [T, N, *features], got {list(x.shape)}")
    if not x.is_floating_point():
        raise NeuronError(f"{where}: input must be floating point, got {x.dtype}")
    steps = x.shape[0]
    if neuron.max_timesteps is not None and steps > neuron.max_timesteps:
        raise NeuronError(
            f"{where}: at most {counted(neuron.max_timesteps, 'time step')} allowed, got {steps}"
        )
    if state is not None:
        if len(state) != len(neuron.states):
            raise NeuronError(
                f"{where}: the number of states is {len(neuron.states)}, got {len(state)}",
                hint=f"in this order: {', '.join(one.name for one in neuron.states) or 'none'}",
            )
        for declared, tensor in zip(neuron.states, state, strict=True):
            _same_device(where, f"state '{declared.name}'", tensor, x)
            if tensor.shape != x.shape[1:]:
                raise NeuronError(
                    f"{where}: state '{declared.name}' must be {list(x.shape[1:])}, "
                    f"got {list(tensor.shape)}"
                )
    for learnable in neuron.learnables:
        tensor = parameters.learnables[learnable.name]
        _same_device(where, f"learnable parameter '{learnable.name}'", tensor, x)
        if learnable.by_channel and x.dim() < 3:
            raise NeuronError(f"{where}: input must be [T, N, C, *features], got {list(x.shape)}")
        channels = x.shape[2] if learnable.by_channel else 0
        expected = list(learnable.size(channels=channels, timesteps=steps))
        if list(tensor.shape) != expected:
            raise NeuronError(
                f"{where}: learnable parameter '{learnable.name}' must be {expected}, "
                f"got {list(tensor.shape)}"
            )


def _same_device(where: str, what: str, tensor: Tensor, x: Tensor) -> None:
    if tensor.device != x.device:
        raise NeuronError(
            f"{where}: {what} is on '{tensor.device}', the input on '{x.device}'",
            hint="move the net, its state and its input to one device",
        )

"""The fused scan as an operator of torch: one forward, one backward, for every neuron and target.

It keeps the input alone for the way back. As a registered operator with an implementation on fake
tensors it goes through torch.compile in one piece, and its shapes are known on devices that are not
there. What a call is besides its tensors travels as a name (`call_name`), which says all of it: a
compiled graph that is read from a cache means the same neuron.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, cast

import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.errors import NeuronError
from clifctl.kernels.backward import NO_BACKWARD, backward_pass, by_sample, first_gradient, kept
from clifctl.kernels.cpu import numba_target
from clifctl.kernels.cpu.rule import too_few
from clifctl.kernels.cpu.source import Active, room_for_bits
from clifctl.kernels.eager import is_eager, is_transformed
from clifctl.kernels.flat import Gradients, Kernel, KernelInput
from clifctl.kernels.gpu import triton_target
from clifctl.kernels.ir.prologue import with_norm
from clifctl.kernels.ir.trace import is_binary, trace
from clifctl.kernels.layout import Layout
from clifctl.kernels.spikes.tensor import Spikes
from clifctl.kernels.window import Window, WindowMode
from clifctl.neurons import Hyperparameters, Neuron, Parameters

# target -> the kernels of a neuron for a dtype and a number of steps
_KERNELS: dict[str, Callable[[Neuron, Hyperparameters, torch.dtype, int], Kernel]] = {
    "numba": lambda neuron, values, dtype, steps: numba_target.kernel(neuron, values, dtype),
    "triton": lambda neuron, values, dtype, steps: triton_target.kernel(neuron, values, steps),
}


@dataclass(frozen=True)
class ScanCall:
    """What a scan is besides its tensors. `given_state`: initial states are among the tensors."""

    neuron: Neuron
    hyperparameters: Hyperparameters
    target: str
    window: Window | None
    given_state: bool

    @property
    def states(self) -> int:
        """How many initial states are among the tensors."""
        return len(self.neuron.states) if self.given_state else 0


_NEURONS: dict[str, tuple[Neuron, Hyperparameters]] = {}


def call_name(
    neuron: Neuron,
    hyperparameters: Hyperparameters,
    target: str,
    window: Window | None,
    given_state: bool,
    *,
    after_norm: bool = False,
) -> str:
    """The name of a call, made of its content: the same in every process. `after_norm`: of the
    neuron with batch norm as its prologue."""
    k, mode = (0, "none") if window is None else (window.k, window.mode)
    identity = _identity(neuron, hyperparameters, after_norm)
    return f"{identity} {target} {k} {mode} {int(given_state)}"


def _identity(neuron: Neuron, hyperparameters: Hyperparameters, after_norm: bool) -> str:
    # Here, where torch's compiler does not look: it follows no construction of a neuron.
    return _registered(with_norm(neuron) if after_norm else neuron, hyperparameters)


# As torch.compiler.assume_constant_result marks it, which imports torch's compiler: over a second.
_identity._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(maxsize=4096)
def _registered(neuron: Neuron, hyperparameters: Hyperparameters) -> str:
    content = (
        trace(neuron, hyperparameters),
        [state.start(hyperparameters) for state in neuron.states],
        [(p.name, p.shape) for p in neuron.learnables],
    )
    text = "\n".join(str(part) for part in content)
    identity = f"{neuron.name}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    _NEURONS[identity] = neuron, hyperparameters
    return identity


@lru_cache(maxsize=4096)
def _call(name: str) -> ScanCall:
    identity, target, k, mode, given = name.rsplit(" ", 4)
    window = Window(int(k), cast(WindowMode, mode)) if int(k) else None
    if identity not in _NEURONS:  # a graph that another process has exported
        raise NeuronError(
            f"this graph needs the neuron '{identity}', which this process has not built",
            hint="run a layer of that neuron, with the same hyperparameters, once before the graph",
        )
    return ScanCall(*_NEURONS[identity], target, window, given == "1")


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of states and of the arithmetic for an input of `dtype`."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def scan_forward(x: Tensor, tensors: Sequence[Tensor], call: str) -> list[Tensor]:
    """`[output, *final states]` of the call for `x` `[T, N, *features]`; `tensors` are the initial
    states, where they are given, and the transformed learnable parameters.

    float16 and bfloat16 are computed in float32, states are held in float32 then. The gradient of
    a gradient is not defined.
    """
    if not x.numel():
        return results(x, call, x.dtype)
    work = Work.of(x, tensors, call)
    # Made in their final shape: an output that is a view could not be changed in place.
    out, *finals = results(x, call, work.given.x.dtype)
    work.kernel.forward(
        work.given,
        work.layout.rows(out, out.dtype),
        [work.layout.rows(final, final.dtype) for final in finals],
    )
    return [out.to(x.dtype), *finals]


def spikes_forward(x: Tensor, tensors: Sequence[Tensor], call: str, windows: bool) -> list[Tensor]:
    """`scan_forward` of a neuron whose output is a spike, for a plain float32 `x` whose channels
    are innermost: the output are `Spikes`, with the surrogate's `windows` where it has any; floats
    where any is NaN, which is no spike."""
    work = Work.of(x, tensors, call)
    assert isinstance(work.kernel, numba_target.NumbaKernel)
    finals = _final_states(x, call)
    bits = room_for_bits(x.numel())
    window = room_for_bits(x.numel()) if windows and work.kernel.has_window else None
    unusable = work.kernel.forward_spikes(
        work.given,
        len(x),
        bits,
        window,
        [work.layout.rows(final, final.dtype) for final in finals],
    )
    if unusable:
        return scan_forward(x, tensors, call)
    return [Spikes.whole(Active(bits), x.shape, window), *finals]


fused_scan = torch.library.custom_op("clifctl::scan", scan_forward, mutates_args=())


@fused_scan.register_fake
def _(x: Tensor, tensors: Sequence[Tensor], call: str) -> list[Tensor]:
    return results(x, call, x.dtype)


def results(x: Tensor, call: str, dtype: torch.dtype) -> list[Tensor]:
    """Room for the output in `dtype` and for the final states."""
    return [Layout.of(x).empty(x, steps=len(x), dtype=dtype), *_final_states(x, call)]


def _final_states(x: Tensor, call: str) -> list[Tensor]:
    layout, states = Layout.of(x), _call(call).neuron.states
    return [layout.empty(x, steps=None, dtype=compute_dtype(x.dtype)) for _ in states]


def states_of(call: str) -> int:
    """How many initial states are among the tensors of a call."""
    return _call(call).states


def scan_backward(
    x: Tensor, tensors: Sequence[Tensor], gradients: Sequence[Tensor | None], call: str
) -> list[Tensor]:
    """Gradients of x and of `tensors`, from those of `[output, *final states]` (None: zero)."""
    if not x.numel():
        like = compute_dtype(x.dtype)
        return [torch.zeros_like(x), *(torch.zeros_like(t, dtype=like) for t in tensors)]
    work = Work.of(x, tensors, call)
    g_x = work.room(work.g_dtype)
    result = work.backward(gradients, g_x)
    g_states = [work.layout.shaped(g) for g in result.states if g is not None]
    return [work.layout.shaped(g_x).to(x.dtype), *g_states, *result.learnables]


fused_scan_backward = torch.library.custom_op(
    "clifctl::scan_backward", scan_backward, mutates_args=()
)


@fused_scan_backward.register_fake
def _(
    x: Tensor, tensors: Sequence[Tensor], gradients: Sequence[Tensor | None], call: str
) -> list[Tensor]:
    layout, states = Layout.of(x), states_of(call)
    return [
        layout.empty(x, steps=len(x), dtype=x.dtype),
        *(layout.empty(x, steps=None, dtype=compute_dtype(x.dtype)) for _ in range(states)),
        *(
            tensor.new_empty(tensor.shape, dtype=compute_dtype(x.dtype))
            for tensor in tensors[states:]
        ),
    ]


fused_scan_backward.register_vmap(by_sample(fused_scan_backward))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, tensors, call = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, *tensors)
    ctx.call = call


def _backward(ctx: Any, gradients: list[Tensor | None]) -> tuple[Tensor, list[Tensor], None]:
    x, *tensors = kept(ctx)
    backward: Callable[..., Sequence[Tensor]] = fused_scan_backward
    if not torch.compiler.is_compiling() and torch.is_grad_enabled():  # create_graph=True
        backward = partial(first_gradient, fused_scan_backward)
    g_x, *others = backward(x, tensors, gradients, ctx.call)
    return g_x, others, None


fused_scan.register_autograd(_backward, setup_context=_remember)
fused_scan.register_vmap(by_sample(fused_scan))


class _Scan(torch.autograd.Function):
    """The operator, as the transforms of `torch.func` need it, and as gives `Spikes`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: str, windows: bool | None, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        if windows is None:
            return tuple(fused_scan(x, tensors, call))
        return tuple(spikes_forward(x, tensors, call, windows))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        call, _, x, *tensors = inputs
        _remember(ctx, (x, tensors, call), list(output))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        g_x, others, _ = _backward(ctx, list(gradients))
        return None, None, g_x, *others


def run(
    x: Tensor, tensors: Sequence[Tensor], call: str, windows: bool | None = None
) -> Sequence[Tensor]:
    """See `scan_forward`; it has a gradient. `windows` as `spikes_as` gives it: unless it is None,
    the output are `Spikes`."""
    if windows is not None or is_transformed(x, *tensors):
        found: Sequence[Tensor] = _Scan.apply(call, windows, x, *tensors)
        return found
    return fused_scan(x, tensors, call)


def spikes_as(
    x: Tensor,
    parameters: Parameters,
    target: str,
    connections: str,
    others: Sequence[Tensor | None],
    *,
    steps: int,
) -> bool | None:
    """Whether the output of a neuron is given as `Spikes`: None where it is floats, else whether
    the surrogate's windows are needed too. `x` is the neuron's input or that of a norm before it,
    of all `steps` or one for all; `others` are the tensors that its output depends on besides."""
    if connections != "auto" or target not in ("auto", "numba") or not is_eager(x):
        return None
    if x.dim() not in (3, 5) or x.dtype != torch.float32 or x.device.type != CPU or not x.numel():
        return None
    if torch._C._are_functorch_transforms_active():
        return None
    if too_few(x.numel() // len(x) * steps, x.shape[2], maps=x.dim() == 5):
        return None
    if not is_binary(parameters.neuron, parameters.hyperparameters):
        return None
    return needs_windows((x, *others))


def needs_windows(tensors: Sequence[Tensor | None]) -> bool:
    """Whether a gradient will reach spikes that depend on `tensors`."""
    # What is run again for a checkpoint has spikes whose gradient somebody may look at outside.
    return (
        torch.is_grad_enabled()
        and any(t is not None and t.requires_grad for t in tensors)
        and backward_pass() == NO_BACKWARD
    )


def innermost(x: Tensor) -> Tensor:
    """`[T, N, C, H, W]` with its channels innermost in memory; anything else as it is."""
    if x.dim() != 5 or x.shape[2] == 1 or x.shape[3] == x.shape[4] == 1:
        return x
    if Layout.of(x).channels_last:
        return x
    if x.stride(0) == 0:  # the same at every step
        return innermost(x[:1]).expand(x.shape)
    return x.movedim(2, -1).contiguous().movedim(-1, 2)


@dataclass(frozen=True)
class Work:
    """A call's tensors as its kernel takes them: rows `[T, M]`, in the order of their layout, or
    one row where the input is the same at every step."""

    call: ScanCall
    kernel: Kernel
    layout: Layout
    given: KernelInput
    # In which the kernel writes the gradient of x.
    g_dtype: torch.dtype

    @classmethod
    def of(cls, x: Tensor, tensors: Sequence[Tensor], name: str) -> "Work":
        """The work of the call `name` on `x` and `tensors` (see `scan_forward`)."""
        call, layout, dtype = _call(name), Layout.of(x), compute_dtype(x.dtype)
        triton = call.target == "triton"
        read = x.dtype if triton or x.dtype in numba_target.DTYPES else dtype
        kernel = _KERNELS[call.target](call.neuron, call.hyperparameters, read, len(x))
        if kernel.one_row and x.stride(0) == 0:
            x = x[:1]
        states: list[Tensor | None] = [layout.rows(s, dtype) for s in tensors[: call.states]]
        return cls(
            call,
            kernel,
            layout,
            KernelInput(
                layout.rows(x, read),
                states or [None] * len(call.neuron.states),
                [p.detach().to(dtype).contiguous() for p in tensors[call.states :]],
                layout.sample,
            ),
            read if triton else dtype,
        )

    def room(self, dtype: torch.dtype) -> Tensor:
        """Room for rows of every step `[T, M]`."""
        x = self.given.x
        return x.new_empty((self.layout.shape[0], x.shape[1]), dtype=dtype)

    def backward(self, gradients: Sequence[Tensor | None], g_x: Tensor) -> Gradients:
        """Gradients of rows, from those of `[output, *final states]`; that of x into `g_x`."""
        g_out, *g_finals = gradients
        dtype = self.given.x.dtype
        return self.kernel.backward(
            self.given,
            self.room(dtype).zero_() if g_out is None else self.layout.rows(g_out, dtype),
            [None if g is None else self.layout.rows(g, compute_dtype(dtype)) for g in g_finals],
            self.call.window,
            g_x,
        )

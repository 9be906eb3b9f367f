"""One autograd function for every neuron, target and window. It keeps the input alone."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clifctl.kernels import numba_target
from clifctl.kernels.window import Window
from clifctl.neurons import Hyperparameters, Neuron


@dataclass(frozen=True)
class Call:
    """What a scan is besides its tensors. `given_state`: initial states are among the tensors."""

    neuron: Neuron
    hyperparameters: Hyperparameters
    window: Window | None
    given_state: bool


class FusedScan(torch.autograd.Function):
    """(call, x, *initial states, *transformed learnables) -> (output, *final states).

    float16 and bfloat16 are computed in float32, states are held in float32 then. The gradient of
    a gradient is not defined.
    """

    @staticmethod
    def forward(ctx: Any, call: Call, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, *tensors)
        if x.device.type == "meta":  # shapes alone are asked for
            held = x.dtype if x.dtype in numba_target.DTYPES else torch.float32
            shape = x.shape[1:]
            return torch.empty_like(x), *(
                x.new_empty(shape, dtype=held) for _ in call.neuron.states
            )
        flat, states, learnables = _flat(call, x, tensors)
        run = numba_target.kernel(call.neuron, call.hyperparameters, flat.dtype)
        # Made in their final shape: an output that is a view could not be changed in place.
        out = torch.empty(x.shape, dtype=flat.dtype)
        finals = [torch.empty(x.shape[1:], dtype=flat.dtype) for _ in call.neuron.states]
        run.forward(
            flat,
            states,
            learnables,
            _sample(x),
            out.view(flat.shape),
            [final.view(flat.shape[1]) for final in finals],
        )
        return (out.to(x.dtype), *finals)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        call: Call = ctx.call
        x, *tensors = ctx.saved_tensors
        flat, states, learnables = _flat(call, x, tensors)
        g_out, *g_finals = grads
        run = numba_target.kernel(call.neuron, call.hyperparameters, flat.dtype)
        result = run.backward(
            flat,
            states,
            learnables,
            _sample(x),
            torch.zeros_like(flat) if g_out is None else _rows(g_out, flat),
            [None if g is None else _rows(g, flat[0]) for g in g_finals],
            call.window,
        )
        g_x = result.x.view(x.shape).to(x.dtype)
        g_states = [g.view(x.shape[1:]) for g in result.states if g is not None]
        return (None, g_x, *g_states, *result.learnables)


def _flat(call: Call, x: Tensor, tensors: Any) -> tuple[Tensor, list[Tensor | None], list[Tensor]]:
    """`x` as `[T, M]`, initial states as `[M]` or None, learnables, in the dtype of the kernel."""
    dtype = x.dtype if x.dtype in numba_target.DTYPES else torch.float32
    size = x[0].numel()
    flat = x.detach().to(dtype).reshape(x.shape[0], size).contiguous()
    count = len(call.neuron.states) if call.given_state else 0
    states: list[Tensor | None] = [
        s.detach().to(dtype).reshape(size).contiguous() for s in tensors[:count]
    ]
    learnables = [learnable.detach().to(dtype) for learnable in tensors[count:]]
    return flat, states or [None] * len(call.neuron.states), learnables


def _rows(gradient: Tensor, like: Tensor) -> Tensor:
    return gradient.to(like.dtype).reshape(like.shape).contiguous()


def _sample(x: Tensor) -> numba_target.Sample:
    features = x[0, 0].numel() if x.shape[1] else 1
    channels = x.shape[2] if x.dim() > 2 else 1
    return numba_target.Sample(max(1, features), max(1, features // max(1, channels)))

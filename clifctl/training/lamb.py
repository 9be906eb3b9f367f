"""LAMB: Adam whose step is scaled, for each tensor, to the size of the tensor.

    m = beta1 * m + (1 - beta1) * g        v = beta2 * v + (1 - beta2) * g^2
    r = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * w
    w = w - lr * |w| / |r| * r

|.| is the 2-norm of a tensor. You et al., ICLR 2020, Algorithm 2, as timm has it: a group without
weight decay takes the plain step of Adam (the factor |w| / |r| is left out), and so does a tensor
of zeros. What timm does to the gradients first, scaling them to a norm of at most 1, is
`train.clip_norm` here.

torch has no LAMB. timm's would bring a library of models, and a client of a model hub, for these
few lines; other collections of optimizers are larger still, or no longer kept.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from clifctl.devices import CPU


class Lamb(Optimizer):
    """The optimizer. It keeps three tensors a parameter: `step`, `exp_avg` m, `exp_avg_sq` v.

    `on_device`: the number of steps lies beside the parameters, so that nothing waits for a GPU,
    and a step is left out where `found_inf`, a flag there, is set: what torch's fused optimizers
    do, and by which its GradScaler knows them.
    """

    found_inf: Tensor | None = None
    _step_supports_amp_scaling = False

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        on_device: bool = False,
    ) -> None:
        self._step_supports_amp_scaling = on_device
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for parameter, own in self.state.items():
            own["step"] = own["step"].to(self._where(parameter))

    def _where(self, parameter: Tensor) -> torch.device:
        """Where the number of steps lies."""
        return parameter.device if self._step_supports_amp_scaling else torch.device(CPU)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step along the gradients that the parameters hold; there is no `closure`."""
        if closure is not None:
            raise ValueError("Lamb computes no loss: compute gradients, then call step()")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self._state_of(parameter)
                if self.found_inf is None:
                    self._update(parameter, parameter.grad, group)
                    continue
                changing = [parameter, *state.values()]
                before = [tensor.clone() for tensor in changing]
                self._update(parameter, parameter.grad, group)
                for tensor, old in zip(changing, before, strict=True):
                    tensor.copy_(torch.where(self.found_inf != 0, old, tensor))

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=self._where(parameter))
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state

    def _update(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        state["step"] += 1
        # As a number it is on the CPU already; on a GPU float64 stands for Python's numbers.
        done = state["step"].double() if self._step_supports_amp_scaling else int(state["step"])
        beta1, beta2 = group["betas"]
        mean = state["exp_avg"].lerp_(gradient, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        deviation = (square / (1 - beta2**done)).sqrt_().add_(group["eps"])
        update = (mean / (1 - beta1**done)).div_(deviation)
        if group["weight_decay"]:
            update.add_(parameter, alpha=group["weight_decay"])
            own, size = parameter.norm(), update.norm()
            update.mul_(torch.where((own > 0) & (size > 0), own / size, 1.0))
        parameter.add_(update, alpha=-group["lr"])

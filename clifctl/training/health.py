"""Numbers that stop being finite: noticed without stalling a GPU, traced to the layer."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clifctl.errors import RunFailed
from clifctl.training.distributed import ALONE, Processes

# Steps that a GPU may run ahead of the check; the batches of so many are kept until then.
LAZY_STEPS = 16
# Steps in a row that float16 may leave out: its scale is then a billionth of what it was.
MOST_SKIPPED = 30
_HINT = "lower train.lr, set train.clip_norm, or try train.precision=float32"


@dataclass(frozen=True)
class _Unchecked:
    """A step whose verdict has not been read yet."""

    epoch: int
    step: int
    inputs: Tensor
    targets: Tensor
    loss: Tensor


class Health:
    """Whether loss and gradients of every step are finite.

    On the CPU each verdict is read before the optimizer's step. On a GPU reading would stall it: a
    verdict stays there, is read every LAZY_STEPS steps, and in between keeps a fused optimizer from
    touching the weights, so that they are still those of the step that went wrong.

    Under float16 a step that is not finite is left out by the scaler: it is counted, and only
    MOST_SKIPPED in a row are an error.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        lazy: bool,
        scaled: bool,
        replay: Callable[[Tensor], object],
        processes: Processes = ALONE,
    ) -> None:
        """`replay` is the forward pass of a batch; only what went wrong is replayed. Of several
        `processes` each judges the sums of all, and so comes to the same verdict."""
        self._net = net
        self._parameters = list(net.parameters())
        self._replay = replay
        self._processes = processes
        self.lazy = lazy
        self._scaled = scaled
        device = next(net.parameters()).device
        self._found, self._one = torch.zeros((), device=device), torch.ones((), device=device)
        self.frozen = torch.zeros((), device=device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self.in_a_row = torch.zeros((), dtype=torch.int64, device=device)
        self._unchecked: list[_Unchecked] = []
        self._verdicts: list[Tensor] = []

    def judge(self, epoch: int, step: int, inputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Look at `loss` (of the batch `inputs`, `targets`) and at the gradients of the net.

        Raises RunFailed where they are not finite, on a GPU some steps later.
        """
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        # GradScaler's own check: one call for all of them; times 1 they stay what they are.
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, self._found, self._one)
        eager = not self.lazy and not self._scaled
        if eager and self._found.item() == 0 and math.isfinite(loss.item()):
            return
        finite = (self._found == 0) & loss.detach().isfinite()
        self._found.zero_()
        self._unchecked.append(_Unchecked(epoch, step, inputs, targets, loss.detach()))
        if self._scaled:
            self.skipped += ~finite
            self.in_a_row = torch.where(finite, 0, self.in_a_row + 1)
            self._verdicts.append(self.in_a_row < MOST_SKIPPED)
        else:
            self.frozen.copy_(torch.where(finite, self.frozen, 1.0))
            self._verdicts.append(finite)
        if not self.lazy or len(self._verdicts) >= LAZY_STEPS:
            self.check()

    def check(self) -> None:
        """Read every verdict that is due. Raises RunFailed naming the first step that was not
        finite, and the layer."""
        if not self._verdicts:
            return
        # One at a time needs no stacking; many are fetched in one transfer.
        verdicts = self._verdicts if len(self._verdicts) == 1 else [torch.stack(self._verdicts)]
        flags = verdicts[0].reshape(-1).tolist()
        unchecked, self._unchecked, self._verdicts = self._unchecked, [], []
        if all(flags):
            return
        self._fail(unchecked[flags.index(False)])

    def _fail(self, bad: _Unchecked) -> None:
        loss = float(bad.loss)
        where = f"in step {bad.step} of epoch {bad.epoch}"
        if self._scaled:
            skipped = f"float16 left out {MOST_SKIPPED} steps in a row up to step {bad.step}"
            raise RunFailed(
                f"{skipped} of epoch {bad.epoch}: loss {loss}; {self._culprit(bad)}",
                hint="try train.precision=bfloat16 or float32, or lower train.lr",
            )
        finite = torch.tensor(loss).isfinite()
        what = "a gradient is not finite" if finite else f"the training loss became {loss}"
        raise RunFailed(f"{what} {where}: {self._culprit(bad)}", hint=_HINT)

    def _culprit(self, bad: _Unchecked) -> str:
        """Where that batch first goes wrong, in words."""
        own = first_not_finite(self._net, lambda: self._replay(bad.inputs))
        # It may have been another process's part of the batch.
        layer = next((name for name in self._processes.gather(own) if name is not None), None)
        if layer is not None:
            return f"the output of layer '{layer}' is the first that is not finite"
        if not bool(bad.loss.isfinite()):
            return "the net's outputs are finite, the loss is not"
        named = [
            name
            for name, parameter in self._net.named_parameters()
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all())
        ]
        # Backward goes from the last layer to the first.
        return f"forward is finite, the gradient of '{named[-1]}' is not" if named else "backward"


def first_not_finite(net: nn.Module, forward: Callable[[], object]) -> str | None:
    """The name of the first module without children whose output in `forward()` is not finite.

    The net's running averages are left as they are.
    """
    found: list[str] = []
    with torch.no_grad(), _unchanged_buffers(net), _watching(net, found):
        forward()
    return found[0] if found else None


@contextmanager
def _watching(net: nn.Module, found: list[str]) -> Iterator[None]:
    def hook_of(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            tensors = output if isinstance(output, tuple) else (output,)
            for tensor in tensors:
                if isinstance(tensor, Tensor) and not bool(tensor.isfinite().all()):
                    found.append(name)
                    return

        return hook

    handles = [
        module.register_forward_hook(hook_of(name))
        for name, module in net.named_modules()
        if name and not any(module.children())
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _unchanged_buffers(net: nn.Module) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in net.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)

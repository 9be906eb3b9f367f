"""The convolution of the nets: torch's, but where the library behind it overruns its memory."""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

from clifctl.devices import CPU
from clifctl.kernels import Spikes

# oneDNN's blocks of channels have 8 on AVX2 and 16 on AVX-512.
CHANNEL_BLOCK = 16


class Convolution(nn.Conv2d):
    """`torch.nn.Conv2d` with the same weights, keys and values, computed by `conv2d`."""

    stride: tuple[int, int]
    padding: tuple[int, int]

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(channels, out, kernel, stride, padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[N, C, H, W]` to `[N, out, H', W']`."""
        return conv2d(x, self.weight, self.bias, self.stride, self.padding)


def kaiming_convolution(
    channels: int, out: int, kernel: int, stride: int = 1, *, bias: bool = True
) -> Convolution:
    """A convolution whose maps keep their size but for the stride, its weights from
    kaiming_normal(fan_out, relu)."""
    convolution = Convolution(channels, out, kernel, stride, kernel // 2, bias=bias)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Tensor:
    """`torch.nn.functional.conv2d` of `x` `[N, C, H, W]` and `weight` `[out, C, kernel, kernel]`.

    On a CPU the backward of a 1x1 convolution with a stride writes past its scratchpad where the
    channels are innermost and fewer than a block (uxlfoundation/oneDNN#6035): it crashes, hangs, or
    gives wrong gradients. With a stride, 1x1 reads every stride-th pixel and nothing else, so there
    it is a 1x1 convolution of those pixels. Spikes know that themselves.
    """
    if not _overruns(x, weight, stride):
        return F.conv2d(x, weight, bias, stride, padding)
    if has_torch_function((x, weight)):
        # Who follows the net's operations sees the one convolution that this is.
        traced: Tensor = handle_torch_function(
            conv2d, (x, weight), x, weight, bias, stride, padding
        )
        return traced
    (down, right), (rows, columns) = stride, padding
    if any(padding):
        x = F.pad(x, (columns, columns, rows, rows))
    # A view: where x are spikes, their bits serve this backward too.
    return F.conv2d(x[:, :, ::down, ::right], weight, bias)


def _overruns(x: Tensor, weight: Tensor, stride: tuple[int, int]) -> bool:
    return (
        x.device.type == CPU
        and not isinstance(x, Spikes)
        and max(stride) > 1
        and weight.shape[2:] == (1, 1)
        and weight.shape[1] < CHANNEL_BLOCK
    )

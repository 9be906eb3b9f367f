"""Layers of neurons for anybody's torch module, on the kernels of clifctl.

    from clifctl.nn import CLIF, FoldTime

    self.conv = FoldTime(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16))
    self.spikes = CLIF(tau=2.0)
    ...
    x = self.spikes(self.conv(x))  # [T, N, 1, H, W] -> [T, N, 16, H, W]

`CLIF`, `LIF` and the others are `Spiking` of that neuron: what they take and give is said there.
"""

from itertools import takewhile
from typing import Any, ClassVar

from torch import Tensor, nn

from clifctl.kernels import scan
from clifctl.models import Spiking, TemporalBatchNorm, fold_time

# What gives the same for the same sample, whatever the others are.
_BY_SAMPLE = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Flatten, nn.Unflatten, nn.Identity),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
)


class FoldTime(nn.Sequential):
    """Modules without time, one after the other, on every step of `x` `[T, N, *]`: T * N samples in
    one batch. Gives `[T, N, *]`. Of an image that is the same at every step (`expand`ed), what
    comes first and looks at a sample alone, such as a convolution, is computed once."""

    def forward(self, x: Tensor) -> Tensor:
        """The modules' output `[T, N, *]` for `x` `[T, N, *]`."""
        if len(x) < 2 or x.stride(0) != 0:
            return fold_time(super().forward, x)
        modules = list(self)
        once = list(takewhile(lambda module: isinstance(module, _BY_SAMPLE), modules))
        result = fold_time(nn.Sequential(*once), x[:1]) if once else x
        result = result.expand(len(x), *result.shape[1:])
        rest = nn.Sequential(*modules[len(once) :])
        return fold_time(rest, result) if len(rest) else result.clone()


class _OfTable(Spiking):
    """A layer of one neuron of the table, `NEURON`."""

    NEURON: ClassVar[str]

    def __init__(self, channels: int = 1, timesteps: int = 1, **options: Any) -> None:
        super().__init__(self.NEURON, channels, timesteps, **options)


class IF(_OfTable):
    """Integrate-and-fire, without a leak: `clifctl.nn.Spiking` of `if`."""

    NEURON = "if"


class LIF(_OfTable):
    """Leaky integrate-and-fire: `clifctl.nn.Spiking` of `lif`."""

    NEURON = "lif"


class PLIF(_OfTable):
    """LIF with a learnable time constant: `clifctl.nn.Spiking` of `plif`."""

    NEURON = "plif"


class KLIF(_OfTable):
    """LIF with a learnable scale: `clifctl.nn.Spiking` of `klif`."""

    NEURON = "klif"


class GLIF(_OfTable):
    """Gated LIF, one set of gates a layer, for T = `timesteps`: `clifctl.nn.Spiking` of `glif`."""

    NEURON = "glif"


class GLIFChannel(_OfTable):
    """Gated LIF with gates for each of `channels`, for `timesteps` steps: `clifctl.nn.Spiking` of
    `glif_channel`."""

    NEURON = "glif_channel"


class CLIF(_OfTable):
    """Complementary LIF: `clifctl.nn.Spiking` of `clif`."""

    NEURON = "clif"


class ALIF(_OfTable):
    """LIF with an adaptive threshold: `clifctl.nn.Spiking` of `alif`."""

    NEURON = "alif"


class CUBA(_OfTable):
    """Current-based LIF: `clifctl.nn.Spiking` of `cuba`."""

    NEURON = "cuba"


class TCLIF(_OfTable):
    """Two-compartment LIF: `clifctl.nn.Spiking` of `tclif`."""

    NEURON = "tclif"


class ILIF(_OfTable):
    """Integer LIF: whole numbers in training, `clifctl.nn.Spiking` of `ilif`."""

    NEURON = "ilif"


class ReLU(_OfTable):
    """No spikes: the net's counterpart without them, `clifctl.nn.Spiking` of `relu`."""

    NEURON = "relu"


__all__ = [
    "ALIF",
    "CLIF",
    "CUBA",
    "GLIF",
    "IF",
    "ILIF",
    "KLIF",
    "LIF",
    "PLIF",
    "TCLIF",
    "FoldTime",
    "GLIFChannel",
    "ReLU",
    "Spiking",
    "TemporalBatchNorm",
    "scan",
]

"""The shape of a connection: what its kernels are prepared for."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Pair = tuple[int, int]
# Taps of a kernel that lists can number: of each its rows of weights, in 16 bits.
MOST_TAPS = 4095


@dataclass(frozen=True)
class Geometry:
    """A convolution of maps `[samples, channels, height, width]` to `outputs` channels.

    `kernel`, `stride` and `padding` are those of rows and of columns. A linear layer is one of maps
    of a single pixel.
    """

    samples: int
    channels: int
    height: int
    width: int
    outputs: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    @property
    def taps(self) -> int:
        """Weights between a channel and an output."""
        return self.kernel[0] * self.kernel[1]

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        return (self.height + 2 * self.padding[0] - self.kernel[0]) // self.stride[0] + 1

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        return (self.width + 2 * self.padding[1] - self.kernel[1]) // self.stride[1] + 1

    @property
    def inputs(self) -> int:
        """Elements of the input."""
        return self.samples * self.channels * self.height * self.width

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """`[samples, outputs, out_height, out_width]`."""
        return self.samples, self.outputs, self.out_height, self.out_width


def round_up(n: int, multiple: int) -> int:
    """The least multiple that is not below `n`."""
    return -(-n // multiple) * multiple


def equal_part(total: int, most: int, multiple: int = 1) -> int:
    """The size of the parts of `total`, each at most `most`, where they are as few and as equal as
    can be; a multiple of `multiple`."""
    parts = -(-total // most)
    return round_up(-(-total // parts), multiple)


def record(fields: Mapping[str, int]) -> np.ndarray:
    """An array of one record, for numba's code: `plan[0].samples`."""
    return np.array([tuple(fields.values())], [(name, np.int64) for name in fields])

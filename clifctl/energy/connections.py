"""How many pairs of an input and an output value a kernel connects, counted exactly.

A kernel moves over each dimension by itself, so the count is a product over dimensions.
"""

from collections.abc import Sequence


def window_pairs(
    size: int, out: int, *, kernel: int, stride: int, padding: int, dilation: int = 1
) -> int:
    """Pairs along one dimension of `size` input and `out` output values; `padding` stands before
    the first one, and pairs with padding do not count."""
    return sum(
        0 <= position * stride - padding + offset * dilation < size
        for position in range(out)
        for offset in range(kernel)
    )


def adaptive_pairs(size: int, out: int) -> int:
    """The same for an adaptive pool: output i covers the inputs floor(i size / out) to
    ceil((i + 1) size / out)."""
    return sum(-(-(position + 1) * size // out) - position * size // out for position in range(out))


def sizes(value: int | Sequence[int] | None, dimensions: int, default: int = 0) -> tuple[int, ...]:
    """One number for each dimension, of an argument that may be one number for all."""
    if value is None:
        return (default,) * dimensions
    if isinstance(value, int):
        return (value,) * dimensions
    given = tuple(value)
    return given * dimensions if len(given) == 1 else given


def leading_padding(
    padding: str | int | Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """Padding before the first value of each dimension, of a convolution's argument."""
    if padding == "same":
        return tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    if isinstance(padding, str):  # "valid"
        return (0,) * len(kernel)
    return sizes(padding, len(kernel))

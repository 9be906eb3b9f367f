"""How many output values each input value of a map reaches through a kernel, counted exactly.

A kernel moves over each dimension by itself, so the fan-out of a place is a product over
dimensions, and so is the sum over all places, the pairs of an input and an output value.
"""

from collections import Counter
from collections.abc import Iterable, Sequence


def window_fan_outs(
    size: int, out: int, *, kernel: int, stride: int, padding: int, dilation: int = 1
) -> tuple[int, ...]:
    """Along one dimension of `size` input and `out` output values, how many of the latter each of
    the former reaches; `padding` stands before the first one."""
    return _times_covered(
        size,
        (
            position * stride - padding + offset * dilation
            for position in range(out)
            for offset in range(kernel)
        ),
    )


def scattered_fan_outs(
    size: int, out: int, *, kernel: int, stride: int, padding: int, dilation: int = 1
) -> tuple[int, ...]:
    """The fan-outs of a transposed convolution: input i goes to the outputs i * stride - padding
    and on, as far as there are such."""
    return tuple(
        sum(0 <= place * stride - padding + offset * dilation < out for offset in range(kernel))
        for place in range(size)
    )


def adaptive_fan_outs(size: int, out: int) -> tuple[int, ...]:
    """The fan-outs of an adaptive pool: output i covers the inputs floor(i size / out) to
    ceil((i + 1) size / out)."""
    return _times_covered(
        size,
        (
            place
            for position in range(out)
            for place in range(position * size // out, -(-(position + 1) * size // out))
        ),
    )


def _times_covered(size: int, places: Iterable[int]) -> tuple[int, ...]:
    """How often each of `size` places is among `places`; what lies outside is padding."""
    counts = Counter(places)
    return tuple(counts[place] for place in range(size))


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

"""Weights to the kernels' blocks, floats to bits and back; nothing else is written."""

import numpy as np
import pytest
import torch

from clifctl.kernels.cpu.packing import (
    bits_of,
    floats_of,
    offsets_in_memory_order,
    pack_rows,
    weight_memory,
)
from clifctl.kernels.cpu.vectors import LANES, VECTOR_BYTES


@pytest.mark.parametrize("rows", [LANES, LANES - 3, 0])
@pytest.mark.parametrize("columns", [2 * LANES + 3, LANES, 1])
def test_rows_are_packed_by_a_table(rows: int, columns: int) -> None:
    random = np.random.default_rng(0)
    source = random.integers(-99, 99, (LANES, columns)).astype(np.float32)
    places = random.permutation(columns + 2)[:columns]
    offsets = (places * VECTOR_BYTES).astype(np.int32)
    packed = np.full((columns + 3, LANES), 7.0, np.float32)
    pack_rows(
        source.ctypes.data, 4 * columns, rows, columns, offsets.ctypes.data,
        packed.ctypes.data, 2.0,
    )  # fmt: skip
    expected = np.full_like(packed, 7.0)
    expected[places] = 0
    expected[places, :rows] = 2 * source[:rows].T
    assert (packed == expected).all()


def test_a_parameter_is_read_where_it_lies() -> None:
    weight = torch.nn.Parameter(torch.arange(2 * 3 * 2 * 2.0).view(2, 3, 2, 2))
    outside = torch.nn.Parameter(weight.detach().to(memory_format=torch.channels_last))
    sliced = torch.zeros(2, 3, 4, 2)[:, :, ::2]
    for given, channels_last in ((weight, False), (outside, True)):
        memory, found = weight_memory(given)
        assert found is channels_last
        assert memory.data_ptr() == given.detach().data_ptr()
    memory, found = weight_memory(sliced)
    assert not found
    assert memory.is_contiguous()
    places = np.arange(3 * 4).reshape(3, 4)  # of channel c and tap t: 4 c + t
    assert offsets_in_memory_order(places, False).tolist() == list(range(12))
    assert offsets_in_memory_order(places, True)[:4].tolist() == [0, 4, 8, 1]


@pytest.mark.parametrize("shape", [(1,), (7, 1), (2, 37, 3, 5), (3, 1000, 5, 7), (2, 3, 5, 2, 3)])
def test_floats_become_bits_channels_innermost_and_floats_again(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = (torch.rand(shape) < 0.3) * 2.5
    innermost = x.movedim(-3, -1) if len(shape) > 2 else x
    elements = innermost.reshape(-1).numpy() != 0
    for given in (x, innermost.contiguous().movedim(-1, -3) if len(shape) > 2 else x):
        bits = bits_of(given)
        found = np.unpackbits(bits.numpy(), bitorder="little")
        assert (found[: x.numel()] == elements).all()
        assert not found[x.numel() :].any()
        assert torch.equal(floats_of(bits, shape, 2.5), x)


def test_bits_that_are_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="64 bytes are not the bits of"):
        floats_of(torch.zeros(64, dtype=torch.uint8), (2, 3))

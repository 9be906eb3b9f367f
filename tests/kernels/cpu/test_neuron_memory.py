"""The neuron's kernels read and write through addresses: nothing beyond what they are given, and
nothing of what was in memory before."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from clifctl.kernels.cpu import workspace
from clifctl.kernels.cpu.numba_target import kernel
from clifctl.kernels.cpu.source import bits_bytes
from clifctl.kernels.flat import KernelInput, SampleLayout
from clifctl.kernels.ir.prologue import with_norm
from clifctl.kernels.window import Window
from clifctl.neurons import NEURONS

GUARD = 256  # elements on either side
STEPS = 3


class Guarded:
    """Tensors in the middle of memory that nobody may write, and that reads as NaN."""

    def __init__(self) -> None:
        self._held: list[tuple[Tensor, int]] = []

    def like(self, tensor: Tensor) -> Tensor:
        """A copy between guards, aligned to one element."""
        size = tensor.numel()
        room = torch.empty(size + 2 * GUARD + 1, dtype=tensor.dtype)
        room.view(torch.uint8).fill_(0xFF)
        self._held.append((room, size))
        inside = room[GUARD + 1 : GUARD + 1 + size].view(tensor.shape)
        return inside.copy_(tensor)

    def check(self) -> None:
        """That all guards are as they were."""
        for room, size in self._held:
            for guard in (room[: GUARD + 1], room[GUARD + 1 + size :]):
                assert bool((guard.contiguous().view(torch.uint8) == 0xFF).all())


def poison() -> None:
    """What kernels borrow next holds NaN."""
    with workspace.borrowed(1 << 20), workspace.borrowed(1 << 16), workspace.borrowed(1 << 14):
        pass
    for buffers in workspace._free.values():
        for buffer in buffers:
            buffer.numpy().fill(0xFF)  # one may have been made in inference mode


def everything(
    name: str, normed: bool, dtype: torch.dtype, sample: SampleLayout, size: int, guarded: Guarded
) -> Sequence[Tensor]:
    """Every output of every function."""
    neuron = with_norm(NEURONS[name]) if normed else NEURONS[name]
    found = kernel(neuron, neuron.hyperparameters(), dtype)
    held = torch.float64 if dtype == torch.float64 else torch.float32
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int, dtype: torch.dtype = held) -> Tensor:
        return guarded.like(0.5 + torch.rand(shape, generator=generator).to(dtype))

    def room(*shape: int, dtype: torch.dtype = held) -> Tensor:
        return guarded.like(torch.zeros(shape, dtype=dtype))

    x, g_out = drawn(STEPS, size, dtype=dtype), drawn(STEPS, size, dtype=dtype)
    states = [drawn(size) for _ in neuron.states]
    learnables = [
        drawn(*p.size(channels=sample.channels, timesteps=STEPS)) for p in neuron.learnables
    ]
    out, finals = room(STEPS, size, dtype=dtype), [room(size) for _ in states]
    poison()
    given = KernelInput(x, states, learnables, sample)
    found.forward(given, out, finals)
    written = [out, *finals]
    if found.has_spikes:
        bits, window = (room(bits_bytes(STEPS * size), dtype=torch.uint8) for _ in range(2))
        poison()
        found.forward_spikes(given, STEPS, bits, window, finals)
        written += [bits, window]
    for cut in (None, Window(2, "sliding")):
        g_x, g_finals = room(STEPS, size), [drawn(size) for _ in states]
        poison()
        gradients = found.backward(given, g_out, g_finals, cut, g_x)
        sums = dict(zip([p.name for p in neuron.learnables], gradients.learnables, strict=True))
        written += [g_x, *(g for g in gradients.states if g is not None)]
        written += [sums[name] for name in found.source.summed]
    return written


CASES = [
    pytest.param("clif", True, torch.float32, SampleLayout(3, 1), 3 * 51, id="float32"),
    *(
        pytest.param(*case, id=str(case[2]), marks=pytest.mark.exhaustive)
        for case in [
            ("clif", False, torch.float64, SampleLayout(1, 1), 67),
            ("glif", False, torch.bfloat16, SampleLayout(5, 1), 5),
        ]
    ),
]


@pytest.mark.parametrize(("name", "normed", "dtype", "sample", "size"), CASES)
def test_nothing_beyond_its_buffers_is_read_or_written(
    name: str, normed: bool, dtype: torch.dtype, sample: SampleLayout, size: int
) -> None:
    guarded = Guarded()
    first = everything(name, normed, dtype, sample, size, guarded)
    guarded.check()
    for tensor in first:
        assert not tensor.isnan().any()
        if tensor.is_floating_point():
            assert (tensor != 0).any()
    again = everything(name, normed, dtype, sample, size, Guarded())
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)


def test_what_fills_no_vector_is_computed_as_what_does() -> None:
    """A row that ends within a vector gives the numbers of one that goes on."""
    clif = NEURONS["clif"]
    found = kernel(clif, clif.hyperparameters(), torch.float32)
    x = 0.4 + torch.randn(STEPS, 1100, generator=torch.Generator().manual_seed(0))
    results = {}
    for size in (1100, 1024 + 5, 13):
        x_of_size, finals = x[:, :size].contiguous(), [torch.empty(size) for _ in range(2)]
        out, g_x = torch.empty(STEPS, size), torch.empty(STEPS, size)
        given = KernelInput(x_of_size, [None, None], [], SampleLayout(1, 1))
        found.forward(given, out, finals)
        found.backward(given, x_of_size, [None, None], None, g_x)
        results[size] = (out, g_x, *finals)
    for size, tensors in results.items():
        for tensor, whole in zip(tensors, results[1100], strict=True):
            assert torch.equal(tensor, whole[..., :size])

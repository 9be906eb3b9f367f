"""Spikes and windows as the neuron's forward kernel writes them: bits that equal the floats."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from clifctl.kernels.cpu.numba_target import NumbaKernel, kernel
from clifctl.kernels.cpu.source import SLACK, bits_bytes
from clifctl.kernels.flat import KernelInput, SampleLayout
from clifctl.kernels.ir.prologue import with_norm
from clifctl.kernels.ir.trace import spike_window
from clifctl.kernels.window import Window
from clifctl.neurons import NEURONS, SURROGATES, Neuron

# What lies behind the last bit, and has to lie there afterwards.
CANARY = 0xA5


@dataclass(frozen=True)
class Given:
    """The arguments of a kernel, at odd values."""

    kernel: NumbaKernel
    input: KernelInput
    steps: int

    @classmethod
    def of(
        cls,
        neuron: Neuron,
        sample: SampleLayout,
        samples: int,
        steps: int,
        *,
        repeated: bool = False,
        started: bool = False,
        surrogate: str = "rectangle",
    ) -> "Given":
        generator = torch.Generator().manual_seed(samples + steps)
        size = sample.period * samples
        x = 0.4 + torch.randn(1 if repeated else steps, size, generator=generator)
        states = [torch.rand(size, generator=generator) if started else None for _ in neuron.states]
        shapes = [p.size(channels=sample.channels, timesteps=steps) for p in neuron.learnables]
        learnables = [0.9 + 0.2 * torch.rand(shape, generator=generator) for shape in shapes]
        chosen = neuron.hyperparameters(surrogate=surrogate)
        given = KernelInput(x, states, learnables, sample)
        return cls(kernel(neuron, chosen, torch.float32), given, steps)

    def floats(self) -> tuple[Tensor, list[Tensor]]:
        """Output and final states."""
        size = self.input.x.shape[1]
        out, finals = torch.empty(self.steps, size), [torch.empty(size) for _ in self.input.states]
        self.kernel.forward(self.input, out, finals)
        return out, finals

    def influential(self) -> Tensor:
        """Where the gradient of an output has an influence: a gradient of 1 for each, none through
        time."""
        size = self.input.x.shape[1]
        x, g_x = self.input.x.expand(self.steps, -1).contiguous(), torch.empty(self.steps, size)
        every = replace(self.input, x=x)
        alone = Window(1, "chunked") if self.steps > 1 else None
        self.kernel.backward(every, torch.ones_like(g_x), [None for _ in every.states], alone, g_x)
        return g_x != 0

    def bits(self, *, window: bool) -> tuple[Tensor, Tensor, list[Tensor], bool]:
        """Spikes, windows (empty unless wanted), final states, and whether any output is NaN."""
        size = self.input.x.shape[1]
        bits, opened = (
            torch.full((bits_bytes(self.steps * size),), CANARY, dtype=torch.uint8)
            for _ in range(2)
        )
        finals = [torch.empty(size) for _ in self.input.states]
        broken = self.kernel.forward_spikes(
            self.input, self.steps, bits, opened if window else None, finals
        )
        if not window:
            assert bool((opened == CANARY).all())
        spikes, windows = (self._unpacked(each) for each in (bits, opened))
        return spikes, windows if window else torch.empty(0), finals, broken

    def _unpacked(self, bits: Tensor) -> Tensor:
        assert bool((bits[-SLACK:] == CANARY).all())
        each = (bits[:-SLACK, None] >> torch.arange(8) & 1).flatten().bool()
        return each[: self.steps * self.input.x.shape[1]].view(self.steps, -1)


# name: neuron, normed, channels, elements of a channel side by side, samples, steps
SIZES = {
    "odd": ("clif", False, SampleLayout(5, 13), 3, 4),
    "norm": ("clif", True, SampleLayout(3, 1), 457, 3),
    "long": ("clif", True, SampleLayout(64, 1), 400, 3),
    "channel": ("glif_channel", False, SampleLayout(7, 9), 31, 1),
    "one": ("lif", False, SampleLayout(1, 1), 1, 5),
}


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.exhaustive] if name in ("channel", "one") else [])
        for name in SIZES
    ],
)
def test_bits_are_the_floats_and_windows_what_backward_multiplies_by(
    name: str, repeated: bool
) -> None:
    neuron, normed, sample, samples, steps = SIZES[name]
    declared = with_norm(NEURONS[neuron]) if normed else NEURONS[neuron]
    given = Given.of(declared, sample, samples, steps, repeated=repeated, started=repeated)
    out, expected = given.floats()
    spikes, windows, finals, broken = given.bits(window=True)
    assert torch.equal(spikes, out == 1.0)
    assert torch.equal(windows, given.influential())
    assert not broken
    for a, b in zip(finals, expected, strict=True):
        assert torch.equal(a, b)
    if out.numel() > 9:
        assert 0.05 < out.mean() < 0.9
        assert 0.05 < windows.float().mean() < 0.9
    without, _, _, _ = given.bits(window=False)
    assert torch.equal(without, spikes)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_a_bounded_surrogate_has_a_window(surrogate: str) -> None:
    given = Given.of(NEURONS["clif"], SampleLayout(5, 7), 6, 3, surrogate=surrogate)
    bounded = surrogate in ("rectangle", "triangle")
    assert given.kernel.has_spikes
    assert given.kernel.has_window == SURROGATES[surrogate].bounded == bounded
    spikes, windows, _, _ = given.bits(window=bounded)
    assert torch.equal(spikes, given.floats()[0] == 1.0)
    if bounded:
        assert torch.equal(windows, given.influential())


def test_only_an_output_that_is_a_spike_has_bits() -> None:
    relu = NEURONS["relu"]
    assert not kernel(relu, relu.hyperparameters(), torch.float32).has_spikes
    assert spike_window(relu, relu.hyperparameters()) is None
    clif = NEURONS["clif"]
    assert not kernel(clif, clif.hyperparameters(), torch.float64).has_spikes


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 7, 104])
def test_an_output_that_is_nan_is_told(value: float, place: int) -> None:
    given = Given.of(NEURONS["clif"], SampleLayout(5, 7), 3, 3)
    given.input.x[1, place] = value
    out, _ = given.floats()
    spikes, _, _, broken = given.bits(window=True)
    assert torch.equal(spikes, out == 1.0)
    assert broken == bool(out.isnan().any())
    assert broken or value == value


def test_bits_are_the_same_at_any_number_of_threads() -> None:
    neuron, _, sample, samples, steps = SIZES["long"]
    given = Given.of(with_norm(NEURONS[neuron]), sample, samples + 1, steps)
    before = torch.get_num_threads()
    runs = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            runs.append(given.bits(window=True))
    finally:
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert torch.equal(run[0], runs[0][0])
        assert torch.equal(run[1], runs[0][1])

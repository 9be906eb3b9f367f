"""The CPU target as a program: threads, precision, compilation."""

import subprocess
import sys
import threading
from typing import Any

import pytest
import torch
from numba import njit
from torch import Tensor

from clifctl.kernels import scan
from clifctl.kernels.blocks import cut
from clifctl.kernels.cpu import elementary
from clifctl.kernels.cpu.elementwise import load_floats, store_floats
from clifctl.kernels.cpu.vectors import VECTOR_BYTES
from clifctl.neurons import NEURONS, Hyperparameters, Neuron, State


def test_another_time_constant_is_another_argument_not_another_kernel() -> None:
    from clifctl.kernels.cpu.numba_target import source

    neuron = NEURONS["clif"]
    one, other = (source(neuron, neuron.hyperparameters(tau=tau), "float32") for tau in (1.7, 3.1))
    assert one.text == other.text
    assert one.constants != other.constants
    assert source(neuron, neuron.hyperparameters(tau=1.7), "float64").text != one.text


def gradients(name: str, threads: int) -> list[torch.Tensor]:
    """Everything that a run over many blocks gives, on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        neuron = NEURONS[name]
        x = torch.randn(5, 40, 6, 11, 7, requires_grad=True)
        learnables = {
            p.name: p.start(neuron.hyperparameters(), channels=6, timesteps=5).requires_grad_()
            for p in neuron.learnables
        }
        out, final = scan(x, None, neuron.parameters(learnables), target="numba")
        (out.sum() + final[0].square().sum()).backward()
        grads = [x.grad, *(t.grad for t in learnables.values())]
        return [out.detach(), *(g for g in grads if g is not None)]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["clif", "plif", "glif", "glif_channel"])
def test_results_are_bit_identical_at_any_number_of_threads(name: str) -> None:
    runs = [gradients(name, threads) for threads in (1, 2, 3, 1)]
    assert len(runs[0]) >= 2
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            assert torch.equal(a, b)


def test_it_works_in_several_python_threads_at_once() -> None:
    expected = gradients("plif", 2)
    results: list[list[torch.Tensor]] = []
    workers = [
        threading.Thread(target=lambda: results.append(gradients("plif", 2))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=600)
    assert len(results) == 4
    # torch's generator is shared by threads: inputs may differ, shapes and finiteness may not.
    for run in results:
        for a, b in zip(run, expected, strict=True):
            assert a.shape == b.shape
            assert a.isfinite().all()


def test_it_works_after_a_fork() -> None:
    code = (
        "import os, torch;"
        "from clifctl.kernels import scan; from clifctl.neurons import NEURONS;"
        "torch.set_num_threads(2);"
        "x = torch.ones(6, 64, 4096);"
        "p = NEURONS['lif'].parameters();"
        "a = scan(x, None, p)[0][:, 3, 4000].tolist();"
        "pid = os.fork();"
        # torch's own parallel sums hang after a fork: look at a few elements.
        "b = scan(x, None, p)[0][:, 3, 4000].tolist();"
        "assert a == b;"
        "os._exit(0) if pid == 0 else None;"
        "print('child', os.waitpid(pid, 0)[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.stdout == "child 0\n", done.stderr


def test_it_works_in_inference_mode_and_without_gradients() -> None:
    x = torch.randn(4, 3, 5)
    expected, _ = scan(x, None, NEURONS["clif"].parameters(), target="reference")
    with torch.inference_mode():
        out, _ = scan(x, None, NEURONS["clif"].parameters(), target="numba")
        assert torch.equal(out, expected)
    with torch.no_grad():
        out, _ = scan(x, None, NEURONS["clif"].parameters(), target="numba")
        assert not out.requires_grad


@pytest.mark.filterwarnings("ignore")  # of torch's compiler about itself
def test_torch_compile_goes_on_where_parameters_are_made_inside() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        out, _ = scan(2 * x, None, NEURONS["lif"].parameters(), target="numba")
        return out * 3

    x = torch.randn(4, 3, 5)
    compiled = torch.compile(f, backend="eager")
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    compiled(a).sum().backward()
    f(b).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert torch.equal(a.grad, b.grad)
    assert a.grad.abs().sum() > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_broken_numbers_come_out_as_the_reference_gives_them(
    value: float, dtype: torch.dtype
) -> None:
    for name in ("lif", "clif", "klif"):
        x = torch.full((4, 1, 3), 0.6, dtype=dtype)
        x[1, 0, 1] = value
        learnables = {p.name: torch.tensor(1.0) for p in NEURONS[name].learnables}
        results = [
            scan(x, None, NEURONS[name].parameters(learnables), target=target)
            for target in ("reference", "numba")
        ]
        (expected, states), (given, given_states) = results
        assert torch.equal(given.isnan(), expected.isnan()), name
        assert torch.equal(given.nan_to_num(), expected.nan_to_num()), name
        for a, b in zip(states, given_states, strict=True):
            assert torch.equal(a.isfinite(), b.isfinite()), name
        if value != value:
            assert given[1:, 0, 1].isnan().all()


@pytest.mark.parametrize("steps", [1, 2, 17, 64])
def test_any_number_of_time_steps(steps: int) -> None:
    x = torch.randn(steps, 3, 70, dtype=torch.float64, requires_grad=True)
    results: list[tuple[torch.Tensor, torch.Tensor]] = []
    for target in ("reference", "numba"):
        x.grad = None
        out, _ = scan(x, None, NEURONS["clif"].parameters(), target=target)
        out.sum().backward()
        assert x.grad is not None
        results.append((out.detach(), x.grad.clone()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], atol=1e-12, rtol=1e-12)


def computed(name: str, x: torch.Tensor) -> torch.Tensor:
    """exp, sigmoid or tanh of the kernels, of whole vectors of numbers."""
    function = getattr(elementary, name)

    @njit
    def run(x: int, out: int, size: int) -> None:
        for at in range(0, size, VECTOR_BYTES):
            store_floats(out + at, function(load_floats(x + at)))

    out = torch.empty_like(x)
    assert x.numel() * 4 % VECTOR_BYTES == 0
    run(x.data_ptr(), out.data_ptr(), x.numel() * 4)
    return out


def test_a_sigmoid_stays_between_0_and_1() -> None:
    # Every float32 number where a rounded fraction could go beyond, and the ends.
    bits = torch.arange(*(torch.tensor([12.0, 20.0]).view(torch.int32).tolist()), dtype=torch.int32)
    positive = bits.view(torch.float32)
    for x in (positive, -positive):
        given = computed("sigmoid", x)
        assert given.min() >= 0.0
        assert given.max() <= 1.0
    ends = torch.tensor([-1e5, -3e38, -torch.inf, 1e5, 3e38, torch.inf, 0.0, torch.nan] * 2)
    expected = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.5, torch.nan] * 2)
    assert torch.equal(computed("sigmoid", ends).nan_to_num(7.0), expected.nan_to_num(7.0))


def test_polynomials_are_good_to_single_precision() -> None:
    parts = ((-87, 88, 50001), (-20, 20, 10000), (-1e-3, 1e-3, 111))
    x = torch.cat([torch.linspace(*part) for part in parts])
    for name in ("exp", "sigmoid", "tanh"):
        given = computed(name, x).double()
        exact = getattr(torch, name)(x.double())
        # Relative; of sigmoid, which is never more than 1, absolute.
        scale = torch.ones(()) if name == "sigmoid" else exact.abs().clamp(min=1e-37)
        error = (given - exact).abs() / scale
        allowed = 2 if name == "sigmoid" else 8
        assert error[exact != 0].max() < allowed * torch.finfo(torch.float32).eps, name


@pytest.mark.parametrize("size", [1, 63, 1024, 5000, 12345])
@pytest.mark.parametrize("sample", [None, 1, 7, 617, 4096])
@pytest.mark.parametrize("steps", [1, pytest.param(6, marks=pytest.mark.exhaustive), 64])
def test_blocks_cover_every_element_once(size: int, sample: int | None, steps: int) -> None:
    size = size if sample is None else size * sample
    blocks = cut(size, sample, steps=steps, rows_per_step=4, itemsize=8)
    periods = -(-size // blocks.period)
    seen = torch.zeros(size, dtype=torch.int64)
    for unit in range(blocks.units):
        group, offset = unit // blocks.chunks, (unit % blocks.chunks) * blocks.block
        first, last = group * periods // blocks.groups, (group + 1) * periods // blocks.groups
        for number in range(first, last):
            start = number * blocks.period + offset
            n = min(blocks.block, blocks.period - offset, size - start)
            if n > 0:
                seen[start : start + n] += 1
    assert (seen == 1).all()
    assert sample is None or blocks.period % sample == 0 or blocks.period == size


def test_comparisons_count_as_numbers_where_a_step_calculates_with_them() -> None:
    def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> Any:
        (v,) = state
        open_gate = (x > 0) & (v < 1)
        either = torch.where(x > 0.5, open_gate, v > 0)
        v = 0.5 * v + x * open_gate + torch.where(either, 0.25, 0.0)
        return v * (v > 0.2), (v - v * (v >= 1),)

    gated = Neuron("gated", "", "", step, (State("v", ""),), Hyperparameters, spiking=False)
    x = torch.randn(4, 3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    results = []
    for target in ("reference", "numba"):
        given = x.clone().requires_grad_()
        out, (v,) = scan(given, None, gated.parameters(), target=target)
        (out.sum() + v.square().sum()).backward()
        assert given.grad is not None
        results.append((out.detach(), v.detach(), given.grad))
    for expected, found in zip(*results, strict=True):
        assert (expected != 0).any()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

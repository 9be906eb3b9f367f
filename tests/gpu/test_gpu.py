"""What needs an NVIDIA GPU: `pytest -m gpu`. docs/gpu.md says what has been run on one."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from clifctl.kernels import scan
from clifctl.kernels.parity import Case, check, covering_cases
from clifctl.models import MODELS, NeuronChoice
from clifctl.neurons import NEURONS, Neuron
from clifctl.training.device import determinism

Run = Callable[..., Any]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use"),
]
COVERING = covering_cases(list(NEURONS.values()), "triton")
TIMED = [name for name, neuron in NEURONS.items() if neuron.max_timesteps is None]


@pytest.mark.parametrize(
    ("neuron", "case"), COVERING, ids=[f"{neuron.name}-{case}" for neuron, case in COVERING]
)
def test_parity(neuron: Neuron, case: Case) -> None:
    outcome = check(neuron, case, "cuda")
    assert outcome.passed, outcome


@pytest.mark.parametrize("steps", [1, 4, 6, 8, 10, 11, 13, 16, 20, 64])
@pytest.mark.parametrize("name", TIMED)
def test_parity_at_every_length(name: str, steps: int) -> None:
    for dtype, window in itertools.product(
        ("float32", "bfloat16"), ("full", "chunked:1", "prefix:1")
    ):
        case = Case("triton", dtype, "rectangle", window, "2x3x19x23", "defaults", "given")
        outcome = check(NEURONS[name], case, "cuda", steps=steps)
        assert outcome.passed, outcome


def _layer(name: str, timesteps: int, channels: int) -> torch.nn.Module:
    torch.manual_seed(0)
    neuron = NEURONS[name]
    return NeuronChoice(neuron, neuron.hyperparameters()).layer(channels, timesteps).cuda()


@pytest.mark.parametrize("name", TIMED)
def test_two_runs_are_bit_identical(name: str) -> None:
    layer = _layer(name, 6, 16)
    x = torch.randn(6, 32, 16, 17, 19, device="cuda")
    g = torch.randn_like(x)
    runs = []
    for _ in range(2):
        given = x.clone().requires_grad_()
        out, final = layer(given)
        wanted = [given, *layer.parameters()]
        runs.append([out, *final, *torch.autograd.grad(out, wanted, g)])
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["clif", "glif", "glif_channel"])
@pytest.mark.parametrize("window", [None, 2])
def test_forward_and_backward_go_into_a_cuda_graph(name: str, window: int | None) -> None:
    neuron = NEURONS[name]
    layer = NeuronChoice(neuron, neuron.hyperparameters(), window=window).layer(3, 4).cuda()
    x = torch.randn(4, 2, 3, 5, 7, device="cuda", requires_grad=True)
    g = torch.randn_like(x)

    def once() -> tuple[torch.Tensor, ...]:
        out, _ = layer(x)
        return out, *torch.autograd.grad(out, [x, *layer.parameters()], g)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        once()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = once()
    with torch.no_grad():
        x.copy_(torch.randn_like(x))
    graph.replay()
    for given, expected in zip(captured, once(), strict=True):
        assert torch.equal(given, expected)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_nothing_waits_for_the_device() -> None:
    layer = _layer("glif_channel", 4, 3)
    x = torch.randn(4, 2, 3, 5, device="cuda", requires_grad=True)
    layer(x)[0].sum().backward()  # compiles
    try:
        torch.cuda.set_sync_debug_mode("error")
        layer(x)[0].sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_an_input_that_is_not_aligned_on_any_device(device: str) -> None:
    if int(device[-1]) >= torch.cuda.device_count():
        pytest.skip(f"no {device}")
    flat = torch.randn(4 * 37 + 1, device=device)[1:]
    x = flat.view(4, 37).unsqueeze(1)
    for target in ("triton", "reference"):
        given = x.detach().requires_grad_()
        out, _ = scan(given, None, NEURONS["clif"].parameters(), target=target)
        out.sum().backward()
        if target == "triton":
            expected, gradient = out, given.grad
    assert torch.equal(out, expected)
    assert torch.allclose(given.grad, gradient, atol=1e-5)


def test_more_elements_than_32_bits_can_count() -> None:
    rows = 2**31 // (4 * 2**20) + 1
    if torch.cuda.get_device_properties(0).total_memory < 24 * 2**30:
        pytest.skip("needs 24 GiB")
    x = torch.zeros(4, rows, 2**20, device="cuda", dtype=torch.float16)
    x[:, -1] = 2.0
    with torch.no_grad():
        out, _ = scan(x, None, NEURONS["lif"].parameters())
    assert out[:, -1].all()
    assert not out[:, :-1].any()


@pytest.mark.filterwarnings("ignore")  # of torch's compiler about itself
@pytest.mark.parametrize("name", ["clif", "glif_channel"])
def test_torch_compile_with_inductor(name: str) -> None:
    layer = _layer(name, 4, 3)
    compiled = torch.compile(lambda x: 2 * layer(3 * x)[0], fullgraph=True)
    x = torch.randn(4, 2, 3, 5, device="cuda")
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = compiled(a), 2 * layer(3 * b)[0]
    out.square().sum().backward()
    expected.square().sum().backward()
    assert torch.equal(out, expected)
    assert torch.allclose(a.grad, b.grad, atol=1e-5)


def test_the_benchmark_runs(clifctl: Run) -> None:
    shape = ["--shape", "4x8x16x16x16", "--repeats", "2"]
    result = json.loads(clifctl("bench", "neurons", "--device", "cuda", *shape, "--json").out)
    assert result["target"] == "triton"
    assert [row["neuron"] for row in result["rows"]] == list(NEURONS)


@pytest.mark.parametrize("model", ["vgg11", "resnet18", "spike_driven_transformer"])
def test_the_gradients_of_a_net_repeat_their_bits(model: str) -> None:
    torch.manual_seed(0)
    neuron = NEURONS["clif"]
    net = MODELS[model].build(
        MODELS[model].options(width=8), input_shape=(2, 128, 96), classes=10, timesteps=4,
        neuron=NeuronChoice(neuron, neuron.hyperparameters()),
    )  # fmt: skip
    net = net.to("cuda").to(memory_format=torch.channels_last)
    images = torch.rand(4, 16, 2, 128, 96, device="cuda")
    with determinism(True):
        first, second = (
            torch.autograd.grad(net(images)[0].square().sum(), [*net.parameters()])
            for _ in range(2)
        )
    for name, one, other in zip(dict(net.named_parameters()), first, second, strict=True):
        assert torch.equal(one, other), name


def test_a_net_trains(clifctl: Run, tiny: list[str]) -> None:
    done = clifctl("train", "digits_snn5", *tiny, "--device", "cuda", "--json")
    assert done.code == 0, done.err
    assert done.json["target"] == "triton"

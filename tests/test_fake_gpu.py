"""Device mix-ups, found without a GPU: data, forward, loss and evaluation on fake CUDA tensors.

A fake tensor has a shape, a dtype and a device, and no values; an operation that mixes devices
raises, as it would on a real GPU. The backward of a fake CUDA tensor needs a real driver: whole
steps are in test_gpu_steps.py.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from clifctl.data import LoadedData, batches, shuffled_batches
from clifctl.experiments.build import build_net, load_data, loss_of, repeat_of
from clifctl.models import MODELS, SharedDropout, SpikingNet
from clifctl.neurons import NEURONS
from clifctl.recipe.catalog import names
from clifctl.recipe.load import load_recipe
from clifctl.recipe.schema import Recipe, validate
from clifctl.training.evaluation import evaluate

GPU = torch.device("cuda")
# What brings values from the GPU to the CPU.
READS = {
    getattr(Tensor, name)
    for name in ("item", "tolist", "cpu", "__int__", "__float__", "__bool__", "__index__")
}


MIXED = "two devices|different devices|same device"


class FakeGpu(TorchFunctionMode):
    """Within it a GPU seems to be there: CPU tensors are real, those on the GPU are fake, and what
    is read from the GPU is zeros."""

    def __init__(self) -> None:
        super().__init__()
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # Without a driver no memory can be pinned.
        kwargs = {name: value for name, value in (kwargs or {}).items() if name != "pin_memory"}
        leaves = tree_leaves((args, kwargs))
        fake = any(isinstance(leaf, FakeTensor) for leaf in leaves)
        if fake and (func in READS or (func is Tensor.to and _names_cpu(leaves))):
            zeros = torch.zeros(args[0].shape, dtype=args[0].dtype)
            return zeros if func in (Tensor.cpu, Tensor.to) else func(zeros)
        if fake or any(isinstance(leaf, torch.device) and leaf.type == "cuda" for leaf in leaves):
            with self._fake:
                if func is Tensor.to and torch.is_inference_mode_enabled():
                    # There torch would look for the real device.
                    args = (self._fake.from_tensor(args[0].clone()), *args[1:])
                return func(*args, **kwargs)
        return func(*args, **kwargs)


def _names_cpu(leaves: list[Any]) -> bool:
    return any(str(leaf) == "cpu" for leaf in leaves if isinstance(leaf, str | torch.device))


@pytest.fixture
def fake_gpu(fresh_constants: None) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the real work is small
    # FakeTensor has a tolist of its own, which takes a tensor apart.
    zeros = patch.object(FakeTensor, "tolist", lambda self: self.cpu().tolist())
    with FakeGpu(), zeros:
        yield
    torch.set_num_threads(threads)


def _float16() -> torch.autocast:
    """torch's autocast for a GPU, which turns itself off where there seems to be none."""
    with patch.object(torch.cuda, "is_available", lambda: True):
        return torch.autocast("cuda", dtype=torch.float16)


def _on_gpu(recipe: Recipe) -> tuple[LoadedData, SpikingNet]:
    data, net = load_data(recipe).to(GPU), build_net(recipe).to(GPU)
    assert {tensor.device.type for tensor in (*net.parameters(), *net.buffers())} == {"cuda"}
    return data, net


def _train_and_test(recipe: Recipe) -> None:
    """One batch forward and its loss, in both arithmetics, then a whole evaluation."""
    data, net = _on_gpu(recipe)
    loss, repeat = loss_of(recipe), repeat_of(recipe)
    generator = torch.Generator().manual_seed(0)
    batch = shuffled_batches(data.train, recipe.train.batch_size, generator, data.augment)
    inputs, targets = next(batch)
    assert inputs.device.type == targets.device.type == "cuda"
    net.train()
    for arithmetic in (nullcontext(), _float16()):
        with arithmetic:
            logits, state = net(inputs, repeat=repeat)
        value = loss(logits.float(), targets)
        shape = (recipe.timesteps, len(targets), recipe.data.classes)
        assert (logits.shape, logits.device.type) == (shape, "cuda")
        assert {tensor.device.type for layer in state for tensor in layer} <= {"cuda"}
        assert (value.shape, value.device.type, value.requires_grad) == ((), "cuda", True)
    result = evaluate(
        net, batches(data.test, recipe.eval.batch_size), loss, repeat=repeat, with_rates=True
    )
    assert result.samples == len(data.test)
    assert len(result.accuracy_percent_per_step) == recipe.timesteps
    assert bool(result.firing_rates) == recipe.neuron.neuron.spiking


def _recipe(name: str, root: Path, *overrides: str) -> Recipe:
    """A recipe of the catalog on tiny data, narrow: where tensors lie is the same at any width."""
    files = [] if name.startswith(("digits", "mnist1d")) else [f"data.root={root}"]
    narrow = ["model.width=4"] if any(net in name for net in ("resnet", "vgg", "sdt")) else []
    return load_recipe(name, ["train.batch_size=20", *files, *narrow, *overrides]).recipe


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize(
    "name",
    [  # 784 steps are more of those of the rows
        pytest.param(name, marks=[pytest.mark.exhaustive] if name.endswith("_pixels") else [])
        for name in names()
    ],
)
def test_every_recipe(name: str, data_root: Path, recorded: ModuleType, tmp_path: Path) -> None:
    overrides: list[str] = []
    if load_recipe(name).recipe.data.dataset.camera is not None:
        overrides = [f"data.root={data_root}", f"data.cache={tmp_path}", "timesteps=2"]
        recorded.prepare(name, *overrides)
    recipe = _recipe(name, data_root, *overrides)
    _train_and_test(recipe)


def one_of_each_kind() -> list[Any]:
    """Every net; those that have more of another's layers are more cases of a kind."""
    deeper = ("sew_resnet34", "spiking_vgg16")
    assert set(deeper) < set(MODELS)
    return [
        pytest.param(name, marks=pytest.mark.exhaustive) if name in deeper else name
        for name in MODELS
    ]


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize("model", one_of_each_kind())
def test_every_net(model: str, data_root: Path) -> None:
    document = _recipe("cifar10_resnet18", data_root).document
    narrow = {"width": 4} if "width" in MODELS[model].options.model_fields else {}
    _train_and_test(validate({**document, "model": {"name": model, **narrow}}, model))


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize(
    "data",
    [
        {"name": "npz", "shape": [3, 8, 8], "classes": 4},
        {"name": "image_folder", "size": 16, "classes": 3},
        {"name": "image_folder", "size": 16, "classes": 3, "in_memory": False},
    ],
    ids=["npz", "image_folder", "streamed"],
)
def test_data_of_a_person(data: dict[str, Any], data_root: Path) -> None:
    document = _recipe("digits_rows_mlp", data_root).document
    recipe = validate({**document, "data": {**data, "root": str(data_root)}}, data["name"])
    _train_and_test(recipe)


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize("neuron", NEURONS)
def test_every_neuron(neuron: str, data_root: Path) -> None:
    steps = NEURONS[neuron].max_timesteps or 2
    names = [f"neuron.name={neuron}", f"timesteps={steps}"]
    _train_and_test(_recipe("digits_snn5", data_root, *names))


@pytest.mark.usefixtures("fake_gpu")
def test_what_is_read_is_zeros_and_cpu_tensors_are_real() -> None:
    x = torch.ones(3, device=GPU)
    assert isinstance(x, FakeTensor)
    assert x.cpu().tolist() == x.tolist() == x.to("cpu").tolist() == [0.0] * 3
    assert float(x[0]) == x[1].item() == 0.0
    assert torch.ones(3).tolist() == [1.0] * 3


class Careless(SharedDropout):
    """A layer that draws its mask on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.empty(x[:1].shape).bernoulli_(0.5)


@pytest.mark.usefixtures("fake_gpu")
def test_a_mix_up_would_be_found(data_root: Path) -> None:
    recipe = _recipe("digits_rows_mlp", data_root)
    data, net = _on_gpu(recipe)
    inputs, targets = next(batches(data.test, 4))
    with pytest.raises(RuntimeError, match=MIXED):
        Careless(0.5)(inputs)
    with pytest.raises(RuntimeError, match=MIXED):
        net(torch.zeros(inputs.shape))
    with pytest.raises(RuntimeError, match=MIXED):
        loss_of(recipe)(net(inputs)[0], torch.zeros(len(targets), dtype=torch.long))

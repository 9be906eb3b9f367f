"""What a training step on a GPU copies there and waits for, counted without a GPU.

The GPU is a device that torch knows by name and this machine does not have: its tensors are fake, a
shape, a dtype and a place without values. (Of the names it is one whose backward needs no driver.)
Every operation of a step is seen, forward, backward and optimizer; kernels are launched into the
void. Whether each step can go into a CUDA graph is for a real GPU to say: tests/gpu.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.optim import optimizer
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clifctl import devices
from clifctl.data import Augmentation, shuffled_batches
from clifctl.data.augment.mixing import draw_cutmix, draw_mixup, mixed
from clifctl.data.augment.pipelines import Normalise, crop_cutout_flip, flip
from clifctl.data.augment.transforms import random_erasing
from clifctl.data.events.options import EventOptions
from clifctl.data.events.pipelines import CHANGES, augmentation_of, preparation_of
from clifctl.experiments.build import (
    build_net,
    load_data,
    optimizer_of,
    training_step_of,
)
from clifctl.kernels import targets
from clifctl.kernels.gpu import triton_target
from clifctl.models import MODELS, SpikingNet
from clifctl.recipe.load import load_recipe
from clifctl.recipe.schema import Recipe, validate
from clifctl.training import timing
from clifctl.training.precision import Precision
from clifctl.training.step import Sums
from clifctl.transfer import constant, to_device

GPU = torch.device("lazy", 0)
aten = torch.ops.aten
# Whose result depends on values: torch reads them before it goes on.
READS = {
    *(aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select),
    *(aten.unique_dim, aten._unique2, aten.repeat_interleave, aten.bincount),
}
INDEXED = {aten.index, aten.index_put, aten.index_put_}
# Which take a number from the CPU along with their launch.
NUMBERS = {
    *(aten.add, aten.sub, aten.mul, aten.div, aten.add_, aten.sub_, aten.mul_, aten.div_),
    *(aten.eq, aten.ne, aten.lt, aten.le, aten.gt, aten.ge, aten.remainder, aten.bitwise_and),
}
# Of which fake tensors know nothing; they change what they are given, and return nothing.
SILENT = {
    *(aten._fused_sgd_, aten._fused_adam_, aten._fused_adamw_, aten._amp_update_scale_),
    aten._amp_foreach_non_finite_check_and_unscale_,
}


class CountingGpu(TorchDispatchMode):
    """Within it a GPU seems to be there; `copies` are those to it that nothing waits for, `waits`
    what the CPU waits for it for."""

    def __init__(self) -> None:
        super().__init__()
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.pinned: set[int] = set()
        self.copies: list[str] = []
        self.waits: list[str] = []

    def reset(self) -> None:
        self.copies, self.waits = [], []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        there = [t for t in tensors if isinstance(t, FakeTensor)]
        here = [t for t in tensors if not isinstance(t, FakeTensor)]
        named = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
        to_gpu = any(device.type == GPU.type for device in named)
        if not there and not to_gpu:
            return func(*args, **kwargs)
        packet, name = func.overloadpacket, str(func)
        if there and any(device.type == "cpu" for device in named):
            self.waits.append(f"{name} to the CPU")
            return torch.zeros(there[0].shape, dtype=there[0].dtype)
        if packet in READS or (packet in INDEXED and _by_mask(args[1])):
            self.waits.append(name)
            if packet is aten._local_scalar_dense:
                return torch.zeros((), dtype=there[0].dtype).item()
        if here:
            self._brought(packet, name, here, kwargs)
        if packet in SILENT:
            return None
        with self._fake:
            return func(*args, **kwargs)

    def _brought(self, packet: Any, name: str, here: list[Tensor], kwargs: Any) -> None:
        """Note how `here`, on the CPU, comes into an operation on the GPU."""
        if packet in NUMBERS and all(tensor.dim() == 0 for tensor in here):
            return
        pinned = all(t.untyped_storage().data_ptr() in self.pinned for t in here)
        if packet is aten._to_copy and pinned and kwargs.get("non_blocking"):
            self.copies.append(name)
        else:
            self.waits.append(f"{name} from the CPU")


def _by_mask(indices: Any) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, fresh_constants: None) -> Iterator[CountingGpu]:
    mode = CountingGpu()
    monkeypatch.setattr(devices, "GPU", GPU.type)
    monkeypatch.setitem(targets.DEVICES, "triton", (GPU.type,))
    monkeypatch.setattr(triton_target.TritonKernel, "_launch", lambda *args, **kwargs: None)
    monkeypatch.setattr(timing.PhaseClock, "_event", lambda self: None)
    monkeypatch.setattr(timing.PhaseClock, "read", lambda self: mode.waits.append("the clock"))
    for name, module in list(sys.modules.items()):
        # What surrounds a kernel is looked at, not taken for one operation.
        if name.startswith("clifctl.kernels") and hasattr(module, "is_eager"):
            monkeypatch.setattr(module, "is_eager", lambda x: True)
    for module in (optimizer, _foreach_utils):
        for kind in ("_get_fused_kernels", "_get_foreach_kernels"):
            monkeypatch.setattr(module, f"{kind}_supported_devices", lambda: [GPU.type])
    empty = torch.empty

    def pinnable(*args: Any, pin_memory: bool = False, **kwargs: Any) -> Tensor:
        made = empty(*args, **kwargs)
        if pin_memory:
            mode.pinned.add(made.untyped_storage().data_ptr())
        return made

    monkeypatch.setattr(torch, "empty", pinnable)
    monkeypatch.setattr(FakeTensor, "tolist", lambda self: self.to("cpu").tolist())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=GPU) is a copy too
    try:
        with mode:
            yield mode
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
        torch.set_num_threads(threads)


def _on_gpu(net: SpikingNet) -> SpikingNet:
    """`net` with fake tensors for its parameters and buffers."""
    for module in net.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(parameter.detach().to(GPU))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to(GPU)
    return net


def _steps(recipe: Recipe, gpu: CountingGpu, arithmetic: str = "float32") -> list[list[str]]:
    """The copies of three steps of an epoch, of which the first one may wait."""
    data = load_data(recipe).to(GPU)
    net = _on_gpu(build_net(recipe))
    chosen, _ = optimizer_of(recipe, net)
    step = training_step_of(recipe, net, chosen, Precision(arithmetic, GPU))
    generator = torch.Generator().manual_seed(0)
    found, sums = [], Sums()
    step.net.train()
    step.clock.start()
    batches = iter(shuffled_batches(data.train, recipe.train.batch_size, generator, data.augment))
    for number in range(1, 4):
        gpu.reset()
        inputs, targets = next(batches)
        step.clock.mark("data")
        step(1, number, inputs, targets, sums)
        step.clock.mark("rest")
        if number > 1:
            assert gpu.waits == []
            found.append(gpu.copies)
    return found


@pytest.mark.parametrize(
    "model",
    [
        # More of another's layers are more cases of a kind.
        pytest.param(
            name,
            marks=[pytest.mark.exhaustive]
            if name in ("sew_resnet34", "spiking_resnet18", "spiking_vgg16")
            else [],
        )
        for name in MODELS
    ],
)
def test_every_net(model: str, data_root: Path, gpu: CountingGpu) -> None:
    document = load_recipe("cifar10_resnet18", [f"data.root={data_root}"]).recipe.document
    narrow = {"width": 4} if "width" in MODELS[model].options.model_fields else {}
    document = {**document, "timesteps": 2, "model": {"name": model, **narrow}}
    document["train"] = {**document["train"], "batch_size": 3}
    for copies in _steps(validate(document, model), gpu):
        assert len(copies) <= 1


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "data",
    [
        {"name": "cifar10", "augmentation": "strong"},
        {"name": "tiny_imagenet", "augmentation": "strong"},
        {"name": "image_folder", "size": 16, "classes": 3, "in_memory": False},
    ],
    ids=["erased and mixed", "transformed", "decoded"],
)
def test_what_workers_bring(
    data: dict[str, Any], workers: int, data_root: Path, gpu: CountingGpu
) -> None:
    document = load_recipe("digits_rows_mlp", ["train.batch_size=4"]).recipe.document
    section = {**data, "workers": workers, "root": str(data_root)}
    recipe = validate({**document, "timesteps": 2, "data": section}, data["name"])
    for copies in _steps(recipe, gpu):
        assert len(copies) == 1


@pytest.mark.parametrize("arithmetic", ["float32", "float16"])
@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_every_optimizer(
    name: str, arithmetic: str, gpu: CountingGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch has no autocast for a device of that name; what it casts is copied on the device.
    monkeypatch.setattr(Precision, "forward", lambda self: nullcontext())
    keys = [f"train.optimizer={name}", "train.clip_norm=1", "train.lr=0.01", "train.accumulate=2"]
    recipe = load_recipe("digits_rows_mlp", keys).recipe
    assert _steps(recipe, gpu, arithmetic) == [[], []]


def _images(augment: Augmentation) -> tuple[Augmentation, tuple[int, ...], torch.dtype]:
    return augment, (1, 4, 3, 16, 16), torch.uint8


def _events(name: str, resize: str) -> tuple[Augmentation, tuple[int, ...], torch.dtype]:
    keys = {"values": "authors_bytes", "size": 12, "resize": resize, "augmentation": name}
    options = EventOptions.model_validate(keys)
    augment = augmentation_of(options, preparation_of(options))
    assert augment is not None
    return augment, (2, 4, 2, 16, 16), torch.int32


def _erase_and_mix(
    inputs: Tensor, targets: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    inputs = random_erasing(0.5)(NORMALISE(inputs), generator)
    for mix in (draw_mixup(generator), draw_cutmix(inputs.shape, generator)):
        inputs, weights = mixed(inputs, targets, 10, mix)
    return inputs, weights


NORMALISE = Normalise((0.4, 0.5, 0.6), (0.2, 0.2, 0.2))
AUGMENTATIONS = {
    "crop_cutout_flip": _images(crop_cutout_flip(NORMALISE, 2)),
    "flip": _images(flip(NORMALISE)),
    "erase_and_mix": _images(_erase_and_mix),
    **{name: _events(name, "nearest") for name in CHANGES},
    "flip_rotate, resized": _events("flip_rotate", "antialias"),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation(name: str, gpu: CountingGpu) -> None:
    augment, shape, dtype = AUGMENTATIONS[name]
    inputs, targets = (
        torch.zeros(size, dtype=of, device=GPU) for size, of in ((shape, dtype), (4, torch.int64))
    )
    generator = torch.Generator().manual_seed(0)
    augment(inputs, targets, generator)  # brings what is the same for every batch
    gpu.reset()
    augment(inputs, targets, generator)
    assert (gpu.waits, len(gpu.copies)) == ([], 1)


WAITS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x[0]),
    "an if": lambda x: 1 if x.isfinite().all() else 0,
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "nonzero": lambda x: x.nonzero(),
    "a mask as index": lambda x: x[x > 0],
    "tensor": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "new_tensor": lambda x: x.new_tensor([1.0]),
    "to": lambda x: torch.ones(3).to(x.device),
    "to, not from pinned memory": lambda x: torch.ones(3).to(x.device, non_blocking=True),
    "assignment by a mask": lambda x: x.__setitem__(x > 0, torch.ones(3, device=x.device)),
    "assignment from the CPU": lambda x: x.__setitem__(0, torch.tensor(1.0)),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_waits_would_be_found(name: str, gpu: CountingGpu) -> None:
    x = torch.ones(3, device=GPU)
    assert gpu.waits == []
    with suppress(DynamicOutputShapeException):  # it depends on values, which are not there
        WAITS[name](x)
    assert (len(gpu.waits) > 0, gpu.copies) == (True, [])


def test_what_is_brought_is_one_copy(gpu: CountingGpu) -> None:
    there = to_device([torch.ones(3, 2), torch.ones(5, dtype=torch.bool), torch.ones(())], GPU)
    assert (len(gpu.copies), gpu.waits) == (1, [])
    assert [(tuple(t.shape), t.dtype, t.device) for t in there] == [
        ((3, 2), torch.float32, GPU),
        ((5,), torch.bool, GPU),
        ((), torch.float32, GPU),
    ]
    for _ in range(2):
        assert constant((1.0, 2.0), torch.float32, GPU).shape == (2,)
    assert gpu.waits == ["aten._to_copy.default from the CPU"]

import importlib.util
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from clifctl.cli.app import run

# A test run in the background of a script ignores Ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
# A run that takes about a second: two epochs of a tiny net on the real digits.
TINY = ["train.epochs=2", "train.batch_size=256", "model.channels=[2,2,2,2,4]", "timesteps=2"]


# Tests of values, which must hold on every CPU: `pytest -m numerical` runs them alone.
NUMERICAL = ["kernels", "neurons", "models", "training", "convert", "analysis"]
NUMERICAL += ["test_spikingjelly.py", "test_distributed.py"]
# Their kernels are the same on every CPU; files, processes and threads.
NOT_OF_VALUES = ["test_triton.py", "test_cache.py", "test_cache_processes.py", "test_threads.py"]
# What a plain `pytest` leaves out, and so does `pytest -m numerical`.
ON_REQUEST = ("exhaustive", "long", "product", "machine_code", "gpu")
# More processes than this gain little: each imports torch, and takes half a gigabyte.
MOST_PROCESSES = 8
# What torch starts from where nobody sets a seed.
SEED = 67280421310721

# What a terminal or a service sets to change how output looks, or how much work is done at once.
OUTSIDE = ["COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS"]
OUTSIDE += ["GITHUB_ACTIONS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"]
OUTSIDE += ["CLIFCTL_DATA"]


def pytest_configure(config: pytest.Config) -> None:
    """Any machine is one without a GPU, as fast as it likes, whose cache can be written."""
    # On a busy machine an example may take any time. The same examples where nobody looks on.
    patient: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile(
        "clifctl", **patient, database=None, derandomize="CI" in os.environ, print_blob=True
    )
    settings.load_profile("clifctl")
    for name in OUTSIDE:
        os.environ.pop(name, None)
    if (worker := getattr(config, "workerinput", None)) is not None:
        # One process a core: a second thread would wait for the other process.
        os.environ["OMP_NUM_THREADS"] = str(max(1, _cores() // worker["workercount"]))
    # Threads that spin while they wait take the cores from the other processes: ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if not _wants_gpu(config):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError:
        # clifctl would warn, and here a warning is an error.
        os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="clifctl-tests-")
        os.environ.setdefault("MPLCONFIGDIR", os.environ["XDG_CACHE_HOME"])


def _wants_gpu(config: pytest.Config) -> bool:
    expression = config.option.markexpr
    return "gpu" in expression and "not gpu" not in expression


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process a core; 0, this process alone, on one core, on a GPU and for tests by name."""
    if _wants_gpu(config) or any("::" in argument for argument in config.args):
        return 0
    return min(_cores(), MOST_PROCESSES) if _cores() > 1 else 0


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _of_values(item.path) and not any(map(item.get_closest_marker, ON_REQUEST)):
            item.add_marker(pytest.mark.numerical)


def _of_values(path: Path) -> bool:
    place = path.relative_to(ROOT / "tests").parts
    return place[-1] not in NOT_OF_VALUES and not set(NUMERICAL).isdisjoint(place)


@pytest.fixture(autouse=True)
def seed() -> None:
    """A test that sets no seed draws the same numbers, whatever has run before it."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(SEED)


@pytest.fixture
def few_spikes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nets of tests are tiny: few spikes are enough for events."""
    from clifctl.kernels.cpu import rule

    for name in ("FEWEST_IN_MAPS", "FEWEST_IN_VECTORS"):
        monkeypatch.setattr(rule, name, {True: 0, False: 0})


@pytest.fixture(autouse=True)
def few_spikes_in_tests_of_values(request: pytest.FixtureRequest) -> None:
    """See `few_spikes`."""
    if _of_values(request.path):
        request.getfixturevalue("few_spikes")


@pytest.fixture
def fresh_constants() -> Iterator[None]:
    """For tests with tensors that only pretend: none of them stays for real work, and the other way
    round."""
    from clifctl.transfer import _constants

    _constants.clear()
    yield
    _constants.clear()


COMPILING = ("note: compiling ", "note: compiled ")


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def clifctl(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Ran]:
    """Run the command line in an empty folder: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        # What is compiled for a test depends on those that ran before it.
        lines = captured.err.splitlines(keepends=True)
        told = [line for line in lines if not line.startswith(COMPILING)]
        return Ran(code, captured.out, "".join(told))

    return invoke


@pytest.fixture
def tiny() -> list[str]:
    return list(TINY)


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def on_disk() -> ModuleType:
    """`tests/data/fixtures.py`: writers of tiny data sets in their real on-disk formats."""
    return _module("fixtures")


@pytest.fixture(scope="session")
def recorded() -> ModuleType:
    """`tests/data/event_fixtures.py`: writers of tiny event recordings."""
    return _module("event_fixtures")


@pytest.fixture(scope="session")
def cameras() -> ModuleType:
    """`tests/data/camera_fixtures.py`: writers of the files of event cameras."""
    return _module("camera_fixtures")


def _module(name: str) -> ModuleType:
    """A module of helpers in tests/data."""
    # With --import-mode=importlib the tests are no package that could be imported by name.
    path = ROOT / "tests" / "data" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"clifctl_data_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def data_root(
    tmp_path_factory: pytest.TempPathFactory, on_disk: ModuleType, recorded: ModuleType
) -> Path:
    """One root with every data set on it, tiny. Read it, do not change it.

    MNIST (as it is) and Fashion-MNIST (packed): 60 training and 20 test images each;
    CIFAR-10: 200 training images (40 a batch) and 20 test images; CIFAR-100: 200 and 100;
    Tiny-ImageNet: 200 classes, 1 training image each, 20 test images; an image folder of 3 classes
    (`data.size=16 data.classes=3`), 4 and 2 images each; `data.npz` of 4 classes
    (`data.shape=[3,8,8] data.classes=4`), 24 and 8 samples; SHD: 40 and 21 recordings; SSC: 36, 7
    for validation and 9; DVS128 Gesture: 22 and 11 samples;
    CIFAR10-DVS: 4 numbers a class, of which each split tests on one or two; N-MNIST: 20 and 10. In
    `own`, event files of 3 classes (`data.sensor=[24,32] data.classes=3`), 9 and 6 samples. Frames
    are not prepared.
    """
    root = tmp_path_factory.mktemp("data")
    on_disk.write_mnist(root / "MNIST" / "raw")
    on_disk.write_mnist(root / "FashionMNIST" / "raw", packed=True)
    on_disk.write_cifar10(root)
    on_disk.write_cifar100(root)
    on_disk.write_tiny_imagenet(root / "tiny-imagenet-200")
    on_disk.write_image_folder(root)
    on_disk.write_npz(root / "data.npz")
    on_disk.write_shd(root)
    on_disk.write_ssc(root)
    recorded.write_dvs_gesture(root / "DvsGesture")
    recorded.write_cifar10_dvs(root / "cifar10_dvs")
    recorded.write_n_mnist(root / "n_mnist")
    recorded.write_event_files(root / "own")
    return root

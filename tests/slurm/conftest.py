import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def slurm() -> ModuleType:
    """`cluster.py`, where Slurm is installed."""
    path = Path(__file__).with_name("cluster.py")
    spec = importlib.util.spec_from_file_location("clifctl_slurm_cluster", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if missing := module.missing():
        pytest.skip(missing)
    return module


@pytest.fixture(scope="module")
def cluster(slurm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file for SLURM_CONF of a cluster that runs."""
    with slurm.started(tmp_path_factory.mktemp("slurm")) as conf:
        yield conf

"""No module calls a device by its name but `clifctl.devices`."""

import ast
import re
from pathlib import Path

import pytest
import torch

import clifctl
from clifctl import devices

PACKAGE = Path(clifctl.__file__).parent
NAME = re.compile(r"(cpu|cuda|mps|xpu|hip)(:\d+)?")


def _trespasses(source: str) -> list[str]:
    """Device names as strings, and calls of `.cuda()`, in a module's source."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if NAME.fullmatch(node.value):
                found.append(repr(node.value))
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "cuda"
        ):
            found.append(".cuda()")
    return found


def test_device_names_have_one_home() -> None:
    seen = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        seen += 1
        expected = ["'cpu'", "'cuda'"] if path.name == "devices.py" else []
        assert _trespasses(path.read_text(encoding="utf-8")) == expected, path
    assert seen > 100


@pytest.mark.parametrize(
    "line", ["x.cuda()", "x = torch.ones(3).cuda(0)", "x.to('cuda:1')", "torch.device('cpu')"]
)
def test_a_trespass_would_be_seen(line: str) -> None:
    assert len(_trespasses(line)) == 1
    assert _trespasses("x.cpu(); torch.cuda.is_available(); '--device takes cpu or cuda'") == []


def test_the_cpu_is_known_everywhere() -> None:
    cpu = torch.device(devices.CPU)
    assert not devices.is_gpu(cpu)
    assert devices.device_name(cpu)
    assert devices.memory_bytes(cpu) > 2**28
    assert devices.is_gpu(torch.device(devices.GPU, 1))
    devices.wait_for(cpu)
    with devices.current(cpu):
        pass


def test_a_missing_gpu_has_a_reason_of_one_line() -> None:
    reason = devices.gpu_missing()
    assert (reason is None) == torch.cuda.is_available()
    assert len(devices.gpus()) == torch.cuda.device_count()
    if reason is not None:
        assert reason
        assert "\n" not in reason

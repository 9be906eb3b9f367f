"""The catalog works from a wheel and from an editable install, in any working folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from clifctl.recipe import catalog

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


def list_with(site: Path, cwd: Path) -> tuple[str, list[str]]:
    """Where clifctl comes from and what it lists, in a process that knows `site` alone."""
    code = (
        f"import site; site.addsitedir({str(site)!r}); import sys; "
        f"sys.path.insert(0, sys.path.pop());"  # before any other clifctl
        "import clifctl; from clifctl.recipe import catalog; "
        "from clifctl.recipe.catalog import read_text; "
        "assert read_text('digits_snn5').text.startswith('# The quick start');"
        "print(clifctl.__file__); print(*catalog.names())"
    )
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    where, names = done.stdout.splitlines()
    return where, names.split()


@pytest.mark.parametrize("version", ["standard", "editable"])
def test_installed(version: str, tmp_path: Path, root: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    built = tmp_path / "wheel"
    (path,) = WheelBuilder(str(root)).build(directory=str(built), versions=[version])
    site = tmp_path / "site"
    with zipfile.ZipFile(path) as wheel:
        wheel.extractall(site)
    where, names = list_with(site, tmp_path)
    expected = root if version == "editable" else site
    assert Path(where) == expected / "clifctl" / "__init__.py"
    assert names == NAMES
    assert len(names) >= 12
    if version == "standard":
        shipped = {p.name: p.read_text() for p in (site / "clifctl" / "recipes").iterdir()}
        assert (site / "clifctl" / "paper" / "published" / "table1.yaml").is_file()
        assert shipped == {p.name: p.read_text() for p in (root / "recipes").iterdir()}
        metadata = next(site.glob("clifctl-*.dist-info"))
        assert (metadata / "licenses" / "LICENSE").is_file()
        assert "clifctl = clifctl.__main__:main" in (metadata / "entry_points.txt").read_text()


def test_names() -> None:
    assert catalog.names() == NAMES

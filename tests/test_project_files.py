"""Files beside the code: they are whole, and say what the code says."""

import re
from pathlib import Path
from typing import Any

import yaml
from hatchling.builders.sdist import SdistBuilder

import clifctl

ROOT = Path(__file__).resolve().parent.parent


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def pinned() -> dict[str, str]:
    """package -> version, as continuous integration installs them."""
    text = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))


def test_pre_commit_runs_the_versions_of_continuous_integration() -> None:
    ruff, mypy = read(".pre-commit-config.yaml")["repos"]
    assert [hook["id"] for hook in ruff["hooks"]] == ["ruff-check", "ruff-format"]
    assert [hook["id"] for hook in mypy["hooks"]] == ["mypy"]
    assert ruff["rev"] == f"v{pinned()['ruff']}"
    assert mypy["rev"] == f"v{pinned()['mypy']}"
    installed = [line.split("==") for line in mypy["hooks"][0]["additional_dependencies"]]
    assert dict(installed) == {
        name: version for name, version in pinned().items() if name not in ("ruff", "mypy")
    }


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == clifctl.__version__
    assert citation["authors"] == [{"name": "The clifctl authors"}]
    (paper,) = citation["references"]
    assert paper["title"] in (ROOT / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    assert paper["year"] == 2024
    authors = [author["family-names"] for author in paper["authors"]]
    assert (authors[0], authors[-1], len(authors)) == ("Huang", "Cheng", 8)


def test_the_source_distribution_holds_what_its_tests_read() -> None:
    folders = (".ci", "benchmarks", "clifctl", "docs", "recipes", "tests")
    files = {path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()}
    files |= {path for path in ROOT.glob("*") if path.suffix in (".cff", ".md")}
    files |= {ROOT / "LICENSE", ROOT / ".pre-commit-config.yaml"}
    ours = {path for path in files if "__pycache__" not in path.parts}
    packed = {Path(file.path) for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    assert sorted(ours - packed) == []
    assert len(ours) > 500

"""What the pages show: commands run, links lead somewhere, files exist, lists are complete."""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
BESIDE = [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES = [ROOT / "README.md", *DOCS, *BESIDE, ROOT / "benchmarks" / "README.md"]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
PAGE = pytest.mark.parametrize("page", TEXTS)

LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
# A file of the repository that a page names in passing, as `clifctl/errors.py`.
NAMED_FILE = re.compile(
    r"`((?:\.ci|benchmarks|clifctl|docs|recipes|tests)/[\w./-]+\.(?:cpp|json|md|py|sh|txt|yaml))`"
)


def blocks(page: str, kind: str) -> list[str]:
    """The fenced blocks of a language."""
    return [text for language, text in FENCE.findall(TEXTS[page]) if language == kind]


def shell_lines() -> list[str]:
    """Every line of every `sh` block, README's first; a line that several pages show, once."""
    lines = [line for page in TEXTS for text in blocks(page, "sh") for line in text.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


def test_every_command_that_a_page_shows_as_sh_runs(
    clifctl: Callable[..., Any], tmp_path: Path
) -> None:
    """As it is printed, but for one epoch only: in a shell where it needs one, else in this
    process, which has imported torch already."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    one_epoch = 'case "$1" in train|compare-neurons) set -- "$@" train.epochs=1;; esac'
    shim = f'clifctl() {{ {one_epoch}; "{sys.executable}" -m clifctl "$@"; }}'
    seen = shells = 0
    for line in shell_lines():
        command = line.split("&&")[1].strip() if line.startswith("pip") else line
        if command.startswith("pytest"):
            continue
        assert command.startswith("clifctl "), line
        if re.search(r"[|&;<>()$`\\*?~#]", command):
            done = subprocess.run(
                ["bash", "-c", f"set -o pipefail; {shim}; {command}"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"
            shells += 1
        else:
            arguments = shlex.split(command)[1:]
            if arguments[0] in ("train", "compare-neurons") and "--resume" not in arguments[:2]:
                arguments.append("train.epochs=1")
            ran = clifctl(*arguments)
            assert ran.code == 0, f"{line}: {ran.err}"
        seen += 1
    assert seen >= 30
    assert shells >= 4


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings: lower case, no punctuation, hyphens for spaces."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def links(text: str) -> list[str]:
    """The targets of links and pictures outside of code, but for those on the web."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    return [target for target in LINK.findall(prose) if "://" not in target]


@PAGE
def test_every_link_leads_somewhere(page: str) -> None:
    for target in links(TEXTS[page]):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), f"{page} links to {target}"
        assert path.resolve().is_relative_to(ROOT), f"{page} links to {target}"
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{page}: {target}"


def test_links_are_found_and_headings_named_as_on_github() -> None:
    text = "# A `b`, c's_d\n[`x`](one.md#a) ![y](two.png) [z](https://z.org) `[v](no)`\n# A\n# A\n"
    assert links(text) == ["one.md#a", "two.png"]
    assert anchors(text) == {"a-b-cs_d", "a", "a-1"}
    assert sum(len(links(text)) for text in TEXTS.values()) > 100


@PAGE
def test_every_file_that_a_page_names_exists(page: str) -> None:
    """But for the changelog, which names what there was, and for NAME, which stands for another."""
    if page != "CHANGELOG.md":
        named = [name for name in NAMED_FILE.findall(TEXTS[page]) if "NAME" not in name]
        assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_index_has_every_page_once() -> None:
    others = {path.name for path in DOCS} - {"index.md"}
    assert Counter(links(TEXTS["docs/index.md"])) == Counter(
        [*others, *(f"../{name}" for name in TEXTS if not name.startswith("docs/"))]
    )


def test_the_reference_is_what_the_code_says() -> None:
    """Mended by `python docs/reference.py`."""
    written = runpy.run_path(str(ROOT / "docs" / "reference.py"))["page"]()
    assert TEXTS["docs/reference.md"] == written


def test_the_reference_is_complete() -> None:
    from clifctl.cli.app import app
    from clifctl.data import DATASETS
    from clifctl.models import MODELS
    from clifctl.neurons import NEURONS, SURROGATES

    text = TEXTS["docs/reference.md"]
    recipes = [path.stem for path in (ROOT / "recipes").glob("*.yaml")]
    for name in (*DATASETS, *MODELS, *NEURONS, *SURROGATES, *recipes):
        assert f"| `{name}` |" in text or f"| [`{name}`](" in text, name
    shown = set(re.findall(r"^\| `(clifctl [a-z -]+)` \| [A-Z]", text, re.MULTILINE))
    top = {f"clifctl {command.name}" for command in app.registered_commands}
    assert top < shown
    for group in app.registered_groups:
        assert any(command.startswith(f"clifctl {group.name} ") for command in shown)
    (tree,) = blocks("docs/reference.md", "")
    named = re.findall(r"^  (\w+(?:/|\.py)) +[A-Z]", tree, re.MULTILINE)
    package = ROOT / "clifctl"
    folders = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").is_file()}
    files = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    assert set(named) == folders | files


def test_contributing_says_which_way_imports_go() -> None:
    architecture = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))
    arrows, leaves = architecture["ARROWS"], architecture["LEAVES"]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", TEXTS["CONTRIBUTING.md"], re.MULTILINE)
    shown = {
        package: set(re.findall(r"`(\w+)`", names)) | (leaves if "leaves" in names else set())
        for package, names in rows
        if package in arrows
    }
    assert shown == {name: arrows[name] for name in set(arrows) - leaves}
    sentence = re.search(r"\*Leaves\* are [^:]+: ([^.]+)\.", TEXTS["CONTRIBUTING.md"])
    assert sentence is not None
    assert set(re.findall(r"`(\w+)`", sentence[1])) == leaves


def test_contributing_runs_values_as_continuous_integration_does() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (other,) = re.findall(
        r"`(ATEN_CPU_CAPABILITY=.*?) XDG_CACHE_HOME=\S+ pytest -m numerical`",
        TEXTS["CONTRIBUTING.md"],
    )
    # More cases of a kind are for whoever asks for them; the second pass is of kernels of its own.
    assert f"{other} \\\n    pytest -m 'numerical and not exhaustive' $values\n" in script
    assert 'XDG_CACHE_HOME="$scratch/cache"' in script


def test_contributing_names_every_mark() -> None:
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    marks = {line.split(":")[0] for line in markers["pytest"]["ini_options"]["markers"]}
    assert marks == set(re.findall(r"^\| `pytest -m (\w+)` \|", TEXTS["CONTRIBUTING.md"], re.M))


def test_python_examples_of_neurons_hold() -> None:
    step, sequence = blocks("docs/neurons.md", "python")
    source = (ROOT / "clifctl" / "neurons" / "clif.py").read_text(encoding="utf-8")
    body = [line.strip() for line in step.splitlines()[1:]]
    assert "\n".join(body) in "\n".join(line.strip() for line in source.splitlines())
    scope: dict[str, Any] = {}
    exec(sequence, scope)
    assert scope["spikes"].shape == (6, 16, 64)
    assert scope["m"].shape == (16, 64)

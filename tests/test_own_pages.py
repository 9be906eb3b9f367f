"""The pages on a person's own neuron and data: their files are whole, and their commands run."""

import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clifctl.kernels.parity import check, covering_cases
from clifctl.neurons import NEURONS
from clifctl.neurons.loading import load_neuron

FENCE = re.compile(r"^```(python|yaml|bash)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# As it is printed, but for a net and a comparison as small as they get.
FEW = ["train.batch_size=700", "timesteps=2"]
SMALL = ["model.channels=[2,2,2,2,4]", "train.epochs=1", *FEW]
NARROW = ["model.width=2", *FEW]


@pytest.mark.parametrize(
    ("page", "small", "made"),
    [
        (
            "own-neuron",
            SMALL,
            {"compared.md": "my_neuron.py:Tired(tau_a=6)", "compared.pdf": "%PDF"},
        ),
        (
            "own-data",
            SMALL,
            {"table.md": "clif", "figure.pdf": "%PDF", "arrays/result.json": "npz"},
        ),
        (
            "models",
            NARROW,
            {
                "compared.md": "| clif",
                "branches.md": "| clif",
                "sew/result.json": '"net.blocks.1.shortcut.1.neurons"',
                "two/result.json": '"net.branches.1.1.neurons"',
                "sew.nir": "net_blocks_1_second_spikes_neurons",
                "two-lif.pt": "two_branches.py:TwoBranches",
            },
        ),
    ],
)
def test_what_a_page_shows_is_whole_and_runs(
    clifctl: Callable[..., Any],
    root: Path,
    tmp_path: Path,
    page: str,
    small: list[str],
    made: dict[str, str],
) -> None:
    quick = {
        "train": small,
        "compare-neurons": [*small, "train.epochs=1", "--workers", "1"],
        "eval": [],
        "convert": [],
    }
    blocks = FENCE.findall((root / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    for language, text in blocks:
        if language != "bash":
            name = text.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(text)
    lines = [line for language, text in blocks if language == "bash" for line in text.splitlines()]
    for line in lines:
        program, command, *rest = shlex.split(line)
        if program == "python":
            runpy.run_path(command)
        elif [command, *rest][:2] == ["neurons", "check"]:
            neuron, case = covering_cases([load_neuron(rest[1], NEURONS)])[0]
            assert check(neuron, case).passed
        else:
            further = [*quick[command], "--target", "reference"] if command in quick else []
            few = ["1" if word == "8" else word for word in rest]
            done = clifctl(command, *few, *further)
            assert done.code == 0, f"{line}: {done.err}"
    assert len(lines) >= 4
    for file, part in made.items():
        assert part in (tmp_path / file).read_text(encoding="latin-1")

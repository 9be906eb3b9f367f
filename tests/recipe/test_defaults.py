"""Defaults of recipe keys: what older recipes lack, and what takes no part in a trial's name.

`python tests/recipe/test_defaults.py` writes down the defaults of today: after a key was added, or
a default changed together with `NUMERICS_VERSION`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import clifctl
from clifctl.data import DATASETS
from clifctl.experiments.grid.trial_names import Numerics, trial_of
from clifctl.models import MODELS
from clifctl.neurons import NEURONS
from clifctl.recipe.catalog import names
from clifctl.recipe.defaults import completed, defaults_of, without_defaults
from clifctl.recipe.load import load_recipe

FILE = Path(__file__).parent / "defaults.json"
TABLES: dict[str, Iterable[str]] = {"data": DATASETS, "model": MODELS, "neuron": NEURONS}


def written_down() -> dict[str, Any]:
    """Every default of today: those of each row of a table, and those of the other sections."""
    whole = defaults_of({})
    found = {key: whole[key] for key in whole if key not in TABLES}
    for section, table in TABLES.items():
        found[section] = {name: defaults_of({section: {"name": name}})[section] for name in table}
    return {"numerics_version": clifctl.NUMERICS_VERSION, "defaults": found}


def test_a_default_changes_with_the_numerics_version_alone() -> None:
    """A recipe of yesterday, and a trial that yesterday's clifctl finished, leave out what stands
    at its default: under another default they would silently be another run."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(written_down()))
    if stored["numerics_version"] == now["numerics_version"]:
        changed = completed(stored["defaults"], now["defaults"])
        assert changed == now["defaults"], "a default has changed: raise NUMERICS_VERSION"
    assert stored == now, f"write them down anew: python {Path(__file__).name}"


@pytest.mark.parametrize("name", names())
def test_what_stands_at_its_default_can_be_left_out(name: str) -> None:
    document = load_recipe(name).recipe.document
    defaults = defaults_of(document)
    shorter = without_defaults(document, defaults)
    assert completed(shorter, defaults) == document
    assert "epochs" in shorter["train"]
    assert "precision" in completed(shorter, defaults)["train"]
    assert len(json.dumps(shorter)) < len(json.dumps(document)) / 2


def test_sections_are_completed_in_all_depths() -> None:
    defaults = {"a": 1, "section": {"b": 2.0, "c": None}, "other": {"d": True}}
    assert completed({"section": {"c": 3}}, defaults) == {
        "a": 1,
        "section": {"b": 2.0, "c": 3},
        "other": {"d": True},
    }
    document = {"a": 1.0, "section": {"b": 2, "c": 0}, "other": {"d": 1}, "own": {}}
    assert without_defaults(document, defaults) == {
        "section": {"c": 0},
        "other": {"d": 1},
        "own": {},
    }
    assert without_defaults({"other": {"d": True}}, defaults) == {}


def test_an_exchange_keeps_what_it_is() -> None:
    loaded = load_recipe("digits_snn5", ["neuron.name=lif", "neuron.exchange={epoch: 2, to: clif}"])
    document = loaded.recipe.document
    shorter = without_defaults(document, defaults_of(document))
    assert shorter["neuron"] == {"name": "lif", "exchange": {"epoch": 2, "to": "clif"}}


def test_a_default_takes_no_part_in_a_trials_name() -> None:
    def name(*overrides: str) -> str:
        return trial_of(load_recipe("digits_snn5", overrides), "", Numerics("cpu", "numba")).name

    assert name("train.momentum=0.9", "eval.batch_size=500", "neuron.window=null") == name()
    assert name("train.momentum=0.8") != name()


if __name__ == "__main__":
    FILE.write_text(json.dumps(written_down(), indent=1, sort_keys=True) + "\n", encoding="utf-8")

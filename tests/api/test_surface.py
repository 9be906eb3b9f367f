"""What is public: names and signatures, which only a new major version may take away or change."""

import doctest
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import clifctl

EXECUTION = "device = 'auto', target = 'auto', connections = 'auto', threads = None"
PUBLIC = {
    "Checkpoint": "(net, recipe, path, epoch, trained_neuron)",
    "Recipe": None,
    "Training": None,
    "build_net": "(recipe, /, *, input_shape = None, classes = None, timesteps = None, "
    "neuron = None, seed = None, trust = (), **options)",
    "compare": "(recipe = 'digits_snn5', /, neurons = ('lif', 'clif'), *, seeds = 4, "
    "timesteps = None, batch_norm = None, baseline = None, gradients = False, out = None, "
    f"workers = 1, {EXECUTION}, trust = ())",
    "energy_of": "(source, recipe = None, /, *, input_shape = None, timesteps = None, "
    "inputs = None, rates = None, methods = ('sop', 'memory'), per_layer = False, "
    "constants = None, root = None, device = 'auto', threads = None, dt = None, trust = (), "
    "changed_file = False)",
    "errors": None,
    "evaluate": "(source, recipe = None, /, *, timesteps = None, use_batch_statistics = False, "
    f"per_class = False, confusion = False, root = None, {EXECUTION}, dt = None, trust = (), "
    "changed_file = False)",
    "load": "(path, /, *, recipe = None, timesteps = None, device = 'cpu', target = 'auto', "
    "connections = 'auto', dt = None, key_map = None, trust = (), changed_file = False)",
    "load_recipe": "(recipe, /, *overrides, trust = (), **keys)",
    "nn": None,
    "scan": "(x, state, parameters, *, window = None, window_mode = 'sliding', target = 'auto', "
    "connections = 'auto')",
    "train": "(recipe, /, *, out = None, overwrite = False, resume = 'never', keep = None, "
    f"init = None, {EXECUTION}, trust = (), changed_file = False)",
}
# Attributes and methods of the classes, and of what they give.
MEMBERS = {
    "Recipe": "classes input_shape name static timesteps title to_dict with_overrides",
    "Training": "close epochs finish net recipe result",
    "Checkpoint": "epoch net path recipe trained_neuron",
}


def signature(function: Any) -> str:
    """The signature without annotations."""
    found = inspect.signature(function)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()]
    text = str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return text.replace("=", " = ")


def test_the_public_names_and_their_signatures() -> None:
    assert set(clifctl.__all__) == set(PUBLIC)
    assert sorted(clifctl.__all__, key=str) == clifctl.__all__
    assert set(dir(clifctl)) >= set(PUBLIC)
    for name, expected in PUBLIC.items():
        if expected is not None:
            assert signature(getattr(clifctl, name)) == expected, name


def test_the_public_members_of_classes(recipe: clifctl.Recipe, run: Path) -> None:
    instances = {
        "Recipe": recipe,
        "Training": clifctl.train(recipe),
        "Checkpoint": clifctl.load(run / "last.pt"),
    }
    for name, one in instances.items():
        hidden = {"loaded", "source", "trusted"} if name == "Recipe" else set()
        members = {member for member in dir(one) if not member.startswith("_")} - hidden
        assert members == set(MEMBERS[name].split()), name


def test_every_public_thing_says_what_it_is() -> None:
    for name in PUBLIC:
        assert len(inspect.getdoc(getattr(clifctl, name)) or "") > 40, name


def test_the_examples_in_help_hold(run: Path) -> None:
    finder, without = doctest.DocTestFinder(recurse=False), set()
    for name in set(PUBLIC) - {"errors", "nn"}:
        thing = getattr(clifctl, name)
        things = [thing]
        if inspect.isclass(thing):
            things += [one for one in vars(thing).values() if inspect.isfunction(one)]
        examples = [test for one in things for test in finder.find(one, globs={}) if test.examples]
        for test in examples:
            said: list[str] = []
            assert doctest.DocTestRunner().run(test, out=said.append).failed == 0, "".join(said)
        without |= set() if examples else {name}
    assert without == {"Checkpoint", "Training"}  # what `load` and `train` give: shown there


def test_importing_clifctl_imports_nothing_heavy() -> None:
    """Nor does looking at its names; an unknown one is an AttributeError."""
    script = (
        "import sys, clifctl; dir(clifctl); clifctl.errors.ClifctlError\n"
        "heavy = {'torch', 'numba', 'pydantic', 'yaml', 'numpy'} & set(sys.modules)\n"
        "print(sorted(heavy), hasattr(clifctl, 'no_such_name'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[] False\n", done.stderr

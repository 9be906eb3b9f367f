"""The arrows between packages (they run one way), read from the imports themselves."""

import ast
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import clifctl

PACKAGE = Path(clifctl.__file__).parent

LEAVES = {
    "amounts",
    "commands",
    "devices",
    "errors",
    "files",
    "launch",
    "notices",
    "reading",
    "results",
}
LEAVES |= {"foreign_code", "hdf5", "provenance", "strict", "transfer", "trust"}
# package or module -> what it may import of clifctl besides itself
ARROWS: dict[str, set[str]] = {
    "amounts": {"reading"},
    "commands": set(),
    "devices": set(),
    "errors": set(),
    "files": {"errors"},
    "foreign_code": {"errors", "trust"},
    "hdf5": {"devices", "reading"},
    "launch": {"errors"},
    "notices": set(),
    "reading": set(),
    "results": {"amounts", "files", "strict"},
    "strict": {"errors"},
    "transfer": {"devices"},
    "trust": set(),
    "neurons": LEAVES,
    "kernels": {*LEAVES, "neurons"},
    "models": {*LEAVES, "neurons", "kernels", "spikingjelly"},
    "data": LEAVES,
    "training": {*LEAVES, "models"},
    "energy": {*LEAVES, "neurons", "kernels", "models"},
    "convert": {*LEAVES, "neurons", "kernels", "models"},
    "analysis": {*LEAVES, "neurons", "kernels", "models"},
    "paper": set(),
    "provenance": set(),
    "recipe": {*LEAVES, "neurons", "models", "data", "training"},
    "experiments": {
        *LEAVES,
        *("neurons", "kernels", "models", "data", "training", "energy", "convert", "analysis"),
        *("nn", "paper", "recipe"),
    },
    "report": LEAVES,
    "spikingjelly": {*LEAVES, "neurons", "kernels"},
    "neurobench": {*LEAVES, "models"},
    "nn": {*LEAVES, "kernels", "models"},
    "cli": {*LEAVES, "recipe", "experiments", "report"},
    "api": {*LEAVES, "neurons", "models", "energy", "recipe", "experiments", "report", "training"},
}
LIGHT = {
    "amounts",
    "commands",
    "devices",
    "errors",
    "files",
    "launch",
    "reading",
    "results",
    "cli",
    "paper",
}
LIGHT |= {"notices", "report", "trust"}
HEAVY_LIBRARIES = {"torch", "torchvision", "numba", "triton", "sklearn", "matplotlib", "pydantic"}


def imports_of(path: Path) -> set[str]:
    """Full names of everything that a file imports, inside functions too."""
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree_of(path)))


@cache
def files() -> list[tuple[str, Path]]:
    found = [
        (path.relative_to(PACKAGE).with_suffix("").parts[0], path)
        for path in sorted(PACKAGE.rglob("*.py"))
    ]
    return [(part, path) for part, path in found if part not in ("__init__", "__main__")]


def test_every_import_follows_an_arrow() -> None:
    seen = 0
    for part, path in files():
        for name in imports_of(path):
            if not name.startswith("clifctl."):
                continue
            seen += 1
            target = name.split(".")[1]
            if target in ("__version__", part):
                continue
            assert target in ARROWS[part], f"{path.relative_to(PACKAGE)} imports {name}"
    assert seen > 100


def modules() -> dict[str, Path]:
    """Every module of clifctl by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports_outside_of_functions(tree: ast.AST) -> Iterator[str]:
    """Full names of what a file imports when it is imported itself, or for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports_outside_of_functions(node)


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = modules()
    del known["clifctl"]  # it imports what it offers when that is used
    imported: dict[str, set[str]] = {}
    for module, path in known.items():
        names = imports_outside_of_functions(tree_of(path))
        # A name may be a module's, or one in a module.
        found = {name if name in known else name.rpartition(".")[0] for name in names}
        imported[module] = (found & set(known)) - {module}
    assert imported["clifctl.data.contract"] >= {"clifctl.data.events.recordings"}
    while imported:
        free = {module for module, names in imported.items() if not names & set(imported)}
        assert free, f"these import each other: {sorted(imported)}"
        imported = {module: names for module, names in imported.items() if module not in free}


def test_the_arrows_name_exactly_the_packages_that_exist() -> None:
    assert {part for part, _ in files()} == set(ARROWS)


# What is no command, and lies beside the modules of the commands.
NO_COMMANDS = {
    "cli": {
        "app",
        "checkpoint_options",
        "error_text",
        "completion",
        "execution_options",
        "flags",
        "grid_options",
        "lists",
        "options",
        "picture_options",
        "run_pictures",
        "shape_options",
        "slurm_options",
        "table_options",
    },
    "experiments": {"activity", "build", "checkpoints", "published"},
    "results": {
        *("activity", "connections", "decoding", "documents", "events", "filled", "firing_rates"),
        *("published", "quantities"),
        *("result", "statistics", "summary", "trials"),
    },
    "report": {
        *(
            "confusion",
            "connections",
            "notebook",
            "observers",
            "pace",
            "panels",
            "picture_fonts",
            "pictures",
            "preparation_progress",
        ),
        *("progress", "published", "render", "styles", "summary", "tensorboard", "trial_plan"),
        *("elements", "html", "latex", "layout", "shape", "text_panels", "trials_progress"),
    },
}


def commands(group: Any, *words: str) -> list[tuple[str, ...]]:
    """The words of every command, those of its group first."""
    if not hasattr(group, "commands"):
        return [words]
    return [found for name, one in group.commands.items() for found in commands(one, *words, name)]


def test_a_command_has_the_same_stem_everywhere() -> None:
    import typer

    from clifctl.cli.app import app

    found = {
        package: {path.stem for path in (PACKAGE / package).glob("[!_]*.py")}
        for package in NO_COMMANDS
    }
    stems = {package: found[package] - NO_COMMANDS[package] for package in found}
    names = commands(typer.main.get_command(app))
    groups = {words[0].replace("-", "_") for words in names}
    # `bench train` has a module of its own, or lies in that of its group.
    known = groups | {"_".join(words).replace("-", "_") for words in names}
    assert stems["cli"] == groups
    assert {one.removesuffix("_picture") for one in stems["report"]} <= known
    assert stems["results"] <= known
    assert stems["experiments"] <= stems["results"] & stems["report"]
    for group in groups:
        assert any(f"{one}_".startswith(f"{group}_") for one in stems["experiments"]), group
    for package in found:
        assert found[package] >= NO_COMMANDS[package]


def test_there_is_no_grab_bag() -> None:
    names = {part for path in PACKAGE.rglob("*.py") for part in path.relative_to(PACKAGE).parts}
    assert not names & {"utils", "utils.py", "common", "common.py", "core", "helpers", "helpers.py"}


def test_light_packages_import_no_heavy_library_at_module_level() -> None:
    checked = 0
    for part, path in files():
        if part not in LIGHT:
            continue
        tree = tree_of(path)
        for node in (n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [str(node.module)]
            )
            checked += 1
            for name in names:
                assert name.split(".")[0] not in HEAVY_LIBRARIES, f"{path}: {name}"
    assert checked > 30


def test_kernels_know_no_neuron_by_name() -> None:
    from clifctl.neurons import NEURONS

    sources = list((PACKAGE / "kernels").rglob("*.py"))
    assert len(sources) >= 4
    for path in sources:
        strings = {
            node.value
            for node in nodes_of(path)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        # relu is an operation too.
        assert not strings & (set(NEURONS) - {"relu"}), path


# What is longer than usual is a warning, which says that someone should look: no file is split, and
# no line squeezed, to please a counter. What was looked at and is better whole stands here, by
# `file` or `file:function`, with the reason.
LONGEST_FILE = 400
LONGEST_FUNCTION = 70
LONG = {
    "api/energy.py:energy_of": "its help: what each keyword means, with an example",
    "cli/compare_neurons.py:compare_neurons": "its signature: a parameter for each option",
    "cli/compare_neurons.py:register": "the command's signature: a parameter for each option",
    "cli/grid_options.py:_choice": "its signature: a parameter for each option",
    "cli/options.py": "what every command shares: options, where a result goes, how it is wired",
    "cli/sweep.py:register": "the command's signature: a parameter for each option",
    "cli/sweep.py:sweep": "its signature: a parameter for each option",
    "cli/train.py:register": "the command's signature: a parameter for each option",
    "cli/train.py:train": "its signature: a parameter for each option",
    "experiments/energy.py": "one command from its sources to rows, the published ones beside them",
    "kernels/spikes/arithmetic.py": "what may be done with spikes, with gradients and windows",
    "kernels/spikes/tensor.py": "a subclass of torch.Tensor, and all that torch asks of it",
    "report/render.py": "what a report is made of, and each format that it is written in",
}


class LongerThanUsual(UserWarning):
    """A file or a function that nobody has yet said should be that long."""


def long_ones() -> dict[str, int]:
    """What is longer than usual -> its lines."""
    found = {}
    for _, path in files():
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(PACKAGE).as_posix()
        if (length := len(text.splitlines())) > LONGEST_FILE:
            found[name] = length
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if (length := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION:
                    found[f"{name}:{node.name}"] = length
    return found


@pytest.mark.filterwarnings("default")  # also where every other warning is an error
def test_long_files_and_functions_are_noticed() -> None:
    for name, lines in long_ones().items():
        if name not in LONG:
            warnings.warn(f"{name} has {lines} lines", LongerThanUsual, stacklevel=1)


def test_what_may_be_long_is_there_and_still_long() -> None:
    assert set(LONG) <= set(long_ones())


MOST_PARAMETERS = 7
COMPILED = ("njit", "intrinsic", "jit")  # what numba compiles takes numbers, addresses and arrays
# A command has a parameter for each of its options, a public function a keyword.
OWN_OPTIONS = ("cli/", "api/")
# Other functions of more parameters -> why they are not fewer.
MANY_PARAMETERS = {
    "data/loading.py:shuffled_batches": "what is read and from where on: keywords with defaults",
    "energy/accounting.py:net_costs": "keywords; most calls name the rates and the constants alone",
    "kernels/norm_layer.py:forward": "an autograd Function: torch takes tensors one by one",
    "kernels/norm_layer.py:prepare": "what scan has decided, each from another place",
    "kernels/scan.py:norm_scan": "the entry point for a norm and a neuron: keywords with defaults",
    "spikingjelly/node.py:__init__": "keywords in SpikingJelly's words",
    "spikingjelly/nodes.py:__init__": "keywords in SpikingJelly's words",
    "report/render.py:list_table": "what a Table is made of: keywords with defaults",
    "training/loop.py:train_epochs": "the parts of a run, each made elsewhere",
    "training/step.py:__init__": "the keys of the recipe's section, as keywords",
}


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many a caller can give: without self and cls."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    own = names[:1] in (["self"], ["cls"])
    return len(names) - own + (given.vararg is not None) + (given.kwarg is not None)


def test_functions_of_many_parameters_have_a_reason() -> None:
    many, functions = set(), set()
    for _, path in files():
        name = path.relative_to(PACKAGE).as_posix()
        for node in nodes_of(path):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            functions.add(f"{name}:{node.name}")
            free = name.startswith(OWN_OPTIONS)
            free |= any(ast.unparse(d).startswith(COMPILED) for d in node.decorator_list)
            if parameters_of(node) > MOST_PARAMETERS and not free:
                many.add(f"{name}:{node.name}")
    assert many <= set(MANY_PARAMETERS)
    assert set(MANY_PARAMETERS) <= functions


def test_no_signature_is_formatted_by_hand() -> None:
    for _, path in files():
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                signature = lines[node.lineno - 1 : node.body[0].lineno - 1]
                where = f"{path.relative_to(PACKAGE)}: {node.name}"
                assert not any(line.endswith("# fmt: skip") for line in signature), where


# What turns bytes into objects, or text into code, and where that may be. `Image.open` may try
# formats for which it starts other programs. Who adds a place says in SECURITY.md why it is safe.
DANGEROUS = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "pickle._Unpickler", "marshal.load"),
    *("marshal.loads", "shelve.open", "joblib.load", "dill.load", "dill.loads", "cloudpickle.load"),
    *("cloudpickle.loads", "torch.load", "np.load", "np.fromfile", "np.loadtxt", "np.genfromtxt"),
    *("Image.open", "yaml.load", "eval", "exec", "compile", "os.system", "os.popen"),
}
ALLOWED = {
    ("torch.load", "training/checkpoint.py"),
    ("Image.open", "data/decoding.py"),
    # Of text that is in memory: whole numbers.
    ("np.loadtxt", "data/events/csv_files.py"),
    # Generated here; and what is read of the kernel cache is this user's or root's alone.
    ("compile", "kernels/cache.py"),
    ("exec", "kernels/cache.py"),
    ("pickle.loads", "kernels/cpu/machine_code.py"),
    # A file of a person's own that is trusted: see clifctl/trust.py.
    ("compile", "foreign_code.py"),
    ("exec", "foreign_code.py"),
    ("yaml.load", "recipe/yamlfile.py"),
}


def calls_in(path: Path) -> list[tuple[str, ast.Call]]:
    """Every call of a plain or dotted name in a file."""
    return [(ast.unparse(node.func), node) for node in nodes_of(path) if isinstance(node, ast.Call)]


def test_what_makes_objects_of_bytes_is_in_known_places() -> None:
    found = {}
    for _, path in files():
        for name, call in calls_in(path):
            if name.replace("numpy.", "np.") in DANGEROUS:
                found[name, path.relative_to(PACKAGE).as_posix()] = ast.unparse(call)
    assert set(found) == ALLOWED
    assert "weights_only=True" in found["torch.load", "training/checkpoint.py"]
    # Both of its loaders are yaml.SafeLoader with fewer types.
    assert found["yaml.load", "recipe/yamlfile.py"].endswith(("_Loader)", "_QuickLoader)"))
    assert "formats=" in found["Image.open", "data/decoding.py"]
    # No alias either, under which one of them could be called unseen.
    for _, path in files():
        for name in imports_of(path):
            assert name not in DANGEROUS, f"{path.relative_to(PACKAGE)} imports {name}"
    # numpy reads arrays in one file, which has looked at their headers.
    readers = {path.name for _, path in files() if "read_array(" in path.read_text()}
    assert readers == {"archives.py", "dynamics.py"}

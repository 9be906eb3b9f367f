"""A map of keys: other code's names become ours, and what does not fit is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl.errors import CheckpointError
from clifctl.models import SpikingNet
from clifctl.recipe.key_map import read_key_map
from clifctl.training.foreign import load_foreign, load_foreign_weights
from clifctl.training.key_map import as_file, proposals

Run = Callable[..., Any]


class Small(SpikingNet):
    """Two equal layers between two that nothing else is like."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.head = nn.Linear(3, 5)

    def forward(self, x: Tensor, state: Any = None, repeat: int = 1) -> Any:
        raise NotImplementedError


NAMES = {"stem": "a.conv", "norm": "a.bn", "first": "b.0", "second": "b.1", "head": "fc"}
MAP = "".join(f"{theirs}.: {ours}.\n" for ours, theirs in NAMES.items())


def renamed(net: nn.Module) -> dict[str, Tensor]:
    pairs = [(*key.split("."), value) for key, value in net.state_dict().items()]
    return {f"{NAMES[module]}.{leaf}": value for module, leaf, value in pairs}


def loaded(state: dict[str, Tensor], rules: str | None, folder: Path) -> Small:
    torch.manual_seed(1)
    net = Small()
    torch.save(state, folder / "w.pt")
    key_map = None
    if rules is not None:
        (folder / "map.yaml").write_text(rules)
        key_map = read_key_map(folder / "map.yaml")
    load_foreign_weights(net, load_foreign(folder / "w.pt"), folder / "w.pt", key_map)
    return net


def require_equal(one: nn.Module, other: nn.Module) -> None:
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


EXACT = "".join(
    f"{key}: {ours}\n" for key, ours in zip(renamed(Small()), Small().state_dict(), strict=True)
)


@pytest.mark.parametrize(
    "rules",
    [MAP, EXACT, MAP + "b.1.weight: second.weight\n", EXACT.replace("fc.bias", "'fc.bias'")],
    ids=["prefixes", "exact", "both", "quoted"],
)
def test_a_map_renames_the_keys(tmp_path: Path, rules: str) -> None:
    written = Small()
    require_equal(written, loaded(renamed(written), rules, tmp_path))


def test_keys_without_a_rule_keep_their_names_behind_their_prefix(tmp_path: Path) -> None:
    written = Small()
    state = {f"module.{key}": value for key, value in written.state_dict().items()}
    for leaf in ("weight", "bias"):
        state[f"top.{leaf}"] = state.pop(f"module.head.{leaf}")
    state["module.loss.weight"] = torch.ones(3)
    rules = "top.: head.\nmodule.loss.weight: null\n"
    require_equal(written, loaded(state, rules, tmp_path))


def test_the_longest_rule_counts(tmp_path: Path) -> None:
    written = Small()
    rules = MAP.replace("b.0.: first.\n", "b.: first.\nb.0.: first.\n")
    with pytest.raises(CheckpointError, match=r"no key of the file is 'b\.', or begins with it"):
        loaded(renamed(written), rules, tmp_path)
    swapped = rules.replace("b.1.: second.\n", "").replace(
        "b.: first.", "b.1.weight: second.weight\nb.: x."
    )
    with pytest.raises(CheckpointError) as told:
        loaded(renamed(written), swapped, tmp_path)
    assert "1 missing: second.bias; 1 unexpected: x.1.bias" in told.value.message


def test_shapes_propose_what_they_tell_alone(tmp_path: Path) -> None:
    written, state = Small(), renamed(Small())
    assert proposals(list(written.state_dict()), written.state_dict(), state) == {
        "a.conv.": "stem.",
        "a.bn.": "norm.",
        "fc.": "head.",
    }
    with pytest.raises(CheckpointError) as told:
        loaded(state, None, tmp_path)
    assert told.value.hint is not None
    assert "--key-map" in told.value.hint
    assert "'a.conv.: stem.', 'a.bn.: norm.', 'fc.: head.'" in told.value.hint
    # One entry of a module is named by itself.
    head = {"fc.weight": state["fc.weight"]}
    assert proposals(["head.weight", "head.bias"], written.state_dict(), head) == {
        "fc.weight": "head.weight"
    }


def test_a_map_is_written_to_edit_and_read_back(tmp_path: Path) -> None:
    written = Small()
    state = {key.replace("fc.", "0.").replace("b.", "module.b."): value for key, value in
             renamed(written).items()}  # fmt: skip
    own = written.state_dict()
    text = as_file(own, state, {"ema.": None}, "Keys")
    assert text.splitlines()[3:] == [
        "ema.: null",
        "a.conv.: stem.",
        "a.bn.: norm.",
        '"0.": head.',
        "# Several are of these shapes. In their order they are as follows: take out",
        "# the first # of a line that is right.",
        "# module.b.0.: first.  # weight [3, 3], bias [3]",
        "# module.b.1.: second.  # weight [3, 3], bias [3]",
    ]
    edited = text.replace("ema.: null\n", "").replace("# module", "module")
    require_equal(written, loaded(state, edited, tmp_path))
    # An entry of a module that lacks another, and what is of no use.
    lone = {"x.weight": state["0.weight"], "y.bias": torch.zeros(7)}
    left = {key: own[key] for key in ("head.weight", "head.bias")}
    assert as_file(left, lone, {}, "Keys").splitlines()[3:] == [
        "x.weight: head.weight",
        "# Theirs, which fit nothing:",
        "# y.bias: null  # [7]",
        "# Ours, which lack:",
        "# head.bias: null  # [5]",
    ]


def test_proposals_have_the_names_of_the_file(tmp_path: Path) -> None:
    written = Small()
    state = {f"module.{key}": value for key, value in written.state_dict().items()}
    for leaf in ("weight", "bias"):
        state[f"module.top.{leaf}"] = state.pop(f"module.head.{leaf}")
    with pytest.raises(CheckpointError) as told:
        loaded(state, None, tmp_path)
    assert "'module.top.: head.'" in str(told.value.hint)
    require_equal(written, loaded(state, "module.top.: head.\n", tmp_path))


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("a.cnov.: stem.\n", "no key of the file is 'a.cnov.', or begins with it"),
        ("a.conv.weigth: stem.weight\n", "no key of the file is 'a.conv.weigth'"),
        ("b.0.: first.\nb.1.: first.\n", "and 'b.1.weight' both become 'first.weight'"),
        ("b.0.: first\n", "stands for all keys that begin with it, 'first' for one"),
        ("b.0.: 3\n", "'b.0.' becomes '3', which is no key"),
        ("b.0.: [a]\n", r"'b.0.' becomes '\['a'\]', which is no key"),
        ("b.0.: {a: b}\n", "which is no key"),
        ("- a\n", "a key map is a mapping of keys, this is a list"),
        ("", "the file is empty"),
        ("a: &x b\nc: *x\n", "anchors and aliases are not used"),
        ("a: !!python/object/apply:os.system [ls]\n", "not YAML|unusable"),
        ("a: b\na: c\n", "key 'a' was already given in line 1"),
        ("[" * 9000, "unusable value|not YAML"),
    ],
)  # fmt: skip
def test_maps_that_are_wrong(tmp_path: Path, rules: str, told: str) -> None:
    with pytest.raises(CheckpointError, match=told) as refused:
        loaded(renamed(Small()), rules, tmp_path)
    assert "digits_snn5" not in str(refused.value.hint)


def test_a_name_is_not_given_twice(tmp_path: Path) -> None:
    state = dict(Small().state_dict())
    state["other.weight"] = state["head.weight"]
    with pytest.raises(CheckpointError, match=r"has a key 'head\.weight', and the key map gives"):
        loaded(state, "other.: head.\n", tmp_path)


def test_maps_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file"):
        read_key_map(tmp_path / "none.yaml")
    with pytest.raises(CheckpointError, match="cannot read key map"):
        read_key_map(tmp_path)
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(9 * 2**20)
    with pytest.raises(CheckpointError, match="cannot read key map"):
        read_key_map(tmp_path / "large.yaml")


def test_commands_take_a_map(clifctl: Run, tiny: list[str], tmp_path: Path) -> None:
    run = clifctl("train", "digits_snn5", *tiny, "--out", "run", "--json").json
    weights = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    theirs = {key.replace("features.", "layers.f"): value for key, value in weights.items()}
    torch.save(theirs, tmp_path / "w.pt")
    lines = [f"layers.f{layer}.: features.{layer}.\n" for layer in range(5)]
    (tmp_path / "map.yaml").write_text("".join(lines))
    shape = ["--recipe", "digits_snn5", "model.channels=[2,2,2,2,4]", "timesteps=2"]
    without = clifctl("eval", "w.pt", *shape)
    assert without.code == 2
    assert "--key-map map.yaml" in without.err
    by_map = clifctl("eval", "w.pt", *shape, "--key-map", "map.yaml", "--json").json
    assert by_map["accuracy_percent"] == run["accuracy_percent_last"]
    proposed = clifctl("eval", "w.pt", *shape, "--propose-key-map", "new.yaml")
    assert (proposed.code, proposed.out) == (2, "")
    assert "do not fit the net" in proposed.err
    assert "hint: a map is proposed in 'new.yaml': look it through" in proposed.err
    new = tmp_path / "new.yaml"
    # Layers of one shape stand there as comments.
    again = clifctl("eval", "w.pt", *shape, "--propose-key-map", "new.yaml")
    assert (again.code, again.err.count("new.yaml' exists")) == (2, 1), again.err
    new.write_text(new.read_text().replace("# layers", "layers"))
    fits = ("--key-map", "new.yaml", "--propose-key-map", "other.yaml", "--json")
    by_proposal = clifctl("eval", "w.pt", *shape, *fits)
    assert by_proposal.json["accuracy_percent"] == run["accuracy_percent_last"]
    assert "fit: 'other.yaml' was not written" in by_proposal.err
    assert not (tmp_path / "other.yaml").exists()
    own = clifctl("eval", "run/last.pt", "--key-map", "map.yaml")
    assert own.code == 2
    assert "--key-map renames the keys of weights of other code" in own.err

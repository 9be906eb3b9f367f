from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clifctl.errors import RecipeError, UsageError
from clifctl.recipe import yamlfile
from clifctl.recipe.load import apply_overrides, load_recipe, name_of_runs, open_recipe
from clifctl.recipe.schema import validate
from clifctl.recipe.yamlfile import dump_document, parse_document, parse_scalar


def refusal(*overrides: str, recipe: str = "digits_snn5") -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, overrides)
    assert caught.value.hint
    return caught.value.message


def test_all_problems_are_reported_at_once() -> None:
    message = refusal(
        "train.epoch=3",
        "neuron.tau=1",
        "timesteps=-4",
        "model.batch_norm=perstep",
        "model.channels=[1,2,x,0,5]",
        "data.name=digit",
        "train.lr=fast",
        "eval=3",
    )
    assert "8 problems" not in message
    for part in (
        "9 problems",
        "override train.epoch: unknown key (did you mean 'train.epochs=3'?)",
        "neuron.tau = 1: must be greater than 1",
        "timesteps = -4: must be greater than 0",
        "model.batch_norm = 'perstep': must be 'per_step' or 'folded'",
        "model.channels.2 = 'x': must be a whole number",
        "model.channels.3 = 0: must be greater than 0",
        "data.name: unknown data set 'digit' (did you mean 'digits'?)",
        "train.lr = 'fast': must be a number",
        "eval: must be a mapping of keys, given 3",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("override", "part"),
    [
        (
            "neuron.name=cliff",
            "unknown neuron 'cliff' (did you mean 'clif'?); known: if, lif, plif",
        ),
        ("neuron.window=5", "neuron.window = 5: must be at most timesteps = 4"),
        ("neuron.window=0", "neuron.window = 0: must be at least 1"),
        ("neuron.name=relu", "timesteps = 4: neuron 'relu' allows 1 (add timesteps=1)"),
        ("data.name=digits_rows", "timesteps = 4: data set 'digits_rows' has 8 time steps"),
        ("train.seed=true", "train.seed = True: must be a whole number"),
        ("train.epochs='3'", "train.epochs = '3': must be a whole number"),
        ("train.lr=.nan", "train.lr = nan: must be"),
        ("model.channels=[1,2]", "must have at least 5 entries, has 2"),
        ("model=3", "model: must be a mapping with a 'name', given 3"),
        ("train=null", "train: must be a mapping of keys"),
        ("neuron.surrogate=rectangel", "did you mean 'rectangle'"),
        ("timesteps.x=3", "'timesteps' is a value, it has no keys"),
        ("colour=red", "colour: unknown key"),
    ],
)
def test_each_problem_names_path_value_and_what_is_allowed(override: str, part: str) -> None:
    assert part in refusal(override)


def test_missing_sections_are_named() -> None:
    with pytest.raises(RecipeError) as caught:
        validate({"timesteps": 2, "neuron": {"tau": 2.0}}, "here")
    for part in ("data: missing", "model: missing", "train: missing", "neuron.name: missing"):
        assert part in caught.value.message


def test_a_resolved_recipe_is_a_recipe_and_resolves_to_itself() -> None:
    for name in ("digits_snn5", "digits_events_snn5", "digits_rows_mlp"):
        first = load_recipe(name, ["train.lr=1e-3"]).recipe
        text = dump_document(first.document)
        again = validate(parse_document(text, "resolved"), "resolved")
        assert again == first
        assert again.train.lr == 0.001


def test_overrides_beat_the_file_and_are_split_at_the_first_equals_sign() -> None:
    loaded = load_recipe("digits_snn5", ["title=a=b", "train.epochs=3", "neuron.window=null"])
    assert loaded.recipe.title == "a=b"
    assert loaded.recipe.train.epochs == 3
    assert loaded.recipe.neuron.window is None


def test_another_neuron_drops_what_it_does_not_have_and_says_so() -> None:
    loaded = load_recipe("digits_snn5", ["neuron.name=relu", "timesteps=1"])
    assert loaded.notices == (
        "neuron.name=relu has no neuron.tau, neuron.v_threshold: dropped from the recipe",
    )
    assert loaded.recipe.neuron.neuron.name == "relu"
    # What the person gave is never dropped.
    assert "neuron.tau: unknown key" in refusal("neuron.name=relu", "timesteps=1", "neuron.tau=3.0")
    kept = load_recipe("digits_snn5", ["neuron.name=lif"])
    assert kept.notices == ()
    assert dict(kept.recipe.neuron.hyperparameters)["tau"] == 2.0


@pytest.mark.parametrize("text", ["epochs", "=3", "a..b=3", ".a=3"])
def test_a_malformed_override_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="not an override"):
        load_recipe("digits_snn5", [text])


def test_overrides_make_missing_sections() -> None:
    document: dict[str, Any] = {}
    apply_overrides(document, ["a.b.c=1", "a.b.d=[1, 2]"])
    assert document == {"a": {"b": {"c": 1, "d": [1, 2]}}}


def test_recipe_by_name_path_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from clifctl.recipe import catalog

    text = catalog.path_of("digits_snn5").read_text()
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(text)
    Path("plain").write_text(text)
    by_name = load_recipe("digits_snn5")
    assert load_recipe("mine.yaml").recipe == by_name.recipe
    assert load_recipe("mine.yaml").name == "mine"
    assert load_recipe("./plain").recipe == by_name.recipe
    assert load_recipe("plain").recipe == by_name.recipe
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert load_recipe("-").recipe == by_name.recipe


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("- a\n- b\n", "this is a list"),
        ("just words", "this is a str"),
        ("a: [1, 2\n", "not YAML"),
        ("a: 1\nb: {c: 1, c: 2}\n", "line 2: key 'c' was already given in line 2"),
        ("train: 1\nx: 2\ntrain: 3\n", "line 3: key 'train' was already given in line 1"),
        ("1: 2\n", "key 1 is not a name"),
        ("a: !!python/object/apply:os.system [ls]\n", "not YAML"),
        ("a: &x [*x]\n", None),
    ],
)
def test_files_that_hold_no_recipe(tmp_path: Path, text: str, part: str | None) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert str(path) in caught.value.message
    assert caught.value.hint
    if part:
        assert part in caught.value.message


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for name, part in (("bytes.yaml", "not text in UTF-8"), ("none.yaml", "no recipe file")):
        with pytest.raises(RecipeError, match=part):
            load_recipe(str(tmp_path / name))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(RecipeError, match="is a folder, not a recipe"):
        load_recipe(str(tmp_path / "folder.yaml"))
    with pytest.raises(RecipeError, match=r"did you mean 'digits_snn5'"):
        load_recipe("digit_snn5")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5E4", 50000.0),
        ("-.5", -0.5),
        ("3", 3),
        ("010", 10),
        ("1_0", "1_0"),
        ("1:30", "1:30"),
        ("2020-02-31", "2020-02-31"),
        ("3.", 3.0),
        ("true", True),
        ("no", "no"),
        ("on", "on"),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("1.2.3", "1.2.3"),
        ("e3", "e3"),
        ("", None),
    ],
)
def test_scalars(text: str, value: object) -> None:
    assert parse_scalar(text, "here") == value
    assert type(parse_scalar(text, "here")) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_a_recipe(value: float) -> None:
    again = parse_document(dump_document({"x": value}), "here")["x"]
    assert type(again) is float
    assert again == value


@pytest.mark.parametrize(
    ("overrides", "name", "title"),
    [
        (["train.epochs=3", "data.name=digits"], "digits_snn5", None),
        (["neuron.name=lif"], "digits_snn5", "lif on digits, snn5"),
        (
            ["data.name=digits_events", "timesteps=8"],
            "digits_events_snn5",
            "clif on digits_events, snn5",
        ),
        (["model={name: mlp, hidden: [4]}"], "digits_mlp", "clif on digits, mlp"),
        (["data.name=digits_events", "title=mine"], "digits_events_snn5", "mine"),
    ],
)
def test_name_and_title_tell_the_data_and_net_that_run(
    overrides: list[str], name: str, title: str | None
) -> None:
    loaded = load_recipe("digits_snn5", overrides)
    own = load_recipe("digits_snn5").recipe.title
    assert (loaded.name, loaded.recipe.title) == (name, title or own)
    assert loaded.recipe.document["title"] == loaded.recipe.title
    assert name_of_runs("digits_snn5", overrides) == name
    # A variant of a variant, as those of a comparison.
    assert open_recipe("digits_snn5", overrides).variant(["train.seed=1"]).name == name


# Texts whose lines, taken one by one, could be read as something else than the whole.
_AWKWARD = [
    "a: 1\na: 2\n",
    "a: &x 1\nb: *x\n",
    "a:\n  b: 1\n c: 2\n",
    "a: word\n  more\nb: 1\n",
    "a:\n  {b: 1}\n",
    "a:\n  - 1\n  - 2\n",
    "a: 'one\n  two'\nb: 1\n",
    "a: [1,\n2]\nb: 1\n",
    "a: |\n  text: 1\nb: 2\n",
    "a: # note\n  b: 1\n",
    "# note\na: 1\n",
    "---\na: 1\n---\nb: 2\n",
    "a: 1\n\nb: 2\n",
    "true: 1\n",
    "a: \u2028b: 1\n",
    "a: !!str 1\n",
    "a:\n    b: 1\n    c: 2\n",
    "a: {b: 1}\n",
    "a: [[1], {b: 2}]\n",
    "a:\n b:\n  c: 1\n",
    "a: b: c\n",
    "".join(f"{'  ' * depth}a:\n" for depth in range(40)),
]


@pytest.mark.parametrize("text", _AWKWARD)
def test_lines_that_are_read_one_by_one_say_what_the_whole_says(text: str) -> None:
    try:
        whole = yamlfile._parse(text, "here")
    except RecipeError:
        whole = None
    quick = yamlfile._quickly(text.split("\n"))
    assert quick is None or quick == whole


def test_a_recipe_as_it_is_written_is_read_line_by_line() -> None:
    text = dump_document(load_recipe("digits_snn5").recipe.document)
    whole = yamlfile._parse(text, "here")
    assert yamlfile._quickly(text.split("\n")) == whole
    first, second = parse_document(text, "here"), parse_document(text, "here")
    first["model"]["channels"].append(1)  # what one reader changes is not another's
    assert second == whole

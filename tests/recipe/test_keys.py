"""The keys that `recipes keys` lists are those of the schema, with what they may be."""

import pytest

from clifctl.errors import UsageError
from clifctl.recipe.defaults import defaults_of
from clifctl.recipe.keys import NO_DEFAULT, Key
from clifctl.recipe.schema import TABLES
from clifctl.recipe.variants import chosen_keys, every_key
from clifctl.recipe.yamlfile import parse_scalar


@pytest.fixture(scope="module")
def keys() -> tuple[Key, ...]:
    return every_key()


@pytest.mark.parametrize(
    ("path", "variant", "type", "range", "default"),
    [
        ("timesteps", None, "whole number", "1 to 4096", "required"),
        ("train.batch_size", None, "whole number", "2 to 2147483647", "128"),
        ("train.seed", None, "whole number", "0 to 4294967295", "2022"),
        ("train.lr", None, "number", "more than 0", "0.1"),
        ("train.momentum", None, "number", "at least 0, less than 1", "0.9"),
        ("train.clip_norm", None, "number or null", "more than 0", "null"),
        ("train.drop_last", None, "true or false", "", "false"),
        ("train.schedule", None, "choice", "cosine, step, constant, timm_cosine", "cosine"),
        (
            "neuron.surrogate",
            "clif",
            "choice",
            "rectangle, triangle, sigmoid, arctangent",
            "rectangle",
        ),
        ("neuron.window", "lif", "whole number or null", "at least 1", "null"),
        ("neuron.exchange.to", "lif", "text", "", "required"),
        ("data.split", "dvs_gesture", "choice", "official", "official"),
        ("data.split", "cifar10_dvs", "choice", "authors, tebn", "required"),
        ("data.channels", "image_folder", "choice", "1, 3", "3"),
        ("data.shape", "npz", "list of whole numbers", "1 to 3 entries, 1 to 65536", "required"),
        (
            "model.strides",
            "snn5",
            "list of whole numbers",
            "5 entries, 1 to 65536",
            "[1,2,2,4,2]",
        ),
    ],
)
def test_what_a_key_may_be(
    keys: tuple[Key, ...], path: str, variant: str | None, type: str, range: str, default: str
) -> None:
    (key,) = (key for key in chosen_keys(keys, path, variant) if key.path == path)
    assert (key.type, key.range, key.default) == (type, range, default)
    assert variant is None or variant in key.variants


def test_every_default_is_that_of_a_recipe_and_every_key_is_described(
    keys: tuple[Key, ...],
) -> None:
    defaults = {"": defaults_of({})}
    for section, table in TABLES.items():
        for name in table:
            document = {section: {"name": name}}
            defaults[name] = {section: defaults_of(document)[section]}
    for key in keys:
        assert key.description
        for variant in key.variants or ("",):
            found = defaults[variant]
            *sections, last = key.path.split(".")
            for section in sections:
                found = (found or {}).get(section, {})
            required = last not in (found or {})
            assert required == (key.default == NO_DEFAULT), key
            assert required or parse_scalar(key.default, "") == found[last], key


def test_keys_are_found_by_their_beginning_and_by_what_has_them(keys: tuple[Key, ...]) -> None:
    found = [key.path for key in chosen_keys(keys, "neuron.t", "alif")]
    assert found == ["neuron.tau", "neuron.tau_adaptation"]
    with pytest.raises(UsageError, match=r"did you mean 'train\.epochs'"):
        chosen_keys(keys, "train.epok", None)
    with pytest.raises(UsageError, match="no key of 'lif' begins with 'train"):
        chosen_keys(keys, "train", "lif")
    with pytest.raises(UsageError) as refused:
        chosen_keys(keys, "lif", None)
    assert refused.value.hint == "its keys: clifctl recipes keys --of lif"
    with pytest.raises(UsageError, match=r"unknown data set, model or neuron 'clf' \(did you mean"):
        chosen_keys(keys, "", "clf")

"""What a recipe is refused with before it trains: the advice is one that works."""

import itertools
from pathlib import Path

import pytest
import torch

from clifctl.data import LoadedData, Split
from clifctl.data.images import FileOptions, Place, Samples, ShownOptions, hold_out, limited
from clifctl.errors import DataError, RecipeError
from clifctl.experiments.build import require_trainable
from clifctl.recipe.load import RecipeSource, open_recipe


def data_of(samples: int) -> LoadedData:
    split = Split(torch.zeros(8, samples, 8), torch.zeros(samples).long())
    return LoadedData(split, split)


@pytest.fixture(scope="module")
def source() -> RecipeSource:
    return open_recipe("digits_rows_mlp")


def test_the_batch_size_that_is_advised_works(source: RecipeSource) -> None:
    advised = 0
    for samples, batch_size, last in itertools.product((2, 3, 13, 31), (2, 3, 5, 64), (0, 1)):
        overrides = [f"train.batch_size={batch_size}", f"train.drop_last={'true' if last else ''}"]
        overrides = overrides if last else overrides[:1]
        recipe = source.variant([*overrides, f"train.accumulate={min(2, batch_size // 2)}"]).recipe
        try:
            require_trainable(recipe, data_of(samples))
        except RecipeError as refused:
            words = [word for word in str(refused.hint).split() if "=" in word]
            again = source.variant(
                [*overrides, f"train.accumulate={recipe.train.accumulate}", *words]
            )
            require_trainable(again.recipe, data_of(samples))
            advised += 1
    # 13 samples by 3 leave one, and by 4 as well.
    assert advised > 6


def test_one_training_sample_is_too_few_for_any_batch(source: RecipeSource) -> None:
    for drop_last in ("true", "false"):
        recipe = source.variant([f"train.drop_last={drop_last}"]).recipe
        with pytest.raises(RecipeError, match="'digits_rows' has 1 training sample: ") as refused:
            require_trainable(recipe, data_of(1))
        assert "more training samples are needed" in str(refused.value.hint)


def test_the_share_that_is_advised_divides(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = Place("own", tmp_path_factory.getbasetemp())
    for labels in ([0, 1, 2], [0, 0, 1], [1, 1, 1, 0], [0]):
        samples = Samples(torch.zeros(len(labels), 3), torch.tensor(labels))
        with pytest.raises(DataError) as refused:
            hold_out(samples, FileOptions(validation_share=0.01), place)
        share = float(str(refused.value.hint).split("share=")[1].partition(" ")[0].strip(":;"))
        kept, out = hold_out(samples, FileOptions(validation_share=share), place)
        assert len(kept.targets) + (0 if out is None else len(out.targets)) == len(labels)
        assert (out is None) == (len(set(labels)) == len(labels))


def test_a_limit_draws_training_samples_in_their_order(tmp_path: Path) -> None:
    place = Place("own", tmp_path)
    samples = Samples(torch.arange(11.0).view(11, 1), torch.arange(11))
    drawn = [limited(samples, ShownOptions(limit=5, split_seed=s), place) for s in (0, 0, 1)]
    for one in drawn:
        kept = one.targets.tolist()
        assert len(set(kept)) == 5
        assert kept == sorted(kept)
        assert one.held.flatten().tolist() == kept
    assert drawn[0].targets.tolist() == drawn[1].targets.tolist() != drawn[2].targets.tolist()
    assert limited(samples, ShownOptions(), place) is samples
    with pytest.raises(DataError, match="there are 11 training samples") as refused:
        limited(samples, ShownOptions(limit=12), place)
    assert "data.limit=11" in str(refused.value.hint)

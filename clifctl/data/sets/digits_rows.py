"""Handwritten digits, one row of pixels a time step: `digits` with `data.view=rows`, but held as
rows."""

from dataclasses import replace

from clifctl.data.contract import DataOptions, Dataset, LoadedData, Split
from clifctl.data.sets.digits import (
    CLASSES,
    SIDE,
    SOURCE,
    digit_images,
    standardised,
    unlabelled_digits,
)
from clifctl.data.unlabelled import Unlabelled
from clifctl.data.views import rows


class DigitsRowsOptions(DataOptions):
    """Nothing to choose."""


def load(options: DigitsRowsOptions, timesteps: int) -> LoadedData:
    """Row t of each image at time step t: `[8, N, 8]`."""
    train, test, _ = standardised(digit_images())
    return LoadedData(Split(rows(train.held), train.targets), Split(rows(test.held), test.targets))


def _unlabelled(options: DigitsRowsOptions, timesteps: int) -> Unlabelled:
    images = unlabelled_digits()
    assert images.prepare is not None
    standardise = images.prepare
    return replace(images, prepare=lambda stored: rows(standardise(stored)))


DATASET = Dataset(
    name="digits_rows",
    title="handwritten digits, row t at time step t",
    source=SOURCE,
    classes=CLASSES,
    input_shape=(SIDE,),
    static=False,
    timesteps=SIDE,
    max_timesteps=None,
    options=DigitsRowsOptions,
    load=load,
    unlabelled=_unlabelled,
)

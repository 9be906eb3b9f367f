"""Handwritten digits, one row of pixels a time step: `digits` with `data.view=rows`, but held as
rows."""

from clifctl.data.contract import DataOptions, Dataset, LoadedData, Split
from clifctl.data.sets.digits import CLASSES, SIDE, SOURCE, digit_images, standardised
from clifctl.data.views import rows


class DigitsRowsOptions(DataOptions):
    """Nothing to choose."""


def load(options: DigitsRowsOptions, timesteps: int) -> LoadedData:
    """Row t of each image at time step t: `[8, N, 8]`."""
    train, test, _ = standardised(digit_images())
    return LoadedData(Split(rows(train.held), train.targets), Split(rows(test.held), test.targets))


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
)

"""Handwritten digits, one row of pixels a time step: a task that cannot be done without memory."""

from clifctl.data.contract import DataOptions, Dataset, LoadedData, Split
from clifctl.data.sets.digits import CLASSES, SIDE, SOURCE, digit_images, standardised


class DigitsRowsOptions(DataOptions):
    """Nothing to choose."""


def load(options: DigitsRowsOptions, timesteps: int) -> LoadedData:
    """Row t of each image at time step t: `[8, N, 8]`."""
    train, test, _ = standardised(digit_images())
    return LoadedData(_rows(train), _rows(test))


def _rows(split: Split) -> Split:
    # [1, N, 1, H, W] -> [H, N, W]
    return Split(split.held[0, :, 0].transpose(0, 1).contiguous(), split.targets)


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

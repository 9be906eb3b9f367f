"""Spiking Heidelberg Digits: 8,156 training and 2,264 test recordings of twelve people who say the
digits in English and German. Two of them are in the test split alone; recordings are held out for
validation by who speaks."""

from pydantic import Field

from clifctl.data.sets.heidelberg import HeidelbergFormat, SpikeOptions, dataset


class ShdOptions(SpikeOptions):
    """Options of SHD."""

    validation_share: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="share of the training speakers, at least one, whose recordings are held out, "
        "and that the best epoch is chosen on; 0: the official split as it is",
    )


FORMAT = HeidelbergFormat(
    name="shd",
    title="Spiking Heidelberg Digits, 10,420 spoken digits as spikes of 700 channels",
    classes=20,
    recordings={"train": 8_156, "test": 2_264},
    options=ShdOptions,
)
DATASET = dataset(FORMAT)

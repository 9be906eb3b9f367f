"""Spiking Speech Commands: 75,466 training, 9,981 validation and 20,382 test recordings of 35
words. The validation split is the published one, in which nobody speaks who is in another."""

from pydantic import Field

from clifctl.data.sets.heidelberg import HeidelbergFormat, SpikeOptions, dataset


class SscOptions(SpikeOptions):
    """Options of SSC."""

    validation_share: float = Field(
        0.0, ge=0.0, le=0.0, description="0: the published validation split is taken"
    )


FORMAT = HeidelbergFormat(
    name="ssc",
    title="Spiking Speech Commands, 105,829 spoken words as spikes of 700 channels",
    classes=35,
    recordings={"train": 75_466, "valid": 9_981, "test": 20_382},
    options=SscOptions,
)
DATASET = dataset(FORMAT)

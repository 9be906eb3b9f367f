"""The options that every set of event recordings has, and what a cache of its frames depends on."""

from typing import Literal, Self

from pydantic import Field, model_validator

from clifctl.data.images import AheadOptions
from clifctl.strict import PathText, Width

FramesBy = Literal["number", "time"]
Values = Literal["counts", "authors_bytes", "binary"]
Resize = Literal["antialias", "bilinear", "nearest", "area"]
EventAugmentation = Literal["none", "crop_flip", "flip_rotate", "flip_roll_affine"]

# Options that decide which frames are prepared, beside the data set's name and T. All others are
# applied to the frames when they are read.
PREPARED = ("frames_by", "split", "orientation")
# Options that say what a person's own recordings are.
DECLARED = ("sensor", "classes")


class EventOptions(AheadOptions):
    """Options of every data set of event recordings; T is the recipe's `timesteps`."""

    frames_by: FramesBy = Field(
        "number", description="T frames of equally many events (number), or equally long (time)"
    )
    size: Width | None = Field(
        None, description="side of the frames that the net sees; null: the sensor's"
    )
    resize: Resize = Field(
        "antialias", description="how frames come to size: bilinear with antialias, or without, ..."
    )
    values: Values = Field(
        "counts", description="what the net sees of the counts: see docs/event-data.md"
    )
    augmentation: EventAugmentation = Field(
        "none", description="augmentation of training batches, one draw for all frames of a sample"
    )
    in_memory: bool = Field(
        False, description="hold all frames on the device; false: read them from the cache"
    )
    cache: PathText | None = Field(
        None, min_length=1, description="folder of prepared frames; null: 'prepared' in root"
    )

    @model_validator(mode="after")
    def _bytes_are_resized_by_pil(self) -> Self:
        if self.values == "authors_bytes" and self.resize in ("bilinear", "area"):
            raise ValueError(
                f"values authors_bytes passes through PIL, which has no resize {self.resize}: "
                "take antialias or nearest"
            )
        return self

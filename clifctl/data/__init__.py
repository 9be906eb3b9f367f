"""Data: the DATASETS table (one file a data set), batches and augmentation on the device."""

from clifctl.data import digits, digits_events, digits_rows
from clifctl.data.contract import Augmentation, DataOptions, Dataset, LoadedData, Split
from clifctl.data.loading import batches, shuffled_batches

# name -> data set, in the order of display
DATASETS: dict[str, Dataset] = {
    "digits": digits.DATASET,
    "digits_events": digits_events.DATASET,
    "digits_rows": digits_rows.DATASET,
}

__all__ = [
    "DATASETS",
    "Augmentation",
    "DataOptions",
    "Dataset",
    "LoadedData",
    "Split",
    "batches",
    "shuffled_batches",
]
